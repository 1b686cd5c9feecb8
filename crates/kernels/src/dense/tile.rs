//! The tile of a product whose sums stay in registers.

use std::arch::x86_64::*;

use crate::dense::pack::first_lanes;
use crate::dense::words::{LANES, Word};

/// Vectors of a tile's columns.
pub(super) const VECTORS: usize = 4;
/// The rows of a tile: with four vectors of columns, 24 of the 32 registers hold sums.
pub(super) const ROWS: usize = 6;

/// The left factor: the word of row `i` at depth `k` is at `i * row_stride + k * word_stride`.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub(super) words: *const u32,
    pub(super) row_stride: usize,
    pub(super) word_stride: usize,
}

impl Left {
    /// The factor from a row on.
    #[inline(always)]
    unsafe fn rows_from(self, row: usize) -> Self {
        Self {
            // SAFETY: the caller guarantees that the row is in the factor.
            words: unsafe { self.words.add(row * self.row_stride) },
            ..self
        }
    }
}

/// What the sums of a row of a product begin with.
#[derive(Clone, Copy)]
pub(super) enum Begin {
    Zero,
    /// The same elements in each row.
    Row(*const f32),
    /// The elements of the destination.
    Destination,
}

/// Where a product is written: row `i` begins at `i * stride`.
#[derive(Clone, Copy)]
pub(super) struct Destination {
    pub(super) elements: *mut f32,
    pub(super) stride: usize,
}

/// Multiplies `rows` rows of the left factor by a packed panel of `width` columns, at most 64.
///
/// # Safety
///
/// The processor must have the instructions of `W`. The left factor must have `rows` rows of `depth` words, the panel
/// `depth` rows of `width` words rounded up to whole vectors; `begin` and the destination must be valid for `width` columns.
#[inline(always)]
pub(super) unsafe fn multiply_panel<W: Word>(
    left: Left,
    rows: usize,
    depth: usize,
    panel: *const u32,
    width: usize,
    begin: Begin,
    to: Destination,
) {
    // SAFETY: as the caller guarantees.
    unsafe {
        match width.div_ceil(LANES) {
            1 => tiles::<W, 1>(left, rows, depth, panel, width, begin, to),
            2 => tiles::<W, 2>(left, rows, depth, panel, width, begin, to),
            3 => tiles::<W, 3>(left, rows, depth, panel, width, begin, to),
            _ => tiles::<W, 4>(left, rows, depth, panel, width, begin, to),
        }
    }
}

#[inline(always)]
unsafe fn tiles<W: Word, const N: usize>(
    left: Left,
    rows: usize,
    depth: usize,
    panel: *const u32,
    width: usize,
    begin: Begin,
    to: Destination,
) {
    let lanes = first_lanes(width - (N - 1) * LANES);
    for row in (0..rows).step_by(ROWS) {
        // SAFETY: as the caller guarantees; the rows of the tile are in the left factor and in the destination.
        unsafe {
            let left = left.rows_from(row);
            let to = Destination {
                elements: to.elements.add(row * to.stride),
                ..to
            };
            match rows - row {
                1 => tile::<W, 1, N>(left, depth, panel, lanes, begin, to),
                2 => tile::<W, 2, N>(left, depth, panel, lanes, begin, to),
                3 => tile::<W, 3, N>(left, depth, panel, lanes, begin, to),
                4 => tile::<W, 4, N>(left, depth, panel, lanes, begin, to),
                5 => tile::<W, 5, N>(left, depth, panel, lanes, begin, to),
                _ => tile::<W, ROWS, N>(left, depth, panel, lanes, begin, to),
            }
        }
    }
}

/// One tile. `lanes` are the columns of the last vector.
#[inline(always)]
unsafe fn tile<W: Word, const R: usize, const N: usize>(
    left: Left,
    depth: usize,
    panel: *const u32,
    lanes: __mmask16,
    begin: Begin,
    to: Destination,
) {
    let lanes = |vector: usize| if vector + 1 < N { !0 } else { lanes };
    // SAFETY: as the callers guarantee; columns beyond the product are masked.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); N]; R];
        for (row, sums) in sums.iter_mut().enumerate() {
            for (vector, sum) in sums.iter_mut().enumerate() {
                *sum = match begin {
                    Begin::Zero => _mm512_setzero_ps(),
                    Begin::Row(from) => _mm512_maskz_loadu_ps(lanes(vector), from.add(vector * LANES)),
                    Begin::Destination => {
                        let from = to.elements.add(row * to.stride + vector * LANES);
                        _mm512_maskz_loadu_ps(lanes(vector), from)
                    }
                };
            }
        }
        let mut left_words = left.words;
        let mut panel = panel;
        for _ in 0..depth {
            let mut right = [_mm512_setzero_si512(); N];
            for (vector, right) in right.iter_mut().enumerate() {
                *right = _mm512_loadu_si512(panel.add(vector * LANES).cast());
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let word = _mm512_set1_epi32(left_words.add(row * left.row_stride).read().cast_signed());
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = W::multiply(word, right, *sum);
                }
            }
            left_words = left_words.wrapping_add(left.word_stride);
            panel = panel.add(N * LANES);
        }
        for (row, sums) in sums.into_iter().enumerate() {
            for (vector, sum) in sums.into_iter().enumerate() {
                let at = to.elements.add(row * to.stride + vector * LANES);
                _mm512_mask_storeu_ps(at, lanes(vector), sum);
            }
        }
    }
}
