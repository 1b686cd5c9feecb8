//! Sentences to what the network is fitted to.

use nerve_inference::{EncoderError, TextEncoder};
use nerve_tagging::{AlignError, LabelId, LabelSet, SubwordLabels, WindowLimits, windows};
use thiserror::Error;

use crate::corpus::{Corpus, CorpusError};
use crate::model::{Packed, Targets};

/// Why a sentence makes no example.
#[derive(Debug, Error)]
pub enum ExampleError {
    /// The corpus is at fault.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The tokenizer failed.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// Words and labels do not fit one another.
    #[error(transparent)]
    Align(#[from] AlignError),
}

/// One window of a sentence, encoded, with the labels of the tokens that carry one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// The sentence it is of, counted from 0.
    pub sentence: usize,
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// Positions and labels of the labelled tokens.
    pub labelled: Vec<(u32, u32)>,
    /// Positions of the special tokens that begin and end its sentence: a window amidst a sentence has none.
    pub specials: Vec<u32>,
    /// Tokens by which its sentence is shorter than the corpus' longest; 0 but for a sentence's last window.
    pub padding: usize,
}

/// The windows of a corpus' sentences that hold a labelled token; a long sentence becomes several, none is cut.
pub fn examples(
    corpus: &Corpus,
    encoder: &TextEncoder,
    labels: &LabelSet,
    limits: WindowLimits,
    labelled: SubwordLabels,
) -> Result<Vec<Example>, ExampleError> {
    let mut examples: Vec<Example> = Vec::with_capacity(corpus.sentences.len());
    let mut lengths = Vec::with_capacity(corpus.sentences.len());
    let (before, after) = encoder.specials();
    for (index, sentence) in corpus.sentences.iter().enumerate() {
        let label = |(word, tag): (usize, &String)| {
            labels
                .parse(tag)
                .ok_or_else(|| corpus.fault(corpus.line(index, word), format!("the labels have no `{tag}`")))
        };
        let word_labels = sentence
            .tags
            .iter()
            .enumerate()
            .map(label)
            .collect::<Result<Vec<LabelId>, _>>()?;
        let subwords = encoder.encode_words(&sentence.words)?;
        let first = examples.len();
        lengths.push(before + subwords.ids().len() + after);
        for window in windows(&subwords, limits) {
            let at = subwords.window_labels(&word_labels, &window, encoder.specials(), labelled)?;
            let labelled: Vec<(u32, u32)> = (0u32..)
                .zip(at)
                .filter_map(|(position, label)| Some((position, u32::try_from(label?.0).ok()?)))
                .collect();
            if !labelled.is_empty() {
                let ids = encoder.window_ids(&subwords, &window);
                examples.push(Example {
                    sentence: index,
                    ids,
                    labelled,
                    ..Example::default()
                });
            }
        }
        if let Some(window) = examples.get_mut(first) {
            window.specials.extend((0u32..).take(before));
        }
        if let Some(window) = examples[first..].last_mut() {
            let length = window.ids.len();
            window
                .specials
                .extend((length - after..length).map(|position| position as u32));
        }
    }
    let longest = examples.iter().map(|example| lengths[example.sentence]).max();
    let ends: Vec<bool> = (1..=examples.len())
        .map(|next| examples.get(next).map(|next| next.sentence) != Some(examples[next - 1].sentence))
        .collect();
    for (example, ends) in examples.iter_mut().zip(ends) {
        if ends {
            example.padding = longest.unwrap_or_default() - lengths[example.sentence];
        }
    }
    Ok(examples)
}

/// Pads windows to the longest, the padding labelled `outside`, as the original study trained: its encoder saw the padding, and
/// its loss had it in the mean.
pub(crate) fn pad(examples: &mut [Example], padding: u32, outside: u32) {
    let longest = examples.iter().map(|example| example.ids.len()).max();
    for example in examples {
        let length = example.ids.len();
        let longest = longest.unwrap_or(length);
        example.ids.resize(longest, padding);
        let positions = (length..longest).map(|position| (position as u32, outside));
        example.labelled.extend(positions);
        example.padding = 0;
    }
}

/// Examples laid end to end, as the network reads them, with their targets.
pub(crate) fn pack(examples: &[&Example]) -> (Packed, Targets) {
    let mut targets = Targets::default();
    let mut start = 0;
    for example in examples {
        for (position, label) in &example.labelled {
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

    fn example(length: usize, labelled: &[(u32, u32)]) -> Example {
        Example {
            sentence: 0,
            ids: vec![7; length],
            labelled: labelled.to_vec(),
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

    fn encoder_and_corpus(text: &str) -> (TextEncoder, Corpus) {
        let dir = tempfile::tempdir().unwrap();
        let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n";
        std::fs::write(dir.path().join("vocab.txt"), vocabulary).unwrap();
        let path = dir.path().join("x.conll");
        std::fs::write(&path, text).unwrap();
        (
            TextEncoder::open_dir(dir.path()).unwrap(),
            Corpus::read(&path).unwrap(),
        )
    }

    #[test]
    fn a_sentence_has_its_special_tokens_and_its_padding_once_however_many_windows_it_makes() {
        let text = format!("{}\n{}", "a\tO\n".repeat(50), "a\tO\n".repeat(3));
        let (encoder, corpus) = encoder_and_corpus(&text);
        let labels = LabelSet::iob2(["x"]).unwrap();
        let limits = WindowLimits::for_encoder(18, 2).unwrap();
        let made = examples(&corpus, &encoder, &labels, limits, SubwordLabels::All).unwrap();
        assert!(made.len() > 4);
        let (short, long) = made.split_last().unwrap();
        let specials: usize = long.iter().map(|example| example.specials.len()).sum();
        assert_eq!((specials, &long[0].specials[..]), (2, &[0][..]));
        assert_eq!(
            long.last().unwrap().specials,
            [long.last().unwrap().ids.len() as u32 - 1]
        );
        assert!(long.iter().all(|example| example.padding == 0));
        assert_eq!((&short.specials[..], short.padding), (&[0, 4][..], 47));
        // Labels, special tokens and padding are all there is: two sentences of 52 positions.
        let labelled: usize = made.iter().map(|example| example.labelled.len()).sum();
        assert_eq!(labelled + 4 + 47, 2 * 52);
    }

    #[test]
    fn padding_is_labelled_and_reaches_the_longest_window() {
        let mut made = [example(4, &[(1, 5)]), example(2, &[])];
        pad(&mut made, 9, 3);
        assert_eq!(made[0], example(4, &[(1, 5)]));
        assert_eq!(
            (&made[1].ids[..], &made[1].labelled[..]),
            (&[7, 7, 9, 9][..], &[(2, 3), (3, 3)][..])
        );
    }

    #[test]
    fn a_long_sentence_keeps_every_label() {
        let (encoder, corpus) = encoder_and_corpus(&"a\tB-x\n".repeat(50));
        let labels = LabelSet::iob2(["x"]).unwrap();
        let limits = WindowLimits::for_encoder(18, 2).unwrap();
        let made = examples(&corpus, &encoder, &labels, limits, SubwordLabels::First).unwrap();
        assert!(made.len() > 3 && made.iter().all(|e| e.ids.len() <= 18));
        assert_eq!(made.iter().map(|e| e.labelled.len()).sum::<usize>(), 50);
        // A word in two windows is labelled in the one that answers for it.
        let every = examples(&corpus, &encoder, &labels, limits, SubwordLabels::All).unwrap();
        assert_eq!(every.iter().map(|e| e.labelled.len()).sum::<usize>(), 50);
        let unknown = LabelSet::iob2(["y"]).unwrap();
        let error = examples(&corpus, &encoder, &unknown, limits, SubwordLabels::First).unwrap_err();
        assert!(
            error.to_string().contains("x.conll:1: the labels have no `B-x`"),
            "{error}"
        );
    }
}
