//! Values of entity tagging: labels, entities, subwords, windows, offsets, word splitting, decoding and scoring.
//!
//! This crate reads no files, runs no models and depends on no machine-learning framework. The trainer, the exporter and the
//! server share its types, so words and labels have the same definition in training and in serving.

mod align;
mod decode;
mod detokenize;
mod entity;
mod evaluation;
mod invisible;
mod label;
mod label_error;
mod naming;
mod offset;
mod scheme;
mod score;
mod sentence;
mod span;
mod split;
mod subwords;
mod symbol;
mod tag;
mod temperature;
mod text_encoding;
mod transition;
mod transition_scores;
mod window;

pub use align::SubwordLabels;
pub use decode::{Decoder, Decoding, LabelSearch, WordLabel, best_label};
pub use detokenize::detokenize;
pub use entity::{Entity, OrphanRule, entities, tags};
pub use evaluation::{ComparableTags, Evaluation};
pub use invisible::trim_invisible;
pub use label::LabelSet;
pub use label_error::LabelError;
pub use offset::{OffsetMap, OffsetTable, OffsetUnit};
pub use scheme::{SchemeError, TagScheme, predicted_to_iob2, to_iob2};
pub use score::{Counts, Prf, Score, Scorer, TypeScore};
pub use sentence::Sentence;
pub use span::{ByteSpan, WordIndex, WordSpan};
pub use split::{Splitter, SplitterError, TextSplitter, split_corpus, split_whitespace};
pub use subwords::{AlignError, Subwords};
pub use symbol::is_symbol;
pub use tag::{EntityType, LabelId, Tag};
pub use temperature::Temperature;
pub use text_encoding::{EncodingError, decode_utf8, into_text, is_utf16, without_byte_order_mark};
pub use transition_scores::TransitionScores;
pub use window::{Window, WindowLimits, WindowLimitsError, windows};
