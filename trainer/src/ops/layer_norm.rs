//! Layer normalization (Ba et al. 2016).

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use pulp::Arch;

use crate::ops::plain;
use crate::ops::values::{slice, values};
use crate::ops::vector::{dot, squared_distance, sum};

/// Normalizes each row of `x` to mean 0 and variance 1, multiplies it by `gamma` and adds `beta`; the shape is that
/// of `x`.
pub(crate) fn layer_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<Tensor> {
    let (_, width) = x.dims2()?;
    if gamma.dims1()? != width || beta.dims1()? != width {
        candle_core::bail!(
            "a normalization of width {:?} cannot take {:?}",
            gamma.shape(),
            x.shape()
        );
    }
    if !x.device().is_cpu() {
        return plain::layer_norm(x, gamma, beta, eps);
    }
    x.apply_op3(gamma, beta, LayerNorm { eps: eps as f32 })
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
        let (x, gamma, beta) = (
            slice(x, x_layout)?,
            slice(gamma, gamma_layout)?,
            slice(beta, beta_layout)?,
        );
        let mut y = vec![0f32; x.len()];
        Arch::new().dispatch(
            #[inline(always)]
            || {
                let width = gamma.len();
                for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                    let (mean, scale) = moments(x, self.eps);
                    for (((y, x), gamma), beta) in y.iter_mut().zip(x).zip(gamma).zip(beta) {
                        *y = (x - mean) * scale * gamma + beta;
                    }
                }
            },
        );
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
        let shape = x.shape().clone();
        let (dy, x, gamma) = (values(&gradient)?, values(x)?, values(gamma)?);
        let (dy, x, gamma): (&[f32], &[f32], &[f32]) = (&dy, &x, &gamma);
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
                    let (mean, scale) = moments(x, self.eps);
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
        let device = gradient.device();
        Ok((
            Some(Tensor::from_vec(dx, shape, device)?),
            Some(Tensor::from_vec(dgamma, width, device)?),
            Some(Tensor::from_vec(dbeta, width, device)?),
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
