//! Why the model that a training starts from cannot be opened.

use thiserror::Error;

use crate::model::checkpoint::CheckpointError;

/// Why there is nothing to start from.
#[derive(Debug, Error)]
pub enum BaseError {
    /// The model directory is unusable.
    #[error(transparent)]
    Open(#[from] CheckpointError),
    /// More layers are to be kept than there are.
    #[error("`layers` is {kept}, but the base model has {own}")]
    Layers {
        /// The layers asked for.
        kept: usize,
        /// The base's layers.
        own: usize,
    },
    /// A hub model could not be fetched.
    #[error("{id} is no directory, and the hub does not give it: {file}: {reason}")]
    Hub {
        /// The hub id.
        id: String,
        /// The file that failed.
        file: String,
        /// What went wrong.
        reason: String,
    },
}
