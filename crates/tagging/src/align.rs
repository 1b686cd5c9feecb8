//! The positions of a window that carry the labels of words.

use std::ops::Range;

use crate::span::WordIndex;
use crate::subwords::{AlignError, Subwords};
use crate::tag::LabelId;
use crate::window::Window;

/// The subwords of a word that carry its label: they have a label in training, and their logits decide it in inference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubwordLabels {
    /// The first subword; the others are ignored.
    First,
    /// Every subword.
    All,
}

impl Subwords {
    /// The subwords that carry the label of a word, as positions in [`Self::ids`]. The word must be one of
    /// [`Window::answers`].
    ///
    /// Empty for a word without subwords. Subwords beyond the end of the window are left out.
    pub fn labeled_in_window(&self, word: WordIndex, window: &Window, which: SubwordLabels) -> Range<usize> {
        let subwords = self.of_word(word);
        let end = match which {
            SubwordLabels::First => subwords.end.min(subwords.start + 1),
            SubwordLabels::All => subwords.end,
        };
        subwords.start..end.min(window.tokens.end)
    }

    /// The label of each position of a window's token sequence, including special tokens. The loss ignores `None`.
    ///
    /// Only the words of [`Window::answers`] carry labels, so a word in the overlap of two windows is trained on once.
    /// `specials` is the number of special tokens before and after the window. An error if `labels` does not have one label per
    /// word.
    pub fn window_labels(
        &self,
        labels: &[LabelId],
        window: &Window,
        specials: (usize, usize),
        which: SubwordLabels,
    ) -> Result<Vec<Option<LabelId>>, AlignError> {
        if labels.len() != self.word_count() {
            return Err(AlignError::LabelCount {
                words: self.word_count(),
                labels: labels.len(),
            });
        }
        let (before, after) = specials;
        let mut positions = vec![None; before + window.tokens.len() + after];
        for word in window.answers.range() {
            for token in self.labeled_in_window(WordIndex(word), window, which) {
                positions[before + token - window.tokens.start] = Some(labels[word]);
            }
        }
        Ok(positions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subwords::tests::sample;
    use crate::window::{WindowLimits, windows};

    #[test]
    fn only_first_subwords_carry_labels() {
        let subwords = sample();
        let window = windows(&subwords, WindowLimits::new(16, 0).unwrap()).remove(0);
        let labels = [LabelId(1), LabelId(9), LabelId(2), LabelId(9)];
        let first = subwords
            .window_labels(&labels, &window, (1, 1), SubwordLabels::First)
            .unwrap();
        let shown: Vec<_> = first.iter().map(|l| l.map(|l| l.0)).collect();
        assert_eq!(shown, [None, Some(1), None, None, Some(2), None, None, None]);
        let all = subwords
            .window_labels(&labels, &window, (1, 1), SubwordLabels::All)
            .unwrap();
        assert_eq!(all.iter().flatten().count(), 6);
        assert_eq!(
            subwords.window_labels(&labels[..3], &window, (1, 1), SubwordLabels::First),
            Err(AlignError::LabelCount { words: 4, labels: 3 })
        );
    }

    #[test]
    fn impossible_word_ids_are_errors() {
        assert!(matches!(
            Subwords::new(&[1, 2], &[Some(1), Some(0)], 2),
            Err(AlignError::OutOfOrder { token: 1, .. })
        ));
        assert!(matches!(
            Subwords::new(&[1], &[Some(2)], 2),
            Err(AlignError::NoSuchWord { word: 2, .. })
        ));
    }
}
