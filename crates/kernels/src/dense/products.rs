//! The product of two matrices.

use thiserror::Error;

use crate::dense::matrix::{Matrix, is_inside};

/// Products of matrices on this processor. A value proves that it has the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Products(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    F32,
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    Bf16,
}

/// Products in bf16 are not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this processor has no products of bf16 (AVX-512 BF16: `avx512_bf16` in /proc/cpuinfo)")]
pub struct Bf16Error;

/// What the sums of a product begin with.
#[derive(Clone, Copy, Debug)]
pub enum Initial<'r> {
    /// Nothing: the destination is not read.
    Zero,
    /// This row, in each row of the product: the destination is not read.
    Row(&'r [f32]),
    /// The elements of the destination.
    Destination,
}

impl Products {
    /// Products in f32; `None` if this processor has no AVX-512.
    pub fn f32() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
            return Some(Self(Kind::F32));
        }
        None
    }

    /// Products of factors that are rounded to bf16, with sums in f32.
    pub fn bf16() -> Result<Self, Bf16Error> {
        #[cfg(target_arch = "x86_64")]
        if Self::f32().is_some() && is_x86_feature_detected!("avx512bf16") {
            return Ok(Self(Kind::Bf16));
        }
        Err(Bf16Error)
    }

    /// Writes `a * b` to `out`, whose rows begin `row_stride` elements apart, on the calling thread.
    ///
    /// The order of the sums depends on the extents alone. Panics if the extents do not match.
    pub fn multiply(
        self,
        a: Matrix<'_>,
        b: Matrix<'_>,
        out: &mut [f32],
        row_stride: usize,
        initial: Initial<'_>,
    ) {
        assert!(
            is_inside(out.len(), a.rows(), b.columns(), row_stride),
            "a product leaves its slice"
        );
        // SAFETY: the assertion keeps the product inside `out`, which is mutably borrowed and initialized.
        unsafe { self.multiply_into(a, b, out.as_mut_ptr(), row_stride, initial) }
    }

    /// The product `a * b` with contiguous rows, on the calling thread. `initial` must not be the destination.
    ///
    /// Panics if the extents do not match.
    pub fn product(self, a: Matrix<'_>, b: Matrix<'_>, initial: Initial<'_>) -> Vec<f32> {
        assert!(
            !matches!(initial, Initial::Destination),
            "a new product has no elements to begin with"
        );
        // No vector has `usize::MAX` elements, so extents whose product overflows are refused below.
        let length = a.rows().saturating_mul(b.columns());
        let mut out = Vec::with_capacity(length);
        // SAFETY: `out` has the capacity for every element of the product; each element is written, and none is read before.
        unsafe {
            self.multiply_into(a, b, out.as_mut_ptr(), b.columns(), initial);
            out.set_len(length);
        }
        out
    }

    /// # Safety
    ///
    /// `out` must be valid for every element of the product, initialized if the product begins with them, and nothing else may
    /// use these elements during the call.
    unsafe fn multiply_into(
        self,
        a: Matrix<'_>,
        b: Matrix<'_>,
        out: *mut f32,
        row_stride: usize,
        initial: Initial<'_>,
    ) {
        assert_eq!(a.columns(), b.rows(), "the inner extents of a product differ");
        if let Initial::Row(row) = initial {
            assert_eq!(
                row.len(),
                b.columns(),
                "the first row of a product has another width"
            );
        }
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `self` proves the instructions; the extents agree, and the caller guarantees the destination.
        unsafe {
            match self.0 {
                Kind::F32 => x86::f32(a, b, out, row_stride, initial),
                Kind::Bf16 => x86::bf16(a, b, out, row_stride, initial),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (self.0, out, row_stride);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Initial, Matrix};
    use crate::aligned::AlignedBytes;
    use crate::dense::pack::{join_rows, pack};
    use crate::dense::tile::{Begin, Destination, Left, VECTORS, multiply_panel};
    use crate::dense::words::{Bf16, F32, LANES, Word};

    /// The columns of a panel of the right factor.
    const PANEL: usize = VECTORS * LANES;
    /// The words of a panel that are multiplied at a time: a panel of 128 KiB stays in the second cache.
    const DEPTH: usize = 512;

    /// # Safety
    ///
    /// See [`multiply`].
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) unsafe fn f32(
        a: Matrix<'_>,
        b: Matrix<'_>,
        out: *mut f32,
        row_stride: usize,
        initial: Initial<'_>,
    ) {
        let left = Left {
            words: a.data().as_ptr().cast(),
            row_stride: a.row_stride(),
            word_stride: a.column_stride(),
        };
        // SAFETY: as the caller guarantees; a word of `F32` is an element of the matrix.
        unsafe { multiply::<F32>(left, a.rows(), b, out, row_stride, initial) }
    }

    /// # Safety
    ///
    /// See [`multiply`].
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) unsafe fn bf16(
        a: Matrix<'_>,
        b: Matrix<'_>,
        out: *mut f32,
        row_stride: usize,
        initial: Initial<'_>,
    ) {
        let words = a.columns().div_ceil(2);
        // SAFETY: the buffers have the capacity for all words, each of which is written before it is read.
        unsafe {
            let mut left =
                Vec::<u32>::with_capacity((a.rows() * words).max(words * a.rows().next_multiple_of(LANES)));
            let (row_stride_of_left, word_stride) = match a.column_stride() {
                1 => {
                    join_rows::<Bf16>(a, left.as_mut_ptr());
                    (words, 1)
                }
                _ => {
                    pack::<Bf16>(a.transposed(), (0, a.columns()), (0, a.rows()), left.as_mut_ptr());
                    (1, a.rows().next_multiple_of(LANES))
                }
            };
            let left = Left {
                words: left.as_ptr(),
                row_stride: row_stride_of_left,
                word_stride,
            };
            multiply::<Bf16>(left, a.rows(), b, out, row_stride, initial);
        }
    }

    /// # Safety
    ///
    /// The processor must have the instructions of `W`. `left` must have `rows` rows of the words of `b.rows()` elements,
    /// `initial` as many elements as `b` has columns, and `out` must be valid for the product.
    #[inline(always)]
    unsafe fn multiply<W: Word>(
        left: Left,
        rows: usize,
        b: Matrix<'_>,
        out: *mut f32,
        row_stride: usize,
        initial: Initial<'_>,
    ) {
        if rows == 0 {
            return;
        }
        let depth = DEPTH.min(b.rows().div_ceil(W::ELEMENTS));
        let mut panel = AlignedBytes::zeros(depth * VECTORS);
        let panel = panel.as_mut_ptr().cast::<u32>();
        for column in (0..b.columns()).step_by(PANEL) {
            let width = PANEL.min(b.columns() - column);
            let mut from = 0;
            loop {
                let elements = (DEPTH * W::ELEMENTS).min(b.rows() - from);
                let begin = match initial {
                    _ if from > 0 => Begin::Destination,
                    Initial::Zero => Begin::Zero,
                    Initial::Row(row) => Begin::Row(row[column..].as_ptr()),
                    Initial::Destination => Begin::Destination,
                };
                // SAFETY: the panel has the capacity for these words; the caller guarantees the rest.
                unsafe {
                    pack::<W>(b, (from, elements), (column, width), panel);
                    let left = Left {
                        words: left.words.add(from / W::ELEMENTS * left.word_stride),
                        ..left
                    };
                    let to = Destination {
                        elements: out.add(column),
                        stride: row_stride,
                    };
                    let words = elements.div_ceil(W::ELEMENTS);
                    multiply_panel::<W>(left, rows, words, panel, width, begin, to);
                }
                from += elements;
                if from >= b.rows() {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
