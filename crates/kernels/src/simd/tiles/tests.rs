use std::ops::Range;

use proptest::prelude::*;

use super::*;
use crate::simd::portable::Portable;
use crate::simd::tests::{Operands, Products};

/// The tile instructions in software, which panic where the processor raises an exception.
pub(crate) struct SoftwareTiles {
    shapes: Option<[TileShape; 8]>,
    tiles: [[[u8; ROW_BYTES]; TILE_ROWS]; 8],
    /// Addresses that may be read.
    readable: Vec<Range<usize>>,
    configurations: usize,
}

impl SoftwareTiles {
    /// Tiles that may read anything.
    pub(crate) fn unbounded() -> Self {
        Self {
            shapes: None,
            tiles: [[[0; ROW_BYTES]; TILE_ROWS]; 8],
            readable: std::iter::once(0..usize::MAX).collect(),
            configurations: 0,
        }
    }

    /// Tiles that may read the operands.
    fn of(operands: &Operands) -> Self {
        let mut readable = vec![addresses(operands.rows().bytes)];
        for panel in operands.linear.panels() {
            readable.push(addresses(panel.weights));
            readable.push(addresses(panel.bias));
        }
        Self {
            readable,
            ..Self::unbounded()
        }
    }

    fn shape(&self, tile: u8) -> TileShape {
        let shape = self.shapes.expect("the tiles are configured")[usize::from(tile)];
        assert!(shape.rows > 0 && shape.row_bytes > 0);
        shape
    }

    fn sum(&self, tile: u8, row: usize, column: usize) -> i32 {
        let bytes = self.tiles[usize::from(tile)][row][column * 4..].first_chunk();
        i32::from_le_bytes(*bytes.unwrap())
    }
}

impl TileInstructions for SoftwareTiles {
    fn configure(&mut self, shapes: [TileShape; 8]) {
        for shape in shapes {
            assert!((1..=TILE_ROWS).contains(&shape.rows.into()));
            assert!((1..=ROW_BYTES).contains(&shape.row_bytes.into()) && shape.row_bytes % 4 == 0);
        }
        self.shapes = Some(shapes);
        self.tiles = [[[0; ROW_BYTES]; TILE_ROWS]; 8];
        self.configurations += 1;
    }

    fn clear<const TILE: u8>(&mut self) {
        self.shape(TILE);
        self.tiles[usize::from(TILE)] = [[0; ROW_BYTES]; TILE_ROWS];
    }

    unsafe fn load<const TILE: u8>(&mut self, from: *const u8, stride: usize) {
        let shape = self.shape(TILE);
        let bytes = usize::from(shape.row_bytes);
        let tile = &mut self.tiles[usize::from(TILE)];
        *tile = [[0; ROW_BYTES]; TILE_ROWS];
        for (number, row) in tile.iter_mut().take(shape.rows.into()).enumerate() {
            let from = from.wrapping_add(number * stride);
            let holds = |range: &Range<usize>| range.start <= from.addr() && from.addr() + bytes <= range.end;
            assert!(self.readable.iter().any(holds), "reads past the end");
            // SAFETY: the row lies in a readable range.
            row[..bytes].copy_from_slice(unsafe { std::slice::from_raw_parts(from, bytes) });
        }
    }

    fn multiply_add<const SUMS: u8, const INPUTS: u8, const WEIGHTS: u8>(&mut self) {
        let [sums, inputs, weights] = [SUMS, INPUTS, WEIGHTS].map(|tile| self.shape(tile));
        assert!(SUMS != INPUTS && SUMS != WEIGHTS && INPUTS != WEIGHTS);
        assert_eq!(sums.rows, inputs.rows);
        assert_eq!(sums.row_bytes, weights.row_bytes);
        assert_eq!(inputs.row_bytes, 4 * u16::from(weights.rows));
        for row in 0..sums.rows.into() {
            for column in 0..usize::from(sums.row_bytes / 4) {
                let mut sum = self.sum(SUMS, row, column);
                for at in 0..inputs.row_bytes.into() {
                    let input = self.tiles[usize::from(INPUTS)][row][at];
                    let weight = self.tiles[usize::from(WEIGHTS)][at / 4][4 * column + at % 4] as i8;
                    sum = sum.wrapping_add(i32::from(input) * i32::from(weight));
                }
                let to = &mut self.tiles[usize::from(SUMS)][row][column * 4..][..4];
                to.copy_from_slice(&sum.to_le_bytes());
            }
        }
    }

    fn multiply_add_bf16<const SUMS: u8, const LEFT: u8, const RIGHT: u8>(&mut self) {
        let [sums, left, right] = [SUMS, LEFT, RIGHT].map(|tile| self.shape(tile));
        assert!(SUMS != LEFT && SUMS != RIGHT && LEFT != RIGHT);
        assert_eq!(sums.rows, left.rows);
        assert_eq!(sums.row_bytes, right.row_bytes);
        assert_eq!(left.row_bytes, 4 * u16::from(right.rows));
        let bf16 = |bytes: &[u8]| f32::from_le_bytes([0, 0, bytes[0], bytes[1]]);
        for row in 0..sums.rows.into() {
            for column in 0..usize::from(sums.row_bytes / 4) {
                let mut sum = f32::from_bits(self.sum(SUMS, row, column).cast_unsigned());
                for at in (0..left.row_bytes.into()).step_by(2) {
                    let a = bf16(&self.tiles[usize::from(LEFT)][row][at..]);
                    let b = bf16(&self.tiles[usize::from(RIGHT)][at / 4][4 * column + at % 4..]);
                    sum += a * b;
                }
                let to = &mut self.tiles[usize::from(SUMS)][row][column * 4..][..4];
                to.copy_from_slice(&sum.to_le_bytes());
            }
        }
    }

    unsafe fn store<const TILE: u8>(&mut self, to: *mut i32, stride: usize) {
        let shape = self.shape(TILE);
        for row in 0..shape.rows.into() {
            for column in 0..usize::from(shape.row_bytes / 4) {
                // SAFETY: the caller's rows are writable.
                unsafe {
                    to.wrapping_byte_add(row * stride)
                        .add(column)
                        .write(self.sum(TILE, row, column));
                }
            }
        }
    }

    fn release(&mut self) {
        self.shapes = None;
    }
}

impl Sums for Portable {
    fn floats(self, sums: &[i32; LANES]) -> [f32; LANES] {
        sums.map(|sum| sum as f32)
    }
}

/// The addresses of a slice.
fn addresses<T>(slice: &[T]) -> Range<usize> {
    let range = slice.as_ptr_range();
    range.start.addr()..range.end.addr()
}

fn compare(operands: &Operands) {
    let mut tiles = SoftwareTiles::of(operands);
    let mut products = Products::new(operands);
    multiply(
        Portable,
        &mut tiles,
        operands.rows(),
        operands.linear.panels(),
        &mut products,
    );
    assert!(products == operands.expected());
    assert!(tiles.shapes.is_none(), "the tiles are not released");
    assert_eq!(tiles.configurations, usize::from(operands.rows().count > 0));
}

#[test]
fn tiles_give_the_products_of_portable_rust_at_usual_widths() {
    for inputs in [4, 32, 96, 128, 208, 384, 1536] {
        for count in [0, 1, 15, 16, 17, 32, 33, 48, 95] {
            compare(&Operands::random([count, inputs, 80], 0, (inputs * count) as u64));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn tiles_give_the_products_of_portable_rust(
        count in 1..100usize,
        groups in 1..256usize,
        outputs in 1..200usize,
        gap in 0..9usize,
        seed: u64,
    ) {
        compare(&Operands::random([count, groups * GROUP, outputs], gap, seed));
    }
}

#[test]
fn tiles_are_released_when_the_epilogue_panics() {
    struct Panics;
    impl Epilogue<Portable> for Panics {
        fn take(&mut self, _: Portable, _: usize, _: usize, _: [f32; LANES]) {
            panic!("an epilogue");
        }
    }
    let operands = Operands::random([1, 4, 1], 0, 0);
    let mut tiles = SoftwareTiles::of(&operands);
    let product = std::panic::AssertUnwindSafe(|| {
        multiply(
            Portable,
            &mut tiles,
            operands.rows(),
            operands.linear.panels(),
            &mut Panics,
        );
    });
    assert!(std::panic::catch_unwind(product).is_err());
    assert!(tiles.shapes.is_none());
}
