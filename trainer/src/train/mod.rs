//! Fitting a tagger: options, examples, steps, checkpoints.

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
pub(crate) mod notice;
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
mod shard;
mod state;
mod step;
mod subwords;
mod tensorboard;
mod training;
mod training_set;

pub use config::{
    InitialModel, MOST_THREADS, Objective, Optimization, OptionError, Scratch, TokenizerSource, TrainConfig,
    TrainingData, read_label_map, seed_configs,
};
pub use device::open_device;
pub use error::TrainError;
pub use example::{Example, ExampleError, examples};
pub use files::JsonLines;
pub use hook::{ExampleContext, Plan, Prediction, StepEvent, TrainingHook};
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
pub use subwords::LabeledSubwords;
