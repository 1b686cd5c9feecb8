//! Fine-tunes a BERT entity tagger with candle, evaluates it, and writes a Hugging Face checkpoint.

mod base;
pub mod compare;
pub mod evaluate;
pub mod model;
mod ops;
mod process;
mod publish;
pub mod report;
mod safetensors_file;
mod tag_file;
#[cfg(test)]
mod testing;
mod threads;
mod train;

pub use base::{BaseError, base_dir, hub_model};
pub use process::{INTERRUPTED, interrupt_flag, prepare_process};
pub use publish::{Publication, PublishError, Publisher};
pub use tag_file::{InputFormat, OutputFormat, TagFileError, tag_file};
pub use train::{
    Beginning, Checkpoints, ClassWeights, ClassWeightsError, Combination, CombinationOutcome, Decay,
    DevScore, End, EvaluationRecord, Example, ExampleContext, ExampleError, FixedOptions, Fold, FoldResult,
    FoldsReport, Init, InitialModel, JsonLines, LabeledSubwords, LossFunction, LossKind, MOST_THREADS,
    Notice, Objective, Optimization, OptimizerKind, OptionDifference, OptionError, Plan, Prediction,
    PretrainError, PretrainOptions, PretrainRecord, PretrainReport, PretrainSettings, RunOutcome, Schedule,
    ScheduleKind, Scratch, SeedResult, SeedsReport, Spread, StepEvent, StepRecord, Steps, Sweep, SweepError,
    SweepReport, TerminalProgress, Tested, TestedCheckpoint, Timing, TokenizerSource, TrainConfig,
    TrainError, TrainOptions, TrainReport, TrainingHook, UpdateRule, batches, command_line, examples,
    fold_configs, open_device, pretrain, resumed_config, resumed_fold_configs, resumed_seed_configs,
    run_sweep, seed_configs, train, train_folds, train_seeds,
};
