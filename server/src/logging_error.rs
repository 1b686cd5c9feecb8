//! Why traces are not exported.

use thiserror::Error;

/// Why traces are not exported.
#[derive(Debug, Error)]
pub enum LoggingError {
    /// This program cannot.
    #[error("--otlp-endpoint needs a nerve-server that was built with the feature `otlp`")]
    NoOtlp,
    /// The collector cannot be named so.
    #[error("--otlp-endpoint {endpoint}: {problem}")]
    Otlp {
        /// As given.
        endpoint: String,
        /// What is wrong with it.
        problem: String,
    },
}
