//! How well a tagger does.

mod bundle;
mod calibration;
mod checkpoint;
mod detail;
mod errors;
mod evaluation;
mod pairs;
mod raw;
mod report;
mod spans;
mod tagger;

pub use bundle::{BundleError, BundleTagger};
pub use calibration::{
    BINS, Believability, Bin, CalibrationReport, Reliability, TemperatureAtBound, WordLogits, calibrate,
    calibration_report, fit_temperature,
};
pub use checkpoint::CheckpointTagger;
pub use detail::{DetailedEvaluation, evaluate_in_detail, split_name};
pub use errors::{
    AnalysedSentence, EntityError, ErrorAnalysis, ErrorKind, Pair, ShownEntity, TypeErrors, analyse_errors,
    pair_entities,
};
pub(crate) use evaluation::evaluate_with_loss;
#[cfg(test)]
pub(crate) use evaluation::tests as test_tagger;
pub use evaluation::{Evaluation, evaluate};
pub use pairs::{PairsError, score_files};
pub use raw::evaluate_raw;
pub use report::{calibration_table, evaluation_table, score_table, span_table};
pub use spans::{SpanScore, TextEntity, score_spans};
pub use tagger::{Answered, Tagger, TaggerError};
