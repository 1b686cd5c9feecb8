//! The pure domain of entity tagging: labels, entities, subwords, windows, offsets, word splitting and scoring.
//!
//! Nothing here reads a file, calls a model or knows a machine-learning framework. The trainer, the exporter and the
//! server share these types, so that a word means the same thing when it is trained on and when it is served.

mod align;
pub mod conll;
mod decode;
mod detokenize;
mod entity;
mod label;
mod naming;
mod offset;
mod scheme;
mod score;
mod span;
mod split;
mod temperature;
mod transition;
mod window;

pub use align::{AlignError, SubwordLabels, Subwords};
pub use decode::{Decoder, Decoding, WordLabel, best_label};
pub use detokenize::detokenize;
pub use entity::{Entity, OrphanRule, entities, tags};
pub use label::{EntityType, LabelError, LabelId, LabelSet, Tag};
pub use offset::{OffsetMap, OffsetUnit};
pub use scheme::{SchemeError, TagScheme, to_iob2};
pub use score::{Counts, Prf, Score, Scorer, TypeScore};
pub use span::{ByteSpan, WordIndex, WordSpan};
pub use split::{Splitter, SplitterError, split_corpus, split_whitespace};
pub use temperature::Temperature;
pub use window::{Window, WindowLimits, WindowLimitsError, windows};
