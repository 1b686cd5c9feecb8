//! Why traces cannot be exported.

use thiserror::Error;

/// Why traces cannot be exported.
#[derive(Debug, Error)]
pub enum LoggingError {
    /// The program was built without the feature `otlp`.
    #[error("--otlp-endpoint needs a nerve-server that was built with the feature `otlp`")]
    NoOtlp,
    /// The endpoint is not a valid URL.
    #[error("--otlp-endpoint {endpoint}: {problem}")]
    Otlp {
        /// As given.
        endpoint: String,
        /// The problem.
        problem: String,
    },
}
