//! Initial values of the weights.

use std::collections::BTreeMap;

use nerve_repository::{ModelConfig, TRANSITIONS};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::StandardNormal;

/// Initial values of the parameters of these shapes, as in BERT: weights are normally distributed with mean 0 and
/// standard deviation `initializer_range`, biases and scores of transitions are 0, and layer normalization is the identity.
///
/// The values of a parameter depend only on the seed and on its name, so leaving out a parameter does not change the
/// others.
pub(crate) fn initial(
    config: &ModelConfig,
    shapes: &BTreeMap<String, Vec<usize>>,
    seed: u64,
) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let draw = |(name, shape): (&String, &Vec<usize>)| {
        let count = shape.iter().product();
        let data = if name.ends_with(".bias") || name == TRANSITIONS {
            vec![0.0; count]
        } else if name.contains("LayerNorm") {
            vec![1.0; count]
        } else {
            let of_name = name.bytes().fold(seed, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
            });
            normal(count, config.initializer_range, of_name)
        };
        (name.clone(), shape.clone(), data)
    };
    shapes.iter().map(draw).collect()
}

/// Normally distributed numbers with mean 0 and this standard deviation.
fn normal(count: usize, deviation: f64, seed: u64) -> Vec<f32> {
    let deviates = StdRng::seed_from_u64(seed).sample_iter::<f64, _>(StandardNormal);
    deviates.take(count).map(|z| (z * deviation) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moments_are_those_asked_for() {
        let values = normal(100_000, 0.02, 3);
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / 1e5;
        let variance = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 3e-4, "{mean}");
        assert!((variance.sqrt() - 0.02).abs() < 2e-4, "{variance}");
        assert_ne!(values, normal(100_000, 0.02, 4));
    }
}
