//! Why the model that a training starts from cannot be opened.

use nerve_repository::AddressError;
use nerve_repository::hub::HubError;
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
    /// The first layers do not form groups as all layers do.
    #[error(
        "`layers` is {kept}, but the base's {own} layers share weights in groups (num_hidden_groups), and {kept} layers would be \
         divided into other groups"
    )]
    LayerGroups {
        /// The layers asked for.
        kept: usize,
        /// The base's layers.
        own: usize,
    },
    /// The name of the base is invalid.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The base is on object storage.
    #[error("{url}: a base model is a directory or a model of the hub; download it, and give the directory")]
    ObjectStore {
        /// The address.
        url: String,
    },
    /// A hub model cannot be fetched.
    #[error(transparent)]
    Hub(#[from] HubError),
}
