//! The paired bootstrap: how sure a difference of entity F1 is (Koehn 2004, *Statistical Significance Tests for Machine Translation
//! Evaluation*).

use nerve_tagging::Counts;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

/// The share of the resampled differences that lie below the interval, and above it.
const TAIL: f64 = 0.025;

/// The p-value below which a difference is significant.
const LEVEL: f64 = 0.05;

/// How often and from which seed sentences are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bootstrap {
    /// Resamples of the corpus.
    pub resamples: usize,
    /// Seed.
    pub seed: u64,
}

/// The difference of the entity F1 of two systems, as fractions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The difference on the whole corpus.
    pub f1: f64,
    /// The lower end of its 95% interval.
    pub low: f64,
    /// The upper end of its 95% interval.
    pub high: f64,
    /// The two-sided p-value: twice the share of the resamples whose difference is 0 or has the less frequent sign, the corpus
    /// itself counted as one of them; at most 1.
    pub p: f64,
}

impl Difference {
    /// Whether the p-value is below 0.05.
    pub fn is_significant(&self) -> bool {
        self.p < LEVEL
    }
}

impl Bootstrap {
    /// The difference of the F1 of `other` from that of `one`, each given as the counts of every sentence for every model.
    ///
    /// Each resample draws as many sentences as there are, with replacement, the same for both systems. The F1 of a system of
    /// several models, such as those of several seeds, is the mean of theirs; each resample draws its models with replacement
    /// as well, so that the interval has the spread of the seeds in it.
    pub fn difference(&self, one: &[Vec<Counts>], other: &[Vec<Counts>]) -> Difference {
        let sentences = one.iter().chain(other).map(Vec::len).min().unwrap_or(0);
        let all: Vec<usize> = (0..sentences).collect();
        let whole = |system: &[Vec<Counts>]| mean(system.iter().map(|model| f1(model, &all)));
        let mut generator = StdRng::seed_from_u64(self.seed);
        let mut drawn = vec![0; sentences];
        let mut differences: Vec<f64> = (0..self.resamples)
            .map(|_| {
                for sentence in &mut drawn {
                    *sentence = generator.random_range(0..sentences);
                }
                let mut resampled = |system: &[Vec<Counts>]| {
                    let scores: Vec<f64> = system.iter().map(|model| f1(model, &drawn)).collect();
                    mean(
                        scores
                            .iter()
                            .map(|_| scores[generator.random_range(0..scores.len())]),
                    )
                };
                resampled(other) - resampled(one)
            })
            .collect();
        differences.sort_by(f64::total_cmp);
        let below = differences
            .iter()
            .filter(|difference| **difference <= 0.0)
            .count();
        let above = differences
            .iter()
            .filter(|difference| **difference >= 0.0)
            .count();
        // The observed corpus counts as one of the resamples, so that p is never 0 (Davison and Hinkley 1997).
        let tail = (1 + below.min(above)) as f64 / (1 + differences.len()) as f64;
        let quantile = |share: f64| {
            let at = share * differences.len().saturating_sub(1) as f64;
            differences.get(at.round() as usize).copied().unwrap_or(f64::NAN)
        };
        Difference {
            f1: whole(other) - whole(one),
            low: quantile(TAIL),
            high: quantile(1.0 - TAIL),
            p: (2.0 * tail).min(1.0),
        }
    }
}

/// The F1 of the sentences at these indices.
fn f1(counts: &[Counts], sentences: &[usize]) -> f64 {
    let mut sum = Counts::default();
    for &sentence in sentences {
        let of = &counts[sentence];
        sum.gold += of.gold;
        sum.predicted += of.predicted;
        sum.correct += of.correct;
    }
    sum.prf().f1
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOTSTRAP: Bootstrap = Bootstrap {
        resamples: 2000,
        seed: 7,
    };

    /// A model that finds the gold entity of the sentences that the function names, of 400.
    fn model(finds: impl Fn(usize) -> bool) -> Vec<Counts> {
        let sentence = |at: usize| Counts {
            gold: 1,
            predicted: 1,
            correct: usize::from(finds(at)),
        };
        (0..400).map(sentence).collect()
    }

    #[test]
    fn equal_models_do_not_differ_and_a_clear_difference_is_real() {
        let half = [model(|at| at % 2 == 0)];
        let same = BOOTSTRAP.difference(&half, &half);
        assert_eq!((same.f1, same.low, same.high, same.p), (0.0, 0.0, 0.0, 1.0));
        let better = [model(|at| at % 2 == 0 || at % 5 == 1)];
        let found = BOOTSTRAP.difference(&half, &better);
        assert!((found.f1 - 0.1).abs() < 1e-12 && found.p < 0.01, "{found:?}");
        // Of 400 draws 10% are gains: the standard error of the share is 0.015.
        assert!(
            (found.low - 0.071).abs() < 0.008 && (found.high - 0.13).abs() < 0.008,
            "{found:?}"
        );
        assert_eq!(BOOTSTRAP.difference(&better, &half).f1, -found.f1);
    }

    #[test]
    fn a_difference_as_large_as_its_error_is_not_real() {
        // One system is better in 21 sentences, the other in 19.
        let one = [model(|at| at % 10 != 1 || at > 200)];
        let other = [model(|at| at % 10 != 2 || at < 212)];
        let found = BOOTSTRAP.difference(&one, &other);
        assert!(found.f1 > 0.0 && found.low < 0.0 && found.p > 0.3, "{found:?}");
        // The sentences are drawn for both alike: were they not, the interval would be wider.
        assert!(found.high - found.low < 0.07, "{found:?}");
    }

    #[test]
    fn the_spread_of_the_models_widens_the_interval_and_the_seed_decides_the_draws() {
        let one = [model(|at| at % 2 == 0)];
        let others = [model(|at| at % 2 == 0), model(|at| at % 4 != 1)];
        let mean = [
            model(|at| at % 2 == 0 || at % 8 == 1),
            model(|at| at % 2 == 0 || at % 8 == 1),
        ];
        let width = |other: &[Vec<Counts>]| {
            let found = BOOTSTRAP.difference(&one, other);
            assert!((found.f1 - 0.125).abs() < 1e-12);
            found.high - found.low
        };
        assert!(width(&others) > 1.5 * width(&mean));
        let seeded = |seed| Bootstrap { seed, ..BOOTSTRAP }.difference(&one, &others);
        assert_eq!(seeded(1), seeded(1));
        assert_ne!(seeded(1), seeded(2));
    }
}
