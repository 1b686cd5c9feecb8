//! What can stop an evaluation.

use std::path::PathBuf;

use nerve_inference::TagError;
use nerve_repository::CalibrationError;
use nerve_tagging::WindowLimitsError;
use thiserror::Error;

use crate::model::checkpoint::CheckpointError;

/// Why a tagger cannot be opened or evaluated.
#[derive(Debug, Error)]
pub enum TaggerError {
    /// The checkpoint is unusable.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint's temperature is unusable.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// The windows' limits leave no room.
    #[error("--max-length: {0}")]
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
    /// The words could not be labelled.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// No temperature can be fitted.
    #[error("{}: no temperature fits: no word has a label of the model, or a logit is not a finite number", path.display())]
    NothingToFit {
        /// The corpus.
        path: PathBuf,
    },
}
