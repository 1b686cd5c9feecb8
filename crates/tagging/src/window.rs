//! Windows over a text that is longer than the encoder's maximum length.

use std::ops::Range;

use thiserror::Error;

use crate::span::{WordIndex, WordSpan};
use crate::subwords::Subwords;

/// The maximum length of a window and of the overlap of two neighboring windows, in subwords without special tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowLimits {
    // Invariants: max_tokens >= 1; 2 * overlap_tokens <= max_tokens, so that a word is in at most two windows.
    max_tokens: usize,
    overlap_tokens: usize,
}

/// Limits with which windows cannot advance through a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WindowLimitsError {
    /// A window is empty, or the overlap is more than half of it.
    #[error(
        "windows of {max_tokens} tokens cannot overlap by {overlap_tokens}: the overlap must be at most half a window, and a window at least one token"
    )]
    Overlap {
        /// The requested window length.
        max_tokens: usize,
        /// The requested overlap.
        overlap_tokens: usize,
    },
    /// The special tokens fill a window.
    #[error(
        "{max_length} tokens have no room for text beside {specials} special tokens; the least is {}",
        specials + 1
    )]
    NoRoom {
        /// The requested window length, special tokens included.
        max_length: usize,
        /// How many of them are special tokens.
        specials: usize,
    },
}

impl WindowLimits {
    /// Limits of `max_tokens` per window and `overlap_tokens` per overlap, which must be at most half of `max_tokens`.
    pub fn new(max_tokens: usize, overlap_tokens: usize) -> Result<Self, WindowLimitsError> {
        if max_tokens == 0 || overlap_tokens > max_tokens / 2 {
            return Err(WindowLimitsError::Overlap {
                max_tokens,
                overlap_tokens,
            });
        }
        Ok(Self {
            max_tokens,
            overlap_tokens,
        })
    }

    /// The limits for an encoder of `max_length` positions, of which `specials` are special tokens. Windows overlap by a
    /// quarter.
    pub fn for_encoder(max_length: usize, specials: usize) -> Result<Self, WindowLimitsError> {
        if max_length <= specials {
            return Err(WindowLimitsError::NoRoom { max_length, specials });
        }
        let max_tokens = max_length - specials;
        Self::new(max_tokens, max_tokens / 4)
    }

    /// The maximum length of a window.
    pub fn max_tokens(self) -> usize {
        self.max_tokens
    }
}

/// A run of words that is passed to the encoder as one sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The words whose labels are read from this window. Each word of a text belongs to exactly one window.
    pub answers: WordSpan,
    /// The subwords of the window, as positions in [`Subwords::ids`].
    pub tokens: Range<usize>,
}

/// The windows that cover a text, in order. A text that fits into one window has one, which has no tokens if the text has
/// none.
///
/// Windows start and end at word boundaries. The label of a word in an overlap is read from the window in which the word
/// is farther from the edge. Of a word that is longer than a window, only the first subwords are encoded; its label is read
/// from the first.
pub fn windows(subwords: &Subwords, limits: WindowLimits) -> Vec<Window> {
    let words = subwords.word_count();
    let token_start = |word: usize| {
        if word < words {
            subwords.of_word(WordIndex(word)).start
        } else {
            subwords.ids().len()
        }
    };
    let mut planned: Vec<Window> = Vec::new();
    let (mut first_word, mut answer_from) = (0, 0);
    loop {
        let start = token_start(first_word);
        let mut end_word = (first_word + 1).min(words);
        while end_word < words && token_start(end_word + 1) - start <= limits.max_tokens {
            end_word += 1;
        }
        let end = token_start(end_word);
        let tokens = start..end.min(start + limits.max_tokens);
        if end_word == words {
            planned.extend(window(answer_from, words, tokens));
            return planned;
        }
        let mut next_word = end_word;
        while next_word > first_word + 1 && end - token_start(next_word - 1) <= limits.overlap_tokens {
            next_word -= 1;
        }
        let next_start = token_start(next_word);
        // After a word longer than half a window, all words of the overlap can belong to an earlier window already.
        let answer_to = (next_word..end_word)
            .find(|&word| token_start(word) - next_start > end - token_start(word + 1))
            .unwrap_or(end_word)
            .max(answer_from);
        if answer_to > answer_from {
            planned.extend(window(answer_from, answer_to, tokens));
        }
        (first_word, answer_from) = (next_word, answer_to);
    }
}

fn window(answer_from: usize, answer_to: usize, tokens: Range<usize>) -> Option<Window> {
    WordSpan::new(answer_from, answer_to).map(|answers| Window { answers, tokens })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(lengths: &[usize]) -> Subwords {
        let word_ids: Vec<Option<u32>> = lengths
            .iter()
            .enumerate()
            .flat_map(|(word, &n)| std::iter::repeat_n(Some(word as u32), n))
            .collect();
        let ids: Vec<u32> = (0..word_ids.len() as u32).collect();
        Subwords::new(&ids, &word_ids, lengths.len()).unwrap()
    }

    #[test]
    fn a_text_that_fits_is_one_window() {
        let planned = windows(&text(&[1, 2, 3]), WindowLimits::new(6, 3).unwrap());
        assert_eq!(planned.len(), 1);
        assert_eq!(planned[0].tokens, 0..6);
        assert_eq!(windows(&text(&[]), WindowLimits::new(6, 3).unwrap()).len(), 1);
    }

    #[test]
    fn the_overlap_is_shared_out_by_depth() {
        let planned = windows(&text(&[1; 10]), WindowLimits::new(6, 3).unwrap());
        let shown: Vec<_> = planned
            .iter()
            .map(|w| (w.tokens.clone(), w.answers.range()))
            .collect();
        assert_eq!(shown, [(0..6, 0..5), (3..9, 5..8), (6..10, 8..10)]);
    }

    #[test]
    fn limits_that_cannot_move_on_are_refused() {
        assert!(WindowLimits::new(0, 0).is_err());
        assert!(WindowLimits::new(5, 3).is_err());
        for max_length in 0..3 {
            let refused = WindowLimits::for_encoder(max_length, 2).unwrap_err();
            let expected =
                format!("{max_length} tokens have no room for text beside 2 special tokens; the least is 3");
            assert_eq!(refused.to_string(), expected);
        }
        assert!(WindowLimits::for_encoder(3, 2).is_ok());
    }

    proptest! {
        #[test]
        fn every_word_is_answered_once_from_a_window_that_holds_it(
            lengths in prop::collection::vec(0usize..9, 0..80),
            max_tokens in 1usize..20,
            overlap in 0usize..10,
        ) {
            let limits = WindowLimits::new(max_tokens, overlap.min(max_tokens / 2)).unwrap();
            let text = text(&lengths);
            let mut next = 0;
            for window in windows(&text, limits) {
                prop_assert_eq!(window.answers.start(), next);
                prop_assert!(window.tokens.len() <= max_tokens);
                for word in window.answers.range() {
                    let subwords = text.of_word(WordIndex(word));
                    prop_assert!(
                        subwords.is_empty() || window.tokens.contains(&subwords.start)
                    );
                }
                next = window.answers.end();
            }
            prop_assert_eq!(next, lengths.len());
        }
    }
}
