//! How well a tagger does.

mod bundle;
mod checkpoint;
mod evaluation;
mod pairs;
mod raw;
mod report;
mod spans;
mod tagger;

pub use bundle::{BundleError, BundleTagger};
pub use checkpoint::CheckpointTagger;
pub use evaluation::{Evaluation, evaluate};
pub use pairs::{PairsError, score_files};
pub use raw::evaluate_raw;
pub use report::{evaluation_table, score_table, span_table};
pub use spans::{SpanScore, TextEntity, score_spans};
pub use tagger::{Tagger, TaggerError};
