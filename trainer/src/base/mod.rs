//! The model that a training starts from: a directory, a model of the hub, or fresh weights.

pub(crate) mod error;
pub(crate) mod open;

pub use error::BaseError;
pub use open::{base_dir, base_tokenizer, hub_model};
