//! A study: many variants of one training, and what they say about the claims made of them.

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
mod tests;
