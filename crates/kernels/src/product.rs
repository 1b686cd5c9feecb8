//! Integer products of rows with a linear layer, and what is done with each result while it is in a register.

use crate::activation::Activation;
use crate::linear::Linear;
use crate::math::Quantizer;
use crate::simd::vector::{Epilogue, Rows, Simd};

/// Stores the product.
pub(crate) struct Store<'a> {
    pub(crate) to: &'a mut [f32],
    /// Floats from one row to the next; columns from there on are dropped.
    pub(crate) stride: usize,
}

impl<S: Simd> Epilogue<S> for Store<'_> {
    #[inline(always)]
    fn take(&mut self, simd: S, row: usize, column: usize, value: S::Floats) {
        if column < self.stride {
            let at = row * self.stride + column;
            if let Some(to) = self.to[at..].first_chunk_mut() {
                simd.store(value, to);
            }
        }
    }
}

/// Adds the product to the floats there.
pub(crate) struct AddTo<'a> {
    pub(crate) to: &'a mut [f32],
    /// Floats from one row to the next; columns from there on are dropped.
    pub(crate) stride: usize,
}

impl<S: Simd> Epilogue<S> for AddTo<'_> {
    #[inline(always)]
    fn take(&mut self, simd: S, row: usize, column: usize, value: S::Floats) {
        if column < self.stride {
            let at = row * self.stride + column;
            if let Some(to) = self.to[at..].first_chunk_mut() {
                simd.store(simd.add(value, simd.load(to)), to);
            }
        }
    }
}

/// Stores the activation of the product, quantized.
pub(crate) struct Activate<'a, S: Simd> {
    pub(crate) activation: Activation,
    pub(crate) quantizer: Quantizer<'a, S>,
    pub(crate) to: &'a mut [u8],
    /// Bytes from one row to the next, at least the width of the product.
    pub(crate) stride: usize,
}

impl<S: Simd> Epilogue<S> for Activate<'_, S> {
    const IN_REGISTERS: bool = false;

    #[inline(always)]
    fn take(&mut self, simd: S, row: usize, column: usize, value: S::Floats) {
        if column < self.stride {
            let at = row * self.stride + column;
            if let Some(to) = self.to[at..].first_chunk_mut() {
                let value = self.activation.apply(simd, value);
                self.quantizer.quantize(simd, value, column, to);
            }
        }
    }
}

/// Multiplies the rows with the layer. The epilogue takes every row and column once.
#[inline(always)]
pub(crate) fn multiply<S: Simd>(simd: S, rows: Rows, linear: &Linear, epilogue: &mut impl Epilogue<S>) {
    simd.multiply(rows, linear.panels(), epilogue);
}
