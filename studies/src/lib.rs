//! A study: many variants of one training run, and what their scores say about the study's conclusions.

mod claim;
mod error;
mod file;
mod outcome;
mod report;
mod run;
mod scale;
mod tables;

pub use claim::{Claim, Verdict, judge};
pub use error::StudyError;
pub use file::{Reported, Start, Study, Variant};
pub use outcome::{Outcome, OutsideEverywhere, StudyOutcome};
pub use run::{StudySettings, run_study};
pub use scale::Scale;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
