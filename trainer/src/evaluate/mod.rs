//! How well a tagger does.

pub(crate) mod answers;
mod bundle;
pub(crate) mod calibration;
pub(crate) mod checkpoint;
pub(crate) mod contradictions;
pub(crate) mod detail;
pub(crate) mod error;
pub(crate) mod errors;
pub(crate) mod evaluation;
mod file_score;
pub(crate) mod outside_bias;
mod raw;
pub(crate) mod report;
mod spans;

pub use answers::Answers;
pub use bundle::{BundleError, open_bundle};
pub use calibration::{
    BINS, Bin, CalibrationMetrics, CalibrationReport, ReliabilityDiagram, TemperatureAtBound, calibrate,
    calibration_report, fit_temperature,
};
pub use checkpoint::CheckpointTagger;
pub use contradictions::{Contradiction, contradictions};
pub use detail::{DetailedEvaluation, evaluate_in_detail};
pub use error::TaggerError;
pub use errors::{
    AnalyzedSentence, EntityError, ErrorAnalysis, ErrorKind, Pair, ShownEntity, TypeErrors, analyze_errors,
    pair_entities,
};
pub use evaluation::types_warning;
pub use file_score::{FileScore, ScoreError, WordDifferences, score_files};
pub use nerve_inference::{Tagger, WordLogits, evaluate};
pub use nerve_tagging::Evaluation;
pub use outside_bias::{
    OutsideBiasChoice, OutsideBiasChoiceError, OutsideBiasReport, OutsideBiasScore,
    calibrate_with_outside_bias,
};
pub use raw::evaluate_raw;
pub use report::{calibration_table, evaluation_table, outside_bias_table, score_table, span_table};
pub use spans::{SpanScore, TextEntity, score_spans};
