//! Trains many configurations, by a grid or at random (Bergstra and Bengio 2012), and compares them on dev.

pub(crate) mod command_line;
pub(crate) mod draw;
mod error;
mod file;
pub(crate) mod outcome;
mod run;
mod storage;

pub use command_line::command_line;
pub use error::SweepError;
pub use file::{Checkpoints, Combination, Sweep};
pub use outcome::{CombinationOutcome, RunOutcome, SweepReport};
pub use run::run_sweep;
