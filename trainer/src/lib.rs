//! Fine-tunes a BERT entity tagger with candle, evaluates it, and writes a Hugging Face checkpoint.

mod base;
pub mod corpus;
pub mod evaluate;
pub mod model;
mod ops;
#[cfg(test)]
mod testing;
mod train;

pub use base::BaseError;
pub use train::{
    Bar, ConfigError, EpochRecord, ExampleError, Init, Plan, Progress, Scratch, Start, TrainConfig,
    TrainError, TrainOptions, TrainReport, learning_rate, train,
};
