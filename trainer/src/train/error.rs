//! What can stop a training.

use std::path::PathBuf;

use nerve_tagging::LabelError;
use thiserror::Error;

use super::config::ConfigError;
use super::example::ExampleError;
use crate::base::BaseError;
use crate::corpus::CorpusError;
use crate::evaluate::TaggerError;
use crate::model::CheckpointError;

/// Why a training stopped.
#[derive(Debug, Error)]
pub enum TrainError {
    /// An option is unusable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The corpus is unusable.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The base model is unusable.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The corpus' entity types make no label set.
    #[error("the corpus' labels: {0}")]
    Labels(#[from] LabelError),
    /// The longest window is longer than the base has positions.
    #[error("max_length is {max_length}, but the base model has {positions} positions")]
    MaxLength {
        /// The length asked for.
        max_length: usize,
        /// The base's positions.
        positions: usize,
    },
    /// A sentence makes no example.
    #[error(transparent)]
    Example(#[from] ExampleError),
    /// No sentence has a labelled token.
    #[error("{} has no word the tokenizer knows a subword of", path.display())]
    NoExamples {
        /// The training file.
        path: PathBuf,
    },
    /// The loss or a gradient is NaN or infinite.
    #[error("step {step}: the {what} is {value}; a lower learning rate may help")]
    NotFinite {
        /// The step, counted from 1.
        step: usize,
        /// What is not finite.
        what: &'static str,
        /// Its value.
        value: f64,
    },
    /// The dev or test split could not be tagged.
    #[error(transparent)]
    Tagger(#[from] TaggerError),
    /// A checkpoint could not be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A file of the run could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// `evaluate_test` without a test split.
    #[error("{data} has no test split to evaluate on")]
    NoTest {
        /// The corpus.
        data: String,
    },
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
