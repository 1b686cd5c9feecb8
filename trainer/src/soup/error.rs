//! What can stop the making of a soup.

use std::path::PathBuf;

use nerve_inference::{TagError, TokenizerError};
use nerve_repository::{CalibrationError, ConfigError};
use thiserror::Error;

use crate::evaluate::error::TaggerError;
use crate::model::checkpoint::CheckpointError;
use crate::report::error::ReportError;

/// Why a soup was not made.
#[derive(Debug, Error)]
pub enum SoupError {
    /// There is nothing to average.
    #[error("a soup is the mean of at least two checkpoints; {0} given")]
    TooFew(usize),
    /// A checkpoint is given twice.
    #[error("{} is given twice; give each checkpoint once", .0.display())]
    Twice(PathBuf),
    /// The checkpoints of a greedy soup cannot be compared.
    #[error("a greedy soup is chosen on labeled sentences; give --data, or make a uniform soup")]
    NoData,
    /// There is something where the soup is to be written.
    #[error("{} exists; choose another directory with --out", .0.display())]
    Exists(PathBuf),
    /// Two checkpoints differ in what the mean of their weights needs to be the same.
    #[error(
        "{} and {} cannot be averaged: {what} is {} in the first and {} in the second; all checkpoints of a soup must be \
         fine-tuned from one base model on one label set",
        paths[0].display(),
        paths[1].display(),
        values[0],
        values[1]
    )]
    Different {
        /// The checkpoints.
        paths: [PathBuf; 2],
        /// In what they differ.
        what: String,
        /// Its value in each.
        values: [String; 2],
    },
    /// A configuration cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A checkpoint cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A tokenizer cannot be compared.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A temporary file cannot be used.
    #[error("cannot compare the tokenizers: {0}")]
    Temporary(#[from] std::io::Error),
    /// A checkpoint cannot be opened, or no temperature can be fitted.
    #[error(transparent)]
    Tagger(#[from] TaggerError),
    /// The sentences cannot be tagged.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// The temperature cannot be written.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// The model card cannot be written.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
