//! A factor of a product in tiles.

use std::arch::x86_64::*;

use crate::aligned::Line;
use crate::dense::matrix::Matrix;
use crate::dense::pack::{first_lanes, transposed};
use crate::dense::words::{Bf16, LANES, Word};
use crate::simd::tiles::TILE_ROWS;

/// The elements along the inner extent in a tile.
pub(super) const STEP: usize = 2 * LANES;

/// Lines of a factor, which are rows of the left one and columns of the right one, in tiles of 16 lines and 32 elements that are padded
/// with 0. Each tile is in `PARTS` parts: 1 of elements that are rounded to bf16, or 3 of bf16 whose sum is the element.
///
/// A word of a tile has elements `i` and `i + 16`, in both factors alike.
pub(super) struct PackedFactor<const PARTS: usize> {
    /// Part `p` of the tile of lines `16 * i..` and elements `32 * k..` is tile `(i * steps + k) * PARTS + p`.
    tiles: Vec<Line>,
    /// The tiles along the inner extent.
    steps: usize,
    is_split: bool,
}

impl<const PARTS: usize> PackedFactor<PARTS> {
    /// No lines.
    pub(super) fn new() -> Self {
        Self {
            tiles: Vec::new(),
            steps: 0,
            is_split: true,
        }
    }

    /// The tiles along the inner extent.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// Whether every element could be split, which infinity, NaN and numbers that bf16 rounds to infinity cannot. Always true of one part.
    pub(super) fn is_split(&self) -> bool {
        self.is_split
    }

    /// The first of the tiles of 16 lines, which follow one another. It is not readable if there are no such lines.
    #[inline(always)]
    pub(super) fn strip(&self, index: usize) -> *const Line {
        (self.tiles.as_ptr()).wrapping_add(index * self.steps * PARTS * TILE_ROWS)
    }
}

/// Packs a factor, a few tiles per call.
pub(super) struct FactorPacker<'m, 'p, const PARTS: usize, const RIGHT: bool> {
    /// The factor; the transposed one if it is the right one.
    lines: Matrix<'m>,
    to: &'p mut PackedFactor<PARTS>,
    /// Tile `t` has the lines `16 * (t % strips)..` and the elements `32 * (t / strips)..`.
    strips: usize,
    tiles: usize,
    /// The tile that is packed next.
    next: usize,
    tiles_per_call: usize,
    /// The sum of all last parts, which is NaN if an element could not be split.
    last_parts: __m512,
}

impl<'m, 'p, const PARTS: usize, const RIGHT: bool> FactorPacker<'m, 'p, PARTS, RIGHT> {
    /// Begins to pack the rows of a matrix: a left factor, or the transpose of a right one. `calls` calls of
    /// [`advance`](Self::advance) pack all tiles.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) fn new(lines: Matrix<'m>, calls: usize, to: &'p mut PackedFactor<PARTS>) -> Self {
        to.steps = lines.columns().div_ceil(STEP);
        let strips = lines.rows().div_ceil(LANES);
        let tiles = strips * to.steps;
        to.tiles.clear();
        to.tiles.reserve(tiles * PARTS * TILE_ROWS);
        Self {
            lines,
            to,
            strips,
            tiles,
            next: 0,
            tiles_per_call: tiles.div_ceil(calls),
            last_parts: _mm512_setzero_ps(),
        }
    }

    /// Packs the next tiles.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) fn advance(&mut self) {
        for index in 0..self.tiles_per_call() {
            let tile = self.next + index;
            let place = tile % self.strips * self.to.steps + tile / self.strips;
            // SAFETY: the tiles are reserved.
            unsafe {
                let to = self.to.tiles.as_mut_ptr().add(place * PARTS * TILE_ROWS);
                (self.source(index)).pack::<PARTS, RIGHT>(to.cast(), &mut self.last_parts);
            }
        }
        self.next += self.tiles_per_call();
    }

    /// Packs the remaining tiles.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) fn finish(mut self) {
        self.tiles_per_call = self.tiles;
        self.advance();
        self.to.is_split = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.last_parts, self.last_parts) == 0;
        // SAFETY: the lines are reserved, and all tiles are written.
        unsafe { self.to.tiles.set_len(self.tiles * PARTS * TILE_ROWS) };
    }

    /// The number of tiles that the next [`advance`](Self::advance) packs.
    #[inline(always)]
    pub(super) fn tiles_per_call(&self) -> usize {
        self.tiles_per_call.min(self.tiles - self.next)
    }

    /// The elements of tile `index` of those that the next [`advance`](Self::advance) packs.
    #[inline(always)]
    pub(super) fn source(&self, index: usize) -> TileSource {
        let tile = self.next + index;
        TileSource::new(self.lines, tile % self.strips, tile / self.strips)
    }
}

/// The elements of a tile: two halves, each of up to 16 rows of up to 16 elements that follow one another in memory.
pub(super) struct TileSource {
    first: *const f32,
    /// The distance from one row to the next.
    stride: usize,
    /// The distance from one half to the other.
    half: usize,
    rows: [usize; 2],
    widths: [usize; 2],
    /// Whether the rows are lines.
    has_rows_of_lines: bool,
}

impl TileSource {
    /// The elements `32 * step..` of the lines `16 * strip..`.
    #[inline(always)]
    fn new(lines: Matrix<'_>, strip: usize, step: usize) -> Self {
        let (line, element) = (strip * LANES, step * STEP);
        let elements = lines.columns() - element;
        let elements = [elements.min(LANES), elements.saturating_sub(LANES).min(LANES)];
        let count = LANES.min(lines.rows() - line);
        let has_rows_of_lines = lines.column_stride() == 1;
        let (stride, rows, widths) = match has_rows_of_lines {
            true => (lines.row_stride(), [count; 2], elements),
            false => (lines.column_stride(), elements, [count; 2]),
        };
        let offset =
            (line.wrapping_mul(lines.row_stride())).wrapping_add(element.wrapping_mul(lines.column_stride()));
        Self {
            first: lines.data().as_ptr().wrapping_add(offset),
            stride,
            half: LANES.wrapping_mul(lines.column_stride()),
            rows,
            widths,
            has_rows_of_lines,
        }
    }

    /// The distance from one row to the next.
    #[inline(always)]
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// The first element of a row of a half.
    #[inline(always)]
    pub(super) fn row(&self, half: usize, row: usize) -> *const f32 {
        let offset = (half.wrapping_mul(self.half)).wrapping_add(row.wrapping_mul(self.stride));
        self.first.wrapping_add(offset)
    }

    /// A row of a half, padded with 0. `WHOLE` says that nothing is padded.
    ///
    /// # Safety
    ///
    /// The matrix must have the rows, and all elements of them if `WHOLE`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load<const WHOLE: bool>(&self, half: usize, row: usize) -> __m512 {
        let from = self.row(half, row);
        // SAFETY: as the caller guarantees; what is padded is masked.
        unsafe {
            match WHOLE {
                true => _mm512_loadu_ps(from),
                false if row < self.rows[half] => _mm512_maskz_loadu_ps(first_lanes(self.widths[half]), from),
                false => _mm512_setzero_ps(),
            }
        }
    }

    /// Writes the parts of the tile and adds the last ones to `last_parts`.
    ///
    /// # Safety
    ///
    /// There must be room for `PARTS` tiles at a multiple of 64 bytes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn pack<const PARTS: usize, const RIGHT: bool>(&self, to: *mut __m512i, last_parts: &mut __m512) {
        // SAFETY: the elements are in the matrix; the caller guarantees the rest.
        unsafe {
            match self.rows == [LANES; 2] && self.widths == [LANES; 2] {
                true => self.pack_as::<PARTS, RIGHT, true>(to, last_parts),
                false => self.pack_as::<PARTS, RIGHT, false>(to, last_parts),
            }
        }
    }

    /// [`pack`](Self::pack) of a tile that is `WHOLE` or not.
    ///
    /// # Safety
    ///
    /// See there.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn pack_as<const PARTS: usize, const RIGHT: bool, const WHOLE: bool>(
        &self,
        to: *mut __m512i,
        last_parts: &mut __m512,
    ) {
        // The rows of a tile are lines of the left factor and elements of the right one.
        let is_transposed = self.has_rows_of_lines == RIGHT;
        // SAFETY: as the caller guarantees.
        unsafe {
            if !is_transposed {
                for row in 0..TILE_ROWS {
                    let (first, second) = (self.load::<WHOLE>(0, row), self.load::<WHOLE>(1, row));
                    store::<PARTS>(first, second, to.add(row), last_parts);
                }
                return;
            }
            let mut halves = [[_mm512_setzero_si512(); LANES]; 2];
            for (half, rows) in halves.iter_mut().enumerate() {
                for (at, row) in rows.iter_mut().enumerate() {
                    *row = _mm512_castps_si512(self.load::<WHOLE>(half, at));
                }
                *rows = transposed(*rows);
            }
            let [first, second] = halves;
            for (row, (first, second)) in first.into_iter().zip(second).enumerate() {
                let (first, second) = (_mm512_castsi512_ps(first), _mm512_castsi512_ps(second));
                store::<PARTS>(first, second, to.add(row), last_parts);
            }
        }
    }
}

/// Writes the words of two vectors of elements in `PARTS` parts, each a tile after the one before it, and adds the last parts to `last_parts`.
///
/// One part is rounded as vectors round it. Of three parts, the first is the element rounded to bf16, ties away from 0, the second is the
/// rest rounded likewise, and the third is the rest of that. It has at most 8 bits, so that the sum of the parts is the element. A part of
/// an element below 2^-100 can be subnormal, which tiles take for 0.
///
/// # Safety
///
/// There must be room for a row of `PARTS` tiles at a multiple of 64 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn store<const PARTS: usize>(
    first: __m512,
    second: __m512,
    to: *mut __m512i,
    last_parts: &mut __m512,
) {
    // SAFETY: as the caller guarantees.
    unsafe {
        if PARTS == 1 {
            _mm512_store_si512(to, Bf16::zip(first, second));
            return;
        }
        let half = _mm512_set1_epi32(0x8000);
        let upper = _mm512_set1_epi32(0xffff_0000_u32.cast_signed());
        let (mut first, mut second) = (_mm512_castps_si512(first), _mm512_castps_si512(second));
        for part in 0..PARTS {
            let (mut low, mut high) = (first, second);
            if part + 1 < PARTS {
                low = _mm512_add_epi32(low, half);
                high = _mm512_add_epi32(high, half);
            }
            let (low, high) = (_mm512_and_si512(low, upper), _mm512_and_si512(high, upper));
            let words = _mm512_or_si512(_mm512_srli_epi32::<16>(low), high);
            _mm512_store_si512(to.add(part * TILE_ROWS), words);
            if part + 1 < PARTS {
                first = subtract(first, low);
                second = subtract(second, high);
            }
        }
        let last = _mm512_add_ps(_mm512_castsi512_ps(first), _mm512_castsi512_ps(second));
        *last_parts = _mm512_add_ps(*last_parts, last);
    }
}

/// The difference of f32 in vectors of their bits.
#[inline]
#[target_feature(enable = "avx512f")]
fn subtract(a: __m512i, b: __m512i) -> __m512i {
    _mm512_castps_si512(_mm512_sub_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b)))
}
