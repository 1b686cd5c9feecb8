//! What can stop a file from being tagged.

use std::path::PathBuf;

use thiserror::Error;

use crate::evaluate::TaggerError;

/// Why a file was not tagged to its end.
#[derive(Debug, Error)]
pub enum TagFileError {
    /// The input cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The input.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is not what the format asks for.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// The input.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The tagger failed.
    #[error(transparent)]
    Tagger(#[from] TaggerError),
    /// The output cannot be written.
    #[error("cannot write the labels: {0}")]
    Write(std::io::Error),
}
