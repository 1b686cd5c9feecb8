//! Tokenized windows of sentences.

use nerve_tagging::{SubwordLabels, Subwords, Window, WindowLimits, WordIndex, windows};

use crate::text_tokenizer::TextTokenizer;
use crate::tokenizer_error::TokenizerError;
use crate::window_logits::TokenWindow;

/// One tokenized window of a sentence.
pub struct EncodedWindow {
    /// The index of its sentence, counted from 0.
    pub sentence: usize,
    /// The token ids, special tokens included.
    pub ids: Vec<u32>,
    /// The words that are labeled from this window, ascending.
    pub words: Vec<usize>,
    /// The position in `ids` of the first subword of each of these words.
    pub reads: Vec<usize>,
}

impl EncodedWindow {
    /// The input of the window to [`crate::WindowLogits`].
    pub fn as_tokens(&self) -> TokenWindow<'_> {
        TokenWindow {
            ids: &self.ids,
            reads: &self.reads,
        }
    }
}

/// Tokenizes sentences and divides them into windows, in sentence order.
///
/// A sentence without tokens has no window. Every word that has a subword is labeled from exactly one window.
pub fn encode<S: AsRef<str>>(
    tokenizer: &TextTokenizer,
    limits: WindowLimits,
    sentences: &[Vec<S>],
) -> Result<Vec<EncodedWindow>, TokenizerError> {
    let (specials, _) = tokenizer.specials();
    let mut encoded = Vec::with_capacity(sentences.len());
    for (sentence, words) in sentences.iter().enumerate() {
        let subwords = tokenizer.encode_words(words)?;
        let of_sentence = windows(&subwords, limits).into_iter();
        encoded.extend(
            of_sentence
                .filter(|window| !window.tokens.is_empty())
                .map(|window| {
                    let (words, reads) = first_subwords(&subwords, &window, specials);
                    EncodedWindow {
                        sentence,
                        ids: tokenizer.window_ids(&subwords, &window),
                        words,
                        reads,
                    }
                }),
        );
    }
    Ok(encoded)
}

/// The words that are labeled from a window, and the positions of their first subwords.
fn first_subwords(subwords: &Subwords, window: &Window, specials: usize) -> (Vec<usize>, Vec<usize>) {
    let position = |word| {
        let mut labeled = subwords.labeled_in_window(WordIndex(word), window, SubwordLabels::First);
        Some((word, labeled.next()? - window.tokens.start + specials))
    };
    window.answers.range().filter_map(position).unzip()
}
