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
        let is_rounded = Products::each_bf16().any(|other| other == products);
        self.check_as(is_rounded, &|a, b, out, row_stride, initial| {
            products.multiply(a, b, out, row_stride, initial);
            if !matches!(initial, Initial::Destination) && row_stride == b.columns() {
                assert_eq!(products.product(a, b, initial), out);
            }
        });
    }

    /// The same for another way to multiply, of factors that are rounded to bf16 or not.
    fn check_as(&self, is_rounded: bool, multiply: &Multiply<'_>) {
        let [m, k, n] = self.extents;
        let stored = |(rows, columns): (usize, usize), transposed: bool, seed: u64| {
            let (rows, columns) = if transposed {
                (columns, rows)
            } else {
                (rows, columns)
            };
            let mut numbers = numbers(rows * (columns + self.gap), seed);
            if is_rounded {
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
            multiply(a, b, &mut out, n + self.gap, initial);
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
        }
    }
}

/// What this processor has.
fn all_products() -> impl Iterator<Item = Products> {
    Products::each_f32().chain(Products::each_bf16())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn products_of_any_extents(
        m in 0usize..40, k in 0usize..90, n in 0usize..150,
        transposed: [bool; 2], gap in 0usize..3,
    ) {
        let factors = Factors { extents: [m, k, n], transposed, gap };
        all_products().for_each(|products| factors.check(products));
        each_f32(|_, multiply| factors.check_as(false, multiply));
    }
}

/// [`tiled::multiply`] with tiles in software. The processor must have AVX-512 BF16.
#[cfg(target_arch = "x86_64")]
fn in_software_tiles<const PARTS: usize>(
    a: Matrix<'_>,
    b: Matrix<'_>,
    out: &mut [f32],
    row_stride: usize,
    initial: Initial<'_>,
) {
    assert!(has_bf16_vectors() && is_inside(out.len(), a.rows(), b.columns(), row_stride));
    let mut tiles = SoftwareTiles::unbounded();
    // SAFETY: the processor has the instructions, and the destination has the elements of the product.
    unsafe { tiled::multiply::<PARTS, _>(&mut tiles, a, b, out.as_mut_ptr(), row_stride, initial) };
}

#[cfg(target_arch = "x86_64")]
#[test]
fn tiles_in_software_give_the_products_of_vectors() {
    if !has_bf16_vectors() {
        eprintln!("skipped: {Bf16Error}");
        return;
    }
    for [m, k, n] in [
        [1, 1, 1],
        [17, 33, 31],
        [40, 70, 130],
        [32, 1030, 64],
        [450, 385, 33],
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
            for (kind, multiply) in [
                (Kind::Bf16, in_software_tiles::<1> as fn(_, _, &mut [f32], _, _)),
                (Kind::F32, in_software_tiles::<3>),
            ] {
                let (mut expected, mut found) = (before.clone(), before.clone());
                Products(kind).multiply(a, b, &mut expected, n, Initial::Destination);
                multiply(a, b, &mut found, n, Initial::Destination);
                for (found, expected) in found.iter().zip(&expected) {
                    assert!((found - expected).abs() < 1e-4, "{found} instead of {expected}");
                }
            }
        }
    }
}

/// Writes a product, as [`Products::multiply`] does.
type Multiply<'f> = dyn Fn(Matrix<'_>, Matrix<'_>, &mut [f32], usize, Initial<'_>) + 'f;

/// Each way to multiply in f32 that this processor has, whatever the extents: with vectors, with its tiles, and with tiles in software.
fn each_f32(mut check: impl FnMut(&str, &Multiply<'_>)) {
    #[cfg(target_arch = "x86_64")]
    if has_vectors() {
        check("vectors", &|a, b, out, row_stride, initial| {
            Products(Kind::F32).multiply(a, b, out, row_stride, initial);
        });
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(tiles) = tiles() {
        check("tiles", &|a, b, out, row_stride, initial| {
            assert!(is_inside(out.len(), a.rows(), b.columns(), row_stride));
            let (mut tiles, out) = (tiles, out.as_mut_ptr());
            // SAFETY: `tiles()` says that the processor has the instructions, and the destination has the elements of the product.
            unsafe { tiled::multiply::<3, _>(&mut tiles, a, b, out, row_stride, initial) };
        });
    }
    #[cfg(target_arch = "x86_64")]
    if has_bf16_vectors() {
        check("tiles in software", &in_software_tiles::<3>);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = &mut check;
}

#[test]
fn products_in_f32_have_the_precision_of_f32() {
    let (m, k, n) = (20, 700, 40);
    let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
    let (a, b) = (Matrix::new(&a, m, k, k), Matrix::new(&b, k, n, n));
    each_f32(|name, multiply| {
        let mut out = vec![0.0; m * n];
        multiply(a, b, &mut out, n, Initial::Zero);
        for (at, &found) in out.iter().enumerate() {
            let products = (0..k).map(|l| element(a, at / n, l) * element(b, l, at % n));
            let (expected, size) = products.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()));
            let error = (f64::from(found) - expected).abs() / size;
            assert!(
                error < 8.0 * 2f64.powi(-24),
                "{name}: an error of {error:e} of the products' size"
            );
        }
    });
}

#[test]
fn the_largest_and_the_smallest_numbers_do_not_change_other_elements() {
    // The largest number rounds to infinity in bf16, and the parts of the smallest ones are subnormal. A word of a tile has elements `i`
    // and `i + 16`.
    for end in [f32::MAX, 3e-38, 1.234_567e-37, 2e-39, -1e-40, 1e-32] {
        for at in [3, 19] {
            let mut row = [1.0 / 31.0; 32];
            row[at] = end;
            let mut column = [1.0; 32];
            column[at] = if end == f32::MAX { 0.5 / end } else { 0.5 };
            let (row, column) = (Matrix::new(&row, 1, 32, 32), Matrix::new(&column, 32, 1, 1));
            let expected = if end == f32::MAX { 1.5 } else { 1.0 };
            each_f32(|name, multiply| {
                let mut out = [f32::NAN];
                multiply(row, column, &mut out, 1, Initial::Zero);
                let [found] = out;
                assert!(
                    (found - expected).abs() < 1e-6,
                    "{name}: {found} instead of {expected}, with {end:e} at {at}"
                );
            });
        }
    }
}

#[test]
fn numbers_that_are_not_finite_reach_their_own_rows_and_columns_alone() {
    let (m, k, n) = (70, 400, 70);
    let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
    let (row, destination) = (numbers(n, 3), numbers(m * n, 4));
    let (mut other_a, mut other_b) = (a.clone(), b.clone());
    other_a[3 * k + 399] = f32::INFINITY;
    other_b[5 * n + 66] = f32::NAN;
    for initial in [Initial::Zero, Initial::Row(&row), Initial::Destination] {
        each_f32(|name, multiply| {
            let product = |a: &[f32], b: &[f32]| {
                let mut out = destination.clone();
                multiply(
                    Matrix::new(a, m, k, k),
                    Matrix::new(b, k, n, n),
                    &mut out,
                    n,
                    initial,
                );
                out
            };
            for (at, (found, before)) in product(&other_a, &other_b)
                .into_iter()
                .zip(product(&a, &b))
                .enumerate()
            {
                let is_right = match (at / n, at % n) {
                    (_, 66) => found.is_nan(),
                    (3, _) => found.is_infinite(),
                    _ => (found - before).abs() < 1e-4,
                };
                assert!(is_right, "{name}, {initial:?}: {found} at {}, {}", at / n, at % n);
            }
        });
    }
}

#[test]
fn an_empty_product_ends_at_once() {
    each_f32(|_, multiply| {
        let (rows, columns) = (
            Matrix::new(&[], 0, 1 << 40, 1 << 40),
            Matrix::new(&[], 1 << 40, 0, 0),
        );
        multiply(rows, columns, &mut [], 0, Initial::Zero);
    });
}

#[test]
fn high_products_are_cut() {
    for products in all_products() {
        let (extents, transposed, gap) = ([1_000, 385, 33], [false, true], 0);
        Factors {
            extents,
            transposed,
            gap,
        }
        .check(products);
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
