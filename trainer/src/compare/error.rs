//! What can stop a comparison.

use std::path::PathBuf;

use nerve_corpus::CorpusError;
use nerve_inference::TagError;
use thiserror::Error;

use crate::evaluate::{BundleError, TaggerError};
use crate::train::error::TrainError;

/// Why models cannot be compared.
#[derive(Debug, Error)]
pub enum CompareRunsError {
    /// A directory holds neither a run nor runs nor a model.
    #[error(
        "{} holds no run, no runs of several seeds or folds (seed-N, fold-N), no checkpoint and no bundle",
        path.display()
    )]
    NoRun {
        /// The directory.
        path: PathBuf,
    },
    /// A run has made no evaluation.
    #[error("the run in {} has no best checkpoint yet; train it first", path.display())]
    NotEvaluated {
        /// The directory.
        path: PathBuf,
    },
    /// A model that is no run has no dev split.
    #[error("{} is a model without a run, which has no dev split; give the file to evaluate on with --data", path.display())]
    NeedsData {
        /// The directory.
        path: PathBuf,
    },
    /// Two runs were evaluated on different sentences.
    #[error(
        "the runs in {} and {} have different dev sentences, as folds have; give the file to evaluate both on with --data",
        one.display(),
        other.display()
    )]
    OtherDev {
        /// The directory of one.
        one: PathBuf,
        /// The directory of the other.
        other: PathBuf,
    },
    /// A run cannot be read.
    #[error(transparent)]
    Run(Box<TrainError>),
    /// The sentences cannot be read.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// A model cannot be opened.
    #[error(transparent)]
    Tagger(#[from] TaggerError),
    /// A bundle cannot be opened.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The sentences cannot be tagged.
    #[error(transparent)]
    Tag(#[from] TagError),
}

impl From<TrainError> for CompareRunsError {
    fn from(error: TrainError) -> Self {
        Self::Run(Box::new(error))
    }
}
