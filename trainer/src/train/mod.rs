//! Fitting a tagger: options, examples, steps, checkpoints.

mod augment;
mod augmented_epoch;
mod average;
pub(crate) mod config;
pub(crate) mod corpora;
mod device;
mod early_stopping;
pub(crate) mod error;
mod example;
mod files;
mod finish;
mod fitting;
mod folds;
mod hook;
mod learning_rate;
pub(crate) mod lock;
mod log;
pub(crate) mod loss;
mod loss_scale;
pub(crate) mod notice;
mod optimizer;
pub(crate) mod options;
mod order;
mod pretrain;
mod progress;
pub(crate) mod record;
pub(crate) mod recorded;
mod resume;
mod run;
mod run_dir;
mod schedule;
mod seeds;
mod select_by;
mod series;
mod shard;
pub(crate) mod spread;
mod state;
mod step;
mod subwords;
pub(crate) mod sweep;
pub(crate) mod targets;
mod teacher;
mod tensorboard;
mod time_limit;
mod training;
mod training_set;

pub use config::averaging::Averaging;
pub use config::regularization::Regularization;
pub use config::{
    Augmentation, Distillation, Fold, InitialModel, MOST_THREADS, Objective, Optimization, OptionError,
    Scratch, TokenizerSource, TrainConfig, TrainingData, fold_configs, read_label_map, seed_configs,
};
pub use device::open_device;
pub use error::TrainError;
pub use example::{Example, ExampleError, examples};
pub use files::JsonLines;
pub use folds::{FoldResult, FoldsReport, train_folds};
pub use hook::{ExampleContext, Plan, Prediction, StepEvent, TeacherProgress, TrainingHook};
pub use loss::{ClassWeights, ClassWeightsError, LossFunction, LossKind};
pub use notice::Notice;
pub use optimizer::{OptimizerKind, UpdateRule};
pub use options::{FixedOptions, Init, OptionDifference, TrainOptions};
pub use order::batches;
pub use pretrain::{
    PretrainError, PretrainOptions, PretrainRecord, PretrainReport, PretrainSettings, pretrain,
};
pub use progress::TerminalProgress;
pub use record::{End, EvaluationRecord, StepRecord, Tested, TestedCheckpoint, Timing, TrainReport};
pub use resume::{resumed_config, resumed_fold_configs, resumed_seed_configs};
pub use run::{Beginning, train};
pub use schedule::{Decay, DevScore, Schedule, ScheduleKind, Steps};
pub use seeds::{SeedResult, SeedsReport, train_seeds};
pub use select_by::SelectBy;
pub use spread::Spread;
pub use subwords::LabeledSubwords;
pub use sweep::{
    Checkpoints, Combination, CombinationOutcome, RunOutcome, Sweep, SweepError, SweepReport, command_line,
    run_sweep,
};
pub use teacher::error::TeacherError;
pub use time_limit::{TimeLimit, TimeLimitError};
