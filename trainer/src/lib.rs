//! Fine-tunes a BERT entity tagger with candle, evaluates it, and writes a Hugging Face checkpoint.

mod base;
pub mod evaluate;
pub mod model;
mod ops;
mod process;
mod publish;
pub mod report;
mod safetensors_file;
mod soup;
mod tag_file;
#[cfg(test)]
mod testing;
mod threads;
mod train;

pub use base::{BaseError, base_dir, hub_model};
pub use process::{INTERRUPTED, interrupt_flag, prepare_process};
pub use publish::{Publication, PublishError, Publisher};
pub use soup::{Soup, SoupError, SoupIngredient, SoupKind, SoupRequest};
pub use tag_file::{InputFormat, OutputFormat, TagFileError, tag_file};
pub use train::{
    Augmentation, Averaging, Beginning, ClassWeights, ClassWeightsError, Decay, DevScore, Distillation, End,
    EvaluationRecord, Example, ExampleContext, ExampleError, FixedOptions, Init, InitialModel, JsonLines,
    LabeledSubwords, LossFunction, LossKind, MOST_THREADS, Notice, Objective, Optimization, OptimizerKind,
    OptionDifference, OptionError, Plan, Prediction, Regularization, Schedule, ScheduleKind, Scratch,
    SeedResult, SeedsReport, SelectBy, Spread, StepEvent, StepRecord, Steps, TeacherError, TeacherProgress,
    TerminalProgress, Tested, TestedCheckpoint, TimeLimit, TimeLimitError, Timing, TokenizerSource,
    TrainConfig, TrainError, TrainOptions, TrainReport, TrainingHook, UpdateRule, batches, examples,
    open_device, resumed_config, resumed_seed_configs, seed_configs, train, train_seeds,
};
