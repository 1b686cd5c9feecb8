//! What labels the words of sentences.

use nerve_tagging::{ByteSpan, Evaluation, LabelSet, Sentence, WordLabel};
use thiserror::Error;

use crate::text_tokenizer::TokenizerError;
use crate::window_logits::LogitsError;

/// Why words could not be labeled.
#[derive(Debug, Error)]
pub enum TagError {
    /// The tokenizer failed.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The logits could not be computed.
    #[error(transparent)]
    Logits(#[from] LogitsError),
    /// The logits of a word are not finite numbers.
    #[error("the logits of a word of sentence {} are not finite numbers", sentence + 1)]
    NotFinite {
        /// The sentence, counted from 0.
        sentence: usize,
    },
}

/// The logits of the words of sentences, in the order of the labels: none for a word without subwords.
pub type WordLogits = Vec<Vec<Option<Vec<f32>>>>;

/// The labels of the words of sentences.
#[derive(Clone, Debug, PartialEq)]
pub struct TaggedSentences {
    /// A label for every word of every sentence, in order; a word without subwords is `O`.
    pub labels: Vec<Vec<WordLabel>>,
    /// The logits that decided the labels, where the tagger has any.
    pub logits: Option<WordLogits>,
}

/// Labels the words of sentences.
pub trait Tagger {
    /// The labels it gives.
    fn labels(&self) -> &LabelSet;

    /// The words of a running text, split as the training words were.
    fn split(&self, text: &str) -> Result<Vec<ByteSpan>, TagError>;

    /// The labels of the words of sentences.
    fn tag(&mut self, sentences: &[Vec<String>]) -> Result<TaggedSentences, TagError>;
}

/// The score of the labels that a tagger gives to the words of sentences.
///
/// An entity whose type the tagger does not know counts as missed.
pub fn evaluate(tagger: &mut dyn Tagger, sentences: &[Sentence]) -> Result<Evaluation, TagError> {
    let words: Vec<Vec<String>> = sentences.iter().map(|sentence| sentence.words.clone()).collect();
    let tagged = tagger.tag(&words)?;
    Ok(Evaluation::of(tagger.labels(), sentences, &tagged.labels))
}
