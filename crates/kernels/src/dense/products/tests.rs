use proptest::prelude::*;

use super::*;
#[cfg(target_arch = "x86_64")]
use crate::simd::tiles::tests::SoftwareTiles;

/// Pseudo-random numbers in [-1, 1).
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// To the nearest bf16, ties to even.
fn rounded(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000)
}

fn element(matrix: Matrix<'_>, row: usize, column: usize) -> f64 {
    f64::from(matrix.data()[row * matrix.row_stride() + column * matrix.column_stride()])
}

/// Factors of a product, of which either may be stored transposed, with gaps between the rows.
struct Factors {
    extents: [usize; 3],
    transposed: [bool; 2],
    gap: usize,
}

impl Factors {
    fn view<'d>(&self, (data, rows, columns): &'d (Vec<f32>, usize, usize), transposed: bool) -> Matrix<'d> {
        let matrix = Matrix::new(data, *rows, *columns, columns + self.gap);
        if transposed { matrix.transposed() } else { matrix }
    }

    /// Compares the product with one in f64.
    fn check(&self, products: Products) {
        let [m, k, n] = self.extents;
        let stored = |(rows, columns): (usize, usize), transposed: bool, seed: u64| {
            let (rows, columns) = if transposed {
                (columns, rows)
            } else {
                (rows, columns)
            };
            let mut numbers = numbers(rows * (columns + self.gap), seed);
            if Some(products) != Products::f32() {
                numbers.iter_mut().for_each(|x| *x = rounded(*x));
            }
            (numbers, rows, columns)
        };
        let (a, b) = (
            stored((m, k), self.transposed[0], 1),
            stored((k, n), self.transposed[1], 2),
        );
        let (a, b) = (
            self.view(&a, self.transposed[0]),
            self.view(&b, self.transposed[1]),
        );
        let (row, before) = (numbers(n, 3), numbers(m * (n + self.gap), 4));
        for initial in [Initial::Zero, Initial::Row(&row), Initial::Destination] {
            let mut out = before.clone();
            products.multiply(a, b, &mut out, n + self.gap, initial);
            for (at, &found) in out.iter().enumerate() {
                let (i, j) = (at / (n + self.gap), at % (n + self.gap));
                if j >= n {
                    assert_eq!(found, before[at], "an element between the rows was written");
                    continue;
                }
                let first = match initial {
                    Initial::Zero => 0.0,
                    Initial::Row(row) => f64::from(row[j]),
                    Initial::Destination => f64::from(before[at]),
                };
                let expected = first + (0..k).map(|l| element(a, i, l) * element(b, l, j)).sum::<f64>();
                let error = (f64::from(found) - expected).abs();
                assert!(
                    error < 1e-5 * (1.0 + k as f64).sqrt(),
                    "{i}, {j}: {found} instead of {expected}"
                );
            }
            if !matches!(initial, Initial::Destination) && self.gap == 0 {
                assert_eq!(products.product(a, b, initial), out);
            }
        }
    }
}

/// What this processor has.
fn all_products() -> impl Iterator<Item = Products> {
    Products::f32().into_iter().chain(Products::each_bf16())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn products_of_any_extents(
        m in 0usize..40, k in 0usize..90, n in 0usize..150,
        transposed: [bool; 2], gap in 0usize..3,
    ) {
        for products in all_products() {
            Factors { extents: [m, k, n], transposed, gap }.check(products);
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn tiles_in_software_give_the_products_of_vectors() {
    let Some(vectors) = Products::each_bf16().next() else {
        eprintln!("skipped: {Bf16Error}");
        return;
    };
    for [m, k, n] in [
        [1, 1, 1],
        [17, 33, 31],
        [40, 70, 130],
        [32, 1030, 64],
        [16, 0, 16],
    ] {
        let (a, b, before) = (numbers(m * k, 1), numbers(k * n, 2), numbers(m * n, 3));
        for transposed in [[false, false], [true, false], [false, true]] {
            let a = match transposed[0] {
                true => Matrix::new(&a, k, m, m).transposed(),
                false => Matrix::new(&a, m, k, k),
            };
            let b = match transposed[1] {
                true => Matrix::new(&b, n, k, k).transposed(),
                false => Matrix::new(&b, k, n, n),
            };
            let (mut expected, mut found) = (before.clone(), before.clone());
            vectors.multiply(a, b, &mut expected, n, Initial::Destination);
            let mut tiles = SoftwareTiles::unbounded();
            // SAFETY: the processor has AVX-512 BF16, and the destination has the elements of the product.
            unsafe { x86::bf16_tiles(&mut tiles, a, b, found.as_mut_ptr(), n, Initial::Destination) };
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-4, "{found} instead of {expected}");
            }
        }
    }
}

#[test]
fn deep_products_are_summed_in_parts() {
    for products in all_products() {
        for k in [512, 513, 1024, 1025, 2047] {
            for transposed in [[false, true], [true, false]] {
                let (extents, gap) = ([7, k, 70], 0);
                Factors {
                    extents,
                    transposed,
                    gap,
                }
                .check(products);
            }
        }
    }
}

#[test]
fn products_in_bf16_are_the_fastest_that_the_processor_has() {
    assert_eq!(Products::bf16().ok(), Products::each_bf16().last());
    #[cfg(target_arch = "x86_64")]
    if Products::bf16().is_ok() {
        let in_tiles = Products::bf16().is_ok_and(|products| matches!(products.0, Kind::Bf16Tiles(_)));
        assert_eq!(in_tiles, crate::instructions::InstructionSet::Amx.is_available());
    }
}

#[test]
fn factors_are_rounded_to_bf16_and_sums_are_not() {
    if Products::bf16().is_err() {
        eprintln!("skipped: {Bf16Error}");
    }
    Products::each_bf16().for_each(check_rounding);
}

fn check_rounding(products: Products) {
    // Half of the last place of a bf16 beside 1: rounded to even. The sum of 1 and 2^-20 needs 20 bits.
    let (a, b) = (
        [1.0 + 0.003_906_25, 1.0, 1.0 + 0.011_718_75],
        [1.0, 2f32.powi(-20), 0.0],
    );
    let product = products.product(Matrix::new(&a, 1, 3, 3), Matrix::new(&b, 3, 1, 1), Initial::Zero);
    assert_eq!(product, [1.0 + 2f32.powi(-20)]);
    let product = products.product(
        Matrix::new(&a, 1, 3, 3),
        Matrix::new(&[0.0, 0.0, 1.0], 3, 1, 1),
        Initial::Zero,
    );
    assert_eq!(product, [1.0 + 0.015_625]);
}

#[test]
fn nan_and_infinity_reach_the_product() {
    for products in all_products() {
        let (a, b) = ([f32::NAN, 1.0, f32::INFINITY, 1.0], [1.0, 1.0]);
        let product = products.product(Matrix::new(&a, 2, 2, 2), Matrix::new(&b, 2, 1, 1), Initial::Zero);
        assert!(product[0].is_nan() && product[1] == f32::INFINITY, "{product:?}");
    }
}

#[test]
#[should_panic(expected = "inner extents")]
fn extents_must_agree() {
    let products = Products::f32().expect("inner extents cannot be compared without AVX-512");
    let a = [0.0; 6];
    products.product(Matrix::new(&a, 2, 3, 3), Matrix::new(&a, 2, 3, 3), Initial::Zero);
}
