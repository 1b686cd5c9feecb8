//! Fine-tunes a BERT entity tagger with candle, evaluates it, and writes a Hugging Face checkpoint.

mod base;
pub mod compare;
mod data;
pub mod evaluate;
pub mod model;
mod ops;
mod process;
mod publish;
pub mod report;
mod safetensors_file;
mod soup;
pub mod summary;
mod tag_file;
#[cfg(test)]
mod testing;
mod threads;
mod train;

pub use base::{BaseError, base_dir, base_tokenizer, hub_model};
pub use data::{DataError, hub_dataset};
pub use ops::precision::{Precision, PrecisionError};
pub use process::{INTERRUPTED, interrupt_flag, prepare_process};
pub use publish::{Publication, PublishError, Publisher};
pub use soup::{Soup, SoupError, SoupIngredient, SoupKind, SoupRequest};
pub use tag_file::{InputFormat, OutputFormat, TagFileError, tag_file};
pub use train::{
    Augmentation, Averaging, Beginning, Checkpoints, ClassWeights, ClassWeightsError, Combination,
    CombinationOutcome, Decay, DevScore, Distillation, End, EvaluationRecord, Example, ExampleContext,
    ExampleError, FixedOptions, Fold, FoldResult, FoldsReport, Init, InitialModel, JsonLines,
    LabeledSubwords, LossFunction, LossKind, MOST_THREADS, Notice, Objective, Optimization, OptimizerKind,
    OptionDifference, OptionError, Plan, Prediction, PretrainError, PretrainOptions, PretrainRecord,
    PretrainReport, PretrainSettings, Regularization, RunOutcome, Schedule, ScheduleKind, Scratch,
    SeedResult, SeedsReport, SelectBy, Spread, StepEvent, StepRecord, Steps, Sweep, SweepError, SweepReport,
    TeacherError, TeacherProgress, TerminalProgress, Tested, TestedCheckpoint, TimeLimit, TimeLimitError,
    Timing, TokenizerSource, TrainConfig, TrainError, TrainOptions, TrainReport, TrainingData, TrainingHook,
    UpdateRule, batches, command_line, examples, fold_configs, open_device, pretrain, read_label_map,
    resumed_config, resumed_fold_configs, resumed_seed_configs, run_sweep, seed_configs, train, train_folds,
    train_seeds,
};
