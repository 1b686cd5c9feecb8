//! The positions of a window that carry the labels of words.

use std::ops::Range;

use crate::span::WordIndex;
use crate::subwords::Subwords;
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

    /// The word that each position of a window's token sequence carries the label of, special tokens included; `None` where it
    /// carries none.
    ///
    /// Only the words of [`Window::answers`] have such positions, so a word in the overlap of two windows is trained on once.
    /// `specials` is the number of special tokens before and after the window.
    pub fn labeled_words(
        &self,
        window: &Window,
        specials: (usize, usize),
        which: SubwordLabels,
    ) -> Vec<Option<WordIndex>> {
        let (before, after) = specials;
        let mut positions = vec![None; before + window.tokens.len() + after];
        for word in window.answers.range().map(WordIndex) {
            for token in self.labeled_in_window(word, window, which) {
                positions[before + token - window.tokens.start] = Some(word);
            }
        }
        positions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subwords::AlignError;
    use crate::subwords::tests::sample;
    use crate::window::{WindowLimits, windows};

    #[test]
    fn only_first_subwords_carry_labels() {
        let subwords = sample();
        let window = windows(&subwords, WindowLimits::new(16, 0).unwrap()).remove(0);
        let first = subwords.labeled_words(&window, (1, 1), SubwordLabels::First);
        let shown: Vec<_> = first.iter().map(|word| word.map(|word| word.0)).collect();
        assert_eq!(shown, [None, Some(0), None, None, Some(2), None, None, None]);
        let all = subwords.labeled_words(&window, (1, 1), SubwordLabels::All);
        assert_eq!(all.iter().flatten().count(), 6);
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
