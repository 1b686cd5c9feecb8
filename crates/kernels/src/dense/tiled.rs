//! Products in tiles (AMX): registers of 16 rows of 16 words, each of two bf16.
//!
//! A factor in f32 is split into three bf16 whose sum it is, since each has 8 of the 24 bits (Henry, Tang and Heinecke, "Leveraging the
//! bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations", 2019). Of the nine products of the parts of two numbers,
//! the six largest are added. The other three together are at most what one addition in f32 rounds off, 2^-24 of the whole product. Where a
//! factor has an element without such parts, infinity and NaN above all, vectors multiply in f32.

use std::arch::x86_64::*;
use std::ops::Range;

use crate::aligned::Line;
use crate::dense::initial::Initial;
use crate::dense::matrix::Matrix;
use crate::dense::pack::first_lanes;
use crate::dense::products::x86;
use crate::dense::tile::Destination;
use crate::dense::words::LANES;
use crate::simd::tiles::{Configured, TILE_ROWS, TileInstructions, TileShape};

mod packed_factor;

use packed_factor::{FactorPacker, PackedFactor, STEP};

/// The bytes between the rows of a tile without gaps.
const ROW_BYTES: usize = LANES * 4;
/// The rows and the columns of a block: those of two tiles.
const BLOCK: usize = 2 * LANES;
/// The most steps along the inner extent that are packed at a time.
const STEPS: usize = 12;
/// The most bytes of the left factor that are packed at a time: half of the level-2 cache of Xeons with AMX.
const LEFT_BYTES: usize = 1 << 20;

/// The parts of the left and of the right factor whose products are added. Consecutive products share a part, whose tiles stay loaded.
const fn part_products<const PARTS: usize>() -> &'static [(usize, usize)] {
    match PARTS {
        1 => &[(0, 0)],
        3 => &[(0, 2), (0, 1), (1, 1), (1, 0), (2, 0), (0, 0)],
        _ => panic!("a factor has one part or three"),
    }
}

/// Whether products of this left factor are faster in tiles, in three parts, than with vectors in f32, which pack less. The bounds are
/// measured on an Intel Xeon with AMX.
pub(super) fn are_tiles_faster(a: Matrix<'_>) -> bool {
    a.rows() > TILE_ROWS && a.columns() >= 2 * STEP
}

/// The product of two matrices whose elements are in `PARTS` parts: 1, which rounds them to bf16, or 3, which keeps them.
///
/// While a section of the product is computed, the columns of the next one are packed.
///
/// # Safety
///
/// The processor must have AVX-512 F, BW and BF16. The inner extents must agree, `initial` must have as many elements as `b` has columns,
/// and `out` must be valid for the product.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn multiply<const PARTS: usize, T: TileInstructions>(
    tiles: &mut T,
    a: Matrix<'_>,
    b: Matrix<'_>,
    out: *mut f32,
    row_stride: usize,
    initial: Initial<'_>,
) {
    if a.rows() == 0 || b.columns() == 0 {
        return;
    }
    let mut sections = sections::<PARTS>(a, b).peekable();
    tiles.configure([TileShape::WHOLE; 8]);
    let tiles = Configured(tiles);
    let columns_of = |section: &Section| {
        b.part(section.inner.clone(), section.columns.clone())
            .transposed()
    };
    let destination_of = |section: &Section| Destination {
        elements: out
            .wrapping_add(section.rows.start.wrapping_mul(row_stride))
            .wrapping_add(section.columns.start),
        stride: row_stride,
    };
    let mut left = PackedFactor::<PARTS>::new();
    let (mut right, mut next) = (PackedFactor::<PARTS>::new(), PackedFactor::<PARTS>::new());
    if let Some(first) = sections.peek() {
        FactorPacker::<PARTS, true>::new(columns_of(first), 1, &mut right).finish();
    }
    while let Some(section) = sections.next() {
        let rows = a.part(section.rows.clone(), section.inner.clone());
        if section.columns.start == 0 {
            FactorPacker::<PARTS, false>::new(rows, 1, &mut left).finish();
        }
        let initial = match initial {
            _ if section.inner.start > 0 => Initial::Destination,
            Initial::Row(row) => Initial::Row(&row[section.columns.clone()]),
            other => other,
        };
        let following = sections.peek();
        let next_right = following.map_or(Matrix::new(&[], 0, 0, 0), columns_of);
        let mut packer = FactorPacker::new(next_right, section.rows.len().div_ceil(BLOCK), &mut next);
        let to = destination_of(&section);
        // SAFETY: the sections of the product are inside of it; the caller guarantees the rest.
        unsafe {
            if left.is_split() && right.is_split() {
                let after = following.map(|section| (destination_of(section), section.rows.len()));
                let factors = (&left, &right);
                multiply_section(
                    &mut *tiles.0,
                    factors,
                    &section,
                    initial,
                    (to, after),
                    &mut packer,
                );
            } else {
                let columns = b.part(section.inner.clone(), section.columns.clone());
                x86::f32(rows, columns, to.elements, row_stride, initial);
            }
        }
        packer.finish();
        std::mem::swap(&mut right, &mut next);
    }
}

/// Some rows of a product, at most 32 of its columns, and some of the inner extent.
struct Section {
    rows: Range<usize>,
    columns: Range<usize>,
    inner: Range<usize>,
}

/// The sections of a product; those with the same rows and inner extent follow one another.
fn sections<const PARTS: usize>(a: Matrix<'_>, b: Matrix<'_>) -> impl Iterator<Item = Section> {
    let (rows, columns, inner) = (a.rows(), b.columns(), a.columns());
    // As few sections as possible, of about the same size.
    let steps = inner.div_ceil(STEP).max(1);
    let depth = steps.div_ceil(steps.div_ceil(STEPS)) * STEP;
    let most = (LEFT_BYTES / (depth * PARTS * size_of::<u16>()) / BLOCK).max(1) * BLOCK;
    let height = (rows.div_ceil(rows.div_ceil(most).max(1)).max(1)).next_multiple_of(BLOCK);
    let range = |start: usize, size: usize, end: usize| start..end.min(start + size);
    (0..inner.max(1)).step_by(depth).flat_map(move |from| {
        (0..rows).step_by(height).flat_map(move |row| {
            (0..columns).step_by(BLOCK).map(move |column| Section {
                rows: range(row, height, rows),
                columns: range(column, BLOCK, columns),
                inner: range(from, depth, inner),
            })
        })
    })
}

/// Computes a section of the product from its packed factors, and packs some columns of the next section after each block. `after` is the
/// destination and the number of rows of the next section.
///
/// # Safety
///
/// The processor must have AVX-512 F, BW and BF16. The factors must be those of the section, `initial` must have as many elements as it has
/// columns, and the destination must be valid for it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn multiply_section<const PARTS: usize, T: TileInstructions>(
    tiles: &mut T,
    (left, right): (&PackedFactor<PARTS>, &PackedFactor<PARTS>),
    section: &Section,
    initial: Initial<'_>,
    (to, after): (Destination, Option<(Destination, usize)>),
    next: &mut FactorPacker<'_, '_, PARTS, true>,
) {
    let (rows, columns) = (section.rows.len(), section.columns.len());
    for row in (0..rows).step_by(BLOCK) {
        let sum_tile = |lower: usize, right: usize| SumTile {
            to: Destination {
                elements: (to.elements)
                    .wrapping_add((row + lower * TILE_ROWS).wrapping_mul(to.stride))
                    .wrapping_add(right * LANES),
                ..to
            },
            initial: match initial {
                Initial::Row(row) => Initial::Row(&row[columns.min(right * LANES)..]),
                other => other,
            },
            rows: (rows - row).saturating_sub(lower * TILE_ROWS).min(TILE_ROWS),
            columns: columns.saturating_sub(right * LANES).min(LANES),
        };
        let block = Block::<PARTS> {
            left: [0, 1].map(|tile| left.strip(row / TILE_ROWS + tile)),
            right: [0, 1].map(|tile| right.strip(tile)),
            steps: left.steps(),
            after: match rows - row > BLOCK {
                true => Some((sum_tile(2, 0).to, rows - row - BLOCK)),
                false => after,
            },
            sums: [sum_tile(0, 0), sum_tile(0, 1), sum_tile(1, 0), sum_tile(1, 1)],
        };
        // SAFETY: as the caller guarantees.
        unsafe {
            match (rows - row > TILE_ROWS, columns > LANES) {
                (true, true) => block.multiply::<true, true, T>(tiles, next),
                (true, false) => block.multiply::<true, false, T>(tiles, next),
                (false, true) => block.multiply::<false, true, T>(tiles, next),
                (false, false) => block.multiply::<false, false, T>(tiles, next),
            }
        }
    }
}

/// Up to 32 rows and 32 columns of a product.
struct Block<'r, const PARTS: usize> {
    /// The packed tiles of the upper and the lower rows.
    left: [*const Line; 2],
    /// The packed tiles of the first and the second 16 columns.
    right: [*const Line; 2],
    steps: usize,
    /// The upper left, upper right, lower left and lower right sums.
    sums: [SumTile<'r>; 4],
    /// The destination of the next block, and at least as many rows as it has.
    after: Option<(Destination, usize)>,
}

impl<const PARTS: usize> Block<'_, PARTS> {
    /// Computes the block, and packs some columns of the next section. `LOWER` and `RIGHT` say whether the block has more than 16 rows and
    /// more than 16 columns.
    ///
    /// # Safety
    ///
    /// The processor must have AVX-512 F, BW and BF16. The tiles of the block must be readable, and the destinations of its sums valid.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn multiply<const LOWER: bool, const RIGHT: bool, T: TileInstructions>(
        &self,
        tiles: &mut T,
        next: &mut FactorPacker<'_, '_, PARTS, true>,
    ) {
        let mut prefetcher = Prefetcher::new(self.after, next, self.steps);
        let ([mut upper, mut lower], [mut first, mut second]) = (self.left, self.right);
        let [upper_left, upper_right, lower_left, lower_right] = &self.sums;
        let part = |tiles: *const Line, part: usize| tiles.wrapping_add(part * TILE_ROWS).cast();
        // SAFETY: as the caller guarantees.
        unsafe {
            upper_left.start::<0, T>(tiles);
            if RIGHT {
                upper_right.start::<1, T>(tiles);
            }
            if LOWER {
                lower_left.start::<2, T>(tiles);
            }
            if LOWER && RIGHT {
                lower_right.start::<3, T>(tiles);
            }
            for _ in 0..self.steps {
                let mut loaded = (PARTS, PARTS);
                for &(of_left, of_right) in const { part_products::<PARTS>() } {
                    if of_right != loaded.1 {
                        tiles.load::<6>(part(first, of_right), ROW_BYTES);
                    }
                    if of_left != loaded.0 {
                        tiles.load::<4>(part(upper, of_left), ROW_BYTES);
                    }
                    tiles.multiply_add_bf16::<0, 4, 6>();
                    if LOWER {
                        if of_left != loaded.0 {
                            tiles.load::<5>(part(lower, of_left), ROW_BYTES);
                        }
                        tiles.multiply_add_bf16::<2, 5, 6>();
                    }
                    if RIGHT {
                        if of_right != loaded.1 {
                            tiles.load::<7>(part(second, of_right), ROW_BYTES);
                        }
                        tiles.multiply_add_bf16::<1, 4, 7>();
                    }
                    if LOWER && RIGHT {
                        tiles.multiply_add_bf16::<3, 5, 7>();
                    }
                    loaded = (of_left, of_right);
                }
                upper = upper.wrapping_add(PARTS * TILE_ROWS);
                lower = lower.wrapping_add(PARTS * TILE_ROWS);
                first = first.wrapping_add(PARTS * TILE_ROWS);
                second = second.wrapping_add(PARTS * TILE_ROWS);
                prefetcher.prefetch_step(next);
            }
            next.advance();
            upper_left.store::<0, T>(tiles);
            if RIGHT {
                upper_right.store::<1, T>(tiles);
            }
            if LOWER {
                lower_left.store::<2, T>(tiles);
            }
            if LOWER && RIGHT {
                lower_right.store::<3, T>(tiles);
            }
        }
    }
}

/// Prefetches into the level-1 cache, while a block is computed, the elements that are packed after it and the destination of the next
/// block. Each step prefetches a few cache lines, since more at a time delay the loads of tiles.
struct Prefetcher {
    /// The number of tiles that are packed after the block.
    tiles: usize,
    /// The tiles whose elements are prefetched, the current one included.
    started_tiles: usize,
    source: PrefetchRows,
    destination: PrefetchRows,
}

impl Prefetcher {
    #[inline(always)]
    fn new<const PARTS: usize>(
        after: Option<(Destination, usize)>,
        next: &FactorPacker<'_, '_, PARTS, true>,
        steps: usize,
    ) -> Self {
        let (to, rows) = match after {
            Some((to, rows)) => (to.elements.cast_const(), rows.min(BLOCK)),
            None => (std::ptr::null(), 0),
        };
        let per_step = |rows: usize| rows.div_ceil(steps.max(1));
        Self {
            tiles: next.tiles_per_call(),
            started_tiles: 0,
            source: PrefetchRows {
                lines: [std::ptr::null(); 2],
                stride: 0,
                remaining: 0,
                per_step: per_step(next.tiles_per_call() * LANES),
            },
            destination: PrefetchRows {
                lines: [to, to.wrapping_add(LANES)],
                stride: after.map_or(0, |(to, _)| to.stride),
                remaining: rows,
                per_step: per_step(rows),
            },
        }
    }

    /// Prefetches the lines of one step.
    #[inline(always)]
    fn prefetch_step<const PARTS: usize>(&mut self, next: &FactorPacker<'_, '_, PARTS, true>) {
        for _ in 0..self.destination.per_step.min(self.destination.remaining) {
            self.destination.prefetch();
        }
        for _ in 0..self.source.per_step {
            if self.source.remaining == 0 {
                if self.started_tiles == self.tiles {
                    return;
                }
                let source = next.source(self.started_tiles);
                self.source.lines = [source.row(0, 0), source.row(1, 0)];
                self.source.stride = source.stride();
                self.source.remaining = LANES;
                self.started_tiles += 1;
            }
            self.source.prefetch();
        }
    }
}

/// Rows to prefetch, each of two cache lines.
struct PrefetchRows {
    lines: [*const f32; 2],
    stride: usize,
    remaining: usize,
    per_step: usize,
}

impl PrefetchRows {
    /// Prefetches a row.
    #[inline(always)]
    fn prefetch(&mut self) {
        for line in &mut self.lines {
            // SAFETY: a hint, which does not fault.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) };
            *line = line.wrapping_add(self.stride);
        }
        self.remaining -= 1;
    }
}

/// A tile of sums: up to 16 rows and 16 columns of the product.
struct SumTile<'r> {
    to: Destination,
    initial: Initial<'r>,
    rows: usize,
    columns: usize,
}

impl SumTile<'_> {
    /// Whether the product fills the tile.
    #[inline(always)]
    fn is_whole(&self) -> bool {
        self.rows == TILE_ROWS && self.columns == LANES
    }

    /// Loads the initial values of the sums into tile register `SUMS`.
    ///
    /// # Safety
    ///
    /// The processor must have AVX-512 F. The destination must be valid for the tile's rows and columns, and the initial row must have its columns.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn start<const SUMS: u8, T: TileInstructions>(&self, tiles: &mut T) {
        // SAFETY: as the caller guarantees; elements outside of the product are masked.
        unsafe {
            let (first, stride) = match self.initial {
                Initial::Zero => return tiles.clear::<SUMS>(),
                Initial::Row(row) => (row.as_ptr(), 0),
                Initial::Destination => (self.to.elements.cast_const(), self.to.stride),
            };
            if self.is_whole() {
                return tiles.load::<SUMS>(first.cast(), stride * size_of::<f32>());
            }
            let mut values = TileBuffer::default();
            let lanes = first_lanes(self.columns);
            for (row, values) in values.0.iter_mut().enumerate().take(self.rows) {
                _mm512_store_ps(
                    values.as_mut_ptr(),
                    _mm512_maskz_loadu_ps(lanes, first.add(row * stride)),
                );
            }
            tiles.load::<SUMS>(values.0.as_ptr().cast(), ROW_BYTES);
        }
    }

    /// Stores tile register `SUMS` in the destination.
    ///
    /// # Safety
    ///
    /// The processor must have AVX-512 F, and the destination must be valid for the tile's rows and columns.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store<const SUMS: u8, T: TileInstructions>(&self, tiles: &mut T) {
        let Destination { elements, stride } = self.to;
        // SAFETY: as the caller guarantees; elements outside of the product are masked.
        unsafe {
            if self.is_whole() {
                return tiles.store::<SUMS>(elements.cast(), stride * size_of::<f32>());
            }
            let mut values = TileBuffer::default();
            tiles.store::<SUMS>(values.0.as_mut_ptr().cast(), ROW_BYTES);
            let lanes = first_lanes(self.columns);
            for (row, values) in values.0.iter().enumerate().take(self.rows) {
                _mm512_mask_storeu_ps(elements.add(row * stride), lanes, _mm512_load_ps(values.as_ptr()));
            }
        }
    }
}

/// The memory of a tile that the product does not fill.
#[derive(Default)]
#[repr(align(64))]
struct TileBuffer([[f32; LANES]; TILE_ROWS]);
