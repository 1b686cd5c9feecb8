//! Why there is no model to open.

use std::io;
use std::path::{Path, PathBuf};

use nerve_corpus::CorpusError;
use nerve_inference::{RuntimeError, TokenizerError};
use nerve_repository::hub::HubError;
use nerve_repository::{CheckpointError, ConfigError, FileError, HubModel, NoCacheDir, Precision};
use thiserror::Error;

use crate::cancellation::Cancelled;
use crate::export_error::ExportError;
use crate::verify::VerifyError;

/// Why the model that a program is to open cannot be found, fetched or exported.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// The model cannot be fetched from the hub.
    #[error("there is no directory {model}, and the model cannot be fetched from the hub: {source}")]
    Hub {
        /// The model.
        model: HubModel,
        /// The cause.
        source: Box<HubError>,
    },
    /// The address is that of a store on object storage.
    #[error(
        "{url}: this command does not read stores on object storage; download a version, and give its directory"
    )]
    ObjectStore {
        /// The URL.
        url: String,
    },
    /// An option for checkpoints is given with a model that is none.
    #[error(
        "--{option} is for checkpoints, which are exported when they are opened; {model} is {kind}, whose precision is fixed: leave --{option} out, or give the checkpoint"
    )]
    NotCheckpoint {
        /// The name of the option.
        option: &'static str,
        /// The address of the model.
        model: String,
        /// What the model is.
        kind: &'static str,
    },
    /// Calibration sentences are given for a precision that needs none.
    #[error(
        "--calibration has no effect with --precision {precision}: add --precision int8, or leave --calibration out"
    )]
    UselessCalibration {
        /// The precision.
        precision: Precision,
    },
    /// The file of calibration sentences cannot be read.
    #[error("--calibration: {0}")]
    CalibrationFile(FileError),
    /// The calibration sentences cannot be read.
    #[error("--calibration: {0}")]
    Calibration(#[from] CorpusError),
    /// The configuration is not that of a supported token classifier.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration is not that of a supported token classifier, but there is an ONNX file.
    #[error("{source}; to serve the ONNX file in the directory, name it: --onnx-file {onnx_file}")]
    OnlyGraph {
        /// What is wrong with the configuration.
        source: ConfigError,
        /// The first ONNX file of the directory.
        onnx_file: String,
    },
    /// The checkpoint is invalid.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// ONNX Runtime cannot be loaded.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The checkpoint cannot be exported.
    #[error("cannot export {}: {source}", checkpoint.display())]
    Export {
        /// The directory of the checkpoint.
        checkpoint: PathBuf,
        /// The cause.
        source: Box<ExportError>,
    },
    /// int8 is requested without calibration sentences.
    #[error(
        "--precision int8 needs --calibration FILE with sentences like those to be tagged (CoNLL, JSON lines, Parquet, or one text a line), on which activation ranges are observed; a few hundred suffice"
    )]
    NoCalibration,
    /// The exported bundle does not compute what the checkpoint does.
    #[error("the export of {} failed its verification: {source}", checkpoint.display())]
    Verify {
        /// The directory of the checkpoint.
        checkpoint: PathBuf,
        /// The cause.
        source: Box<VerifyError>,
    },
    /// The files of the checkpoint changed while it was exported.
    #[error("{}: the files changed while they were exported; start again when they are complete", checkpoint.display())]
    Changed {
        /// The directory of the checkpoint.
        checkpoint: PathBuf,
    },
    /// No environment variable names a cache.
    #[error(transparent)]
    NoCache(#[from] NoCacheDir),
    /// The cache cannot be read or written.
    #[error(
        "cannot keep the exported model: {source}; make room in the cache or make it writable, or name another directory with NERVE_CACHE"
    )]
    Cache {
        /// The file or directory of the cache, and the cause.
        source: FileError,
    },
    /// A thread ended without a result.
    #[error("a thread ended unexpectedly while a model was fetched or exported")]
    ThreadLost,
    /// The work is to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl PrepareError {
    /// Names the option that serves an ONNX file of the directory, if it has one.
    pub(crate) fn or_graph(self, onnx_files: &[String]) -> Self {
        match (self, onnx_files.first()) {
            (Self::Config(source), Some(onnx_file)) => Self::OnlyGraph {
                source,
                onnx_file: onnx_file.clone(),
            },
            (error, _) => error,
        }
    }

    /// Names the cache in errors of its files.
    pub(crate) fn of_cache(source: FileError) -> Self {
        Self::Cache { source }
    }

    /// The error of the verification of a checkpoint's bundle.
    pub(crate) fn of_verification(checkpoint: &Path, source: VerifyError) -> Self {
        match source {
            VerifyError::Cancelled(cancelled) => cancelled.into(),
            source => Self::Verify {
                checkpoint: checkpoint.to_owned(),
                source: Box::new(source),
            },
        }
    }

    /// The error of the export of a checkpoint into the cache.
    pub(crate) fn of_export(checkpoint: &Path, cache: &Path, source: ExportError) -> Self {
        match source {
            ExportError::Cancelled(cancelled) => cancelled.into(),
            ExportError::File(source) if source.path.starts_with(cache) => Self::of_cache(source),
            ExportError::Tokenizer(TokenizerError::Save { path, reason }) => {
                let source = io::Error::other(reason);
                Self::of_cache(FileError { path, source })
            }
            source => Self::Export {
                checkpoint: checkpoint.to_owned(),
                source: Box::new(source),
            },
        }
    }
}
