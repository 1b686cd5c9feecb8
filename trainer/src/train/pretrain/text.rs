//! Running text as windows of token ids, of which each says where its words are.

use std::collections::HashSet;
use std::ops::Range;
use std::path::PathBuf;

use nerve_corpus::read_words;
use nerve_inference::TextTokenizer;
use nerve_repository::hex;
use nerve_tagging::{WindowLimits, WordIndex, windows};
use sha2::{Digest, Sha256};

use crate::train::example::{Example, ExampleError};
use crate::train::order;
use crate::train::pretrain::error::PretrainError;

/// The tokens of each word of a window.
pub(super) type Words = Vec<Range<usize>>;

/// The windows of the texts.
pub(super) struct Texts {
    /// The windows to learn from. Their `sentence` is their index here.
    pub(super) windows: Vec<Example>,
    /// The words of each of these windows.
    pub(super) words: Vec<Words>,
    /// The windows whose perplexity is measured.
    pub(super) held_out: Vec<Example>,
    /// The words of each of these windows.
    pub(super) held_out_words: Vec<Words>,
    /// The number of sentences, with those that are held out.
    pub(super) sentences: usize,
}

impl Texts {
    /// The windows of the distinct sentences of the files, a fraction of which, drawn by the seed, is held out.
    pub(super) fn read(
        files: &[PathBuf],
        tokenizer: &TextTokenizer,
        limits: WindowLimits,
        held_out: f64,
        seed: u64,
    ) -> Result<Self, PretrainError> {
        let mut known: HashSet<Vec<String>> = HashSet::new();
        let mut sentences: Vec<Vec<(Example, Words)>> = Vec::new();
        for file in files {
            for words in read_words(file)? {
                if !known.insert(words.clone()) {
                    continue;
                }
                let found = windows_of(&words, tokenizer, limits).map_err(PretrainError::Example)?;
                if !found.is_empty() {
                    sentences.push(found);
                }
            }
        }
        let count = sentences.len();
        if count < 2 {
            return Err(PretrainError::TooFewSentences { sentences: count });
        }
        let size = ((held_out * count as f64).round() as usize).clamp(1, count - 1);
        let mut is_held_out = vec![false; count];
        for sentence in order::subset(count, size, seed) {
            is_held_out[sentence] = true;
        }
        let mut texts = Self {
            windows: Vec::new(),
            words: Vec::new(),
            held_out: Vec::new(),
            held_out_words: Vec::new(),
            sentences: count,
        };
        for (sentence, is_held_out) in sentences.into_iter().zip(is_held_out) {
            let (windows, words) = match is_held_out {
                true => (&mut texts.held_out, &mut texts.held_out_words),
                false => (&mut texts.windows, &mut texts.words),
            };
            for (window, of_window) in sentence {
                windows.push(Example {
                    sentence: windows.len(),
                    ..window
                });
                words.push(of_window);
            }
        }
        Ok(texts)
    }

    /// A hash of all windows.
    pub(super) fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        for window in self.windows.iter().chain(&self.held_out) {
            hasher.update((window.ids.len() as u64).to_le_bytes());
            window.ids.iter().for_each(|id| hasher.update(id.to_le_bytes()));
        }
        hex(&hasher.finalize())
    }
}

/// The windows of a sentence that have a word, with the tokens of each word.
fn windows_of(
    words: &[String],
    tokenizer: &TextTokenizer,
    limits: WindowLimits,
) -> Result<Vec<(Example, Words)>, ExampleError> {
    let subwords = tokenizer.encode_words(words)?;
    let (before, _) = tokenizer.specials();
    let mut found = Vec::new();
    for window in windows(&subwords, limits) {
        let of_word = |word: usize| {
            let tokens = subwords.of_word(WordIndex(word));
            let (start, end) = (
                tokens.start.max(window.tokens.start),
                tokens.end.min(window.tokens.end),
            );
            let from = window.tokens.start;
            (start < end).then(|| before + start - from..before + end - from)
        };
        let of_window: Words = (0..words.len()).filter_map(of_word).collect();
        if !of_window.is_empty() {
            let ids = tokenizer.window_ids(&subwords, &window);
            found.push((
                Example {
                    ids,
                    ..Example::default()
                },
                of_window,
            ));
        }
    }
    Ok(found)
}
