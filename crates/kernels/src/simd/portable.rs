//! Vectors and products in Rust without intrinsics.

use crate::linear::{GROUP, PANEL};
use crate::simd::{LANES, Simd, Tile};

/// Any processor.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

fn each(a: [f32; LANES], b: [f32; LANES], of: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    std::array::from_fn(|lane| of(a[lane], b[lane]))
}

impl Simd for Portable {
    type Floats = [f32; LANES];

    fn splat(self, value: f32) -> Self::Floats {
        [value; LANES]
    }

    fn load(self, from: &[f32; LANES]) -> Self::Floats {
        *from
    }

    fn store(self, value: Self::Floats, to: &mut [f32; LANES]) {
        *to = value;
    }

    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        each(a, b, |a, b| a + b)
    }

    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        each(a, b, |a, b| a - b)
    }

    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        each(a, b, |a, b| a * b)
    }

    fn div(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        each(a, b, |a, b| a / b)
    }

    fn mul_add(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        std::array::from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
    }

    fn max(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        each(a, b, |a, b| if a > b { a } else { b })
    }

    fn min(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        each(a, b, |a, b| if a < b { a } else { b })
    }

    fn round(self, a: Self::Floats) -> Self::Floats {
        a.map(f32::round_ties_even)
    }

    fn power_of_two(self, n: Self::Floats) -> Self::Floats {
        n.map(|n| f32::from_bits(((n as i32 + 127) as u32) << 23))
    }

    fn add_integers(self, a: &[i32; LANES], b: &[i32; LANES]) -> Self::Floats {
        std::array::from_fn(|lane| a[lane].wrapping_add(b[lane]) as f32)
    }

    fn to_bytes(self, value: Self::Floats, to: &mut [u8; LANES]) {
        *to = value.map(|value| value.round_ties_even() as u8);
    }

    fn products(self, a: &[u8], stride: usize, rows: usize, panel: &[i8], groups: usize, tile: &mut Tile) {
        for (row, sums) in tile.iter_mut().take(rows).enumerate() {
            *sums = [0; PANEL];
            let (inputs, _) = a[row * stride..][..groups * GROUP].as_chunks::<GROUP>();
            let (columns, _) = panel.as_chunks::<GROUP>();
            for (input, group) in inputs.iter().zip(columns.chunks_exact(PANEL)) {
                for (sum, column) in sums.iter_mut().zip(group) {
                    for (&x, &w) in input.iter().zip(column) {
                        *sum += i32::from(x) * i32::from(w);
                    }
                }
            }
        }
    }
}
