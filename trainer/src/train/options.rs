//! What a user says about a training, on the command line or in a file.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::config::{ConfigError, Init};

macro_rules! options {
    ($($(#[$meta:meta])* $name:ident: $of:ty,)*) => {
        /// The options of a training, each of them optional; a TOML file's keys are these names.
        #[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct TrainOptions {
            $($(#[$meta])* #[serde(skip_serializing_if = "Option::is_none")] pub $name: Option<$of>,)*
        }

        impl TrainOptions {
            /// These options, and those of `other` where these say nothing.
            pub fn or(self, other: Self) -> Self {
                Self { $($name: self.$name.or(other.$name),)* }
            }
        }
    };
}

options! {
    /// Corpus: a directory with train, dev and perhaps test files, or `wnut17`.
    #[arg(long, value_name = "DIR|wnut17")]
    data: String,
    /// Model to start from: a Hugging Face directory or a hub id.
    #[arg(long, value_name = "DIR|HUB_ID")]
    base: String,
    /// Directory the run is written to.
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Start from the base's weights, or from fresh ones of the sizes given.
    #[arg(long, value_enum)]
    init: Init,
    /// Directory with the tokenizer of a fresh model; the base's where absent.
    #[arg(long, value_name = "DIR")]
    vocab: PathBuf,
    /// Width of a fresh model [default: 128].
    #[arg(long)]
    hidden_size: usize,
    /// Encoder layers of a fresh model [default: 2].
    #[arg(long)]
    layers: usize,
    /// Attention heads of a fresh model [default: 2].
    #[arg(long)]
    heads: usize,
    /// Feed-forward width of a fresh model [default: 4 * hidden-size].
    #[arg(long)]
    intermediate_size: usize,
    /// Passes over the training sentences [default: 5].
    #[arg(long)]
    epochs: usize,
    /// Windows a step [default: 16].
    #[arg(long)]
    batch_size: usize,
    /// Highest learning rate [default: 2e-4].
    #[arg(long)]
    learning_rate: f64,
    /// Decoupled weight decay of matrices and embeddings [default: 0.01].
    #[arg(long)]
    weight_decay: f64,
    /// Share of the steps in which the learning rate rises [default: 0.1].
    #[arg(long)]
    warmup: f64,
    /// Largest norm of the gradient [default: 1].
    #[arg(long)]
    clip: f64,
    /// Dropout of embeddings and sub-layer outputs [default: the base's].
    #[arg(long)]
    dropout: f64,
    /// Longest window in tokens, special tokens included [default: 128].
    #[arg(long)]
    max_length: usize,
    /// Seed of order, dropout and fresh weights [default: 42].
    #[arg(long)]
    seed: u64,
    /// Threads [default: as many as the machine offers].
    #[arg(long)]
    threads: usize,
    /// Evaluate the best checkpoint on the test split in the end.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    evaluate_test: bool,
    /// Where `wnut17` is downloaded from [default: the authors' repository].
    #[arg(long, env = "NERVE_WNUT17_URL", value_name = "URL")]
    wnut17_url: String,
}

impl TrainOptions {
    /// The options in a TOML file; an unknown key is an error.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        toml::from_str(&text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source,
        })
    }
}
