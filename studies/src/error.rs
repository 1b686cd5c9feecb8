//! What can stop a study.

use std::path::PathBuf;

use thiserror::Error;

use nerve_trainer::corpus::CorpusError;
use nerve_trainer::evaluate::TaggerError;
use nerve_trainer::{BaseError, ConfigError, ExampleError, TrainError};

/// Why a study stopped.
#[derive(Debug, Error)]
pub enum StudyError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The study's file is not TOML of the known keys.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line and the key.
        source: Box<toml::de::Error>,
    },
    /// The study's file speaks of something it does not have.
    #[error("{}: {problem}", path.display())]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A variant's outcome on disk is not one.
    #[error("{}: {source}", path.display())]
    Outcome {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A variant was run with other options.
    #[error("{} is of another `{option}` than the study's; remove it, or choose another directory", path.display())]
    OtherOptions {
        /// The file.
        path: PathBuf,
        /// The first option that differs.
        option: &'static str,
    },
    /// There is no variant of a name.
    #[error("the study has no variant `{id}`; it has {known}")]
    NoVariant {
        /// The name.
        id: String,
        /// Those there are.
        known: String,
    },
    /// The base model is not to be had.
    #[error(transparent)]
    Model(#[from] BaseError),
    /// A variant's options make no training.
    #[error("variant `{variant}` from {start}: {source}")]
    Config {
        /// The variant.
        variant: String,
        /// What it starts from.
        start: String,
        /// What is wrong.
        source: Box<ConfigError>,
    },
    /// The base model or the corpus' labels are unusable.
    #[error(transparent)]
    Base(Box<TrainError>),
    /// A variant's training stopped.
    #[error("variant `{variant}` from {start}: {source}")]
    Train {
        /// The variant.
        variant: String,
        /// What it starts from.
        start: String,
        /// Why.
        source: Box<TrainError>,
    },
    /// The corpus is unusable.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// A sentence makes no example.
    #[error(transparent)]
    Example(#[from] ExampleError),
    /// A checkpoint could not be evaluated.
    #[error(transparent)]
    Tagger(#[from] TaggerError),
}

impl From<TrainError> for StudyError {
    fn from(error: TrainError) -> Self {
        Self::Base(Box::new(error))
    }
}
