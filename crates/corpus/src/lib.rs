//! Files of labeled or running text: CoNLL, JSON lines and plain text.
//!
//! In: the path of a file, a directory of splits, or the name of a corpus to download. Out: sentences, as words with IOB2
//! tags ([`Corpus`]), as words alone ([`read_words`]) or one at a time ([`Entries`]). Errors name the file and the line.

pub mod conll;
mod corpus;
mod entries;
mod entry;
mod error;
mod format;
mod json_lines;
mod labels;
mod read_options;
mod splits;
mod wnut17;
mod words;

pub use corpus::{Corpus, entity_types};
pub use entries::Entries;
pub use entry::{Content, Entry, TextEntity};
pub use error::CorpusError;
pub use format::Format;
pub use labels::SpanChanges;
pub use read_options::{ReadOptions, TagNames, parse_column};
pub use splits::{Splits, WNUT17, is_wnut17};
pub use wnut17::{WNUT17_FILES, WNUT17_URL, Wnut17File, fetch_wnut17};
pub use words::read_words;
