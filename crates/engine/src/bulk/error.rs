//! Why a line of a stream is not tagged.

use nerve_tagging::EncodingError;
use thiserror::Error;

use crate::pipeline::error::TagError;
use crate::request::error::RequestError;

/// Why a line of a stream is not tagged.
#[derive(Debug, Error)]
pub enum LineError {
    /// The line exceeds the limit.
    #[error("the line has more than {limit} bytes (--max-line-bytes)")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The line alone needs more than all memory for requests.
    #[error(
        "the line and its answer need more than {limit} bytes (--max-inflight-bytes); send shorter lines"
    )]
    NeverFits {
        /// The whole budget in bytes.
        limit: usize,
    },
    /// The line is not UTF-8.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    /// The line is not a valid request.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The text was not tagged.
    #[error(transparent)]
    Tag(#[from] TagError),
}
