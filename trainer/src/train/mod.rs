//! Fitting a tagger: options, examples, steps, checkpoints.

mod augment;
mod augmented_epoch;
mod average;
pub(crate) mod config;
mod device;
mod early_stopping;
pub(crate) mod error;
mod example;
mod files;
mod finish;
mod hook;
mod learning_rate;
pub(crate) mod lock;
mod log;
pub(crate) mod loss;
mod notice;
mod optimizer;
mod options;
mod order;
mod progress;
mod record;
mod resume;
mod run;
mod run_dir;
mod schedule;
mod seeds;
mod select_by;
mod shard;
mod state;
mod step;
mod subwords;
pub(crate) mod targets;
mod teacher;
mod tensorboard;
mod time_limit;
mod training;
mod training_set;

pub use config::averaging::Averaging;
pub use config::regularization::Regularization;
pub use config::{
    Augmentation, Distillation, InitialModel, MOST_THREADS, Objective, Optimization, OptionError, Scratch,
    TokenizerSource, TrainConfig, seed_configs,
};
pub use device::open_device;
pub use error::TrainError;
pub use example::{Example, ExampleError, examples};
pub use files::JsonLines;
pub use hook::{ExampleContext, Plan, Prediction, StepEvent, TeacherProgress, TrainingHook};
pub use loss::{ClassWeights, ClassWeightsError, LossFunction, LossKind};
pub use notice::Notice;
pub use optimizer::{OptimizerKind, UpdateRule};
pub use options::{FixedOptions, Init, OptionDifference, TrainOptions};
pub use order::batches;
pub use progress::TerminalProgress;
pub use record::{End, EvaluationRecord, StepRecord, Tested, TestedCheckpoint, Timing, TrainReport};
pub use resume::{resumed_config, resumed_seed_configs};
pub use run::{Beginning, train};
pub use schedule::{Decay, DevScore, Schedule, ScheduleKind, Steps};
pub use seeds::{SeedResult, SeedsReport, Spread, train_seeds};
pub use select_by::SelectBy;
pub use subwords::LabeledSubwords;
pub use teacher::error::TeacherError;
pub use time_limit::{TimeLimit, TimeLimitError};
