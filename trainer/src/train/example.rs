//! Training examples: tokenized windows of sentences with their labels.

use nerve_inference::{TextTokenizer, TokenizerError};
use nerve_tagging::{
    AlignError, LabelId, LabelSet, SubwordLabels, Subwords, WindowLimits, WordIndex, windows,
};
use thiserror::Error;

use crate::model::packed::Packed;
use crate::train::targets::{LabeledRun, Targets};
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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Example {
    /// The index of the sentence, counted from 0.
    pub sentence: usize,
    /// The index of the window in the sentence, counted from 0.
    pub window: usize,
    /// The token ids, special tokens included.
    pub ids: Vec<u32>,
    /// The position and the label of each labeled token.
    pub labeled: Vec<(u32, u32)>,
    /// Whether no window of the sentence follows.
    pub is_last: bool,
    /// The teachers' distribution over the labels for each labeled token, shape `[labeled, labels]`; zeros where they give
    /// none. Empty without teachers.
    pub soft: Vec<f32>,
    /// Whether the labels are not gold but the most probable ones of the teachers, so that only `soft` counts in the loss.
    pub unlabeled: bool,
}

/// How words become examples.
#[derive(Clone, Copy)]
pub(super) struct ExampleMaker<'t> {
    pub(super) tokenizer: &'t TextTokenizer,
    pub(super) limits: WindowLimits,
    /// Which subwords carry the label of a word.
    pub(super) labeled: SubwordLabels,
}

/// The words of a sentence, and what an example says of each.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SentenceTargets {
    pub(super) words: Vec<String>,
    /// The label of each word; `None` for a word without loss.
    pub(super) labels: Vec<Option<LabelId>>,
    /// See [`Example::soft`]; a row for each word.
    pub(super) soft: Vec<f32>,
    /// The token that takes the place of each token of a word; empty where no word is hidden.
    pub(super) hidden: Vec<Option<u32>>,
    /// See [`Example::unlabeled`].
    pub(super) unlabeled: bool,
}

impl ExampleMaker<'_> {
    /// The windows of a sentence that contain a labeled token.
    pub(super) fn examples(
        &self,
        index: usize,
        sentence: &SentenceTargets,
    ) -> Result<Vec<Example>, ExampleError> {
        let tokenizer = self.tokenizer;
        let mut subwords = tokenizer.encode_words(&sentence.words)?;
        if sentence.hidden.iter().any(Option::is_some) {
            subwords = hide(&subwords, &sentence.hidden)?;
        }
        let width = sentence.soft.len() / sentence.words.len().max(1);
        let mut examples = Vec::new();
        let windows = windows(&subwords, self.limits);
        let last = windows.len().saturating_sub(1);
        for (number, window) in windows.into_iter().enumerate() {
            let mut labeled = Vec::new();
            let mut soft = Vec::new();
            let at = subwords.labeled_words(&window, tokenizer.specials(), self.labeled);
            for (position, word) in (0u32..).zip(at) {
                let Some(word) = word.map(|word| word.0) else {
                    continue;
                };
                let label = sentence.labels.get(word).copied().flatten();
                let Some(label) = label.and_then(|label| u32::try_from(label.0).ok()) else {
                    continue;
                };
                labeled.push((position, label));
                let row = sentence.soft.get(word * width..(word + 1) * width);
                soft.extend_from_slice(row.unwrap_or_default());
            }
            if !labeled.is_empty() {
                examples.push(Example {
                    sentence: index,
                    window: number,
                    ids: tokenizer.window_ids(&subwords, &window),
                    labeled,
                    is_last: number == last,
                    soft,
                    unlabeled: sentence.unlabeled,
                });
            }
        }
        Ok(examples)
    }
}

/// The subwords of a sentence with those of hidden words replaced.
fn hide(subwords: &Subwords, hidden: &[Option<u32>]) -> Result<Subwords, AlignError> {
    let count = subwords.word_count();
    let mut ids = subwords.ids().to_vec();
    let mut word_ids = vec![None; ids.len()];
    for word in 0..count {
        let tokens = subwords.of_word(WordIndex(word));
        word_ids[tokens.clone()].fill(u32::try_from(word).ok());
        if let Some(id) = hidden.get(word).copied().flatten() {
            ids[tokens].fill(id);
        }
    }
    Subwords::new(&ids, &word_ids, count)
}

/// The labels of the words of a sentence of a corpus; an error names the line of a tag that the labels do not have.
pub(super) fn word_labels(
    corpus: &Corpus,
    index: usize,
    labels: &LabelSet,
) -> Result<Vec<Option<LabelId>>, CorpusError> {
    let tags = corpus.sentences[index].tags.iter().enumerate();
    let label = |(word, tag): (usize, &String)| match labels.parse(tag) {
        Some(label) => Ok(Some(label)),
        None => Err(corpus.error_at(index, word, format!("the labels have no `{tag}`"))),
    };
    tags.map(label).collect()
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
    let maker = ExampleMaker {
        tokenizer,
        limits,
        labeled,
    };
    let mut examples: Vec<Example> = Vec::with_capacity(corpus.sentences.len());
    for (index, sentence) in corpus.sentences.iter().enumerate() {
        let sentence = SentenceTargets {
            words: sentence.words.clone(),
            labels: word_labels(corpus, index, labels)?,
            ..SentenceTargets::default()
        };
        examples.extend(maker.examples(index, &sentence)?);
    }
    Ok(examples)
}

/// Packs examples for one pass through the network, with their targets.
pub(super) fn pack(examples: &[&Example]) -> (Packed, Targets) {
    let mut targets = Targets::default();
    let mut start = 0;
    let is_soft = examples.iter().any(|example| !example.soft.is_empty());
    for example in examples {
        for (position, label) in &example.labeled {
            targets.tokens.push(start + position);
            targets.labels.push(*label);
            if is_soft {
                targets.is_gold.push(!example.unlabeled);
            }
        }
        targets.runs.push(LabeledRun {
            length: example.labeled.len(),
            begins: example.window == 0,
            ends: example.is_last,
        });
        targets.soft.extend_from_slice(&example.soft);
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
