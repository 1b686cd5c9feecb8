//! Why a text is no request.

use thiserror::Error;

/// Why a text is no request.
#[derive(Debug, Error)]
pub enum RequestError {
    /// It is not JSON.
    #[error("not JSON: {problem}")]
    Malformed {
        /// What the parser said.
        problem: String,
    },
    /// A field is missing, unknown or of the wrong type.
    #[error("{problem}")]
    Shape {
        /// What the parser said.
        problem: String,
    },
    /// A line's name is neither text nor number.
    #[error("`id` must be a string or a number")]
    Id,
    /// There is nothing to tag.
    #[error("give either `text` or `words`")]
    NoText,
    /// It is unclear what to tag.
    #[error("give either `text` or `words`, not both")]
    TextAndWords,
    /// The threshold is no probability.
    #[error("`threshold` is {threshold}; it must be between 0 and 1")]
    Threshold {
        /// As given.
        threshold: f64,
    },
    /// An entity type the model does not know.
    #[error("`labels` has `{label}`; the model knows {}", known.join(", "))]
    UnknownLabel {
        /// As given.
        label: String,
        /// The model's entity types.
        known: Vec<String>,
    },
}
