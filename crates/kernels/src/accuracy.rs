//! The float steps against computations in double precision.

use std::array::from_fn;

use crate::attention::{HeadBuffers, Mixed, Projections};
use crate::linear::Affine;
use crate::math::{Quantizer, exp, gelu, gelu_tanh};
use crate::norm::Norm;
use crate::position_bias::PositionBias;
use crate::quantization::Quantization;
use crate::simd::portable::Portable;
use crate::simd::vector::LANES;

/// Floats from `lowest` to `highest` at equal distances.
fn grid(lowest: f32, highest: f32, count: u32) -> impl Iterator<Item = f32> {
    let step = (f64::from(highest) - f64::from(lowest)) / f64::from(count);
    (0..=count).map(move |at| (f64::from(lowest) + step * f64::from(at)) as f32)
}

fn one(of: impl Fn([f32; LANES]) -> [f32; LANES], x: f32) -> f64 {
    f64::from(of([x; LANES])[0])
}

/// The largest of the errors, and where it is.
fn largest(errors: impl Iterator<Item = (f32, f64)>) -> (f32, f64) {
    errors.fold((0.0, 0.0), |largest, error| {
        if error.1 > largest.1 || error.1.is_nan() {
            error
        } else {
            largest
        }
    })
}

/// The complementary error function by its continued fraction for `x > 2`, else by its series (Abramowitz and Stegun, 7.1.6 and 7.1.14).
fn erfc(x: f64) -> f64 {
    let pi = std::f64::consts::PI;
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    if x > 2.0 {
        let fraction = (1..200)
            .rev()
            .fold(x, |fraction, k| x + f64::from(k) / 2.0 / fraction);
        return (-x * x).exp() / pi.sqrt() / fraction;
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    1.0 - 2.0 / pi.sqrt() * (-x * x).exp() * sum
}

fn exact_gelu(x: f64) -> f64 {
    x * erfc(-x / 2f64.sqrt()) / 2.0
}

fn exact_gelu_tanh(x: f64) -> f64 {
    let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
    x / (1.0 + (-2.0 * inner).exp())
}

#[test]
fn the_reference_has_known_values() {
    for (x, expected) in [
        (0.5, 0.479_500_122_186_953_5),
        (1.9999, 0.004_679_801),
        (3.0, 2.209_049_699_858_544e-5),
    ] {
        assert!((erfc(x) / expected - 1.0).abs() < 1e-4, "{x}: {}", erfc(x));
    }
    assert!((erfc(2.0 - 1e-12) - erfc(2.0 + 1e-12)).abs() < 1e-13);
}

#[test]
fn the_exponential_is_within_its_bound() {
    let error = |x: f32| (x, (one(|x| exp(Portable, x), x) / f64::from(x).exp() - 1.0).abs());
    let (x, error) = largest(
        grid(-87.0, 88.0, 1_000_000)
            .chain(grid(-1.0, 1.0, 200_000))
            .map(error),
    );
    println!("exp: {error:e} at {x}");
    assert!(error < 2e-7, "{error:e} at {x}");
    for (x, end) in [
        (-1e30, -87.0f32),
        (f32::NEG_INFINITY, -87.0),
        (90.0, 88.0),
        (f32::INFINITY, 88.0),
    ] {
        assert_eq!(one(|x| exp(Portable, x), x), one(|x| exp(Portable, x), end));
    }
}

#[test]
fn the_activations_are_within_their_bounds() {
    let absolute = |x: f32| (x, (one(|x| gelu(Portable, x), x) - exact_gelu(x.into())).abs());
    let (x, error) = largest(grid(-8.0, 8.0, 500_000).map(absolute));
    println!("gelu: {error:e} at {x}");
    assert!(error < 3e-6, "{error:e} at {x}");
    let (x, error) = largest(grid(-4.0, 4.0, 500_000).map(absolute));
    println!("gelu, near: {error:e} at {x}");
    assert!(error < 6e-7, "{error:e} at {x}");
    let error = |x: f32| {
        let (x, error) = absolute(x);
        (x, error / f64::from(x.abs()))
    };
    let (x, error) = largest(grid(-1e6, 1e6, 100_000).filter(|x| x.abs() > 8.0).map(error));
    println!("gelu, far: {error:e} of x at {x}");
    assert!(error < 5e-7, "{error:e} of x at {x}");
    let error = |x: f32| {
        let exact = exact_gelu_tanh(x.into());
        let error = (one(|x| gelu_tanh(Portable, x), x) - exact).abs();
        (x, error / exact.abs().max(1.0))
    };
    let (x, error) = largest(grid(-12.0, 12.0, 500_000).map(error));
    println!("gelu_tanh: {error:e} at {x}");
    assert!(error < 1e-6, "{error:e} at {x}");
}

/// Numbers from -1 to 1 that look random.
fn numbers(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

#[test]
fn normalization_is_within_a_few_roundings() {
    for (width, offset) in [(16, 0.0), (384, 3.0), (1024, -20.0)] {
        let mut next = numbers(width as u64);
        let row: Vec<f32> = (0..width).map(|_| offset + 2.0 * next()).collect();
        let norm = Norm {
            weight: (0..width).map(|_| 1.0 + next()).collect(),
            bias: (0..width).map(|_| next()).collect(),
        };
        let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / width as f64;
        let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / width as f64;
        let mut found = row.clone();
        norm.apply(Portable, &mut found, 1e-5, None, &mut vec![0; width]);
        for (at, &found) in found.iter().enumerate() {
            let expected = (f64::from(row[at]) - mean) / (variance + 1e-5).sqrt()
                * f64::from(norm.weight[at])
                + f64::from(norm.bias[at]);
            assert!(
                (f64::from(found) - expected).abs() < 1e-5,
                "{width}: {found} {expected}"
            );
        }
    }
}

#[test]
fn attention_is_the_weighted_mean_of_the_values() {
    let shapes = [(32, 3, 1), (32, 2, 15), (64, 1, 16), (64, 2, 133)];
    // Without biases, and with biases of distances up to this one.
    let longest = [None, Some(0), Some(7), Some(200)];
    for ((size, heads, length), longest) in shapes
        .into_iter()
        .flat_map(|shape| longest.map(|longest| (shape, longest)))
    {
        let hidden = size * heads;
        let mut next = numbers(length as u64);
        let table: Option<Vec<f32>> =
            longest.map(|longest| (0..(2 * longest + 1) * heads).map(|_| 2.0 * next()).collect());
        let bias = table
            .as_ref()
            .map(|table| PositionBias::new(table, heads).unwrap());
        let bias_of = |query: usize, key: usize, head: usize| match (&table, longest) {
            (Some(table), Some(longest)) => {
                let row = (longest + key).saturating_sub(query).min(2 * longest);
                f64::from(table[row * heads + head])
            }
            _ => 0.0,
        };
        let rows: Vec<f32> = (0..(length + 2) * 3 * hidden).map(|_| 1.5 * next()).collect();
        let projections = Projections {
            rows: &rows,
            hidden,
            heads,
            bias: bias.as_ref(),
        };
        let scale = 0.01;
        let quantization = Quantization::from(Affine {
            scale,
            zero_point: 128,
        });
        let quantizer = Quantizer::new(Portable, &quantization);
        // The sequence begins at the second row.
        let queries: Vec<usize> = (1..1 + length).filter(|at| at % 3 != 2).collect();
        let mut found = vec![0; queries.len() * hidden];
        let mut mixed = Mixed {
            quantizer,
            rows: &mut found,
        };
        projections.attend(
            Portable,
            1..1 + length,
            &queries,
            &mut HeadBuffers::default(),
            &mut mixed,
        );
        let part =
            |token: usize, part: usize, column: usize| f64::from(rows[(token * 3 + part) * hidden + column]);
        for (at, &query) in queries.iter().enumerate() {
            for head in 0..heads {
                let columns = head * size..(head + 1) * size;
                let weights: Vec<f64> = (1..1 + length)
                    .map(|key| {
                        let products = columns.clone().map(|c| part(query, 0, c) * part(key, 1, c));
                        (products.sum::<f64>() + bias_of(query, key, head)).exp()
                    })
                    .collect();
                let total: f64 = weights.iter().sum();
                for column in columns {
                    let mean: f64 = (0..length)
                        .map(|key| weights[key] * part(1 + key, 2, column))
                        .sum::<f64>()
                        / total;
                    let expected = mean / f64::from(scale) + 128.0;
                    let found = f64::from(found[at * hidden + column]);
                    // Half a step is the rounding of the quantizer.
                    let expected = expected.clamp(0.0, 255.0);
                    assert!((found - expected).abs() < 0.5 + 2e-3, "{found} {expected}");
                }
            }
        }
    }
}

#[test]
fn a_quantizer_rounds_halves_to_even_and_saturates() {
    let quantization = Quantization::from(Affine {
        scale: 0.5,
        zero_point: 10,
    });
    let quantizer = Quantizer::new(Portable, &quantization);
    for (value, expected) in [
        (0.0, 10),
        (0.25, 10),
        (0.75, 12),
        (-0.25, 10),
        (1e30, 255),
        (-1e30, 0),
        (f32::INFINITY, 255),
        (f32::NEG_INFINITY, 0),
    ] {
        let mut to = [0; LANES];
        quantizer.quantize(Portable, [value; LANES], 0, &mut to);
        assert_eq!(to, from_fn(|_| expected), "{value}");
    }
}
