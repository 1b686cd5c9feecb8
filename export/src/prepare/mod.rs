//! What `--model` names as a model on disk: checkpoints are fetched, exported, verified and kept as bundles.

mod bundle_cache;
mod check_config;
mod error;
mod export_cached;
mod find;
mod hub;
mod options;

pub use error::PrepareError;
pub use find::{FoundCheckpoint, FoundModel, ModelRequest, ReadyModel, checkpoint_dir};
pub use options::CheckpointOptions;
