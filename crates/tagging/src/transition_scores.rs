//! The scores of transitions between labels that a model has learned.

use crate::tag::LabelId;

/// The scores that a linear-chain conditional random field (Lafferty et al. 2001) adds to the logits of a text's words: for
/// each pair of neighbors, and for the labels at the borders of the text.
#[derive(Clone, Debug, PartialEq)]
pub struct TransitionScores {
    labels: usize,
    /// Row-major, shape `[labels + 1, labels + 1]`, finite.
    scores: Vec<f32>,
}

impl TransitionScores {
    /// The scores of a model with so many labels, row-major: the row is the earlier label and the column the later one, and the
    /// row and the column behind those of the labels are the border of the text. `None` if the shape is not
    /// `[labels + 1, labels + 1]` or a score is not finite.
    pub fn new(scores: Vec<f32>, labels: usize) -> Option<Self> {
        let is_square = (labels + 1).checked_mul(labels + 1) == Some(scores.len());
        (is_square && scores.iter().all(|score| score.is_finite())).then_some(Self { labels, scores })
    }

    /// The scores, row-major, shape `[labels + 1, labels + 1]`.
    pub fn as_slice(&self) -> &[f32] {
        &self.scores
    }

    /// The score of a label that follows another one or, if that is `None`, begins the text.
    pub(crate) fn after(&self, previous: Option<usize>, next: usize) -> f64 {
        let row = previous.unwrap_or(self.labels);
        f64::from(self.scores[row * (self.labels + 1) + next])
    }

    /// The score of a label that ends the text.
    pub(crate) fn at_end(&self, label: LabelId) -> f64 {
        self.after(Some(label.0), self.labels)
    }
}
