//! The validated configuration of a training.

mod error;
mod objective;
mod optimisation;
mod start;

use std::path::PathBuf;

use regex::Regex;

use super::device::DeviceChoice;
use super::options::TrainOptions;
use super::record::TestedCheckpoint;
use super::subwords::LabelledSubwords;
use crate::corpus::WNUT17_URL;
use error::{check, check_absent, check_count};

pub use error::ConfigError;
pub use objective::Objective;
pub use optimisation::Optimisation;
pub use start::{Init, Scratch, Start, TokenizerSource};

/// The most threads that are started.
pub const MOST_THREADS: usize = 1024;
/// The most epochs.
const MOST_EPOCHS: usize = 1 << 20;
/// The most windows a batch and batches a step.
const MOST_WINDOWS: usize = 1 << 20;
/// The longest window; positions are learnt, so a longer one is a larger table.
const MOST_LENGTH: usize = 1 << 16;

/// Everything a training needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainConfig {
    /// A directory with the splits, or `wnut17`.
    pub data: String,
    /// What to start from.
    pub start: Start,
    /// Where the run is written.
    pub out: PathBuf,
    /// So many training sentences only; all where absent.
    pub subset: Option<usize>,
    /// Which subwords of a word carry its label.
    pub label_subwords: LabelledSubwords,
    /// Passes over the training sentences.
    pub epochs: usize,
    /// Windows a batch.
    pub batch_size: usize,
    /// Batches a step.
    pub accumulate: usize,
    /// Whether batches are of windows of like length.
    pub group_by_length: bool,
    /// How weights are moved.
    pub optimisation: Optimisation,
    /// What is minimised.
    pub objective: Objective,
    /// So many encoder layers, from the first, are not trained.
    pub freeze_layers: usize,
    /// Regular expressions of the names of parameters that are not trained.
    pub freeze: Vec<String>,
    /// Dropout of embeddings and sub-layer outputs, where not the base's.
    pub dropout: Option<f64>,
    /// Longest window in tokens, special tokens included.
    pub max_length: usize,
    /// Steps between evaluations; an epoch's where absent.
    pub evaluate_every: Option<usize>,
    /// Evaluations without a better score after which the training ends; never where absent.
    pub patience: Option<usize>,
    /// Seed of order, dropout, subset and fresh weights.
    pub seed: u64,
    /// Where the training runs.
    pub device: DeviceChoice,
    /// Threads; on another device than the CPU they only read and write.
    pub threads: usize,
    /// Whether a checkpoint is evaluated on the test split.
    pub evaluate_test: bool,
    /// Which one.
    pub test_checkpoint: TestedCheckpoint,
    /// Whether reports are written in the end.
    pub reports: bool,
    /// Where `wnut17` is downloaded from.
    pub wnut17_url: String,
    // Invariant: `new` of these options is this configuration.
    options: TrainOptions,
}

impl TrainConfig {
    /// The configuration of these options, with defaults for those that are absent. For `seeds` see [`seed_configs`].
    pub fn new(mut options: TrainOptions) -> Result<Self, ConfigError> {
        if options.seeds.is_some() {
            return Err(ConfigError::Seeds);
        }
        let idle = options.test_checkpoint.is_some() && options.evaluate_test != Some(true);
        check_absent(&[("test_checkpoint", idle)], "`evaluate_test` is true")?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let evaluate_test = *options.evaluate_test.get_or_insert(false);
        let config = Self {
            start: Start::resolve(&mut options)?,
            optimisation: Optimisation::resolve(&mut options)?,
            objective: Objective::resolve(&mut options)?,
            data: options.data.clone().ok_or(ConfigError::Missing("data"))?,
            out: options.out.clone().ok_or(ConfigError::Missing("out"))?,
            subset: options.subset,
            label_subwords: *options.label_subwords.get_or_insert_default(),
            epochs: *options.epochs.get_or_insert(5),
            batch_size: *options.batch_size.get_or_insert(16),
            accumulate: *options.accumulate.get_or_insert(1),
            group_by_length: *options.group_by_length.get_or_insert(false),
            freeze_layers: *options.freeze_layers.get_or_insert(0),
            freeze: options.freeze.clone().unwrap_or_default(),
            dropout: options.dropout,
            max_length: *options.max_length.get_or_insert(128),
            evaluate_every: options.evaluate_every,
            patience: options.patience,
            seed: *options.seed.get_or_insert(42),
            device: *options.device.get_or_insert_default(),
            threads: *options.threads.get_or_insert(threads),
            evaluate_test,
            test_checkpoint: match evaluate_test {
                true => *options.test_checkpoint.get_or_insert_default(),
                false => TestedCheckpoint::default(),
            },
            reports: *options.reports.get_or_insert(true),
            wnut17_url: options
                .wnut17_url
                .get_or_insert_with(|| WNUT17_URL.to_owned())
                .clone(),
            options,
        };
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), ConfigError> {
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
        check(
            "max_length",
            &self.max_length,
            self.max_length > 2,
            "more than the special tokens",
        )?;
        let dropout = self.dropout.unwrap_or(0.0);
        check("dropout", &dropout, (0.0..1.0).contains(&dropout), "in [0, 1)")?;
        self.frozen().map(drop)
    }

    /// The patterns of what is not trained.
    pub(super) fn frozen(&self) -> Result<Vec<Regex>, ConfigError> {
        let compile = |pattern: &String| Regex::new(pattern).map_err(|e| ConfigError::Pattern(Box::new(e)));
        self.freeze.iter().map(compile).collect()
    }

    /// The options of this configuration, every default filled in, as `config.toml` holds them.
    pub fn options(&self) -> &TrainOptions {
        &self.options
    }
}

/// One configuration for each of the options' `seeds`, of which there must be one at least, in a directory `seed-N` of
/// its own below `out`.
pub fn seed_configs(options: &TrainOptions) -> Result<Vec<TrainConfig>, ConfigError> {
    let seeds = options.seeds.clone().unwrap_or_default();
    if seeds.is_empty() {
        return Err(ConfigError::NoSeeds);
    }
    if options.seed.is_some() {
        return Err(ConfigError::SeedAndSeeds);
    }
    let out = options.out.clone().ok_or(ConfigError::Missing("out"))?;
    let config = |(at, &seed): (usize, &u64)| {
        if seeds[..at].contains(&seed) {
            return Err(ConfigError::SameSeed(seed));
        }
        TrainConfig::new(TrainOptions {
            seed: Some(seed),
            seeds: None,
            out: Some(out.join(format!("seed-{seed}"))),
            ..options.clone()
        })
    };
    seeds.iter().enumerate().map(config).collect()
}

#[cfg(test)]
mod tests;
