//! The original study's token metric, computed exactly as it was.

use nerve_tagging::SubwordLabels;
use serde::{Deserialize, Serialize};

use super::{CheckpointTagger, Tagger, TaggerError};
use crate::corpus::Corpus;
use crate::ops::values;
use crate::train::{Example, examples, pack};

/// Windows of a forward pass.
const PASS_WINDOWS: usize = 16;

/// Accuracy, and precision, recall and F1 of each class weighted by how often it is right, over all positions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightedFigures {
    /// Share of positions with the right class; the weighted recall is the same number.
    pub accuracy: f64,
    /// Weighted precision.
    pub precision: f64,
    /// Weighted F1.
    pub f1: f64,
}

/// How often each label was given where each was right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenConfusion {
    labels: usize,
    // Invariant: labels * labels counts, row = right label, column = given label.
    counts: Vec<u64>,
}

impl TokenConfusion {
    /// No token of so many labels.
    pub fn new(labels: usize) -> Self {
        Self {
            labels,
            counts: vec![0; labels * labels],
        }
    }

    /// Counts one token; labels that are none are left out.
    pub fn add(&mut self, right: usize, given: usize) {
        if right < self.labels && given < self.labels {
            self.counts[right * self.labels + given] += 1;
        }
    }

    /// Tokens counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The figures over the counted tokens, `specials` positions that are wrong whatever is given, and `padding`
    /// positions that are right as `outside`.
    ///
    /// This is scikit-learn's `average="weighted"` on arrays in which special tokens have the label -100, which no tagger
    /// gives, and the padding of labels is the id of `O`. It flatters: on WNUT-17, answering `O` everywhere scores 0.934.
    pub fn weighted(&self, specials: u64, padding: u64, outside: usize) -> WeightedFigures {
        let count = |right: usize, given: usize| {
            let padded = if right == outside && given == outside {
                padding
            } else {
                0
            };
            self.counts[right * self.labels + given] + padded
        };
        // What special tokens are given decides which class loses precision; `O`, which nearly all of them get.
        let given = |label: usize| -> u64 {
            let of_special = if label == outside { specials } else { 0 };
            (0..self.labels).map(|right| count(right, label)).sum::<u64>() + of_special
        };
        let total = (self.total() + specials + padding) as f64;
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

/// The original study's figures of a tagger, and of one that answers `O` everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PaddedEvaluation {
    /// The tagger's.
    pub tagger: WeightedFigures,
    /// Those of answering `O` everywhere.
    pub outside: WeightedFigures,
}

/// How many positions windows have when each is padded to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Positions {
    /// With a label.
    pub(crate) labelled: u64,
    /// Of tokens without one.
    pub(crate) others: u64,
    /// Of padding.
    pub(crate) padding: u64,
}

impl Positions {
    /// The positions of these windows.
    pub(crate) fn of(examples: &[Example]) -> Self {
        let tokens: usize = examples.iter().map(|example| example.ids.len()).sum();
        let labelled: usize = examples.iter().map(|example| example.labelled.len()).sum();
        let longest = examples
            .iter()
            .map(|example| example.ids.len())
            .max()
            .unwrap_or_default();
        Self {
            labelled: labelled as u64,
            others: (tokens - labelled) as u64,
            padding: (longest * examples.len() - tokens) as u64,
        }
    }
}

/// The original study's figures of a checkpoint on a corpus, every subword labelled.
pub fn evaluate_padded(tagger: &CheckpointTagger, corpus: &Corpus) -> Result<PaddedEvaluation, TaggerError> {
    let labels = tagger.labels();
    let outside = labels.parse("O").map_or(0, |label| label.0);
    let examples = examples(
        corpus,
        tagger.encoder(),
        labels,
        tagger.limits(),
        SubwordLabels::All,
    )
    .map_err(|error| TaggerError::Example(Box::new(error)))?;
    let (mut found, mut all_outside) = (
        TokenConfusion::new(labels.len()),
        TokenConfusion::new(labels.len()),
    );
    let by_reference: Vec<&Example> = examples.iter().collect();
    for pass in by_reference.chunks(PASS_WINDOWS) {
        let (packed, targets) = pack(pass);
        let logits = tagger.network().logits(&packed)?;
        let logits = values(&logits)?;
        for (&token, &label) in targets.tokens.iter().zip(&targets.labels) {
            let row = &logits[token as usize * labels.len()..][..labels.len()];
            let best = (0..row.len()).reduce(|best, at| if row[at] > row[best] { at } else { best });
            found.add(label as usize, best.unwrap_or(outside));
            all_outside.add(label as usize, outside);
        }
    }
    let positions = Positions::of(&examples);
    let figures =
        |confusion: TokenConfusion| confusion.weighted(positions.others, positions.padding, outside);
    Ok(PaddedEvaluation {
        tagger: figures(found),
        outside: figures(all_outside),
    })
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
        let found = confusion.weighted(specials, outside, 0);
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
        let found = confusion.weighted(0, 0, 0);
        assert_eq!(confusion.total(), 6);
        assert!((found.accuracy - 4.0 / 6.0).abs() < 1e-12);
        let precision = 0.5 * 2.0 / 3.0 + 1.0 / 3.0 * 0.5 + 1.0 / 6.0;
        assert!((found.precision - precision).abs() < 1e-12);
        let f1 = 0.5 * 4.0 / 6.0 + 1.0 / 3.0 * 0.5 + 1.0 / 6.0;
        assert!((found.f1 - f1).abs() < 1e-12);
    }
}
