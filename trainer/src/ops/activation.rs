//! The activation functions of the feed-forward layers: GELU, its tanh approximation and ReLU.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use nerve_repository::Activation;
use pulp::Arch;

use crate::ops::plain;
use crate::ops::values::{slice, values};
use crate::ops::vector::exp;

/// Applies an activation function to every element; the output has the shape of `x`.
pub(crate) fn activation(x: &Tensor, function: Activation) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return plain::activation(x, function);
    }
    x.apply_op1(Activate(function))
}

/// `Phi(x)` and `e^(-x^2/2)`. `Phi` is formula 7.1.26 of Abramowitz and Stegun (error below 1e-7), which computes the
/// exponential anyway.
#[inline(always)]
fn normal(x: f32) -> (f32, f32) {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let bell = exp(-z * z);
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let mut p = 1.061_405_4;
    p = p * t - 1.453_152;
    p = p * t + 1.421_413_7;
    p = p * t - 0.284_496_74;
    p = p * t + 0.254_829_6;
    let tail = 0.5 * p * t * bell;
    (if x < 0.0 { tail } else { 1.0 - tail }, bell)
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    x * normal(x).0
}

#[inline(always)]
fn gelu_slope(x: f32) -> f32 {
    gelu_and_slope(x).1
}

#[inline(always)]
fn gelu_and_slope(x: f32) -> (f32, f32) {
    const DENSITY: f32 = 0.398_942_3;
    let (below, bell) = normal(x);
    (x * below, below + x * DENSITY * bell)
}

const ROOT_2_OVER_PI: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

#[inline(always)]
fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    0.5 * x * (1.0 + tanh(ROOT_2_OVER_PI * (x + CUBIC * x * x * x)))
}

#[inline(always)]
fn gelu_tanh_slope(x: f32) -> f32 {
    let t = tanh(ROOT_2_OVER_PI * (x + CUBIC * x * x * x));
    let inner = ROOT_2_OVER_PI * (1.0 + 3.0 * CUBIC * x * x);
    0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner
}

// The comparison is false for NaN, so NaN passes through and reveals a diverged training.
#[inline(always)]
fn relu(x: f32) -> f32 {
    if x <= 0.0 { 0.0 } else { x }
}

#[inline(always)]
fn relu_slope(x: f32) -> f32 {
    if x <= 0.0 { 0.0 } else { 1.0 }
}

fn map(x: &[f32], function: impl Fn(f32) -> f32) -> Vec<f32> {
    let mut y = vec![0f32; x.len()];
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = function(x);
            }
        },
    );
    y
}

fn chain(x: &[f32], gradient: &[f32], slope: impl Fn(f32) -> f32) -> Vec<f32> {
    let mut dx = vec![0f32; x.len()];
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for ((dx, &x), g) in dx.iter_mut().zip(x).zip(gradient) {
                *dx = g * slope(x);
            }
        },
    );
    dx
}

/// The activation of each element.
pub(super) fn forward(x: &[f32], function: Activation) -> Vec<f32> {
    match function {
        Activation::Gelu => map(x, gelu),
        Activation::GeluTanh => map(x, gelu_tanh),
        Activation::Relu => map(x, relu),
    }
}

/// The gradient of each element of `x`, from that of its activation.
pub(super) fn activation_gradient(x: &[f32], gradient: &[f32], function: Activation) -> Vec<f32> {
    match function {
        Activation::Gelu => chain(x, gradient, gelu_slope),
        Activation::GeluTanh => chain(x, gradient, gelu_tanh_slope),
        Activation::Relu => chain(x, gradient, relu_slope),
    }
}

/// Replaces each element of `x` by its activation, and the gradient of the activation by that of the element.
pub(super) fn backward(x: &mut [f32], gradient: &mut [f32], function: Activation) {
    match function {
        Activation::Gelu => both(x, gradient, gelu_and_slope),
        Activation::GeluTanh => both(
            x,
            gradient,
            #[inline(always)]
            |x| (gelu_tanh(x), gelu_tanh_slope(x)),
        ),
        Activation::Relu => both(
            x,
            gradient,
            #[inline(always)]
            |x| (relu(x), relu_slope(x)),
        ),
    }
}

/// Replaces each element by the first result of the function, and multiplies its gradient by the second.
fn both(x: &mut [f32], gradient: &mut [f32], function: impl Fn(f32) -> (f32, f32)) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (x, g) in x.iter_mut().zip(gradient) {
                let (y, slope) = function(*x);
                *x = y;
                *g *= slope;
            }
        },
    );
}

struct Activate(Activation);

impl CustomOp1 for Activate {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = forward(slice(x, layout)?, self.0);
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        let shape = x.shape().clone();
        let (x, g) = (values(x)?, values(&gradient)?);
        let dx = activation_gradient(&x, &g, self.0);
        Tensor::from_vec(dx, shape, gradient.device()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{assert_close, assert_gradients, random};

    #[test]
    fn each_equals_the_plain_operator() {
        let x = (random((6, 37), 1) * 3.0).unwrap();
        let plain = [
            (Activation::Gelu, x.gelu_erf()),
            (Activation::GeluTanh, x.gelu()),
            (Activation::Relu, x.relu()),
        ];
        for (function, expected) in plain {
            assert_close(&activation(&x, function).unwrap(), &expected.unwrap(), 2e-6);
        }
    }

    #[test]
    fn gradients_are_finite_differences() {
        // The points avoid 0, where the derivative of `max(x, 0)` is discontinuous.
        let x: Vec<f32> = (0..60).map(|i| (i - 30) as f32 / 7.0 + 0.05).collect();
        let x = Tensor::new(x, &candle_core::Device::Cpu).unwrap();
        for function in [Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
            assert_gradients(std::slice::from_ref(&x), |v| activation(&v[0], function));
        }
    }

    #[test]
    fn nan_stays_nan() {
        let x = Tensor::new(&[f32::NAN, -1.0, 2.0], &candle_core::Device::Cpu).unwrap();
        for function in [Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
            for y in [
                activation(&x, function).unwrap(),
                plain::activation(&x, function).unwrap(),
            ] {
                let y: Vec<f32> = y.to_vec1().unwrap();
                assert!(
                    y[0].is_nan() && y[1..].iter().all(|y| y.is_finite()),
                    "{function:?} {y:?}"
                );
            }
        }
    }

    #[test]
    fn the_far_ends_are_exact() {
        let x = Tensor::new(&[-30f32, -10.0, 10.0, 30.0], &candle_core::Device::Cpu).unwrap();
        for function in [Activation::Gelu, Activation::GeluTanh] {
            let y: Vec<f32> = activation(&x, function).unwrap().to_vec1().unwrap();
            assert!(y[0].abs() < 1e-6 && y[1].abs() < 1e-6, "{y:?}");
            assert_eq!(y[2..], [10.0, 30.0]);
        }
    }
}
