//! The validated configuration of a training.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::options::TrainOptions;
use crate::corpus::WNUT17_URL;

/// Why options make no training.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML of the known keys.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line and the key.
        source: toml::de::Error,
    },
    /// An option without a default is absent.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// An option's value is out of range.
    #[error("`{option}` is {value}; it must be {range}")]
    Range {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        range: &'static str,
    },
    /// An option would be without effect.
    #[error("`{0}` goes with `init = \"scratch\"` alone")]
    NoEffect(&'static str),
}

/// Where the weights come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// From the base model.
    #[default]
    Base,
    /// Freshly drawn.
    Scratch,
}

/// A fresh encoder's sizes and tokenizer.
#[derive(Clone, Debug, PartialEq)]
pub struct Scratch {
    /// The directory of the tokenizer.
    pub vocab: PathBuf,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Encoder layers.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the feed-forward layers.
    pub intermediate_size: usize,
}

/// What a training starts from.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// A local directory or a hub id.
    Base(String),
    /// Fresh weights.
    Scratch(Scratch),
}

/// Everything a training needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainConfig {
    /// A directory with the splits, or `wnut17`.
    pub data: String,
    /// What to start from.
    pub start: Start,
    /// Where the run is written.
    pub out: PathBuf,
    /// Passes over the training sentences.
    pub epochs: usize,
    /// Windows a step.
    pub batch_size: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Share of the steps in which the learning rate rises.
    pub warmup: f64,
    /// Largest norm of the gradient.
    pub clip: f64,
    /// Dropout of embeddings and sub-layer outputs, where not the base's.
    pub dropout: Option<f64>,
    /// Longest window in tokens, special tokens included.
    pub max_length: usize,
    /// Seed of order, dropout and fresh weights.
    pub seed: u64,
    /// Threads.
    pub threads: usize,
    /// Whether the best checkpoint is evaluated on the test split.
    pub evaluate_test: bool,
    /// Where `wnut17` is downloaded from.
    pub wnut17_url: String,
}

impl TrainConfig {
    /// The configuration these options make, with defaults for those that are absent.
    pub fn new(options: TrainOptions) -> Result<Self, ConfigError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let config = Self {
            start: start(&options)?,
            data: options.data.ok_or(ConfigError::Missing("data"))?,
            out: options.out.ok_or(ConfigError::Missing("out"))?,
            epochs: options.epochs.unwrap_or(5),
            batch_size: options.batch_size.unwrap_or(16),
            learning_rate: options.learning_rate.unwrap_or(2e-4),
            weight_decay: options.weight_decay.unwrap_or(0.01),
            warmup: options.warmup.unwrap_or(0.1),
            clip: options.clip.unwrap_or(1.0),
            dropout: options.dropout,
            max_length: options.max_length.unwrap_or(128),
            seed: options.seed.unwrap_or(42),
            threads: options.threads.unwrap_or(threads),
            evaluate_test: options.evaluate_test.unwrap_or(false),
            wnut17_url: options.wnut17_url.unwrap_or_else(|| WNUT17_URL.to_owned()),
        };
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        for (option, value) in [
            ("epochs", self.epochs),
            ("batch_size", self.batch_size),
            ("threads", self.threads),
        ] {
            check(option, &value, value > 0, "at least 1")?;
        }
        check(
            "max_length",
            &self.max_length,
            self.max_length > 2,
            "more than the special tokens",
        )?;
        let positive = |x: f64| x > 0.0 && x.is_finite();
        check(
            "learning_rate",
            &self.learning_rate,
            positive(self.learning_rate),
            "above 0",
        )?;
        check("clip", &self.clip, positive(self.clip), "above 0")?;
        let decay = self.weight_decay;
        check("weight_decay", &decay, (0.0..1.0).contains(&decay), "in [0, 1)")?;
        check(
            "warmup",
            &self.warmup,
            (0.0..=1.0).contains(&self.warmup),
            "in [0, 1]",
        )?;
        let dropout = self.dropout.unwrap_or(0.0);
        check("dropout", &dropout, (0.0..1.0).contains(&dropout), "in [0, 1)")
    }

    /// The options that make this configuration again.
    pub fn to_options(&self) -> TrainOptions {
        let mut options = TrainOptions {
            data: Some(self.data.clone()),
            out: Some(self.out.clone()),
            epochs: Some(self.epochs),
            batch_size: Some(self.batch_size),
            learning_rate: Some(self.learning_rate),
            weight_decay: Some(self.weight_decay),
            warmup: Some(self.warmup),
            clip: Some(self.clip),
            dropout: self.dropout,
            max_length: Some(self.max_length),
            seed: Some(self.seed),
            threads: Some(self.threads),
            evaluate_test: Some(self.evaluate_test),
            wnut17_url: Some(self.wnut17_url.clone()),
            ..TrainOptions::default()
        };
        match &self.start {
            Start::Base(base) => {
                options.init = Some(Init::Base);
                options.base = Some(base.clone());
            }
            Start::Scratch(scratch) => {
                options.init = Some(Init::Scratch);
                options.vocab = Some(scratch.vocab.clone());
                options.hidden_size = Some(scratch.hidden_size);
                options.layers = Some(scratch.layers);
                options.heads = Some(scratch.heads);
                options.intermediate_size = Some(scratch.intermediate_size);
            }
        }
        options
    }
}

fn start(options: &TrainOptions) -> Result<Start, ConfigError> {
    let base = options.base.clone();
    if options.init.unwrap_or_default() == Init::Base {
        let without_effect = [
            ("vocab", options.vocab.is_some()),
            ("hidden_size", options.hidden_size.is_some()),
            ("layers", options.layers.is_some()),
            ("heads", options.heads.is_some()),
            ("intermediate_size", options.intermediate_size.is_some()),
        ];
        if let Some((option, _)) = without_effect.iter().find(|(_, given)| *given) {
            return Err(ConfigError::NoEffect(option));
        }
        return base.map(Start::Base).ok_or(ConfigError::Missing("base"));
    }
    let hidden_size = options.hidden_size.unwrap_or(128);
    Ok(Start::Scratch(Scratch {
        vocab: options
            .vocab
            .clone()
            .or(base.map(PathBuf::from))
            .ok_or(ConfigError::Missing("vocab"))?,
        hidden_size,
        layers: options.layers.unwrap_or(2),
        heads: options.heads.unwrap_or(2),
        intermediate_size: options.intermediate_size.unwrap_or(4 * hidden_size),
    }))
}

fn check(
    option: &'static str,
    value: &impl ToString,
    holds: bool,
    range: &'static str,
) -> Result<(), ConfigError> {
    if holds {
        return Ok(());
    }
    Err(ConfigError::Range {
        option,
        value: value.to_string(),
        range,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> TrainOptions {
        toml::from_str(&format!("data = \"d\"\nbase = \"b\"\nout = \"o\"\n{text}")).unwrap()
    }

    fn error(text: &str) -> String {
        TrainConfig::new(options(text)).unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_the_reference_settings_and_validate() {
        let config = TrainConfig::new(options("")).unwrap();
        assert_eq!(
            (config.epochs, config.batch_size, config.max_length),
            (5, 16, 128)
        );
        assert_eq!(
            (config.learning_rate, config.warmup, config.clip),
            (2e-4, 0.1, 1.0)
        );
        assert_eq!(config.start, Start::Base("b".to_owned()));
    }

    #[test]
    fn what_is_written_reads_as_the_same_configuration() {
        for text in ["", "init = \"scratch\"\nlayers = 3\ndropout = 0.2\nseed = 7"] {
            let config = TrainConfig::new(options(text)).unwrap();
            let written = toml::to_string(&config.to_options()).unwrap();
            let again: TrainOptions = toml::from_str(&written).unwrap();
            assert_eq!(TrainConfig::new(again).unwrap(), config);
        }
    }

    #[test]
    fn unusable_options_are_named() {
        assert!(error("epochs = 0").contains("`epochs` is 0"));
        assert!(error("learning_rate = -1.0").contains("`learning_rate`"));
        assert!(error("dropout = 1.0").contains("`dropout`"));
        assert!(error("layers = 3").contains("`layers` goes with"));
        assert!(toml::from_str::<TrainOptions>("epoch = 1").is_err());
        let none = TrainConfig::new(TrainOptions::default()).unwrap_err();
        assert!(matches!(none, ConfigError::Missing("base")));
    }

    #[test]
    fn the_command_line_overrides_the_file() {
        let file = options("epochs = 3\nseed = 1");
        let line = TrainOptions {
            epochs: Some(9),
            ..TrainOptions::default()
        };
        let both = TrainConfig::new(line.or(file)).unwrap();
        assert_eq!((both.epochs, both.seed), (9, 1));
    }
}
