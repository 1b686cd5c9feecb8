//! What can stop a pre-training.

use std::path::PathBuf;

use nerve_corpus::CorpusError;
use thiserror::Error;

use crate::base::error::BaseError;
use crate::evaluate::error::TaggerError;
use crate::model::checkpoint::CheckpointError;
use crate::train::config::error::OptionError;
use crate::train::error::TrainError;
use crate::train::example::ExampleError;

/// Why a pre-training stopped.
#[derive(Debug, Error)]
pub enum PretrainError {
    /// An option is unusable.
    #[error(transparent)]
    Option(#[from] Box<OptionError>),
    /// A resumed run has another value of an option.
    #[error(
        "the pre-training in {} was started with `{option}` {recorded}, not {given}; resume it with the same value, or choose \
         another directory with --out",
        dir.display()
    )]
    OtherOption {
        /// The directory.
        dir: PathBuf,
        /// The option.
        option: String,
        /// Its value when the run was started.
        recorded: String,
        /// Its value now.
        given: String,
    },
    /// The recorded options cannot be read.
    #[error("{}: {source}", path.display())]
    Recorded {
        /// The file.
        path: PathBuf,
        /// The line and the key.
        source: Box<toml::de::Error>,
    },
    /// The tokenizer has no token to mask words with.
    #[error("the tokenizer of {base} has neither [MASK] nor <mask>; pre-training needs one of them")]
    NoMask {
        /// The base model.
        base: String,
    },
    /// The texts have too few distinct sentences.
    #[error(
        "the texts have {sentences} distinct sentences with words of the vocabulary; at least 2 are needed, one of them held out"
    )]
    TooFewSentences {
        /// The number of them.
        sentences: usize,
    },
    /// The texts or the tokenizer are not those that the run was begun on.
    #[error("the texts or the tokenizer are not those that the pre-training in {} was begun on", dir.display())]
    OtherTexts {
        /// The directory.
        dir: PathBuf,
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
    /// A text cannot be read.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// A text cannot be tokenized.
    #[error(transparent)]
    Example(#[from] ExampleError),
    /// The base model cannot be opened.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The checkpoint cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The windows are too long or too short.
    #[error(transparent)]
    Window(#[from] TaggerError),
    /// A file of the run cannot be read or written.
    #[error(transparent)]
    Run(Box<TrainError>),
    /// A candle operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl From<TrainError> for PretrainError {
    fn from(error: TrainError) -> Self {
        Self::Run(Box::new(error))
    }
}

impl From<OptionError> for PretrainError {
    fn from(error: OptionError) -> Self {
        Self::Option(Box::new(error))
    }
}
