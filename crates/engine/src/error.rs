//! Why an engine cannot start, load a version, or continue.

use std::path::{Path, PathBuf};

use nerve_inference::{ModelError, RuntimeError, TokenizerError};
use nerve_repository::{ModelAddress, RemoteError};
use thiserror::Error;

use crate::config::OptionError;

/// Why an engine cannot start, load a version, or continue.
#[derive(Debug, Error)]
pub enum EngineError {
    /// An option's value is invalid.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// ONNX Runtime cannot be loaded.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The model cannot be opened.
    #[error("cannot open the model{}: {source}", of_path(path, source))]
    Model {
        /// The path as configured.
        path: PathBuf,
        /// The cause.
        source: ModelError,
    },
    /// A store on object storage cannot be read.
    #[error(transparent)]
    Store(#[from] RemoteError),
    /// The model is not on disk.
    #[error("{address}: the engine opens models on disk; fetch and export the model first")]
    NotLocal {
        /// The address of the model.
        address: ModelAddress,
    },
    /// The model's description cannot be written as JSON.
    #[error("cannot describe the model: {0}")]
    Describe(#[from] serde_json::Error),
    /// The tokenizer fails on plain text.
    #[error("the model's tokenizer fails: {0}")]
    Tokenizer(#[from] TokenizerError),
    /// A first session cannot be opened, or its warm-up fails.
    #[error("cannot open a model session: {0}")]
    Session(Box<dyn std::error::Error + Send + Sync>),
    /// A thread ended without a result while a version started.
    #[error("a thread ended unexpectedly while a model was loading")]
    ThreadLost,
    /// The metrics cannot be registered.
    #[error("cannot register the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Threads or files fail.
    #[error("files or threads failed: {0}")]
    Io(#[from] std::io::Error),
}

/// The path, if the cause does not name it.
fn of_path(path: &Path, cause: &ModelError) -> String {
    let path = path.display().to_string();
    match cause.to_string().contains(&path) {
        true => String::new(),
        false => format!(" {path}"),
    }
}
