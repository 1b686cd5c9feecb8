//! The subwords that a tokenizer splits words into.

use std::ops::Range;

use thiserror::Error;

use crate::span::WordIndex;

/// Subwords or labels that do not match the words of a text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AlignError {
    /// A subword belongs to an earlier word than its predecessor.
    #[error("subword {token} belongs to word {word}, after a subword of word {previous}")]
    OutOfOrder {
        /// The position of the subword.
        token: usize,
        /// The word that the subword belongs to.
        word: usize,
        /// The word that the previous subword belongs to.
        previous: usize,
    },
    /// A subword belongs to a word that does not exist.
    #[error("subword {token} belongs to word {word}, but there are {words} words")]
    NoSuchWord {
        /// The position of the subword.
        token: usize,
        /// The word that the subword belongs to.
        word: usize,
        /// The number of words.
        words: usize,
    },
}

/// The subwords of the words of a text, in order, without special tokens.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Subwords {
    ids: Vec<u32>,
    // Invariant: ascending from 0 to ids.len(). Word w has the subwords ids[starts[w]..starts[w + 1]], which may be empty.
    starts: Vec<usize>,
}

impl Subwords {
    /// The subwords of `words` words, from the ids and word ids of a tokenizer. Tokens without a word (special tokens) are
    /// left out.
    pub fn new(ids: &[u32], word_ids: &[Option<u32>], words: usize) -> Result<Self, AlignError> {
        let mut word_subwords = Vec::with_capacity(ids.len());
        let mut starts = Vec::with_capacity(words + 1);
        let mut previous = 0;
        for (token, (&id, word)) in ids.iter().zip(word_ids).enumerate() {
            let Some(word) = word.map(|w| w as usize) else {
                continue;
            };
            if word >= words {
                return Err(AlignError::NoSuchWord { token, word, words });
            }
            if word < previous {
                return Err(AlignError::OutOfOrder {
                    token,
                    word,
                    previous,
                });
            }
            previous = word;
            starts.resize(starts.len().max(word + 1), word_subwords.len());
            word_subwords.push(id);
        }
        starts.resize(words + 1, word_subwords.len());
        Ok(Self {
            ids: word_subwords,
            starts,
        })
    }

    /// Appends the words of `later`.
    pub fn append(&mut self, later: Self) {
        if self.word_count() == 0 {
            *self = later;
            return;
        }
        let subwords = self.ids.len();
        self.ids.extend(later.ids);
        self.starts
            .extend(later.starts.into_iter().skip(1).map(|start| subwords + start));
    }

    /// Appends subwords to the last word, unless there is none.
    pub fn extend_last(&mut self, ids: &[u32]) {
        if self.word_count() > 0
            && let Some(end) = self.starts.last_mut()
        {
            self.ids.extend_from_slice(ids);
            *end = self.ids.len();
        }
    }

    /// The number of words, including words without subwords.
    pub fn word_count(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The vocabulary ids of all subwords.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The positions of a word's subwords in [`Self::ids`]. Empty for a word that the tokenizer removed entirely.
    pub fn of_word(&self, word: WordIndex) -> Range<usize> {
        match (self.starts.get(word.0), self.starts.get(word.0 + 1)) {
            (Some(&start), Some(&end)) => start..end,
            _ => 0..0,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Four words. The second and the last have no subwords.
    pub(crate) fn sample() -> Subwords {
        // [CLS] | @ paul ##walk | (nothing) | n ' t | [SEP]
        let word_ids = [None, Some(0), Some(0), Some(0), Some(2), Some(2), Some(2), None];
        Subwords::new(&[101, 1, 2, 3, 4, 5, 6, 102], &word_ids, 4).unwrap()
    }

    #[test]
    fn words_without_subwords_keep_their_place() {
        let subwords = sample();
        let of: Vec<_> = (0..4).map(|w| subwords.of_word(WordIndex(w))).collect();
        assert_eq!(of, [0..3, 3..3, 3..6, 6..6]);
        assert_eq!(subwords.ids(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn words_are_appended_in_their_places() {
        let mut both = sample();
        both.append(sample());
        both.append(Subwords::default());
        let of: Vec<_> = (3..7).map(|w| both.of_word(WordIndex(w))).collect();
        assert_eq!((both.word_count(), both.ids().len()), (8, 12));
        assert_eq!(of, [6..6, 6..9, 9..9, 9..12]);
        both.extend_last(&[7, 8]);
        assert_eq!(both.of_word(WordIndex(7)), 12..14);
        let mut first = Subwords::default();
        first.extend_last(&[7]);
        first.append(sample());
        assert_eq!(first, sample());
    }
}
