//! Layers that the networks of several families have.

use candle_core::{DType, Result, Tensor};

use crate::model::pass::Pass;
use crate::ops::layer_norm::{NormLayer, layer_norm};
use crate::ops::linear::{LinearLayer, linear};

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
