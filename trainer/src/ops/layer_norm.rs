//! Layer normalization (Ba et al. 2016).

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use pulp::Arch;

use crate::ops::linear::check_leaf;
use crate::ops::plain;
use crate::ops::values::{slice, values};
use crate::ops::vector::{dot, squared_distance, sum};
use crate::ops::weights::WeightGradients;

/// Normalizes each row of `x` to mean 0 and variance 1, multiplies it by `gamma` and adds `beta`; the shape is that
/// of `x`.
pub(crate) fn layer_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<Tensor> {
    let (_, width) = x.dims2()?;
    check(width, gamma, beta)?;
    if !x.device().is_cpu() {
        return plain::layer_norm(x, gamma, beta, eps);
    }
    x.apply_op3(gamma, beta, LayerNorm { eps: eps as f32 })
}

/// An error unless a normalization with these parameters has this width.
fn check(width: usize, gamma: &Tensor, beta: &Tensor) -> Result<()> {
    if gamma.dims1()? != width || beta.dims1()? != width {
        candle_core::bail!(
            "a normalization of width {:?} cannot take {width} columns",
            gamma.shape()
        );
    }
    Ok(())
}

struct LayerNorm {
    eps: f32,
}

/// The mean of a row and the reciprocal of its standard deviation.
#[inline(always)]
fn moments(row: &[f32], eps: f32) -> (f32, f32) {
    let count = row.len() as f32;
    let mean = sum(row) / count;
    let variance = squared_distance(row, mean) / count;
    (mean, 1.0 / (variance + eps).sqrt())
}

/// Normalizes the rows of `x` in place.
pub(super) fn forward(x: &mut [f32], gamma: &[f32], beta: &[f32], eps: f32) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for x in x.chunks_exact_mut(gamma.len()) {
                let (mean, scale) = moments(x, eps);
                for ((x, gamma), beta) in x.iter_mut().zip(gamma).zip(beta) {
                    *x = (*x - mean) * scale * gamma + beta;
                }
            }
        },
    );
}

/// The gradients of the input, of `gamma` and of `beta`.
pub(super) struct Backward {
    pub(super) dx: Vec<f32>,
    pub(super) dgamma: Vec<f32>,
    pub(super) dbeta: Vec<f32>,
}

/// The gradients of the normalization of `x` for this gradient of its output.
pub(super) fn backward(x: &[f32], gamma: &[f32], eps: f32, dy: &[f32]) -> Backward {
    let width = gamma.len();
    let mut dx = vec![0f32; x.len()];
    let mut dgamma = vec![0f32; width];
    let mut dbeta = vec![0f32; width];
    let (mut normal, mut scaled) = (vec![0f32; width], vec![0f32; width]);
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let rows = dx
                .chunks_exact_mut(width)
                .zip(x.chunks_exact(width))
                .zip(dy.chunks_exact(width));
            for ((dx, x), dy) in rows {
                let (mean, scale) = moments(x, eps);
                for (normal, x) in normal.iter_mut().zip(x) {
                    *normal = (x - mean) * scale;
                }
                for ((scaled, dy), gamma) in scaled.iter_mut().zip(dy).zip(gamma) {
                    *scaled = dy * gamma;
                }
                for ((dgamma, dy), normal) in dgamma.iter_mut().zip(dy).zip(&normal) {
                    *dgamma += dy * normal;
                }
                for (dbeta, dy) in dbeta.iter_mut().zip(dy) {
                    *dbeta += dy;
                }
                let along_mean = sum(&scaled) / width as f32;
                let along_normal = dot(&scaled, &normal) / width as f32;
                for ((dx, scaled), normal) in dx.iter_mut().zip(&scaled).zip(&normal) {
                    *dx = scale * (scaled - along_mean - normal * along_normal);
                }
            }
        },
    );
    Backward { dx, dgamma, dbeta }
}

/// A layer normalization inside a fused operator on the CPU: the gradients of its parameters are added to a
/// [`WeightGradients`].
#[derive(Clone, Debug)]
pub(crate) struct NormLayer {
    /// `[width]`
    pub(crate) gamma: Tensor,
    /// `[width]`
    pub(crate) beta: Tensor,
    /// What is added to the variance.
    pub(crate) eps: f64,
}

impl NormLayer {
    /// An error unless the layer has this width and its parameters are leaves of the graph.
    pub(super) fn check(&self, width: usize) -> Result<()> {
        check_leaf(&self.gamma)?;
        check_leaf(&self.beta)?;
        check(width, &self.gamma, &self.beta)
    }

    /// Whether a parameter is trained.
    pub(super) fn is_variable(&self) -> bool {
        self.gamma.is_variable() || self.beta.is_variable()
    }

    /// Normalizes the rows of `x` in place.
    pub(super) fn forward(&self, x: &mut [f32]) -> Result<()> {
        forward(x, &values(&self.gamma)?, &values(&self.beta)?, self.eps as f32);
        Ok(())
    }

    /// The gradient of the input for this gradient of the output.
    pub(super) fn backward(&self, x: &[f32], dy: &[f32], gradients: &WeightGradients) -> Result<Vec<f32>> {
        let found = backward(x, &values(&self.gamma)?, self.eps as f32, dy);
        for (parameter, gradient) in [(&self.gamma, found.dgamma), (&self.beta, found.dbeta)] {
            if parameter.is_variable() {
                let gradient = Tensor::from_vec(gradient, parameter.shape(), parameter.device())?;
                gradients.add(parameter, gradient)?;
            }
        }
        Ok(found.dx)
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gamma: &CpuStorage,
        gamma_layout: &Layout,
        beta: &CpuStorage,
        beta_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (gamma, beta) = (slice(gamma, gamma_layout)?, slice(beta, beta_layout)?);
        let mut y = slice(x, x_layout)?.to_vec();
        forward(&mut y, gamma, beta, self.eps);
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        _beta: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let found = backward(&values(x)?, &values(gamma)?, self.eps, &values(&gradient)?);
        let device = gradient.device();
        Ok((
            Some(Tensor::from_vec(found.dx, x.shape(), device)?),
            Some(Tensor::from_vec(found.dgamma, gamma.shape(), device)?),
            Some(Tensor::from_vec(found.dbeta, gamma.shape(), device)?),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{assert_close, assert_gradients, random};

    #[test]
    fn it_equals_the_plain_form() {
        let (x, gamma, beta) = (random((4, 19), 1), random(19, 2), random(19, 3));
        let plain = candle_nn::ops::layer_norm_slow(&x, &gamma, &beta, 1e-5).unwrap();
        assert_close(&layer_norm(&x, &gamma, &beta, 1e-5).unwrap(), &plain, 1e-5);
        assert_gradients(&[x, gamma, beta], |v| layer_norm(&v[0], &v[1], &v[2], 1e-5));
    }
}
