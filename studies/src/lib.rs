//! A study: many variants of one training run, and what their scores say about the study's conclusions.

mod claim;
mod error;
mod file;
mod metric;
mod outcome;
mod padded;
mod positions;
mod report;
mod run;
mod scale;
mod settings;
mod tables;
mod weighted;

pub use claim::{Claim, Verdict, judge};
pub use error::StudyError;
pub use file::{ReportedFigures, Start, Study, Variant};
pub use outcome::{EpochRecord, Outcome, OutsideEverywhere, StudyOutcome, TestOutcome};
pub use padded::{PaddedEvaluation, evaluate_padded, padded_table};
pub use run::run_study;
pub use scale::Scale;
pub use settings::StudySettings;
pub use weighted::WeightedFigures;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
