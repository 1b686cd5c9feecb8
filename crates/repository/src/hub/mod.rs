//! Models and data sets of the Hugging Face hub, through the cache that they share with Python's `huggingface_hub`.

mod blob_hash;
mod cache;
mod client;
mod dataset;
mod download;
mod error;
mod files;
mod limits;
mod progress;
mod repository;
mod requests;
mod retries;
mod settings;
#[cfg(test)]
mod tests;

pub use client::{DatasetSnapshot, HubClient, HubSnapshot};
pub use dataset::DatasetSplit;
pub use error::{HubError, HubFault};
pub use files::Files;
pub use repository::{HubRepository, RepositoryKind};
pub use settings::HubSettings;
