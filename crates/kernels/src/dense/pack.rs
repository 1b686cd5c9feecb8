//! Factors of a product, copied in the order in which a tile reads them.

use std::arch::x86_64::*;

use crate::dense::matrix::Matrix;
use crate::dense::words::{LANES, Word};

/// The lanes below `count`.
#[inline(always)]
pub(super) fn first_lanes(count: usize) -> __mmask16 {
    match count {
        LANES.. => !0,
        _ => (1 << count) - 1,
    }
}

/// Writes the words of rows `from..from + depth` and columns `column..column + width` of a matrix as `[word][column]`, of which a
/// word's row has `width` rounded up to whole vectors. What pads columns and the last word is 0.
///
/// # Safety
///
/// The processor must have the instructions of `W`. The rows and columns must be in the matrix, and `to` must have room for
/// the words.
#[inline(always)]
pub(super) unsafe fn pack<W: Word>(
    matrix: Matrix<'_>,
    (from, depth): (usize, usize),
    (column, width): (usize, usize),
    to: *mut u32,
) {
    let stride = width.next_multiple_of(LANES);
    // SAFETY: as the caller guarantees. Lanes without an element of the matrix are masked.
    unsafe {
        if matrix.column_stride() == 1 {
            // Outside of the slice, and not read, if there are no rows.
            let first = (matrix.data().as_ptr()).wrapping_add(from * matrix.row_stride() + column);
            for word in 0..depth.div_ceil(W::ELEMENTS) {
                let row = first.add(word * W::ELEMENTS * matrix.row_stride());
                let has_second = W::ELEMENTS > 1 && word * W::ELEMENTS + 1 < depth;
                for at in (0..width).step_by(LANES) {
                    let lanes = first_lanes(width - at);
                    let one = _mm512_maskz_loadu_ps(lanes, row.add(at));
                    let other = match has_second {
                        true => _mm512_maskz_loadu_ps(lanes, row.add(at + matrix.row_stride())),
                        false => _mm512_setzero_ps(),
                    };
                    _mm512_storeu_si512(to.add(word * stride + at).cast(), W::zip(one, other));
                }
            }
            return;
        }
        let words = depth.div_ceil(W::ELEMENTS);
        let first = (matrix.data().as_ptr()).wrapping_add(from + column * matrix.column_stride());
        for at in (0..width).step_by(LANES) {
            for word in (0..words).step_by(LANES) {
                let element = word * W::ELEMENTS;
                let rest = depth - element;
                let (lanes, more) = (first_lanes(rest), first_lanes(rest.saturating_sub(LANES)));
                let mut block = [_mm512_setzero_si512(); LANES];
                for (row, words) in block.iter_mut().enumerate().take(width - at) {
                    let from = first.add((at + row) * matrix.column_stride() + element);
                    let one = _mm512_maskz_loadu_ps(lanes, from);
                    let other = match W::ELEMENTS > 1 && more != 0 {
                        true => _mm512_maskz_loadu_ps(more, from.add(LANES)),
                        false => _mm512_setzero_ps(),
                    };
                    *words = W::join(one, other);
                }
                for (row, words) in transposed(block).into_iter().enumerate().take(words - word) {
                    _mm512_storeu_si512(to.add((word + row) * stride + at).cast(), words);
                }
            }
        }
    }
}

/// Writes the words of a matrix with contiguous rows as `[row][word]`, each row rounded up to whole vectors. What pads the last one is 0.
///
/// # Safety
///
/// The processor must have the instructions of `W`, and `to` must have room for each vector.
#[inline(always)]
pub(super) unsafe fn join_rows<W: Word>(matrix: Matrix<'_>, to: *mut u32) {
    let words = matrix.columns().div_ceil(W::ELEMENTS);
    let stride = words.next_multiple_of(LANES);
    // SAFETY: as the caller guarantees. Lanes without an element of the matrix are masked.
    unsafe {
        for row in 0..matrix.rows() {
            let from = matrix.data().as_ptr().add(row * matrix.row_stride());
            for word in (0..words).step_by(LANES) {
                let element = word * W::ELEMENTS;
                let rest = matrix.columns() - element;
                let one = _mm512_maskz_loadu_ps(first_lanes(rest), from.add(element));
                let other = match W::ELEMENTS > 1 && rest > LANES {
                    true => _mm512_maskz_loadu_ps(first_lanes(rest - LANES), from.add(element + LANES)),
                    false => _mm512_setzero_ps(),
                };
                _mm512_storeu_si512(to.add(row * stride + word).cast(), W::join(one, other));
            }
        }
    }
}

/// The transpose of 16 rows of 16 words.
#[inline(always)]
pub(super) unsafe fn transposed(rows: [__m512i; LANES]) -> [__m512i; LANES] {
    // SAFETY: the callers guarantee AVX-512 F.
    unsafe {
        let mut pairs = [_mm512_setzero_si512(); LANES];
        for at in (0..LANES).step_by(2) {
            pairs[at] = _mm512_unpacklo_epi32(rows[at], rows[at + 1]);
            pairs[at + 1] = _mm512_unpackhi_epi32(rows[at], rows[at + 1]);
        }
        // quads[4 * i + j] has, in each group of 4 lanes, column `4 * group + j` of rows 4 * i to 4 * i + 3.
        let mut quads = [_mm512_setzero_si512(); LANES];
        for at in (0..LANES).step_by(4) {
            quads[at] = _mm512_unpacklo_epi64(pairs[at], pairs[at + 2]);
            quads[at + 1] = _mm512_unpackhi_epi64(pairs[at], pairs[at + 2]);
            quads[at + 2] = _mm512_unpacklo_epi64(pairs[at + 1], pairs[at + 3]);
            quads[at + 3] = _mm512_unpackhi_epi64(pairs[at + 1], pairs[at + 3]);
        }
        let mut columns = [_mm512_setzero_si512(); LANES];
        for at in 0..4 {
            let (a, b, c, d) = (quads[at], quads[at + 4], quads[at + 8], quads[at + 12]);
            let (even_low, odd_low) = (
                _mm512_shuffle_i32x4::<0b10_00_10_00>(a, b),
                _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b),
            );
            let (even_high, odd_high) = (
                _mm512_shuffle_i32x4::<0b10_00_10_00>(c, d),
                _mm512_shuffle_i32x4::<0b11_01_11_01>(c, d),
            );
            columns[at] = _mm512_shuffle_i32x4::<0b10_00_10_00>(even_low, even_high);
            columns[at + 8] = _mm512_shuffle_i32x4::<0b11_01_11_01>(even_low, even_high);
            columns[at + 4] = _mm512_shuffle_i32x4::<0b10_00_10_00>(odd_low, odd_high);
            columns[at + 12] = _mm512_shuffle_i32x4::<0b11_01_11_01>(odd_low, odd_high);
        }
        columns
    }
}
