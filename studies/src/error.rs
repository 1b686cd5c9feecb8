//! Errors of a study.

use std::path::PathBuf;

use thiserror::Error;

use nerve_corpus::CorpusError;
use nerve_trainer::evaluate::TaggerError;
use nerve_trainer::{BaseError, ExampleError, OptionError, TrainError};

/// Why a study failed.
#[derive(Debug, Error)]
pub enum StudyError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The study's file is not TOML with known keys.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line and the key.
        source: Box<toml::de::Error>,
    },
    /// The study's file is inconsistent.
    #[error("{}: {problem}", path.display())]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The file of a variant's outcome is invalid.
    #[error("{}: {source}", path.display())]
    Outcome {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// A variant was trained with other options.
    #[error("{} has another `{option}` than the study; remove the file or choose another directory", path.display())]
    OtherOptions {
        /// The file.
        path: PathBuf,
        /// The first option that differs.
        option: &'static str,
    },
    /// The study has no variant with this id.
    #[error("the study has no variant `{id}`; it has {known}")]
    NoVariant {
        /// The id.
        id: String,
        /// The ids of the study.
        known: String,
    },
    /// The study has no start of this name.
    #[error("the study has no start `{name}`; it has {known}")]
    NoStart {
        /// The name.
        name: String,
        /// The names of the study.
        known: String,
    },
    /// The base model is not available.
    #[error(transparent)]
    Model(#[from] BaseError),
    /// The options of a variant are invalid.
    #[error("variant `{variant}` from {start}: {source}")]
    Config {
        /// The variant.
        variant: String,
        /// The start.
        start: String,
        /// What is wrong.
        source: Box<OptionError>,
    },
    /// The base model or the corpus' labels are unusable.
    #[error(transparent)]
    Base(Box<TrainError>),
    /// The training of a variant failed.
    #[error("variant `{variant}` from {start}: {source}")]
    Train {
        /// The variant.
        variant: String,
        /// The start.
        start: String,
        /// Why.
        source: Box<TrainError>,
    },
    /// The corpus is unusable.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// A sentence cannot be made an example.
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
