//! Files of labeled or running text: CoNLL, JSON lines, Parquet and plain text.
//!
//! In: the path of a file, a directory of splits, or the name of a corpus to download. Out: sentences, as words with IOB2
//! tags ([`Corpus`]), as words alone ([`read_words`]) or one at a time ([`Entries`]). Errors name the file and the line or row.

mod class_labels;
pub mod conll;
mod corpus;
mod dev_draw;
mod entries;
mod entry;
mod error;
mod file_entries;
mod file_patterns;
mod format;
mod json_lines;
mod label_map;
mod labels;
mod parquet_columns;
mod parquet_entries;
mod read_options;
mod splits;
mod wnut17;
mod words;

pub use corpus::{Corpus, entity_types};
pub use dev_draw::{DevDraw, equal_sentences};
pub use entries::Entries;
pub use entry::{Content, Entry, TextEntity};
pub use error::CorpusError;
pub use file_patterns::expand_patterns;
pub use format::Format;
pub use label_map::LabelMap;
pub use labels::SpanChanges;
pub use read_options::{ReadOptions, TagNames, parse_column};
pub use splits::{Splits, WNUT17, is_wnut17};
pub use wnut17::{WNUT17_FILES, WNUT17_URL, Wnut17File, fetch_wnut17};
pub use words::read_words;
