//! Continued pre-training by masked language modeling (Gururangan et al. 2020, *Don't Stop Pretraining*).

mod error;
mod mask;
mod options;
mod run;
mod text;

pub use error::PretrainError;
pub use options::{PretrainOptions, PretrainSettings};
pub use run::{PretrainRecord, PretrainReport, pretrain};
