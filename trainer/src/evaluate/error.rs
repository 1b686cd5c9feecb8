//! The errors of an evaluation.

use std::path::PathBuf;

use nerve_inference::TagError;
use nerve_repository::CalibrationError;
use nerve_tagging::WindowLimitsError;
use thiserror::Error;

use crate::model::checkpoint::CheckpointError;

/// Why a tagger cannot be opened or evaluated.
#[derive(Debug, Error)]
pub enum TaggerError {
    /// The checkpoint is invalid.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The calibration of the checkpoint is invalid.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// The window limits leave no room for text.
    #[error("--max-length: {0}")]
    Window(#[from] WindowLimitsError),
    /// The maximum window length exceeds the number of positions of the model.
    #[error("a window of {max_length} tokens is longer than the model's {positions} positions")]
    MaxLength {
        /// The maximum length requested, in tokens.
        max_length: usize,
        /// The number of positions of the model.
        positions: usize,
    },
    /// A candle operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// The words cannot be labeled.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// No temperature can be fitted.
    #[error("{}: no temperature fits: no word has a label of the model, or a logit is not a finite number", path.display())]
    NothingToFit {
        /// The corpus file.
        path: PathBuf,
    },
}
