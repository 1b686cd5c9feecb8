//! Gated linear units (Shazeer 2020, *GLU Variants Improve Transformer*).

use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};
use nerve_repository::Activation;
use pulp::Arch;

use crate::ops::activation::{activation, activation_gradient, forward as activated};
use crate::ops::values::{slice, values};

/// The activation of the first half of each row times its second half, the gate: `[tokens, width]` of `[tokens, 2 * width]`.
pub(crate) fn gated(x: &Tensor, function: Activation) -> Result<Tensor> {
    let (_, columns) = x.dims2()?;
    if !columns.is_multiple_of(2) {
        candle_core::bail!("a gated unit cannot halve the rows of {:?}", x.shape());
    }
    if !x.device().is_cpu() {
        return plain(x, function);
    }
    x.apply_op1(Gated(function))
}

/// [`gated`] composed of candle's differentiable operators.
fn plain(x: &Tensor, function: Activation) -> Result<Tensor> {
    let halves = x.chunk(2, D::Minus1)?;
    activation(&halves[0].contiguous()?, function)? * &halves[1]
}

struct Gated(Activation);

/// The first half of each row of `x`, or the second.
fn halves(x: &[f32], width: usize, second: bool) -> Vec<f32> {
    let from = if second { width } else { 0 };
    let rows = x.chunks_exact((2 * width).max(1));
    rows.flat_map(|row| &row[from..from + width]).copied().collect()
}

fn multiply(values: &mut [f32], factors: &[f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (value, factor) in values.iter_mut().zip(factors) {
                *value *= factor;
            }
        },
    );
}

impl CustomOp1 for Gated {
    fn name(&self) -> &'static str {
        "gated"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (tokens, columns) = layout.shape().dims2()?;
        let width = columns / 2;
        let x = slice(x, layout)?;
        let mut y = activated(&halves(x, width, false), self.0);
        multiply(&mut y, &halves(x, width, true));
        Ok((CpuStorage::F32(y), (tokens, width).into()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (_, columns) = x.dims2()?;
        let width = columns / 2;
        let gradient = gradient.contiguous()?;
        let shape = x.shape().clone();
        let (x, dy) = (values(x)?, values(&gradient)?);
        let input = halves(&x, width, false);
        let mut dinput = halves(&x, width, true);
        multiply(&mut dinput, &dy);
        let dinput = activation_gradient(&input, &dinput, self.0);
        let mut dgate = activated(&input, self.0);
        multiply(&mut dgate, &dy);
        let mut dx = Vec::with_capacity(x.len());
        for (dinput, dgate) in dinput
            .chunks_exact(width.max(1))
            .zip(dgate.chunks_exact(width.max(1)))
        {
            dx.extend_from_slice(dinput);
            dx.extend_from_slice(dgate);
        }
        Tensor::from_vec(dx, shape, gradient.device()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{assert_close, assert_gradients, random};

    const FUNCTIONS: [Activation; 3] = [Activation::Gelu, Activation::GeluTanh, Activation::Relu];

    #[test]
    fn it_is_the_plain_operator() {
        for function in FUNCTIONS {
            let x = (random((5, 38), 1) * 3.0).unwrap();
            assert_close(&gated(&x, function).unwrap(), &plain(&x, function).unwrap(), 2e-6);
        }
        assert!(gated(&random((5, 3), 1), Activation::Gelu).is_err());
    }

    #[test]
    fn gradients_are_finite_differences() {
        // The inputs of the activation avoid 0, where the derivative of `max(x, 0)` is discontinuous.
        let x: Vec<f32> = (0..60).map(|i| (i - 30) as f32 / 7.0 + 0.05).collect();
        let x = Tensor::from_vec(x, (3, 20), &candle_core::Device::Cpu).unwrap();
        for function in FUNCTIONS {
            assert_gradients(std::slice::from_ref(&x), |v| gated(&v[0], function));
            assert_gradients(std::slice::from_ref(&x), |v| plain(&v[0], function));
        }
    }
}
