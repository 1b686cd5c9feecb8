//! Fitting a tagger: options, examples, steps, checkpoints.

mod adamw;
mod config;
mod error;
mod example;
mod options;
mod progress;
mod record;
mod run;
mod schedule;
mod shard;
mod step;

pub use config::{ConfigError, Init, Scratch, Start, TrainConfig};
pub use error::TrainError;
pub use example::ExampleError;
pub use options::TrainOptions;
pub use progress::{Bar, Plan, Progress};
pub use record::{EpochRecord, TrainReport};
pub use run::train;
pub use schedule::learning_rate;

/// A scoped thread's result; its panic becomes this thread's.
pub(crate) fn joined<T>(handle: std::thread::ScopedJoinHandle<'_, T>) -> T {
    handle
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
