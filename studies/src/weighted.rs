//! Accuracy and weighted precision, recall and F1 over every subword, special token and padding position.

use serde::{Deserialize, Serialize};

/// Accuracy, and precision and F1 of each class weighted by its number of positions, over all positions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightedFigures {
    /// Fraction of positions with the correct class; the weighted recall is the same number.
    pub accuracy: f64,
    /// Weighted precision.
    pub precision: f64,
    /// Weighted F1.
    pub f1: f64,
}

/// Figures averaged over batches, as the original study averaged them over those of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct MeanFigures {
    batches: usize,
    accuracy: f64,
    precision: f64,
    f1: f64,
}

impl MeanFigures {
    /// Adds a batch.
    pub(crate) fn add(&mut self, batch: WeightedFigures) {
        self.batches += 1;
        self.accuracy += batch.accuracy;
        self.precision += batch.precision;
        self.f1 += batch.f1;
    }

    /// The mean; `None` of no batch.
    pub(crate) fn mean(&self) -> Option<WeightedFigures> {
        let count = self.batches as f64;
        (self.batches > 0).then(|| WeightedFigures {
            accuracy: self.accuracy / count,
            precision: self.precision / count,
            f1: self.f1 / count,
        })
    }
}

/// How often each label was given to positions of each gold label and to special tokens, and the number of padding positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenConfusion {
    labels: usize,
    // Invariant: labels * labels counts, row = right label, column = given label.
    counts: Vec<u64>,
    // Invariant: labels counts, of each given label.
    specials: Vec<u64>,
    padding: u64,
}

impl TokenConfusion {
    /// No token of so many labels.
    pub(crate) fn new(labels: usize) -> Self {
        Self {
            labels,
            counts: vec![0; labels * labels],
            specials: vec![0; labels],
            padding: 0,
        }
    }

    /// Counts one token; labels that are none are left out.
    pub(crate) fn add(&mut self, right: usize, given: usize) {
        if right < self.labels && given < self.labels {
            self.counts[right * self.labels + given] += 1;
        }
    }

    /// Counts one special token.
    pub(crate) fn add_special(&mut self, given: usize) {
        if let Some(count) = self.specials.get_mut(given) {
            *count += 1;
        }
    }

    /// Counts padding that the tagger has not seen: it is taken to be right.
    pub(crate) fn add_padding(&mut self, positions: usize) {
        self.padding += positions as u64;
    }

    /// Tokens with a right label.
    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The figures over all positions. Special tokens are wrong whatever label they are given; padding counts as correctly
    /// `outside`.
    ///
    /// This is scikit-learn's `average="weighted"` on arrays in which special tokens have the label -100, which no tagger
    /// gives, and the padding of labels is the id of `O`. It flatters: on WNUT-17, answering `O` everywhere scores 0.934.
    pub(crate) fn weighted(&self, outside: usize) -> WeightedFigures {
        let count = |right: usize, given: usize| {
            let padded = if right == outside && given == outside {
                self.padding
            } else {
                0
            };
            self.counts[right * self.labels + given] + padded
        };
        let given = |label: usize| -> u64 {
            (0..self.labels).map(|right| count(right, label)).sum::<u64>() + self.specials[label]
        };
        let specials: u64 = self.specials.iter().sum();
        let total = (self.total() + specials + self.padding) as f64;
        let (mut accuracy, mut precision, mut f1) = (0.0, 0.0, 0.0);
        for label in 0..self.labels {
            let right: u64 = (0..self.labels).map(|given| count(label, given)).sum();
            let both = count(label, label) as f64;
            let (right, given) = (right as f64, given(label) as f64);
            accuracy += both / total;
            if given > 0.0 {
                precision += right / total * (both / given);
            }
            if right + given > 0.0 {
                f1 += right / total * (2.0 * both / (right + given));
            }
        }
        WeightedFigures {
            accuracy,
            precision,
            f1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answering_o_everywhere_scores_what_the_study_reports() {
        // WNUT-17 train: 3,394 sentences padded to 75 positions, 243,271 of which are O or padding.
        let mut confusion = TokenConfusion::new(2);
        let (positions, outside, specials) = (254_550u64, 243_271u64, 2 * 3_394u64);
        let entities = positions - outside - specials;
        for _ in 0..entities {
            confusion.add(1, 0);
        }
        for _ in 0..specials {
            confusion.add_special(0);
        }
        confusion.add_padding(outside as usize);
        let found = confusion.weighted(0);
        assert_eq!(
            [found.accuracy, found.precision, found.f1].map(|x| (x * 1e5).round()),
            [95_569.0, 91_334.0, 93_404.0]
        );
    }

    #[test]
    fn the_weights_are_how_often_each_label_is_right() {
        let mut confusion = TokenConfusion::new(3);
        for (right, given) in [(0, 0), (0, 0), (0, 1), (1, 1), (1, 0), (2, 2), (9, 0)] {
            confusion.add(right, given);
        }
        let found = confusion.weighted(0);
        assert_eq!(confusion.total(), 6);
        assert!((found.accuracy - 4.0 / 6.0).abs() < 1e-12);
        let precision = 0.5 * 2.0 / 3.0 + 1.0 / 3.0 * 0.5 + 1.0 / 6.0;
        assert!((found.precision - precision).abs() < 1e-12);
        let f1 = 0.5 * 4.0 / 6.0 + 1.0 / 3.0 * 0.5 + 1.0 / 6.0;
        assert!((found.f1 - f1).abs() < 1e-12);
    }

    /// The figures are scikit-learn's, of `y_true = [-100, 0, 1, 2, 0, 0, -100]` and `y_pred = [0, 0, 1, 0, 0, 2, 1]`.
    #[test]
    fn special_tokens_take_precision_from_what_they_are_given() {
        let mut confusion = TokenConfusion::new(3);
        for (right, given) in [(0, 0), (1, 1), (2, 0), (0, 0), (0, 2)] {
            confusion.add(right, given);
        }
        confusion.add_special(0);
        confusion.add_special(1);
        let found = confusion.weighted(0);
        for (found, expected) in [
            (found.accuracy, 0.428_571_428_571),
            (found.precision, 0.285_714_285_714),
            (found.f1, 0.340_136_054_422),
        ] {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }

    #[test]
    fn batches_are_averaged_not_pooled() {
        let mut mean = MeanFigures::default();
        assert_eq!(mean.mean(), None);
        for accuracy in [0.5, 1.0] {
            mean.add(WeightedFigures {
                accuracy,
                precision: accuracy,
                f1: 0.25,
            });
        }
        let found = mean.mean().unwrap();
        assert_eq!([found.accuracy, found.precision, found.f1], [0.75, 0.75, 0.25]);
    }
}
