//! Layer normalization.

use crate::math::Quantizer;
use crate::simd::vector::{LANES, Simd};

/// Layer normalization (Ba et al. 2016): the weight and the bias, each as wide as the hidden states.
#[derive(Clone, Debug)]
pub struct Norm {
    /// What normalized values are multiplied by.
    pub weight: Vec<f32>,
    /// What is added to them.
    pub bias: Vec<f32>,
}

impl Norm {
    /// Normalizes a row in place, and quantizes it to `quantized` if a quantizer is given.
    ///
    /// The row, the weight and the bias have the same length, a multiple of 16; `quantized` is at least as long.
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(
        &self,
        simd: S,
        row: &mut [f32],
        epsilon: f32,
        quantizer: Option<Quantizer<'_, S>>,
        quantized: &mut [u8],
    ) {
        let width = row.len() as f32;
        let (row, _) = row.as_chunks_mut::<LANES>();
        let mean = simd.splat(total(simd, row, |value| value) / width);
        let square = |value| {
            let centered = simd.sub(value, mean);
            simd.mul(centered, centered)
        };
        let variance = total(simd, row, square) / width;
        let inverse = simd.splat(1.0 / (variance + epsilon).sqrt());
        let (weight, _) = self.weight.as_chunks::<LANES>();
        let (bias, _) = self.bias.as_chunks::<LANES>();
        let (quantized, _) = quantized.as_chunks_mut::<LANES>();
        let parameters = weight.iter().zip(bias);
        let rows = row.iter_mut().zip(parameters).zip(quantized);
        for (vector, ((values, (weight, bias)), quantized)) in rows.enumerate() {
            let centered = simd.sub(simd.load(values), mean);
            let scaled = simd.mul(centered, inverse);
            let value = simd.mul_add(scaled, simd.load(weight), simd.load(bias));
            simd.store(value, values);
            if let Some(quantizer) = quantizer {
                quantizer.quantize(simd, value, vector * LANES, quantized);
            }
        }
    }
}

/// The sum of what the function makes of the values, in four sums so that an addition does not wait for the one before.
#[inline(always)]
fn total<S: Simd>(simd: S, row: &[[f32; LANES]], of: impl Fn(S::Floats) -> S::Floats) -> f32 {
    let mut sums = [simd.splat(0.0); 4];
    let (fours, rest) = row.as_chunks::<4>();
    for values in fours {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum = simd.add(*sum, of(simd.load(value)));
        }
    }
    for (sum, value) in sums.iter_mut().zip(rest) {
        *sum = simd.add(*sum, of(simd.load(value)));
    }
    let [a, b, c, d] = sums;
    simd.sum(simd.add(simd.add(a, b), simd.add(c, d)))
}
