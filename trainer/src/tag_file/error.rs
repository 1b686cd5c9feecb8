//! What can stop a file from being tagged.

use std::path::PathBuf;

use nerve_corpus::CorpusError;
use nerve_inference::TagError;
use thiserror::Error;

/// Why a file was not tagged to its end.
#[derive(Debug, Error)]
pub enum TagFileError {
    /// The input cannot be read, or a line of it is not what the format asks for.
    #[error(transparent)]
    Input(#[from] CorpusError),
    /// The tagger failed.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// A sentence cannot be written in the output format.
    #[error("{}:{line}: {problem}", path.display())]
    Unwritable {
        /// The input.
        path: PathBuf,
        /// The line that the sentence begins on, counted from 1.
        line: usize,
        /// Why not.
        problem: String,
    },
    /// The output cannot be written.
    #[error("cannot write the labels: {0}")]
    Write(#[from] std::io::Error),
}
