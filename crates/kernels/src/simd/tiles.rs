//! Products of 8-bit integers in tiles: registers that hold up to 16 rows of 64 bytes.

use crate::linear::{GROUP, PANEL, Panel};
use crate::simd::vector::{Epilogue, LANES, Rows, Simd};

/// The most rows of a tile.
pub(crate) const TILE_ROWS: usize = 16;
/// The most bytes of a tile's row.
const ROW_BYTES: usize = 64;
/// Columns of a block: those of two tiles.
const COLUMNS: usize = 2 * LANES;
/// Bytes of a panel's row group.
const PANEL_BYTES: usize = GROUP * PANEL;

/// The used part of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TileShape {
    pub(super) rows: u8,
    pub(super) row_bytes: u16,
}

impl TileShape {
    /// A whole tile.
    pub(crate) const WHOLE: Self = Self {
        rows: TILE_ROWS as u8,
        row_bytes: ROW_BYTES as u16,
    };
}

/// The instructions on eight tiles. A value of the type proves that the processor has them.
pub(crate) trait TileInstructions {
    /// Shapes the tiles and clears them (`LDTILECFG`). Every other instruction comes between it and the release.
    fn configure(&mut self, shapes: [TileShape; 8]);

    /// Sets a tile to 0 (`TILEZERO`).
    fn clear<const TILE: u8>(&mut self);

    /// Loads a tile, whose rows are `stride` bytes apart (`TILELOADD`).
    ///
    /// # Safety
    ///
    /// The rows are readable.
    unsafe fn load<const TILE: u8>(&mut self, from: *const u8, stride: usize);

    /// Adds the products of unsigned inputs `[rows, 4 groups]` with signed weights `[groups, columns, 4]` to the 32-bit sums `[rows,
    /// columns]` (`TDPBUSD`).
    fn multiply_add<const SUMS: u8, const INPUTS: u8, const WEIGHTS: u8>(&mut self);

    /// Adds the products of bf16 `[rows, pairs, 2]` with bf16 `[pairs, columns, 2]` to the f32 sums `[rows, columns]` (`TDPBF16PS`).
    fn multiply_add_bf16<const SUMS: u8, const LEFT: u8, const RIGHT: u8>(&mut self);

    /// Stores a tile in rows that are `stride` bytes apart (`TILESTORED`).
    ///
    /// # Safety
    ///
    /// The rows are writable.
    unsafe fn store<const TILE: u8>(&mut self, to: *mut i32, stride: usize);

    /// Gives the tiles back (`TILERELEASE`).
    fn release(&mut self);
}

/// Vectors of integer sums.
pub(super) trait Sums: Simd {
    /// The nearest floats.
    fn floats(self, sums: &[i32; LANES]) -> Self::Floats;
}

/// How rows and row groups are divided into tiles, all of one shape, so that the tiles are configured once.
#[derive(Clone, Copy)]
struct Tiling {
    /// All rows.
    count: usize,
    /// Tiles of rows. The last one overlaps the one before it where the rows do not divide.
    tiles: usize,
    /// Rows of a tile.
    rows: usize,
    /// Row groups of a panel that a tile multiplies: the most that divide the panel's.
    groups: usize,
    /// Tiles along the row groups.
    steps: usize,
}

impl Tiling {
    fn new(count: usize, groups: usize) -> Self {
        let tiles = count.div_ceil(TILE_ROWS);
        let largest = (1..=ROW_BYTES / GROUP)
            .rev()
            .find(|&size| groups.is_multiple_of(size));
        let size = largest.unwrap_or(1);
        Self {
            count,
            tiles,
            rows: count.div_ceil(tiles),
            groups: size,
            steps: groups / size,
        }
    }

    /// Four tiles of sums, two of inputs, two of weights.
    fn shapes(&self) -> [TileShape; 8] {
        let shape = |rows: usize, row_bytes: usize| TileShape {
            rows: rows as u8,
            row_bytes: row_bytes as u16,
        };
        let sums = shape(self.rows, LANES * GROUP);
        let inputs = shape(self.rows, self.groups * GROUP);
        let weights = shape(self.groups, LANES * GROUP);
        [sums, sums, sums, sums, inputs, inputs, weights, weights]
    }

    /// The first row of a tile.
    fn start(&self, tile: usize) -> usize {
        (tile * self.rows).min(self.count - self.rows)
    }
}

/// Two tiles of rows, or the last one, and two tiles of columns.
#[derive(Clone, Copy)]
struct Block<'l> {
    panel: Panel<'l>,
    /// The first column, within the panel.
    column: usize,
    /// The first tile of rows.
    tile: usize,
    /// Whether there is a second one.
    pair: bool,
}

/// The sums of a block: two tiles for the first tile of rows, then two for the second.
#[repr(align(64))]
struct BlockSums([[[i32; LANES]; TILE_ROWS]; 4]);

/// The block whose sums are stored, and the number of its rows that the epilogue has taken.
struct Finished<'l> {
    block: Block<'l>,
    taken: usize,
}

impl Finished<'_> {
    /// Gives up to `count` more rows to the epilogue.
    #[inline(always)]
    fn take<S: Sums, E: Epilogue<S>>(
        &mut self,
        simd: S,
        tiling: &Tiling,
        sums: &BlockSums,
        count: usize,
        epilogue: &mut E,
    ) {
        let Block {
            panel, column, tile, ..
        } = self.block;
        let first = tile * tiling.rows;
        let end = tiling.count.min(first + 2 * tiling.rows);
        let (scales, _) = panel.scales[column..column + COLUMNS].as_chunks::<LANES>();
        let from = first + self.taken;
        for row in from..end.min(from + count) {
            let second = usize::from(row - first >= tiling.rows);
            let local = row - tiling.start(tile + second);
            for (part, scales) in scales.iter().enumerate() {
                let sums = &sums.0[2 * second + part][local];
                let value = simd.mul(simd.floats(sums), simd.load(scales));
                epilogue.take(simd, row, panel.column + column + part * LANES, value);
            }
        }
        self.taken += count;
    }
}

/// The tiles between configuration and release.
pub(crate) struct Configured<'t, T: TileInstructions>(pub(crate) &'t mut T);

impl<T: TileInstructions> Drop for Configured<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.release();
    }
}

impl<T: TileInstructions> Configured<'_, T> {
    /// Starts the sums of a block with the bias.
    #[inline(always)]
    fn start(&mut self, block: &Block) {
        let bias = block.panel.bias[block.column..block.column + COLUMNS].as_ptr();
        // SAFETY: the bias has the 64 bytes of both tiles, and each row of a tile is loaded from the same ones.
        unsafe {
            let (left, right) = (bias.cast(), bias.add(LANES).cast());
            self.0.load::<0>(left, 0);
            self.0.load::<1>(right, 0);
            if block.pair {
                self.0.load::<2>(left, 0);
                self.0.load::<3>(right, 0);
            }
        }
    }

    /// Adds the products of the row groups of a step. Every weight tile is used twice, and so is every input tile.
    ///
    /// # Safety
    ///
    /// The rows and the panel hold what the tiling divides.
    #[inline(always)]
    unsafe fn step(&mut self, tiling: &Tiling, rows: Rows, block: &Block, step: usize) {
        let first_group = step * tiling.groups;
        let inputs = |tile: usize| {
            let at = tiling.start(tile) * rows.stride + first_group * GROUP;
            rows.bytes.as_ptr().wrapping_add(at)
        };
        let at = first_group * PANEL_BYTES + block.column * GROUP;
        let weights = block.panel.weights.as_ptr().wrapping_add(at).cast::<u8>();
        // SAFETY: the tiling divides the rows and the row groups, which the caller's lengths hold, into the tiles that are loaded.
        unsafe {
            self.0.load::<6>(weights, PANEL_BYTES);
            self.0.load::<4>(inputs(block.tile), rows.stride);
            self.0.multiply_add::<0, 4, 6>();
            self.0.load::<7>(weights.wrapping_add(LANES * GROUP), PANEL_BYTES);
            self.0.multiply_add::<1, 4, 7>();
            if block.pair {
                self.0.load::<5>(inputs(block.tile + 1), rows.stride);
                self.0.multiply_add::<2, 5, 6>();
                self.0.multiply_add::<3, 5, 7>();
            }
        }
    }

    /// Stores the sums of a block.
    #[inline(always)]
    fn store(&mut self, block: &Block, to: &mut BlockSums) {
        let to = to.0.as_flattened_mut().as_flattened_mut().as_mut_ptr();
        const TILE: usize = TILE_ROWS * LANES;
        // SAFETY: there are 16 rows of 64 bytes for each of the four tiles.
        unsafe {
            self.0.store::<0>(to, ROW_BYTES);
            self.0.store::<1>(to.add(TILE), ROW_BYTES);
            if block.pair {
                self.0.store::<2>(to.add(2 * TILE), ROW_BYTES);
                self.0.store::<3>(to.add(3 * TILE), ROW_BYTES);
            }
        }
    }
}

/// [`Simd::multiply`] with tiles.
///
/// A block of 32 rows and 32 columns takes four tiles of sums. The panel's weights stay in the first cache for all blocks of rows. While the
/// tile unit multiplies a block, the vector units run the epilogue of the block before it, some rows after each step.
#[inline(always)]
pub(super) fn multiply<'l, S: Sums, T: TileInstructions, E: Epilogue<S>>(
    simd: S,
    tiles: &mut T,
    rows: Rows,
    panels: impl Iterator<Item = Panel<'l>>,
    epilogue: &mut E,
) {
    let mut panels = panels.peekable();
    let Some(width) = panels.peek().map(|panel| panel.weights.len() / PANEL) else {
        return;
    };
    if rows.count == 0 {
        return;
    }
    assert!(width % GROUP == 0);
    rows.check(width);
    let tiling = Tiling::new(rows.count, width / GROUP);
    tiles.configure(tiling.shapes());
    let mut tiles = Configured(tiles);

    let mut sums = [const { BlockSums([[[0; LANES]; TILE_ROWS]; 4]) }; 2];
    let [mut current, mut previous] = sums.each_mut();
    let mut finished: Option<Finished> = None;
    let blocks = panels.flat_map(|panel| {
        assert!(panel.weights.len() == width * PANEL);
        let columns = (0..PANEL).step_by(COLUMNS);
        columns.flat_map(move |column| {
            let tiles = (0..tiling.tiles).step_by(2);
            tiles.map(move |tile| Block {
                panel,
                column,
                tile,
                pair: tile + 1 < tiling.tiles,
            })
        })
    });
    let share = (2 * tiling.rows).div_ceil(tiling.steps);
    for block in blocks.map(Some).chain([None]) {
        if let Some(block) = &block {
            tiles.start(block);
        }
        // After the last block, only its epilogue is left.
        let (steps, share) = match block {
            Some(_) => (tiling.steps, share),
            None => (1, 2 * tiling.rows),
        };
        for step in 0..steps {
            if let Some(block) = &block {
                // SAFETY: the lengths that the tiling divides are asserted above.
                unsafe { tiles.step(&tiling, rows, block, step) };
            }
            if let Some(finished) = &mut finished {
                finished.take(simd, &tiling, previous, share, epilogue);
            }
        }
        if let Some(block) = block {
            tiles.store(&block, current);
            finished = Some(Finished { block, taken: 0 });
            std::mem::swap(&mut current, &mut previous);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
