//! What can stop a training.

use std::path::PathBuf;

use nerve_inference::{TagError, TokenizerError};
use nerve_repository::CalibrationError;
use nerve_tagging::LabelError;
use thiserror::Error;

use crate::base::error::BaseError;
use crate::data::error::DataError;
use crate::evaluate::error::TaggerError;
use crate::model::checkpoint::CheckpointError;
use crate::ops::precision::PrecisionError;
use crate::report::error::ReportError;
use crate::train::config::error::OptionError;
use crate::train::example::ExampleError;
use crate::train::options::OptionDifference;
use crate::train::teacher::error::TeacherError;
use nerve_corpus::CorpusError;
use nerve_inference::Device;

/// Why a training stopped.
#[derive(Debug, Error)]
pub enum TrainError {
    /// An option is unusable.
    #[error(transparent)]
    Config(#[from] OptionError),
    /// The corpus is unusable.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The corpus cannot be opened.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The dev split that is drawn from the corpus is not that of the run.
    #[error(
        "the dev split that is drawn from the training sentences is not {}, which the run was begun with; the training files have changed",
        path.display()
    )]
    OtherDev {
        /// The file of the run.
        path: PathBuf,
    },
    /// The base model is unusable.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The corpus' entity types make no label set.
    #[error("the corpus' labels: {0}")]
    Labels(#[from] LabelError),
    /// The longest window is longer than the base has positions.
    #[error(
        "`max_length` is {max_length}, but the base model has {positions} positions; give at most so many"
    )]
    MaxLength {
        /// The length asked for.
        max_length: usize,
        /// The base's positions.
        positions: usize,
    },
    /// The CPU does not have the products of the precision.
    #[error("`precision`: {0}")]
    Precision(#[from] PrecisionError),
    /// A teacher is unusable.
    #[error(transparent)]
    Teacher(Box<TeacherError>),
    /// The tokenizer has no token that hides a word.
    #[error("`word_dropout`: the tokenizer has none of the tokens {tried} that hide a word")]
    NoMask {
        /// The tokens that were looked for.
        tried: String,
    },
    /// The tokenizer reads the same tokens whatever the case.
    #[error(
        "`case_noise` has no effect: the tokenizer of the base gives the same tokens to every training word in lower and in upper case; \
         remove it"
    )]
    NoCase,
    /// A hook has changed examples that are made anew in each epoch.
    #[error(
        "examples that a study changes, such as `train_on_padding` does, exclude teachers and augmentation"
    )]
    ChangedExamples,
    /// A sentence makes no example.
    #[error(transparent)]
    Example(#[from] ExampleError),
    /// No sentence has a labeled token.
    #[error("{} has no word the tokenizer knows a subword of", path.display())]
    NoExamples {
        /// The training file.
        path: PathBuf,
    },
    /// The loss or a gradient is NaN or infinite.
    #[error("step {step}: the {what} is {value}, in the batch of {batch}; {remedy} may help")]
    NotFinite {
        /// The step, counted from 1.
        step: usize,
        /// What is not finite.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The file and the lines of the batch's sentences.
        batch: String,
        /// What to change.
        remedy: &'static str,
    },
    /// A pattern of `freeze` matches no parameter.
    #[error("`freeze`: `{pattern}` matches the name of no parameter")]
    FreezesNothing {
        /// The pattern.
        pattern: String,
    },
    /// The patterns of `freeze` match every parameter.
    #[error("`freeze` leaves no parameter to train")]
    FreezesAll,
    /// More layers are to be frozen than there are.
    #[error("`freeze_layers` is {frozen}, but the model has {layers}")]
    FreezeLayers {
        /// The layers asked for.
        frozen: usize,
        /// The model's.
        layers: usize,
    },
    /// `class_weights` names a label that there is not.
    #[error("`class_weights`: there is no label `{label}`")]
    UnknownLabel {
        /// The name.
        label: String,
    },
    /// `select_by` names an entity type that the dev split does not have.
    #[error(
        "`select_by`: {} has no entity of type `{name}`; give micro, macro, loss or one of its types: {}",
        path.display(),
        types.join(", ")
    )]
    SelectByType {
        /// The type.
        name: String,
        /// The dev file.
        path: PathBuf,
        /// Its types.
        types: Vec<String>,
    },
    /// `r_drop` with a model that drops nothing.
    #[error(
        "`r_drop` compares two passes with different dropout masks, but all dropout probabilities of the model are 0; give \
         `dropout` or `attention_dropout`, or remove `r_drop`"
    )]
    RDropWithoutDropout,
    /// `swa_every` is so large that no step is averaged.
    #[error(
        "`swa_every` is {every}, and none of the steps {} to {steps}, which `swa` averages over, is a multiple of it; give fewer \
         steps or a larger `swa`",
        before + 1
    )]
    NothingAveraged {
        /// The steps from one averaged step to the next.
        every: usize,
        /// The steps before the first that may be averaged.
        before: usize,
        /// All steps.
        steps: usize,
    },
    /// There are fewer distinct sentences than folds.
    #[error(
        "`folds` is {folds}, but {} has {sentences} distinct sentences; each fold needs one",
        path.display()
    )]
    TooFewForFolds {
        /// The training file.
        path: PathBuf,
        /// Its distinct sentences.
        sentences: usize,
        /// The folds asked for.
        folds: usize,
    },
    /// The output directory holds a run already.
    #[error("{} holds a run already; continue it with --resume, or choose another directory with --out", dir.display())]
    HoldsRun {
        /// The directory.
        dir: PathBuf,
    },
    /// Another process writes the run.
    #[error(
        "another process writes the run in {}; wait until it ends or stop it, or choose another directory with --out",
        dir.display()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// There is nothing to resume.
    #[error(
        "{} holds no run to resume; a training of several seeds or folds is resumed with its --seeds or --folds",
        dir.display()
    )]
    NoRun {
        /// The directory.
        dir: PathBuf,
    },
    /// A run is resumed with the options that determine its weights as it was started with.
    #[error(
        "the run in {} was started with other options; resume it with the same values, or choose another directory with --out:{}",
        dir.display(),
        differences.iter().map(|difference| format!("\n  {difference}")).collect::<String>()
    )]
    OtherOptions {
        /// The directory.
        dir: PathBuf,
        /// The options, with the value it was started with first.
        differences: Vec<OptionDifference>,
    },
    /// A run is resumed for fewer epochs than it has begun.
    #[error(
        "`epochs` is {epochs}, but the run in {} has already made steps of epoch {begun}; \
         give at least {begun}, or choose another directory with --out",
        dir.display()
    )]
    FewerEpochs {
        /// The directory.
        dir: PathBuf,
        /// The epochs asked for.
        epochs: usize,
        /// The epoch of the last step, counted from 1.
        begun: usize,
    },
    /// A run can only be resumed on the corpus it was begun on.
    #[error("the training sentences in {} or the tokenizer are not those the run was begun on", path.display())]
    OtherExamples {
        /// The training file.
        path: PathBuf,
    },
    /// The moments of the optimizer or the average of the weights are unusable.
    #[error("{}: {reason}", path.display())]
    Moments {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The link to the last checkpoint leads nowhere.
    #[error(
        "{} leads to {}, which is not there: the run cannot be resumed; remove its directory to begin anew",
        link.display(),
        target.display()
    )]
    LostCheckpoint {
        /// The link.
        link: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A file of the run has lost lines that the last checkpoint counts on.
    #[error("{} has {found} whole lines, but the last checkpoint was written after {expected}", path.display())]
    LostLines {
        /// The file.
        path: PathBuf,
        /// Whole lines there are.
        found: usize,
        /// Lines there were.
        expected: usize,
    },
    /// A file of the run is not what was written.
    #[error("{}:{line}: {source}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A file of the run could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The dev or test split could not be tagged.
    #[error(transparent)]
    Tagger(#[from] TaggerError),
    /// The words of a corpus could not be labeled.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// The sentences could not be tokenized to count their tokens.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
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
    /// A report could not be written.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The fitted temperature could not be written.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// The device is not to be had.
    #[error(
        "{device}: {source}; the program must be built with the feature `cuda`, and the driver must be there"
    )]
    Device {
        /// The device asked for.
        device: Device,
        /// What candle said.
        source: candle_core::Error,
    },
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl From<TeacherError> for TrainError {
    fn from(error: TeacherError) -> Self {
        Self::Teacher(Box::new(error))
    }
}

impl TrainError {
    /// Whether another value of an option can repair the error, so that a sweep records it and goes on.
    pub(super) fn is_of_options(&self) -> bool {
        // A hub or another host that does not answer says nothing of the options.
        match self {
            Self::Data(DataError::Hub { .. } | DataError::Corpus(CorpusError::Download { .. })) => {
                return false;
            }
            Self::Teacher(error) if matches!(**error, TeacherError::Find { .. }) => return false,
            _ => {}
        }
        matches!(
            self,
            Self::NotFinite { .. }
                | Self::MaxLength { .. }
                | Self::FreezesNothing { .. }
                | Self::FreezesAll
                | Self::FreezeLayers { .. }
                | Self::UnknownLabel { .. }
                | Self::SelectByType { .. }
                | Self::RDropWithoutDropout
                | Self::NothingAveraged { .. }
                | Self::Data(_)
                | Self::Teacher(_)
                | Self::TooFewForFolds { .. }
        )
    }
}
