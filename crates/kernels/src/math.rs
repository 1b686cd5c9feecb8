//! Elementary functions, sums and quantization of vectors.

use crate::quantization::Quantization;
use crate::simd::vector::{LANES, Simd};

/// Below it, the exponential is that of this number: 2^-125.
const LOWEST_EXPONENT: f32 = -87.0;
/// Above it, the exponential is that of this number, which is finite.
const HIGHEST_EXPONENT: f32 = 88.0;

/// `e^x` with a relative error of at most 2e-7, for `x` from -87 to 88; a number outside has the value of the nearer end.
///
/// Cody and Waite's reduction to `|r| <= ln(2)/2`, then the polynomial of Cephes' `expf`.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::Floats) -> S::Floats {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const POLYNOMIAL: [f32; 6] = [
        1.987_569_1e-4,
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        5e-1,
    ];
    let x = simd.max(
        simd.min(x, simd.splat(HIGHEST_EXPONENT)),
        simd.splat(LOWEST_EXPONENT),
    );
    let n = simd.round(simd.mul(x, simd.splat(std::f32::consts::LOG2_E)));
    let r = simd.mul_add(n, simd.splat(-LN2_HIGH), x);
    let r = simd.mul_add(n, simd.splat(-LN2_LOW), r);
    let square = simd.mul(r, r);
    let rest = simd.mul_add(
        polynomial(simd, r, &POLYNOMIAL),
        square,
        simd.add(r, simd.splat(1.0)),
    );
    simd.mul(rest, simd.power_of_two(n))
}

/// The polynomial at `x`, whose coefficients are given from the highest power.
#[inline(always)]
fn polynomial<S: Simd>(simd: S, x: S::Floats, coefficients: &[f32]) -> S::Floats {
    let mut value = simd.splat(coefficients[0]);
    for &coefficient in &coefficients[1..] {
        value = simd.mul_add(value, x, simd.splat(coefficient));
    }
    value
}

/// The Gaussian error linear unit, `x * (1 + erf(x / sqrt 2)) / 2` (Hendrycks and Gimpel 2016), with an error of at most 6e-7 for `x` from
/// -4 to 4, 3e-6 from -8 to 8, and 5e-7 of `x` outside.
///
/// The error function is `x` times a polynomial of degree 13 in `x^2`, the minimax approximation for `x` from -5 to 5. The square is
/// mapped to `[-1, 1]`, where the polynomial loses no digits. Two degrees less would round so many activations to other integers than
/// ONNX Runtime does that every label in a thousand differs.
#[inline(always)]
pub(crate) fn gelu<S: Simd>(simd: S, x: S::Floats) -> S::Floats {
    const END: f32 = 5.0;
    const POLYNOMIAL: [f32; 14] = [
        -0.000_419_746_24,
        0.001_347_526,
        -0.001_914_586,
        0.003_075_851_6,
        -0.006_940_525,
        0.013_211_695_5,
        -0.021_432_634,
        0.032_616_1,
        -0.046_784_382,
        0.062_924_82,
        -0.080_856_24,
        0.103_037_916,
        -0.140_593_53,
        0.282_727_6,
    ];
    let near = simd.max(simd.min(x, simd.splat(END)), simd.splat(-END));
    let square = simd.mul(near, near);
    let mapped = simd.mul_add(square, simd.splat(2.0 / (END * END)), simd.splat(-1.0));
    let erf = simd.mul(near, polynomial(simd, mapped, &POLYNOMIAL));
    let half = simd.splat(0.5);
    simd.mul(x, simd.mul_add(erf, half, half))
}

/// The tanh approximation of the Gaussian error linear unit, `x / (1 + e^(-2 u))` with `u = sqrt(2/pi) (x + 0.044715 x^3)`.
#[inline(always)]
pub(crate) fn gelu_tanh<S: Simd>(simd: S, x: S::Floats) -> S::Floats {
    const TWICE_SQRT_2_OVER_PI: f32 = 1.595_769;
    let cube = simd.mul(simd.mul(x, x), x);
    let inner = simd.mul_add(cube, simd.splat(0.044_715), x);
    let power = exp(simd, simd.mul(inner, simd.splat(-TWICE_SQRT_2_OVER_PI)));
    simd.div(x, simd.add(power, simd.splat(1.0)))
}

/// A quantization in vectors.
#[derive(Clone, Copy)]
pub(crate) struct Quantizer<'q, S: Simd> {
    factors: Option<&'q [f32]>,
    steps: S::Floats,
    zero: u8,
}

impl<'q, S: Simd> Quantizer<'q, S> {
    #[inline(always)]
    pub(crate) fn new(simd: S, quantization: &'q Quantization) -> Self {
        Self {
            factors: quantization.factors.as_deref(),
            steps: simd.splat(quantization.affine.steps()),
            zero: quantization.affine.zero_point,
        }
    }

    /// The nearest integers from 0 to 255 for the values of these columns, the first of which is `column`; 0 for what is not a
    /// number.
    #[inline(always)]
    pub(crate) fn quantize(self, simd: S, value: S::Floats, column: usize, to: &mut [u8; LANES]) {
        let factors = self.factors.and_then(|factors| factors[column..].first_chunk());
        let value = match factors {
            Some(factors) => simd.mul(value, simd.load(factors)),
            None => value,
        };
        // The zero point is added after rounding: a sum has fewer digits behind the point, and rounds otherwise than ONNX Runtime.
        simd.to_bytes(simd.mul(value, self.steps), self.zero, to);
    }
}
