//! Training examples: tokenized windows of sentences with their labels.

use nerve_inference::{TextTokenizer, TokenizerError};
use nerve_tagging::{AlignError, LabelId, LabelSet, SubwordLabels, WindowLimits, windows};
use thiserror::Error;

use crate::model::gradients::Targets;
use crate::model::packed::Packed;
use nerve_corpus::{Corpus, CorpusError};

/// Why a sentence cannot become an example.
#[derive(Debug, Error)]
pub enum ExampleError {
    /// The corpus is invalid.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The tokenizer failed.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The words and the labels do not match.
    #[error(transparent)]
    Align(#[from] AlignError),
}

/// One tokenized window of a sentence, with the labels of its labeled tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// The index of the sentence, counted from 0.
    pub sentence: usize,
    /// The index of the window in the sentence, counted from 0.
    pub window: usize,
    /// The token ids, special tokens included.
    pub ids: Vec<u32>,
    /// The position and the label of each labeled token.
    pub labeled: Vec<(u32, u32)>,
}

/// The windows of all sentences of a corpus that contain a labeled token. A long sentence yields several windows; it
/// is never truncated.
pub fn examples(
    corpus: &Corpus,
    tokenizer: &TextTokenizer,
    labels: &LabelSet,
    limits: WindowLimits,
    labeled: SubwordLabels,
) -> Result<Vec<Example>, ExampleError> {
    let mut examples: Vec<Example> = Vec::with_capacity(corpus.sentences.len());
    for (index, sentence) in corpus.sentences.iter().enumerate() {
        let label = |(word, tag): (usize, &String)| {
            labels
                .parse(tag)
                .ok_or_else(|| corpus.error_at(index, word, format!("the labels have no `{tag}`")))
        };
        let word_labels = sentence
            .tags
            .iter()
            .enumerate()
            .map(label)
            .collect::<Result<Vec<LabelId>, _>>()?;
        let subwords = tokenizer.encode_words(&sentence.words)?;
        for (number, window) in windows(&subwords, limits).into_iter().enumerate() {
            let at = subwords.window_labels(&word_labels, &window, tokenizer.specials(), labeled)?;
            let labeled: Vec<(u32, u32)> = (0u32..)
                .zip(at)
                .filter_map(|(position, label)| Some((position, u32::try_from(label?.0).ok()?)))
                .collect();
            if !labeled.is_empty() {
                let ids = tokenizer.window_ids(&subwords, &window);
                examples.push(Example {
                    sentence: index,
                    window: number,
                    ids,
                    labeled,
                });
            }
        }
    }
    Ok(examples)
}

/// Packs examples for one pass through the network, with their target labels.
pub(super) fn pack(examples: &[&Example]) -> (Packed, Targets) {
    let mut targets = Targets::default();
    let mut start = 0;
    for example in examples {
        for (position, label) in &example.labeled {
            targets.tokens.push(start + position);
            targets.labels.push(*label);
        }
        start += example.ids.len() as u32;
    }
    (Packed::new(examples.iter().map(|example| &example.ids)), targets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(length: usize, labeled: &[(u32, u32)]) -> Example {
        Example {
            ids: vec![7; length],
            labeled: labeled.to_vec(),
            ..Example::default()
        }
    }

    #[test]
    fn targets_move_with_their_example() {
        let (a, b) = (example(4, &[(1, 5), (2, 0)]), example(3, &[(1, 6)]));
        let (packed, targets) = pack(&[&a, &b]);
        assert_eq!(packed.ids().len(), 7);
        assert_eq!(targets.tokens, [1, 2, 5]);
        assert_eq!(targets.labels, [5, 0, 6]);
    }

    fn tokenizer_and_corpus(text: &str) -> (TextTokenizer, Corpus) {
        let dir = tempfile::tempdir().unwrap();
        let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n";
        std::fs::write(dir.path().join("vocab.txt"), vocabulary).unwrap();
        let path = dir.path().join("x.conll");
        std::fs::write(&path, text).unwrap();
        (
            TextTokenizer::open_dir(dir.path()).unwrap(),
            Corpus::read(&path).unwrap(),
        )
    }

    #[test]
    fn a_long_sentence_keeps_every_label() {
        let (tokenizer, corpus) = tokenizer_and_corpus(&"a\tB-x\n".repeat(50));
        let labels = LabelSet::iob2(["x"]).unwrap();
        let limits = WindowLimits::for_encoder(18, 2).unwrap();
        let made = examples(&corpus, &tokenizer, &labels, limits, SubwordLabels::First).unwrap();
        assert!(made.len() > 3 && made.iter().all(|e| e.ids.len() <= 18));
        assert_eq!(made.iter().map(|e| e.labeled.len()).sum::<usize>(), 50);
        // A word that is in two windows is labeled in only one of them.
        let every = examples(&corpus, &tokenizer, &labels, limits, SubwordLabels::All).unwrap();
        assert_eq!(every.iter().map(|e| e.labeled.len()).sum::<usize>(), 50);
        let unknown = LabelSet::iob2(["y"]).unwrap();
        let error = examples(&corpus, &tokenizer, &unknown, limits, SubwordLabels::First).unwrap_err();
        assert!(
            error.to_string().contains("x.conll:1: the labels have no `B-x`"),
            "{error}"
        );
    }
    #[test]
    fn a_word_without_subwords_has_no_loss() {
        let (tokenizer, corpus) = tokenizer_and_corpus("a\tB-x\n\u{200b}\tI-x\na\tI-x\n\n\u{ad}\tO\n");
        let labels = LabelSet::iob2(["x"]).unwrap();
        let limits = WindowLimits::for_encoder(18, 2).unwrap();
        let made = examples(&corpus, &tokenizer, &labels, limits, SubwordLabels::First).unwrap();
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].labeled, [(1, 1), (2, 2)]);
    }
}
