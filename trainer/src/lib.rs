//! Fine-tunes a BERT entity tagger with candle, evaluates it, and writes a Hugging Face checkpoint.

mod base;
mod data;
pub mod evaluate;
pub mod model;
mod ops;
mod process;
mod publish;
pub mod report;
mod safetensors_file;
pub mod summary;
mod tag_file;
#[cfg(test)]
mod testing;
mod threads;
mod train;

pub use base::{BaseError, base_dir, base_tokenizer, hub_model};
pub use data::{DataError, hub_dataset};
pub use process::{INTERRUPTED, interrupt_flag, prepare_process};
pub use publish::{Publication, PublishError, Publisher};
pub use tag_file::{InputFormat, OutputFormat, TagFileError, tag_file};
pub use train::{
    Beginning, ClassWeights, ClassWeightsError, Decay, DevScore, End, EvaluationRecord, Example,
    ExampleContext, ExampleError, FixedOptions, Init, InitialModel, JsonLines, LabeledSubwords, LossFunction,
    LossKind, MOST_THREADS, Notice, Objective, Optimization, OptimizerKind, OptionDifference, OptionError,
    Plan, Prediction, Schedule, ScheduleKind, Scratch, SeedResult, SeedsReport, Spread, StepEvent,
    StepRecord, Steps, TerminalProgress, Tested, TestedCheckpoint, Timing, TokenizerSource, TrainConfig,
    TrainError, TrainOptions, TrainReport, TrainingData, TrainingHook, UpdateRule, batches, examples,
    open_device, read_label_map, resumed_config, resumed_seed_configs, seed_configs, train, train_seeds,
};
