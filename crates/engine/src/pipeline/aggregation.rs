//! How a word of several subwords gets one row of logits.

use clap::ValueEnum;
use nerve_tagging::Decoding;
use serde::Deserialize;
use utoipa::ToSchema;

/// What is labeled, and by which tokens.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Hash, ToSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[schema(as = AggregationOption)]
pub enum Aggregation {
    /// Tokens, each by itself.
    None,
    /// Tokens; neighbors of one entity are joined.
    Simple,
    /// Words, by their first token.
    // Training labels the first token of a word.
    #[default]
    First,
    /// Words, by the mean of their tokens' probabilities.
    Average,
    /// Words, by their surest token.
    Max,
}

/// How labels are decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DecodingOptions {
    /// What is labeled, and by which tokens.
    pub aggregation: Aggregation,
    /// Whether the labels must form a valid sequence.
    pub decoding: Decoding,
}

impl Aggregation {
    /// Whether tokens are labeled rather than words.
    pub(crate) fn is_of_tokens(self) -> bool {
        match self {
            Self::None | Self::Simple => true,
            Self::First | Self::Average | Self::Max => false,
        }
    }

    /// Whether all tokens of a word decide its label, rather than the first.
    pub(crate) fn reads_all(self) -> bool {
        match self {
            Self::None | Self::Simple | Self::First => false,
            Self::Average | Self::Max => true,
        }
    }

    /// One row of logits per word. `logits` has a row for each token that is read; `lengths` has the number of these
    /// tokens of each word.
    pub(crate) fn words(
        self,
        logits: Vec<f32>,
        width: usize,
        lengths: impl Iterator<Item = usize>,
    ) -> Vec<f32> {
        let combine = match self {
            Self::None | Self::Simple | Self::First => return logits,
            Self::Average => average,
            Self::Max => surest,
        };
        let mut combined = Vec::new();
        let mut rest = logits.as_slice();
        for length in lengths.filter(|&length| length > 0) {
            let (word, later) = rest.split_at_checked(length * width).unwrap_or((rest, &[]));
            combined.extend(combine(word, width));
            rest = later;
        }
        combined
    }
}

/// The logarithms of the mean probabilities, which are logits of these probabilities.
fn average(rows: &[f32], width: usize) -> Vec<f32> {
    let mut mean = vec![0.0; width];
    for row in rows.chunks_exact(width) {
        for (sum, probability) in mean.iter_mut().zip(softmax(row)) {
            *sum += probability;
        }
    }
    let tokens = (rows.len() / width) as f64;
    // Never the logarithm of 0, from which no sequence of labels recovers.
    mean.iter()
        .map(|sum: &f64| (sum / tokens).max(f64::MIN_POSITIVE).ln() as f32)
        .collect()
}

/// The row with the highest probability of any label; the first of equal ones.
fn surest(rows: &[f32], width: usize) -> Vec<f32> {
    let mut best: (&[f32], f64) = (&[], f64::NEG_INFINITY);
    for row in rows.chunks_exact(width) {
        let highest = softmax(row).fold(f64::NEG_INFINITY, f64::max);
        if highest > best.1 {
            best = (row, highest);
        }
    }
    best.0.to_vec()
}

fn softmax(row: &[f32]) -> impl Iterator<Item = f64> {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = move |&logit: &f32| (f64::from(logit) - f64::from(largest)).exp();
    let total: f64 = row.iter().map(exp).sum();
    row.iter().map(move |logit| exp(logit) / total)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A word of two tokens and a word of one, over two labels.
    const ROWS: [f32; 6] = [1.0, 0.0, 0.0, 3.0, 2.0, 0.0];

    #[test]
    fn words_get_the_row_their_tokens_decide() {
        let words = |aggregation: Aggregation| aggregation.words(ROWS.to_vec(), 2, [2, 0, 1].into_iter());
        assert_eq!(words(Aggregation::Max), [0.0, 3.0, 2.0, 0.0]);
        let mean: Vec<f32> = words(Aggregation::Average)
            .iter()
            .map(|logit| logit.exp())
            .collect();
        // The mean of softmax(1, 0) and softmax(0, 3), then softmax(2, 0).
        for (found, expected) in mean.iter().zip([0.389_24, 0.610_76, 0.880_8, 0.119_2]) {
            assert!((found - expected).abs() < 1e-4, "{mean:?}");
        }
        assert_eq!(words(Aggregation::First), ROWS);
    }

    #[test]
    fn impossible_labels_stay_finite() {
        let words = Aggregation::Average.words(vec![f32::MAX, f32::MIN], 2, [1].into_iter());
        assert!(words.iter().all(|logit| logit.is_finite()), "{words:?}");
    }
}
