//! Layers that the networks of several families have.

use candle_core::{DType, Result, Tensor};
use nerve_repository::{Activation, ModelConfig};

use crate::model::pass::Pass;
use crate::ops::feed_forward::{FeedForward, feed_forward};
use crate::ops::layer_norm::{NormLayer, layer_norm};
use crate::ops::linear::{LinearLayer, linear};
use crate::ops::residual::Residual;

/// Yields a parameter by its name (see [`nerve_repository::Family`]).
pub(super) type Tensors<'t> = &'t dyn Fn(&str) -> Result<Tensor>;

/// A linear layer.
pub(super) struct Dense(LinearLayer);

impl Dense {
    /// The layer whose tensors `tensor` yields as `name.weight`, `[outputs, inputs]`, and `name.bias`.
    pub(super) fn new(name: &str, tensor: Tensors<'_>) -> Result<Self> {
        Ok(Self(LinearLayer {
            weight: tensor(&format!("{name}.weight"))?,
            bias: tensor(&format!("{name}.bias"))?,
        }))
    }

    /// The layer as a part of a fused operator.
    pub(super) fn layer(&self) -> LinearLayer {
        self.0.clone()
    }

    /// The layer, which adds nothing unless `has_bias`.
    pub(super) fn with_bias(name: &str, has_bias: bool, tensor: Tensors<'_>) -> Result<Self> {
        if has_bias {
            return Self::new(name, tensor);
        }
        let weight = tensor(&format!("{name}.weight"))?;
        let bias = Tensor::zeros(weight.dim(0)?, DType::F32, weight.device())?;
        Ok(Self(LinearLayer { weight, bias }))
    }

    /// `[rows, outputs]` of `[rows, inputs]`.
    pub(super) fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        linear(x, &self.0.weight, &self.0.bias, pass.multiplier, &pass.weights)
    }
}

/// A layer normalization (Ba et al. 2016).
pub(super) struct Norm(NormLayer);

impl Norm {
    /// The normalization whose tensors `tensor` yields as `name.weight` and `name.bias`.
    pub(super) fn new(name: &str, eps: f64, tensor: Tensors<'_>) -> Result<Self> {
        Ok(Self(NormLayer {
            gamma: tensor(&format!("{name}.weight"))?,
            beta: tensor(&format!("{name}.bias"))?,
            eps,
        }))
    }

    /// The normalization as a part of a fused operator.
    pub(super) fn layer(&self) -> NormLayer {
        self.0.clone()
    }

    /// The normalization, which adds nothing unless `has_bias`.
    pub(super) fn with_bias(name: &str, has_bias: bool, eps: f64, tensor: Tensors<'_>) -> Result<Self> {
        if has_bias {
            return Self::new(name, eps, tensor);
        }
        let gamma = tensor(&format!("{name}.weight"))?;
        let beta = gamma.detach().zeros_like()?;
        Ok(Self(NormLayer { gamma, beta, eps }))
    }

    /// Normalizes each row.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        layer_norm(x, &self.0.gamma, &self.0.beta, self.0.eps)
    }
}

/// The feed-forward sub-layer of a layer with BERT's names, with its residual connection and normalization.
pub(super) struct FeedForwardPart {
    wide: Dense,
    narrow: Dense,
    norm: Norm,
    activation: Activation,
    /// The dropout probability of its output.
    dropout: f64,
}

impl FeedForwardPart {
    /// The sub-layer of the layer whose tensors' names begin with `layer`.
    pub(super) fn new(layer: &str, dropout: f64, config: &ModelConfig, tensor: Tensors<'_>) -> Result<Self> {
        let norm = format!("{layer}.output.LayerNorm");
        Ok(Self {
            wide: Dense::new(&format!("{layer}.intermediate.dense"), tensor)?,
            narrow: Dense::new(&format!("{layer}.output.dense"), tensor)?,
            norm: Norm::new(&norm, config.layer_norm_eps, tensor)?,
            activation: config.hidden_act,
            dropout,
        })
    }

    /// The output for hidden states, both `[tokens, hidden]`.
    pub(super) fn forward(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let layers = FeedForward {
            wide: self.wide.layer(),
            activation: self.activation,
            narrow: self.narrow.layer(),
            residual: Residual {
                mask: pass.dropout.next(self.dropout),
                norm: self.norm.layer(),
            },
        };
        feed_forward(x, layers, pass.multiplier, &pass.weights)
    }
}
