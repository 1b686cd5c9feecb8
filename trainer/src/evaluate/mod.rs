//! How well a tagger does.

mod bundle;
mod calibration;
mod checkpoint;
mod detail;
mod error;
mod errors;
mod evaluation;
mod file_score;
mod raw;
mod report;
mod spans;

pub use bundle::{BundleError, open_bundle};
pub use calibration::{
    BINS, Believability, Bin, CalibrationReport, Reliability, TemperatureAtBound, calibrate,
    calibration_report, fit_temperature,
};
pub use checkpoint::CheckpointTagger;
pub use detail::{DetailedEvaluation, evaluate_in_detail};
pub use error::TaggerError;
pub use errors::{
    AnalysedSentence, EntityError, ErrorAnalysis, ErrorKind, Pair, ShownEntity, TypeErrors, analyse_errors,
    pair_entities,
};
pub(crate) use evaluation::evaluate_with_loss;
#[cfg(test)]
pub(crate) use evaluation::tests as test_tagger;
pub use file_score::{FileScore, ScoreError, WordDifferences, score_files};
pub use nerve_inference::{Tagger, WordLogits, evaluate};
pub use nerve_tagging::Evaluation;
pub use raw::evaluate_raw;
pub use report::{calibration_table, evaluation_table, score_table, span_table};
pub use spans::{SpanScore, TextEntity, score_spans};
