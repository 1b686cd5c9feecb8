//! Models of the Hugging Face hub, through the cache that they share with Python's `huggingface_hub`.

mod client;
mod error;
mod files;
mod settings;

pub use client::{HubClient, HubSnapshot};
pub use error::{HubError, HubFault};
pub use files::Files;
pub use settings::HubSettings;
