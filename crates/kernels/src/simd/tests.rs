mod operations;

use proptest::prelude::*;

use super::portable::Portable;
use super::*;
use crate::linear::{Affine, GROUP, Linear, PANEL, PackedWeights};
use crate::simd::vector::{Epilogue, LANES, Rows, Simd};

/// A linear layer and rows of inputs.
pub(super) struct Operands {
    pub(super) linear: Linear,
    bytes: Vec<u8>,
    stride: usize,
    count: usize,
}

impl Operands {
    /// Random numbers of the whole range, of which every third is an extreme. Rows are `gap` bytes apart.
    pub(super) fn random([count, inputs, outputs]: [usize; 3], gap: usize, seed: u64) -> Self {
        let mut state = seed;
        let mut next = |limit: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % limit
        };
        let mut extreme = |limit: u64| match next(6) {
            0 => 0,
            1 => limit - 1,
            _ => next(limit),
        };
        let weight: Vec<i8> = (0..inputs * outputs)
            .map(|_| (extreme(129) as i16 - 64) as i8)
            .collect();
        let stride = inputs + gap;
        let length = count.saturating_sub(1) * stride + if count == 0 { 0 } else { inputs };
        let bytes = (0..length).map(|_| extreme(256) as u8).collect();
        let affine = Affine {
            scale: 0.03,
            zero_point: extreme(256) as u8,
        };
        let bias: Vec<i32> = (0..outputs).map(|_| next(100_000) as i32 - 50_000).collect();
        let scales: Vec<f32> = (0..outputs).map(|_| (next(1000) + 1) as f32 * 1e-5).collect();
        let weights = PackedWeights::new(&weight, [inputs, outputs]).unwrap();
        Self {
            linear: Linear::new(weights, &scales, &bias, affine).unwrap(),
            bytes,
            stride,
            count,
        }
    }

    pub(super) fn rows(&self) -> Rows<'_> {
        Rows {
            bytes: &self.bytes,
            stride: self.stride,
            count: self.count,
        }
    }

    /// The products of portable Rust.
    pub(super) fn expected(&self) -> Products {
        let mut products = Products::new(self);
        Portable.multiply(self.rows(), self.linear.panels(), &mut products);
        assert!(products.values.iter().all(Option::is_some));
        products
    }
}

/// The bits of products, each of which is given once.
#[derive(PartialEq)]
pub(super) struct Products {
    values: Vec<Option<[u32; LANES]>>,
    width: usize,
}

impl Products {
    pub(super) fn new(operands: &Operands) -> Self {
        let width = operands.linear.panels().count() * PANEL;
        Self {
            values: vec![None; operands.count * width / LANES],
            width,
        }
    }
}

impl<S: Simd> Epilogue<S> for Products {
    #[inline(always)]
    fn take(&mut self, simd: S, row: usize, column: usize, value: S::Floats) {
        assert!(column.is_multiple_of(LANES) && column < self.width);
        let mut floats = [0.0; LANES];
        simd.store(value, &mut floats);
        let before = self.values[(row * self.width + column) / LANES].replace(floats.map(f32::to_bits));
        assert!(before.is_none(), "row {row}, column {column} is given twice");
    }
}

/// The product of the operands.
struct Multiply<'a>(&'a Operands, &'a mut Products);

impl Task for Multiply<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        simd.multiply(self.0.rows(), self.0.linear.panels(), self.1);
    }
}

fn compare(operands: &Operands) {
    let expected = operands.expected();
    for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
        let mut products = Products::new(operands);
        set.run(Multiply(operands, &mut products));
        assert!(products == expected, "{} differs from portable Rust", set.name());
    }
}

#[test]
fn every_instruction_set_gives_the_products_of_portable_rust_at_usual_widths() {
    for inputs in [4, 32, 96, 128, 208, 384, 1536] {
        for count in [0, 1, 5, 6, 7, 15, 16, 17, 32, 33, 48, 95] {
            compare(&Operands::random([count, inputs, 80], 0, (inputs * count) as u64));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_instruction_set_gives_the_products_of_portable_rust(
        count in 1..100usize,
        groups in 1..256usize,
        outputs in 1..200usize,
        gap in 0..9usize,
        seed: u64,
    ) {
        compare(&Operands::random([count, groups * GROUP, outputs], gap, seed));
    }
}
