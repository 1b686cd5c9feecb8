//! What can be evaluated.

use nerve_export::{EncoderError, TagError};
use nerve_tagging::{ByteSpan, LabelSet, WindowLimitsError, WordLabel};
use thiserror::Error;

use crate::model::CheckpointError;

/// Why words could not be labelled.
#[derive(Debug, Error)]
pub enum TaggerError {
    /// The checkpoint is unusable.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The tokenizer failed.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The windows' limits leave no room.
    #[error(transparent)]
    Window(#[from] WindowLimitsError),
    /// The longest window is longer than the network has positions.
    #[error("a window of {max_length} tokens is longer than the model's {positions} positions")]
    MaxLength {
        /// The length asked for.
        max_length: usize,
        /// The network's positions.
        positions: usize,
    },
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// ONNX Runtime failed.
    #[error(transparent)]
    Bundle(#[from] TagError),
    /// A word's logits are not finite numbers.
    #[error("the logits of a word of sentence {} are not finite numbers", sentence + 1)]
    NotFinite {
        /// The sentence, counted from 0.
        sentence: usize,
    },
}

/// Labels the words of sentences.
pub trait Tagger {
    /// The labels it gives.
    fn labels(&self) -> &LabelSet;

    /// The words of a running text, as it was trained on.
    fn split(&self, text: &str) -> Result<Vec<ByteSpan>, TaggerError>;

    /// A label for every word of every sentence, in order; a word without subwords is `O`.
    fn tag(&mut self, sentences: &[Vec<String>]) -> Result<Vec<Vec<WordLabel>>, TaggerError>;
}
