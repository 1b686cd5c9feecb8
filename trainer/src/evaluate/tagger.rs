//! What can be evaluated.

use std::path::PathBuf;

use nerve_inference::{EncoderError, TagError};
use nerve_repository::CalibrationError;
use nerve_tagging::{ByteSpan, Decoder, Decoding, LabelSet, WindowLimitsError, WordLabel};
use thiserror::Error;

use super::calibration::WordLogits;
use crate::model::CheckpointError;

/// Why words could not be labelled.
#[derive(Debug, Error)]
pub enum TaggerError {
    /// The checkpoint is unusable.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint's temperature is unusable.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
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
    /// No temperature can be fitted.
    #[error("{}: no temperature fits: no word has a label of the model, or a logit is not a finite number", path.display())]
    NothingToFit {
        /// The corpus.
        path: PathBuf,
    },
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

    /// [`Self::tag`], and the logits that decided it, where the tagger has any: in the order of [`Self::labels`].
    fn tag_with_logits(&mut self, sentences: &[Vec<String>]) -> Result<Answered, TaggerError> {
        Ok((self.tag(sentences)?, None))
    }
}

/// Words' labels, and their logits where there are any.
pub type Answered = (Vec<Vec<WordLabel>>, Option<WordLogits>);

/// The labels of sentences' words from their logits.
pub(super) fn decide(
    decoder: &Decoder,
    logits: &WordLogits,
    decoding: Decoding,
) -> Result<Vec<Vec<WordLabel>>, TaggerError> {
    let of_sentence = |(sentence, rows): (usize, &Vec<Option<Vec<f32>>>)| {
        let labels = decoder.decode_words(rows, decoding);
        labels.ok_or(TaggerError::NotFinite { sentence })
    };
    logits.iter().enumerate().map(of_sentence).collect()
}
