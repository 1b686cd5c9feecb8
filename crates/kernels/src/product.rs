//! Integer products of rows with a linear layer, and what is done with each result while it is in a register.

use crate::activation::Activation;
use crate::linear::Linear;
use crate::math::Quantizer;
use crate::simd::Simd;

/// Rows of bytes, the inputs of products.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) bytes: &'a [u8],
    /// Bytes from one row to the next.
    pub(crate) stride: usize,
    pub(crate) count: usize,
}

impl<'a> Rows<'a> {
    /// Panics unless every row has `width` bytes, as the instruction sets require that read rows through pointers.
    #[inline(always)]
    pub(crate) fn check(self, width: usize) {
        let last = self.count.saturating_sub(1) * self.stride;
        assert!(self.count == 0 || self.bytes.len() >= last + width);
    }

    /// Blocks of at most `size` rows, each with the number of its first row.
    #[inline(always)]
    pub(crate) fn blocks(self, size: usize) -> impl Iterator<Item = (usize, Self)> {
        let block = move |first| Self {
            bytes: &self.bytes[first * self.stride..],
            count: size.min(self.count - first),
            ..self
        };
        (0..self.count)
            .step_by(size)
            .map(move |first| (first, block(first)))
    }
}

/// What is done with a product, 16 columns of a row at a time.
pub(crate) trait Epilogue<S: Simd> {
    /// Whether it needs so few registers that it can follow a product without moving the sums to memory.
    const IN_REGISTERS: bool = true;

    /// `value` holds the real values of the columns from `column` of the row.
    fn take(&mut self, simd: S, row: usize, column: usize, value: S::Floats);
}

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
    pub(crate) quantizer: Quantizer<S>,
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
                self.quantizer
                    .quantize(simd, self.activation.apply(simd, value), to);
            }
        }
    }
}

/// Multiplies the rows with the layer. The epilogue takes every row and column once.
#[inline(always)]
pub(crate) fn multiply<S: Simd>(simd: S, rows: Rows, linear: &Linear, epilogue: &mut impl Epilogue<S>) {
    simd.multiply(rows, linear.panels(), epilogue);
}
