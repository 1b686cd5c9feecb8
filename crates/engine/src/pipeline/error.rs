//! Why texts are not tagged.

use nerve_inference::TokenizerError;
use thiserror::Error;

use crate::health::Readiness;
use crate::pipeline::threads::TaskError;
use crate::refusal::Refusal;
use crate::scheduler::submit_error::SubmitError;

/// Why texts are not tagged.
#[derive(Debug, Error)]
pub enum TagError {
    /// The engine accepts no requests now.
    #[error("{}", .0.problem())]
    NotReady(Readiness),
    /// Too many requests wait to be split and tokenized.
    #[error("too many requests wait to be tokenized (--queue-requests)")]
    TextThreadsFull,
    /// The queue refuses the windows.
    #[error(transparent)]
    Queue(#[from] SubmitError),
    /// The text itself cannot be tagged.
    #[error(transparent)]
    Text(PrepareError),
    /// Tokenizing the text panicked.
    #[error("the text could not be tokenized")]
    PrepareFailed,
    /// Running a window failed, or its worker did.
    #[error("the model could not be run on the text")]
    InferenceFailed,
}

impl TagError {
    /// The reason of the refusal, if the error is one.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::NotReady(readiness) => Some(readiness.refusal()),
            Self::TextThreadsFull => Some(Refusal::Tokenizer),
            Self::Queue(SubmitError::WindowsFull { .. }) => Some(Refusal::QueueWindows),
            Self::Queue(SubmitError::TokensFull { .. }) => Some(Refusal::QueueTokens),
            Self::Queue(SubmitError::NeverFits) => Some(Refusal::QueueNever),
            Self::Queue(SubmitError::NoWorker) => Some(Refusal::NoWorker),
            Self::Queue(SubmitError::Closed) => Some(Refusal::Draining),
            Self::Text(PrepareError::TextTooLong { .. }) => Some(Refusal::TextBytes),
            Self::Text(PrepareError::TooManyWords { .. }) => Some(Refusal::Words),
            Self::Text(PrepareError::TooManyWindows { .. }) => Some(Refusal::Windows),
            Self::Text(PrepareError::Tokenizer(_)) | Self::PrepareFailed | Self::InferenceFailed => None,
        }
    }
}

/// Why a text cannot be tokenized.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// The text has too many bytes.
    #[error("the text has {bytes} bytes; the limit is {limit} (--max-text-bytes)")]
    TextTooLong {
        /// UTF-8 bytes of the text.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The text has too many words.
    #[error("the text has more than {limit} words (--max-words)")]
    TooManyWords {
        /// The limit.
        limit: usize,
    },
    /// The text needs too many windows.
    #[error("the text needs {windows} windows of the encoder; the limit is {limit} (--max-windows)")]
    TooManyWindows {
        /// The number of windows.
        windows: usize,
        /// The limit.
        limit: usize,
    },
    /// The tokenizer failed. Its message is not repeated, since it may quote the text or a path.
    #[error("the text could not be tokenized")]
    Tokenizer(#[from] TokenizerError),
}

impl From<TaskError> for TagError {
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::Full => Self::TextThreadsFull,
            TaskError::Panicked => Self::PrepareFailed,
        }
    }
}
