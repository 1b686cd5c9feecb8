//! Labelled sentences from files, directories and the network.

mod conll;
mod error;
mod file;
mod jsonl;
mod splits;
mod wnut17;

pub use error::CorpusError;
pub use file::{Corpus, entity_types, read_verbatim};
pub use splits::{Splits, WNUT17, is_wnut17};
pub use wnut17::{WNUT17_FILES, WNUT17_URL, Wnut17File, fetch_wnut17};
