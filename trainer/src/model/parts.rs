//! Layers that the networks of several families have.

use candle_core::{DType, Result, Tensor};

use crate::model::pass::Pass;
use crate::ops::{layer_norm, linear};

/// Yields a parameter by its name (see [`nerve_repository::Family`]).
pub(super) type Tensors<'t> = &'t dyn Fn(&str) -> Result<Tensor>;

/// A linear layer.
pub(super) struct Dense {
    weight: Tensor,
    bias: Tensor,
}

impl Dense {
    /// The layer whose tensors `tensor` yields as `name.weight`, `[outputs, inputs]`, and `name.bias`.
    pub(super) fn new(name: &str, tensor: Tensors<'_>) -> Result<Self> {
        Ok(Self {
            weight: tensor(&format!("{name}.weight"))?,
            bias: tensor(&format!("{name}.bias"))?,
        })
    }

    /// The layer, which adds nothing unless `has_bias`.
    pub(super) fn with_bias(name: &str, has_bias: bool, tensor: Tensors<'_>) -> Result<Self> {
        if has_bias {
            return Self::new(name, tensor);
        }
        let weight = tensor(&format!("{name}.weight"))?;
        let bias = Tensor::zeros(weight.dim(0)?, DType::F32, weight.device())?;
        Ok(Self { weight, bias })
    }

    /// `[rows, outputs]` of `[rows, inputs]`.
    pub(super) fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        linear(x, &self.weight, &self.bias, &pass.weights)
    }
}

/// A layer normalization (Ba et al. 2016).
pub(super) struct Norm {
    gamma: Tensor,
    beta: Tensor,
    eps: f64,
}

impl Norm {
    /// The normalization whose tensors `tensor` yields as `name.weight` and `name.bias`.
    pub(super) fn new(name: &str, eps: f64, tensor: Tensors<'_>) -> Result<Self> {
        Ok(Self {
            gamma: tensor(&format!("{name}.weight"))?,
            beta: tensor(&format!("{name}.bias"))?,
            eps,
        })
    }

    /// The normalization, which adds nothing unless `has_bias`.
    pub(super) fn with_bias(name: &str, has_bias: bool, eps: f64, tensor: Tensors<'_>) -> Result<Self> {
        if has_bias {
            return Self::new(name, eps, tensor);
        }
        let gamma = tensor(&format!("{name}.weight"))?;
        let beta = gamma.detach().zeros_like()?;
        Ok(Self { gamma, beta, eps })
    }

    /// Normalizes each row.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        layer_norm(x, &self.gamma, &self.beta, self.eps)
    }
}
