//! The interface of a tagger, which labels the words of sentences.

use nerve_tagging::{ByteSpan, Decoder, Evaluation, LabelSet, Sentence, WordLabel};
use thiserror::Error;

use crate::tokenizer_error::TokenizerError;
use crate::window_logits::LogitsError;

/// Why words cannot be labeled.
#[derive(Debug, Error)]
pub enum TagError {
    /// The tokenizer failed.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The logits cannot be computed.
    #[error(transparent)]
    Logits(#[from] LogitsError),
    /// A logit of a word is NaN or infinite.
    #[error("the logits of a word of sentence {} are not finite numbers", sentence + 1)]
    NotFinite {
        /// The index of the sentence, counted from 0.
        sentence: usize,
    },
}

/// The logits of the words of sentences, in label order; `None` for a word without subwords.
pub type WordLogits = Vec<Vec<Option<Vec<f32>>>>;

/// The labels of the words of sentences.
#[derive(Clone, Debug, PartialEq)]
pub struct TaggedSentences {
    /// A label for every word of every sentence, in order. A word without subwords is inside the entity around it, else `O`.
    pub labels: Vec<Vec<WordLabel>>,
    /// The logits from which the labels are decoded, if the tagger has any.
    pub logits: Option<WordLogits>,
}

/// Labels the words of sentences.
pub trait Tagger {
    /// The labels of the tagger.
    fn labels(&self) -> &LabelSet;

    /// The decoder from the tagger's logits to labels.
    fn decoder(&self) -> Decoder {
        Decoder::new(self.labels())
    }

    /// Splits running text into words, as the training text was split.
    fn split(&self, text: &str) -> Result<Vec<ByteSpan>, TagError>;

    /// Labels the words of sentences.
    fn tag(&mut self, sentences: &[Vec<String>]) -> Result<TaggedSentences, TagError>;
}

/// Scores the labels that a tagger gives to the words of sentences.
///
/// A gold entity whose type the tagger does not have counts as missed.
pub fn evaluate(tagger: &mut dyn Tagger, sentences: &[Sentence]) -> Result<Evaluation, TagError> {
    let words: Vec<Vec<String>> = sentences.iter().map(|sentence| sentence.words.clone()).collect();
    let tagged = tagger.tag(&words)?;
    Ok(Evaluation::of(tagger.labels(), sentences, &tagged.labels))
}
