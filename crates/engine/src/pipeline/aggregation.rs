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

    /// What makes one row of logits per word from the rows of its tokens; `None` if they are the same.
    fn combine(self) -> Option<Combine> {
        match self {
            Self::None | Self::Simple | Self::First => None,
            Self::Average => Some(average),
            Self::Max => Some(surest),
        }
    }
}

/// Appends the row of a word to the last argument, from the rows of its tokens, which are as wide as the second argument says.
type Combine = fn(&[f32], usize, &mut Vec<f32>);

/// One row of logits per word, made in steps from the rows of the tokens that are read.
pub(crate) struct WordRows {
    aggregation: Aggregation,
    /// The rows of the tokens.
    logits: Vec<f32>,
    /// The tokens of each word that has a row.
    lengths: Vec<u32>,
    /// The words and tokens that are combined.
    done: (usize, usize),
    combined: Vec<f32>,
}

impl WordRows {
    /// The rows of words of these lengths, in tokens; words without a token have none.
    pub(crate) fn new(
        aggregation: Aggregation,
        logits: Vec<f32>,
        lengths: impl Iterator<Item = usize>,
    ) -> Self {
        let lengths = match aggregation.combine() {
            Some(_) => lengths
                .filter(|&length| length > 0)
                .map(|length| length as u32)
                .collect(),
            None => Vec::new(),
        };
        Self {
            aggregation,
            logits,
            lengths,
            done: (0, 0),
            combined: Vec::new(),
        }
    }

    /// Combines the rows of about so many tokens. True once all are combined.
    pub(crate) fn step(&mut self, width: usize, tokens: usize) -> bool {
        let Some(combine) = self.aggregation.combine() else {
            return true;
        };
        let end = self.done.1.saturating_add(tokens);
        while let Some(&length) = self.lengths.get(self.done.0).filter(|_| self.done.1 < end) {
            let next = self.done.1 + length as usize;
            let rows = self.logits.get(self.done.1 * width..next * width);
            combine(rows.unwrap_or_default(), width, &mut self.combined);
            self.done = (self.done.0 + 1, next);
        }
        self.done.0 == self.lengths.len()
    }

    /// The rows, once all are combined.
    pub(crate) fn finish(self) -> Vec<f32> {
        match self.aggregation.combine() {
            Some(_) => self.combined,
            None => self.logits,
        }
    }
}

/// The logarithms of the mean probabilities, which are logits of these probabilities.
fn average(rows: &[f32], width: usize, combined: &mut Vec<f32>) {
    let mut mean = vec![0.0; width];
    for row in rows.chunks_exact(width) {
        for (sum, probability) in mean.iter_mut().zip(softmax(row)) {
            *sum += probability;
        }
    }
    let tokens = (rows.len() / width) as f64;
    // Never the logarithm of 0, from which no sequence of labels recovers.
    let logit = |sum: &f64| (sum / tokens).max(f64::MIN_POSITIVE).ln() as f32;
    combined.extend(mean.iter().map(logit));
}

/// The row with the highest probability of any label; the first of equal ones.
fn surest(rows: &[f32], width: usize, combined: &mut Vec<f32>) {
    let mut best: (&[f32], f64) = (&[], f64::NEG_INFINITY);
    for row in rows.chunks_exact(width) {
        let highest = softmax(row).fold(f64::NEG_INFINITY, f64::max);
        if highest > best.1 {
            best = (row, highest);
        }
    }
    combined.extend_from_slice(best.0);
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
    /// The rows of words of two labels, combined in the smallest steps.
    fn combined(aggregation: Aggregation, logits: Vec<f32>, lengths: &[usize]) -> Vec<f32> {
        let mut rows = WordRows::new(aggregation, logits, lengths.iter().copied());
        while !rows.step(2, 1) {}
        rows.finish()
    }

    const ROWS: [f32; 6] = [1.0, 0.0, 0.0, 3.0, 2.0, 0.0];

    #[test]
    fn words_get_the_row_their_tokens_decide() {
        let words = |aggregation| combined(aggregation, ROWS.to_vec(), &[2, 0, 1]);
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
        let words = combined(Aggregation::Average, vec![f32::MAX, f32::MIN], &[1]);
        assert!(words.iter().all(|logit| logit.is_finite()), "{words:?}");
    }
}
