//! Inverted dropout (Srivastava et al. 2014), whose masks come from a seeded generator.

use candle_core::{Result, Tensor};

use crate::ops::mask::Mask;

/// The source of dropout masks: a seeded sequence in training, none in evaluation.
#[derive(Clone, Debug)]
pub(crate) struct Dropout {
    sequence: Option<u64>,
}

impl Dropout {
    /// A source without dropout.
    pub(crate) fn off() -> Self {
        Self { sequence: None }
    }

    /// A source whose masks depend only on the seed and on the number of earlier calls.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { sequence: Some(seed) }
    }

    /// The mask of the next call for drop probability `p`; `None` if nothing is dropped.
    pub(crate) fn next(&mut self, p: f64) -> Option<Mask> {
        let sequence = self.sequence.as_mut()?;
        *sequence = sequence.wrapping_add(1);
        (p > 0.0).then(|| Mask::new(mix(*sequence), p))
    }

    /// Sets elements of `x` to 0 with probability `p` and scales the others by `1 / (1 - p)`.
    pub(crate) fn apply(&mut self, x: &Tensor, p: f64) -> Result<Tensor> {
        match self.next(p) {
            Some(mask) => x.apply_op1(mask),
            None => Ok(x.clone()),
        }
    }
}

/// The finalizer of SplitMix64 (Steele et al. 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{assert_gradients, random};
    use candle_core::{DType, Device};

    #[test]
    fn the_share_dropped_is_the_probability_and_the_mean_stays() {
        let ones = Tensor::ones((300, 301), DType::F32, &Device::Cpu).unwrap();
        let mut dropout = Dropout::seeded(7);
        let y: Vec<f32> = dropout
            .apply(&ones, 0.1)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap();
        let dropped = y.iter().filter(|&&y| y == 0.0).count() as f64 / y.len() as f64;
        assert!((dropped - 0.1).abs() < 0.005, "{dropped}");
        assert!(y.iter().all(|&y| y == 0.0 || (y - 1.0 / 0.9).abs() < 1e-6));
        let again: Vec<f32> = dropout
            .apply(&ones, 0.1)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap();
        assert_ne!(y, again);
    }

    #[test]
    fn neighbors_and_masks_are_dropped_independently() {
        let kept = |mask: Mask| {
            let mut values = vec![1f32; 100_000];
            mask.multiply(&mut values, 0);
            values.into_iter().map(|value| value > 0.0).collect::<Vec<_>>()
        };
        let mut dropout = Dropout::seeded(11);
        let mut mask = || kept(dropout.next(0.5).unwrap());
        let (first, second) = (mask(), mask());
        let alike = |a: &[bool], b: &[bool]| {
            let pairs = a.iter().zip(b);
            pairs.filter(|(a, b)| a == b).count() as f64 / a.len().min(b.len()) as f64
        };
        for lag in [1, 2, 16, 384, 1536] {
            let share = alike(&first, &first[lag..]);
            assert!((share - 0.5).abs() < 0.01, "lag {lag}: {share}");
        }
        let share = alike(&first, &second);
        assert!((share - 0.5).abs() < 0.01, "{share}");
    }

    #[test]
    fn the_gradient_has_the_same_mask() {
        assert_gradients(&[random((5, 9), 1)], |v| Dropout::seeded(3).apply(&v[0], 0.4));
    }

    #[test]
    fn evaluation_drops_nothing() {
        let x = random((5, 9), 1);
        let y = Dropout::off().apply(&x, 0.9).unwrap();
        assert_eq!(y.id(), x.id());
    }
}
