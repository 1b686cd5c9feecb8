//! The validated configuration of a training run.

pub(crate) mod augmentation;
pub(crate) mod averaging;
mod checks;
pub(crate) mod data;
pub(crate) mod distillation;
pub(crate) mod error;
pub(crate) mod fold;
mod objective;
mod optimization;
pub(crate) mod regularization;
pub(crate) mod start;

use std::path::PathBuf;

use regex::Regex;

use crate::data::error::DataError;
use crate::data::open::open_splits;
use crate::ops::precision::{Precision, PrecisionError};
use crate::train::learning_rate::learning_rate;
use crate::train::options::TrainOptions;
use crate::train::record::TestedCheckpoint;
use crate::train::select_by::SelectBy;
use crate::train::subwords::LabeledSubwords;
use crate::train::time_limit::TimeLimit;
use averaging::Averaging;
use checks::{MOST_EPOCHS, MOST_LENGTH, MOST_WINDOWS, check, check_absent, check_count};
use fold::fold_options;
use nerve_corpus::Splits;
use nerve_inference::Device;
use regularization::Regularization;

pub use augmentation::Augmentation;
pub use checks::MOST_THREADS;
pub use data::{TrainingData, read_label_map};
pub use distillation::Distillation;
pub use error::OptionError;
pub use fold::Fold;
pub use objective::Objective;
pub use optimization::Optimization;
pub use start::{InitialModel, Scratch, TokenizerSource};

/// The longest window in tokens where `max_length` is absent.
pub(crate) const DEFAULT_MAX_LENGTH: usize = 128;

/// The configuration of a training run.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainConfig {
    /// The sentences.
    pub data: TrainingData,
    /// The model to start from.
    pub start: InitialModel,
    /// The directory the run is written to.
    pub out: PathBuf,
    /// The fold of the train split that is held out as dev; the dev split is used if absent.
    pub fold: Option<Fold>,
    /// Number of training sentences to use; all if absent.
    pub subset: Option<usize>,
    /// Which subwords of a word carry its label in training.
    pub label_subwords: LabeledSubwords,
    /// Passes over the training sentences.
    pub epochs: usize,
    /// Windows per batch.
    pub batch_size: usize,
    /// Batches per step.
    pub accumulate: usize,
    /// The format of the factors in matrix products in training steps.
    pub precision: Precision,
    /// Whether the windows of a batch have similar lengths.
    pub group_by_length: bool,
    /// Update rule, learning rate and clipping.
    pub optimization: Optimization,
    /// Loss function.
    pub objective: Objective,
    /// What is added to the loss against overfitting.
    pub regularization: Regularization,
    /// Which average of the weights is evaluated; the weights themselves if absent.
    pub averaging: Option<Averaging>,
    /// What makes an evaluation the best one.
    pub select_by: SelectBy,
    /// Teachers, and the text that they label; none if absent.
    pub distillation: Option<Distillation>,
    /// How training sentences are changed in each epoch.
    pub augmentation: Augmentation,
    /// Number of encoder layers, counted from the first, that are not trained.
    pub freeze_layers: usize,
    /// Whether the embeddings below the layers are not trained.
    pub freeze_embeddings: bool,
    /// Regular expressions for the names of parameters that are not trained.
    pub freeze: Vec<String>,
    /// Dropout probability of embeddings and sub-layer outputs; the base's if absent.
    pub dropout: Option<f64>,
    /// Dropout of attention weights, where not the base's.
    pub attention_dropout: Option<f64>,
    /// Longest window in tokens, special tokens included.
    pub max_length: usize,
    /// Steps between evaluations; those of an epoch if absent.
    pub evaluate_every: Option<usize>,
    /// Evaluations without a better score after which the run stops; never if absent.
    pub patience: Option<usize>,
    /// How long the run may take; unlimited if absent.
    pub max_time: Option<TimeLimit>,
    /// Seed of the order of the sentences, dropout, subset and random weights.
    pub seed: u64,
    /// Device to train on.
    pub device: Device,
    /// Whether the backward pass computes encoder layers again instead of reading their activations.
    pub gradient_checkpointing: bool,
    /// Threads. On another device than the CPU they only read and write.
    pub threads: usize,
    /// Whether a checkpoint is evaluated on the test split.
    pub evaluate_test: bool,
    /// The checkpoint that is evaluated on the test split.
    pub test_checkpoint: TestedCheckpoint,
    /// Whether reports are written.
    pub reports: bool,
    // Invariant: `new` of these options is this configuration.
    options: TrainOptions,
}

impl TrainConfig {
    /// The configuration of these options, with defaults for those that are absent. For `seeds` see [`seed_configs`].
    pub fn new(mut options: TrainOptions) -> Result<Self, OptionError> {
        if options.seeds.is_some() {
            return Err(OptionError::Seeds);
        }
        check_absent(&[("soup", options.soup.is_some())], "`seeds` is given")?;
        let idle = options.test_checkpoint.is_some() && options.evaluate_test != Some(true);
        check_absent(&[("test_checkpoint", idle)], "`evaluate_test` is true")?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let evaluate_test = *options.evaluate_test.get_or_insert(false);
        let config = Self {
            start: InitialModel::resolve(&mut options)?,
            optimization: Optimization::resolve(&mut options)?,
            objective: Objective::resolve(&mut options)?,
            regularization: Regularization::resolve(&options)?,
            averaging: Averaging::resolve(&mut options)?,
            select_by: options.select_by.get_or_insert_default().clone(),
            distillation: Distillation::resolve(&mut options)?,
            augmentation: Augmentation::resolve(&mut options)?,
            data: TrainingData::resolve(&mut options)?,
            out: options.out.clone().ok_or(OptionError::Missing("out"))?,
            fold: Fold::resolve(&options)?,
            subset: options.subset,
            label_subwords: *options.label_subwords.get_or_insert_default(),
            epochs: *options.epochs.get_or_insert(5),
            batch_size: *options.batch_size.get_or_insert(16),
            accumulate: *options.accumulate.get_or_insert(1),
            precision: *options.precision.get_or_insert_default(),
            group_by_length: *options.group_by_length.get_or_insert(false),
            freeze_layers: *options.freeze_layers.get_or_insert(0),
            freeze_embeddings: *options.freeze_embeddings.get_or_insert(false),
            freeze: options.freeze.clone().unwrap_or_default(),
            dropout: options.dropout,
            attention_dropout: options.attention_dropout,
            max_length: *options.max_length.get_or_insert(DEFAULT_MAX_LENGTH),
            evaluate_every: options.evaluate_every,
            patience: options.patience,
            max_time: options.max_time,
            seed: *options.seed.get_or_insert(42),
            device: *options.device.get_or_insert_default(),
            gradient_checkpointing: *options.gradient_checkpointing.get_or_insert(false),
            threads: *options.threads.get_or_insert(threads),
            evaluate_test,
            test_checkpoint: match evaluate_test {
                true => *options.test_checkpoint.get_or_insert_default(),
                false => TestedCheckpoint::default(),
            },
            reports: *options.reports.get_or_insert(true),
            options,
        };
        config.validate()?;
        Ok(config)
    }

    /// The files of the corpus; downloads `wnut17` and data sets of the hub where their cache lacks them.
    pub fn splits(&self) -> Result<Splits, DataError> {
        open_splits(&self.data)
    }

    fn validate(&self) -> Result<(), OptionError> {
        for (option, value, most) in [
            ("subset", self.subset.unwrap_or(1), usize::MAX),
            ("epochs", self.epochs, MOST_EPOCHS),
            ("batch_size", self.batch_size, MOST_WINDOWS),
            ("accumulate", self.accumulate, MOST_WINDOWS),
            ("evaluate_every", self.evaluate_every.unwrap_or(1), usize::MAX),
            ("patience", self.patience.unwrap_or(1), usize::MAX),
            ("threads", self.threads, MOST_THREADS),
            ("max_length", self.max_length, MOST_LENGTH),
        ] {
            check_count(option, value, most)?;
        }
        if self.precision == Precision::Fp16 && self.device == Device::Cpu {
            return Err(PrecisionError::Fp16OnCpu.into());
        }
        check(
            "max_length",
            &self.max_length,
            self.max_length > 2,
            "more than the special tokens",
        )?;
        for (option, probability) in [
            ("dropout", self.dropout),
            ("attention_dropout", self.attention_dropout),
        ] {
            let probability = probability.unwrap_or(0.0);
            check(
                option,
                &probability,
                (0.0..1.0).contains(&probability),
                "in [0, 1)",
            )?;
        }
        self.frozen().map(drop)
    }

    /// The compiled patterns of `freeze`.
    pub(super) fn frozen(&self) -> Result<Vec<Regex>, OptionError> {
        let compile = |pattern: &String| Regex::new(pattern).map_err(|e| OptionError::Pattern(Box::new(e)));
        self.freeze.iter().map(compile).collect()
    }

    /// The same configuration with the learning rate that it gives to a model of this hidden size.
    pub(super) fn with_learning_rate(&self, hidden_size: usize) -> Self {
        let mut config = self.clone();
        let rate = Some(learning_rate(self.optimization.learning_rate, hidden_size));
        (config.optimization.learning_rate, config.options.learning_rate) = (rate, rate);
        config
    }

    /// The options of this configuration, every default filled in, as `config.toml` holds them.
    pub fn options(&self) -> &TrainOptions {
        &self.options
    }
}

/// One configuration for each of the options' `folds`, each with its own directory `out/fold-N`.
pub fn fold_configs(options: &TrainOptions) -> Result<Vec<TrainConfig>, OptionError> {
    fold_options(options)?.into_iter().map(TrainConfig::new).collect()
}

/// One configuration for each of the options' `seeds`, at least one, each with its own directory `out/seed-N`.
pub fn seed_configs(options: &TrainOptions) -> Result<Vec<TrainConfig>, OptionError> {
    seed_options(options)?.into_iter().map(TrainConfig::new).collect()
}

/// The options of one run for each of the options' `seeds`, at least one, each with its own directory `out/seed-N`.
pub(super) fn seed_options(options: &TrainOptions) -> Result<Vec<TrainOptions>, OptionError> {
    let seeds = options.seeds.clone().unwrap_or_default();
    if seeds.is_empty() {
        return Err(OptionError::NoSeeds);
    }
    if options.seed.is_some() {
        return Err(OptionError::SeedAndSeeds);
    }
    if options.folds.is_some() {
        return Err(OptionError::FoldsAndSeeds);
    }
    let idle = options.soup.is_some() && seeds.len() < 2;
    check_absent(&[("soup", idle)], "there are at least two `seeds`")?;
    let out = options.out.clone().ok_or(OptionError::Missing("out"))?;
    let of_seed = |(at, &seed): (usize, &u64)| {
        if seeds[..at].contains(&seed) {
            return Err(OptionError::SameSeed(seed));
        }
        Ok(TrainOptions {
            seed: Some(seed),
            seeds: None,
            soup: None,
            out: Some(out.join(format!("seed-{seed}"))),
            ..options.clone()
        })
    };
    seeds.iter().enumerate().map(of_seed).collect()
}

#[cfg(test)]
mod tests;
