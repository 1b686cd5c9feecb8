//! Models of the Hugging Face hub, through the cache that they share with Python's `huggingface_hub`.

mod blob_hash;
mod cache;
mod client;
mod download;
mod error;
mod files;
mod limits;
mod progress;
mod requests;
mod retries;
mod settings;
#[cfg(test)]
mod tests;

pub use client::{HubClient, HubSnapshot};
pub use error::{HubError, HubFault};
pub use files::Files;
pub use settings::HubSettings;
