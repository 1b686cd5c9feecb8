//! Layer normalization.

use crate::math::Quantizer;
use crate::simd::{LANES, Simd};

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
        quantizer: Option<Quantizer<S>>,
        quantized: &mut [u8],
    ) {
        let width = row.len() as f32;
        let (row, _) = row.as_chunks_mut::<LANES>();
        let mut sum = simd.splat(0.0);
        for values in row.iter() {
            sum = simd.add(sum, simd.load(values));
        }
        let mean = simd.splat(simd.sum(sum) / width);
        let mut squares = simd.splat(0.0);
        for values in row.iter() {
            let centered = simd.sub(simd.load(values), mean);
            squares = simd.mul_add(centered, centered, squares);
        }
        let variance = simd.sum(squares) / width;
        let inverse = simd.splat(1.0 / (variance + epsilon).sqrt());
        let (weight, _) = self.weight.as_chunks::<LANES>();
        let (bias, _) = self.bias.as_chunks::<LANES>();
        let (quantized, _) = quantized.as_chunks_mut::<LANES>();
        let parameters = weight.iter().zip(bias);
        for ((values, (weight, bias)), quantized) in row.iter_mut().zip(parameters).zip(quantized) {
            let centered = simd.sub(simd.load(values), mean);
            let scaled = simd.mul(centered, inverse);
            let value = simd.mul_add(scaled, simd.load(weight), simd.load(bias));
            simd.store(value, values);
            if let Some(quantizer) = quantizer {
                quantizer.quantize(simd, value, quantized);
            }
        }
    }
}
