//! Why the queue did not accept windows.

use thiserror::Error;

use crate::health::Readiness;

/// Why the queue did not accept windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SubmitError {
    /// The windows are more than an empty queue holds.
    #[error("a window of the text has more tokens than the queue holds (--queue-tokens)")]
    NeverFits,
    /// Too many windows are waiting.
    #[error("too many windows wait for the model (--queue-requests)")]
    WindowsFull {
        /// Seconds after which the queue is expected to have space.
        retry_after: u32,
    },
    /// Too many tokens are waiting.
    #[error("too many tokens wait for the model (--queue-tokens)")]
    TokensFull {
        /// Seconds after which the queue is expected to have space.
        retry_after: u32,
    },
    /// No worker is ready.
    #[error("{}", Readiness::NoWorker.problem())]
    NoWorker,
    /// The queue is closed.
    #[error("{}", Readiness::Draining.problem())]
    Closed,
}
