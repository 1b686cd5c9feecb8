//! Compares trained models: scores on the same sentences, settings, curves, and whether a difference of F1 is real.

pub(crate) mod bootstrap;
mod comparison;
mod contender;
mod error;

pub use bootstrap::{Bootstrap, Difference};
pub use comparison::{CompareOptions, compare};
pub use error::CompareRunsError;

pub use crate::report::comparison::{ComparedPair, ComparedRun, Comparison, Curves, Setting};

#[cfg(test)]
mod tests;
