//! Vectors and products in Rust without intrinsics.

use crate::linear::{GROUP, PANEL, Panel};
use crate::simd::vector::{Epilogue, LANES, Rows, Simd};

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

    fn sum(self, a: Self::Floats) -> f32 {
        fold(a, |a, b| a + b)
    }

    fn highest(self, a: Self::Floats) -> f32 {
        fold(a, |a, b| if a > b { a } else { b })
    }

    fn to_bytes(self, value: Self::Floats, zero: u8, to: &mut [u8; LANES]) {
        *to = value.map(|value| match value.is_nan() {
            true => 0,
            false => (value.round_ties_even() as i32)
                .saturating_add(i32::from(zero))
                .clamp(0, 255) as u8,
        });
    }

    fn multiply<'l, E: Epilogue<Self>>(
        self,
        rows: Rows,
        panels: impl Iterator<Item = Panel<'l>>,
        epilogue: &mut E,
    ) {
        for panel in panels {
            self.multiply_panel(rows, panel, epilogue);
        }
    }
}

impl Portable {
    fn multiply_panel<E: Epilogue<Self>>(self, rows: Rows, panel: Panel, epilogue: &mut E) {
        let (columns, _) = panel.weights.as_chunks::<GROUP>();
        for row in 0..rows.count {
            let mut sums = *panel.bias;
            let (inputs, _) = rows.bytes[row * rows.stride..].as_chunks::<GROUP>();
            for (input, group) in inputs.iter().zip(columns.chunks_exact(PANEL)) {
                for (sum, column) in sums.iter_mut().zip(group) {
                    for (&x, &w) in input.iter().zip(column) {
                        *sum = sum.wrapping_add(i32::from(x) * i32::from(w));
                    }
                }
            }
            for (part, sums) in sums.as_chunks::<LANES>().0.iter().enumerate() {
                let scales = std::array::from_fn(|lane| panel.scales[part * LANES + lane]);
                let value = self.mul(sums.map(|sum| sum as f32), scales);
                epilogue.take(self, row, panel.column + part * LANES, value);
            }
        }
    }
}

/// Combines lane `i` with lane `i + 8`, then `i + 4`, `i + 2` and `i + 1`.
fn fold(mut lanes: [f32; LANES], of: impl Fn(f32, f32) -> f32) -> f32 {
    for width in [8, 4, 2, 1] {
        for lane in 0..width {
            lanes[lane] = of(lanes[lane], lanes[lane + width]);
        }
    }
    lanes[0]
}
