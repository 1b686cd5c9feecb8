//! Products with AVX-512.

use crate::aligned::Line;
use crate::dense::initial::Initial;
use crate::dense::matrix::Matrix;
use crate::dense::pack::{join_rows, pack};
use crate::dense::tile::{self, Begin, Destination, Left, VECTORS};
use crate::dense::words::{Bf16, F32, LANES, Word};

/// The columns of a panel of the right factor.
const PANEL: usize = VECTORS * LANES;
/// The words of a panel that are multiplied at a time: a panel of 128 KiB stays in the second cache.
const DEPTH: usize = 512;

/// # Safety
///
/// See [`multiply`].
#[target_feature(enable = "avx512f,avx512bw")]
pub(in crate::dense) unsafe fn f32(
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
    let vectors = a.columns().div_ceil(2).next_multiple_of(LANES);
    // SAFETY: the buffers have the capacity for all words, each of which is written before it is read.
    unsafe {
        let mut left = Vec::<u32>::with_capacity(vectors * a.rows().next_multiple_of(LANES));
        let (row_stride_of_left, word_stride) = match a.column_stride() {
            1 => {
                join_rows::<Bf16>(a, left.as_mut_ptr());
                (vectors, 1)
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
    let mut panel = Vec::<Line>::with_capacity(DEPTH.min(b.rows().div_ceil(W::ELEMENTS)) * VECTORS);
    let panel = panel.as_mut_ptr().cast::<u32>();
    for part in parts::<W>(b, initial) {
        let (from, elements) = part.inner;
        let (column, width) = part.columns;
        // SAFETY: the panel has the capacity for these words; the caller guarantees the rest.
        unsafe {
            pack::<W>(b, part.inner, part.columns, panel);
            let left = Left {
                words: left.words.add(from / W::ELEMENTS * left.word_stride),
                ..left
            };
            let to = Destination {
                elements: out.add(column),
                stride: row_stride,
            };
            let words = elements.div_ceil(W::ELEMENTS);
            tile::multiply_panel::<W>(left, rows, words, panel, width, part.begin, to);
        }
    }
}

/// A part of the right factor that is packed and multiplied at a time.
struct Part {
    /// The first column and the number of columns.
    columns: (usize, usize),
    /// The first row and the number of rows: 0 if the factor has none.
    inner: (usize, usize),
    begin: Begin,
}

/// The parts of the right factor: of each panel of columns, one after the other along the inner extent.
#[inline(always)]
fn parts<'m, W: Word>(b: Matrix<'m>, initial: Initial<'m>) -> impl Iterator<Item = Part> + 'm {
    let depth = DEPTH * W::ELEMENTS;
    (0..b.columns()).step_by(PANEL).flat_map(move |column| {
        (0..b.rows().max(1)).step_by(depth).map(move |from| Part {
            columns: (column, PANEL.min(b.columns() - column)),
            inner: (from, depth.min(b.rows() - from)),
            begin: match initial {
                _ if from > 0 => Begin::Destination,
                Initial::Zero => Begin::Zero,
                Initial::Row(row) => Begin::Row(row[column..].as_ptr()),
                Initial::Destination => Begin::Destination,
            },
        })
    })
}
