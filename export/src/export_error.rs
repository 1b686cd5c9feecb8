//! Why a checkpoint cannot be exported.

use std::path::PathBuf;

use nerve_inference::{ModelError, SessionError, TagError, TokenizerError};
use nerve_repository::{CalibrationError, CheckpointError, FileError};
use nerve_tagging::WindowLimitsError;
use thiserror::Error;

use crate::cancellation::Cancelled;

/// Why a checkpoint cannot be exported.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The checkpoint is invalid.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The tokenizer is invalid.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The temperature of the checkpoint is invalid.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// ONNX Runtime cannot open or run the graph.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The written bundle cannot be opened.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The written bundle cannot label the evaluation corpus.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// int8 is requested without calibration sentences.
    #[error("int8 needs --calibration FILE: activation ranges are fixed by observing real text")]
    NoCalibration,
    /// The calibration sentences have no tokens.
    #[error("int8: the tokenizer makes no token of the {sentences} calibration sentences")]
    EmptyCalibration {
        /// The number of calibration sentences.
        sentences: usize,
    },
    /// The maximum length exceeds the number of positions of the model.
    #[error("--max-length is {max_length}, but the model has {positions} positions")]
    MaxLength {
        /// The maximum length requested, in tokens.
        max_length: usize,
        /// The number of positions of the model.
        positions: usize,
    },
    /// The maximum length leaves no room for text.
    #[error("--max-length: {0}")]
    Limits(#[from] WindowLimitsError),
    /// The bundle directory already exists.
    #[error("{} exists already; remove it or choose another --out", path.display())]
    Exists {
        /// The bundle directory.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The export is to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The manifest cannot be serialized as JSON.
    #[error("manifest: {0}")]
    Manifest(#[from] serde_json::Error),
}
