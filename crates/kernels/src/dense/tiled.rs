//! Products of bf16 in tiles: registers of 16 rows of 16 words.

use std::arch::x86_64::*;

use crate::aligned::Line;
use crate::dense::matrix::Matrix;
use crate::dense::pack::{first_lanes, join_rows, pack, transposed};
use crate::dense::tile::{Begin, Destination};
use crate::dense::words::{Bf16, LANES, Word};
use crate::simd::tiles::{Configured, TILE_ROWS, TileInstructions};

/// The words of a tile.
const TILE: usize = TILE_ROWS * LANES;
/// The bytes between rows of a tile without gaps.
const ROW_BYTES: usize = LANES * 4;
/// The rows and the columns of a block: those of two tiles.
const BLOCK: usize = 2 * LANES;

/// The left factor of a product in tiles, padded with 0.
pub(super) struct LeftTiles {
    /// The tile of rows `16 * i..` and words `16 * k..` is tile `i * steps + k`.
    tiles: Vec<Line>,
    steps: usize,
}

impl LeftTiles {
    /// # Safety
    ///
    /// The processor must have the instructions of [`Bf16`].
    #[inline(always)]
    pub(super) unsafe fn new(a: Matrix<'_>) -> Self {
        let steps = a.columns().div_ceil(LANES * Bf16::ELEMENTS);
        let words = a.columns().div_ceil(Bf16::ELEMENTS);
        let lines = a.rows().next_multiple_of(TILE_ROWS) * steps;
        let mut tiles = Vec::<Line>::with_capacity(lines);
        let first = tiles.as_mut_ptr().cast::<u32>();
        // SAFETY: the tiles have room for all rows and words, rounded up to whole tiles.
        unsafe {
            if a.column_stride() == 1 {
                let place = |row: usize, word: usize| {
                    (row / TILE_ROWS * steps + word / LANES) * TILE + row % TILE_ROWS * LANES
                };
                join_rows::<Bf16>(a, first, place);
                for row in a.rows()..a.rows().next_multiple_of(TILE_ROWS) {
                    for step in 0..steps {
                        _mm512_storeu_si512(
                            first.add(place(row, step * LANES)).cast(),
                            _mm512_setzero_si512(),
                        );
                    }
                }
            } else {
                for row in (0..a.rows()).step_by(TILE_ROWS) {
                    let to = first.add(row * steps * LANES);
                    let rows = TILE_ROWS.min(a.rows() - row);
                    pack::<Bf16>(a.transposed(), (0, a.columns()), (row, rows), to);
                    clear_rows(to, words..steps * LANES, LANES);
                    for step in 0..steps {
                        let tile = to.add(step * TILE).cast::<__m512i>();
                        let mut block = [_mm512_setzero_si512(); LANES];
                        for (at, words) in block.iter_mut().enumerate() {
                            *words = _mm512_loadu_si512(tile.add(at).cast());
                        }
                        for (at, words) in transposed(block).into_iter().enumerate() {
                            _mm512_storeu_si512(tile.add(at).cast(), words);
                        }
                    }
                }
            }
            tiles.set_len(lines);
        }
        Self { tiles, steps }
    }

    /// The words of a row, rounded up to whole tiles.
    pub(super) fn words(&self) -> usize {
        self.steps * LANES
    }

    /// The tile of these rows and words.
    #[inline(always)]
    fn tile(&self, row_tile: usize, step: usize) -> *const u8 {
        (self.tiles.as_ptr().cast::<u32>())
            .wrapping_add((row_tile * self.steps + step) * TILE)
            .cast()
    }
}

/// Writes 0 to some rows of words.
///
/// # Safety
///
/// The processor must have AVX-512 F, and the rows of `stride` words, a multiple of 16, must be in the buffer.
#[inline(always)]
pub(super) unsafe fn clear_rows(words: *mut u32, rows: std::ops::Range<usize>, stride: usize) {
    for at in (rows.start * stride..rows.end * stride).step_by(LANES) {
        // SAFETY: as the caller guarantees.
        unsafe { _mm512_storeu_si512(words.add(at).cast(), _mm512_setzero_si512()) };
    }
}

/// The sums of a block, as two tiles for the first rows, then two for the others.
#[repr(align(64))]
struct Sums([[[f32; LANES]; TILE_ROWS]; 4]);

/// Multiplies `rows` rows of the left factor, from a tile of its words on, by a packed panel of `width` columns and whole tiles of words.
///
/// # Safety
///
/// The processor must have AVX-512 F, and the tiles must be whole. The left factor must have the rows and `steps` tiles from `from` on, and
/// the panel `16 * steps` rows of `width` words rounded up to whole vectors; `begin` and the destination must be valid for `width`
/// columns.
#[inline(always)]
pub(super) unsafe fn multiply_panel<T: TileInstructions>(
    tiles: &mut Configured<'_, T>,
    (left, rows): (&LeftTiles, usize),
    (from, steps): (usize, usize),
    (panel, width): (*const u32, usize),
    begin: Begin,
    to: Destination,
) {
    let stride = width.next_multiple_of(LANES);
    let mut sums = Sums([[[0.0; LANES]; TILE_ROWS]; 4]);
    for column in (0..width).step_by(BLOCK) {
        let two_columns = column + LANES < width;
        for row in (0..rows).step_by(BLOCK) {
            let two_rows = row + TILE_ROWS < rows;
            let tiles = &mut *tiles.0;
            tiles.clear::<0>();
            tiles.clear::<1>();
            tiles.clear::<2>();
            tiles.clear::<3>();
            for step in 0..steps {
                let right = panel.wrapping_add(step * LANES * stride + column);
                let left = |tile: usize| left.tile(row / TILE_ROWS + tile, from + step);
                // SAFETY: the caller guarantees the tiles of both factors.
                unsafe {
                    tiles.load::<6>(right.cast(), stride * 4);
                    tiles.load::<4>(left(0), ROW_BYTES);
                    tiles.multiply_add_bf16::<0, 4, 6>();
                    if two_rows {
                        tiles.load::<5>(left(1), ROW_BYTES);
                        tiles.multiply_add_bf16::<2, 5, 6>();
                    }
                    if two_columns {
                        tiles.load::<7>(right.wrapping_add(LANES).cast(), stride * 4);
                        tiles.multiply_add_bf16::<1, 4, 7>();
                        if two_rows {
                            tiles.multiply_add_bf16::<3, 5, 7>();
                        }
                    }
                }
            }
            let stored = sums.0.as_flattened_mut().as_flattened_mut().as_mut_ptr();
            // SAFETY: there are 16 rows of 64 bytes for each of the four tiles; the caller guarantees the rest.
            unsafe {
                tiles.store::<0>(stored.cast(), ROW_BYTES);
                tiles.store::<1>(stored.add(TILE).cast(), ROW_BYTES);
                tiles.store::<2>(stored.add(2 * TILE).cast(), ROW_BYTES);
                tiles.store::<3>(stored.add(3 * TILE).cast(), ROW_BYTES);
                let to = Destination {
                    elements: to.elements.add(row * to.stride + column),
                    ..to
                };
                let begin = match begin {
                    Begin::Row(first) => Begin::Row(first.add(column)),
                    other => other,
                };
                finish(
                    &sums,
                    (rows - row).min(BLOCK),
                    (width - column).min(BLOCK),
                    begin,
                    to,
                );
            }
        }
    }
}

/// Adds the sums of a block to the initial values and writes them.
#[inline(always)]
unsafe fn finish(sums: &Sums, rows: usize, width: usize, begin: Begin, to: Destination) {
    for row in 0..rows {
        for column in (0..width).step_by(LANES) {
            let lanes = first_lanes(width - column);
            let sums = &sums.0[row / TILE_ROWS * 2 + column / LANES][row % TILE_ROWS];
            // SAFETY: the caller guarantees AVX-512 F and the columns of `begin` and of the destination; others are masked.
            unsafe {
                let at = to.elements.add(row * to.stride + column);
                let sums = _mm512_loadu_ps(sums.as_ptr());
                let sums = match begin {
                    Begin::Zero => sums,
                    Begin::Row(first) => _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, first.add(column)), sums),
                    Begin::Destination => _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, at), sums),
                };
                _mm512_mask_storeu_ps(at, lanes, sums);
            }
        }
    }
}
