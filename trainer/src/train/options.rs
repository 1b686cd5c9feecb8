//! What a user says about a training, on the command line or in a file.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::config::{ConfigError, Init};
use super::device::DeviceChoice;
use super::loss::{ClassWeights, LossKind};
use super::optimiser::OptimiserKind;
use super::record::TestedCheckpoint;
use super::schedule::ScheduleKind;
use super::subwords::LabelledSubwords;

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

            /// The first option in which these differ from `other`.
            pub(crate) fn first_difference(&self, other: &Self) -> Option<&'static str> {
                $(if self.$name != other.$name {
                    return Some(stringify!($name));
                })*
                None
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
    /// Directory with the tokenizer of a fresh model, where it is not a base's.
    #[arg(long, value_name = "DIR")]
    vocab: PathBuf,
    /// Width of a fresh model [default: 128].
    #[arg(long)]
    hidden_size: usize,
    /// Encoder layers of a fresh model [default: 2], or how many of a base's, from the first [default: all].
    #[arg(long)]
    layers: usize,
    /// Attention heads of a fresh model [default: 2].
    #[arg(long)]
    heads: usize,
    /// Feed-forward width of a fresh model [default: 4 * hidden-size].
    #[arg(long)]
    intermediate_size: usize,
    /// Train on so many sentences only, drawn by the seed [default: all].
    #[arg(long, value_name = "SENTENCES")]
    subset: usize,
    /// Which subwords of a word carry its label in training [default: first].
    #[arg(long, value_enum)]
    label_subwords: LabelledSubwords,
    /// Passes over the training sentences [default: 5].
    #[arg(long)]
    epochs: usize,
    /// Windows a batch [default: 16].
    #[arg(long)]
    batch_size: usize,
    /// Batches a step, their gradients added up [default: 1].
    #[arg(long, value_name = "BATCHES")]
    accumulate: usize,
    /// Make batches of windows of like length, still in random order.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    group_by_length: bool,
    /// How gradients become steps [default: adamw].
    #[arg(long, value_enum)]
    optimiser: OptimiserKind,
    /// Highest learning rate [default: 2e-4].
    #[arg(long)]
    learning_rate: f64,
    /// Highest learning rate of the classification head [default: learning-rate].
    #[arg(long)]
    head_learning_rate: f64,
    /// Learning rate of each layer as a share of the one above it, embeddings lowest [default: 1].
    #[arg(long, value_name = "SHARE")]
    layer_decay: f64,
    /// Weight decay of matrices and embeddings, decoupled in adamw [default: 0.01].
    #[arg(long)]
    weight_decay: f64,
    /// Share of the last step that sgd goes on with [default: 0].
    #[arg(long)]
    momentum: f64,
    /// Look ahead along sgd's momentum (Nesterov).
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    nesterov: bool,
    /// How the learning rate falls after warm-up [default: linear].
    #[arg(long, value_enum)]
    schedule: ScheduleKind,
    /// Share of the steps in which the learning rate rises [default: 0.1].
    #[arg(long)]
    warmup: f64,
    /// Factor of each fall of the schedules step and plateau [default: 0.1].
    #[arg(long)]
    gamma: f64,
    /// Epochs between falls of the schedule step [default: 1].
    #[arg(long, value_name = "EPOCHS")]
    step_epochs: usize,
    /// Evaluations without a better dev entity F1 after which the schedule plateau falls [default: 1].
    #[arg(long, value_name = "EVALUATIONS")]
    plateau_patience: usize,
    /// Largest norm of the gradient, 0 for any [default: 1].
    #[arg(long)]
    clip: f64,
    /// What is minimised [default: cross-entropy].
    #[arg(long, value_enum)]
    loss: LossKind,
    /// Probability that cross-entropy spreads over all labels [default: 0].
    #[arg(long)]
    label_smoothing: f64,
    /// Exponent of the focal loss [default: 2].
    #[arg(long)]
    focal_gamma: f64,
    /// Weights of labels in the loss: `balanced`, or `O=0.5,B-person=2` with 1 for the rest [default: all 1].
    #[arg(long, value_name = "WEIGHTS")]
    class_weights: ClassWeights,
    /// Leave the first so many encoder layers alone [default: 0].
    #[arg(long, value_name = "LAYERS")]
    freeze_layers: usize,
    /// Leave parameters alone whose name this regular expression matches; may be given several times.
    #[arg(long, value_name = "PATTERN")]
    freeze: Vec<String>,
    /// Dropout of embeddings and sub-layer outputs [default: the base's].
    #[arg(long)]
    dropout: f64,
    /// Longest window in tokens, special tokens included [default: 128].
    #[arg(long)]
    max_length: usize,
    /// Steps between evaluations on dev [default: an epoch's].
    #[arg(long, value_name = "STEPS")]
    evaluate_every: usize,
    /// Stop after so many evaluations without a better dev entity F1 [default: never].
    #[arg(long, value_name = "EVALUATIONS")]
    patience: usize,
    /// Pad every window to the longest and train on the padding as O, unmasked, as the original study did.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    train_on_padding: bool,
    /// Record the original study's metric, weighted F1 over all positions, of the passes over the training sentences; it
    /// needs `--label-subwords all`.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    padded_metric: bool,
    /// Seed of order, dropout, subset and fresh weights [default: 42].
    #[arg(long)]
    seed: u64,
    /// Train once for each of these seeds, in OUT/seed-N, and report mean and standard deviation.
    #[arg(long, value_delimiter = ',', conflicts_with = "seed")]
    seeds: Vec<u64>,
    /// Where to train: cpu, or cuda[:N] where the program was built with the feature `cuda` [default: cpu].
    #[arg(long, value_name = "cpu|cuda[:N]")]
    device: DeviceChoice,
    /// Threads [default: as many as the machine offers].
    #[arg(long)]
    threads: usize,
    /// Evaluate a checkpoint on the test split in the end.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    evaluate_test: bool,
    /// The checkpoint that `--evaluate-test` evaluates [default: best].
    #[arg(long, value_enum)]
    test_checkpoint: TestedCheckpoint,
    /// Write report.html, TensorBoard events, a model card and a fitted temperature in the end [default: true].
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    reports: bool,
    /// Where `wnut17` is downloaded from [default: the authors' repository].
    #[arg(long, env = "NERVE_WNUT17_URL", value_name = "URL")]
    wnut17_url: String,
}

impl TrainOptions {
    /// These options of a command line, and those of a file where these say nothing; one seed or several on the line stand
    /// for either in the file.
    pub fn over(self, mut file: Self) -> Self {
        if self.seed.is_some() || self.seeds.is_some() {
            (file.seed, file.seeds) = (None, None);
        }
        self.or(file)
    }

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
