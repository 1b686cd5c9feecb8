//! Why a request is invalid.

use thiserror::Error;

/// Why a request is invalid.
#[derive(Debug, Error)]
pub enum RequestError {
    /// The text is not JSON.
    #[error("not JSON: {problem}")]
    Malformed {
        /// The parser's message.
        problem: String,
    },
    /// A field is missing, unknown or of the wrong type.
    #[error("{problem}")]
    Shape {
        /// The parser's message.
        problem: String,
    },
    /// A line's `id` is neither a string nor a number.
    #[error("`id` must be a string or a number")]
    Id,
    /// There is no text.
    #[error("give either `text` or `words`")]
    NoText,
    /// There are both `text` and `words`.
    #[error("give either `text` or `words`, not both")]
    TextAndWords,
    /// The threshold is not a probability.
    #[error("`threshold` is {threshold}; it must be between 0 and 1")]
    Threshold {
        /// The value given.
        threshold: f64,
    },
    /// The model does not know an entity type.
    #[error("`labels` has `{label}`; the model knows {}", known.join(", "))]
    UnknownLabel {
        /// The type given.
        label: String,
        /// The model's entity types.
        known: Vec<String>,
    },
}
