//! The options of a pre-training: one definition for the flags and for `pretrain.toml` of a run.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::ops::precision::{Precision, PrecisionError};
use crate::train::config::error::OptionError;
use crate::train::pretrain::error::PretrainError;

/// The file of a run with its options.
pub(super) const FILE: &str = "pretrain.toml";
/// Options that a resumed run may have another value of.
const ADJUSTABLE: [&str; 2] = ["out", "threads"];

/// The options of a pre-training, all of them optional.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainOptions {
    /// Model to start from: a Hugging Face directory or a hub id, which may end with @REVISION.
    #[arg(long, value_name = "DIR|HUB_ID")]
    pub base: Option<String>,
    /// Text to learn from: a sentence a line, CoNLL, JSON lines or Parquet, whose labels are not read; may be given several
    /// times.
    #[arg(long, value_name = "FILE")]
    pub text: Option<Vec<PathBuf>>,
    /// Directory of the run; the model is in OUT/last, which `train --base` takes.
    #[arg(long, value_name = "RUN")]
    pub out: Option<PathBuf>,
    /// Passes over the text [default: 3].
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Windows per step [default: 16].
    #[arg(long)]
    pub batch_size: Option<usize>,
    /// Format of the factors in the matrix products of linear layers in training steps: f32, or bf16 with f32 sums, on
    /// processors with AVX-512 BF16. Everything else is f32 [default: f32].
    #[arg(long, value_enum)]
    pub precision: Option<Precision>,
    /// Highest learning rate, which falls linearly after warm-up [default: 1e-4].
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// Fraction of all steps in which the learning rate rises from 0 [default: 0.06].
    #[arg(long, value_name = "FRACTION")]
    pub warmup: Option<f64>,
    /// Weight decay of matrices and embeddings [default: 0.01].
    #[arg(long)]
    pub weight_decay: Option<f64>,
    /// Fraction of the words that are masked and predicted [default: 0.15].
    #[arg(long, value_name = "FRACTION")]
    pub mask_probability: Option<f64>,
    /// Longest window in tokens, special tokens included [default: 128].
    #[arg(long, value_name = "TOKENS")]
    pub max_length: Option<usize>,
    /// Fraction of the sentences that are held out to measure perplexity [default: 0.05].
    #[arg(long, value_name = "FRACTION")]
    pub held_out: Option<f64>,
    /// Steps between evaluations, each of which makes a checkpoint [default: an epoch's].
    #[arg(long, value_name = "STEPS")]
    pub evaluate_every: Option<usize>,
    /// Seed of the held-out sentences, the order, the masks, dropout, and a head that the base does not have [default: 42].
    #[arg(long)]
    pub seed: Option<u64>,
    /// Threads [default: as many as the machine offers].
    #[arg(long)]
    pub threads: Option<usize>,
}

/// The validated options, every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct PretrainSettings {
    pub(super) base: String,
    pub(super) texts: Vec<PathBuf>,
    /// The directory of the run.
    pub out: PathBuf,
    pub(super) epochs: usize,
    pub(super) batch_size: usize,
    pub(super) precision: Precision,
    pub(super) learning_rate: f64,
    pub(super) warmup: f64,
    pub(super) weight_decay: f64,
    pub(super) mask_probability: f64,
    pub(super) max_length: usize,
    pub(super) held_out: f64,
    pub(super) evaluate_every: Option<usize>,
    pub(super) seed: u64,
    pub(super) threads: usize,
    // Invariant: `new` of these options is these settings.
    pub(super) options: PretrainOptions,
}

impl PretrainSettings {
    /// The settings of these options, with defaults for those that are absent.
    pub fn new(mut options: PretrainOptions) -> Result<Self, PretrainError> {
        let machine = std::thread::available_parallelism().map_or(1, usize::from);
        let settings = Self {
            base: options.base.clone().ok_or(OptionError::Missing("base"))?,
            texts: options.text.clone().ok_or(OptionError::Missing("text"))?,
            out: options.out.clone().ok_or(OptionError::Missing("out"))?,
            epochs: *options.epochs.get_or_insert(3),
            batch_size: *options.batch_size.get_or_insert(16),
            precision: *options.precision.get_or_insert_default(),
            learning_rate: *options.learning_rate.get_or_insert(1e-4),
            warmup: *options.warmup.get_or_insert(0.06),
            weight_decay: *options.weight_decay.get_or_insert(0.01),
            mask_probability: *options.mask_probability.get_or_insert(0.15),
            max_length: *options.max_length.get_or_insert(128),
            held_out: *options.held_out.get_or_insert(0.05),
            evaluate_every: options.evaluate_every,
            seed: *options.seed.get_or_insert(42),
            threads: *options.threads.get_or_insert(machine),
            options,
        };
        settings.validate()?;
        Ok(settings)
    }

    /// The settings of a run that is resumed: the options given, and for the others the values that it was started with.
    pub fn resumed(given: &PretrainOptions) -> Result<Self, PretrainError> {
        let out = given.out.clone().ok_or(OptionError::Missing("out"))?;
        let recorded = read_options(&out)?;
        let table = |options: &PretrainOptions| Table::try_from(options).unwrap_or_default();
        let (given, mut all) = (table(given), table(&recorded));
        for (option, value) in given {
            let recorded = all.insert(option.clone(), value.clone());
            if recorded.as_ref() != Some(&value) && !ADJUSTABLE.contains(&option.as_str()) {
                return Err(PretrainError::OtherOption {
                    dir: out,
                    option,
                    recorded: recorded.map_or_else(|| "not set".to_owned(), |value| value.to_string()),
                    given: value.to_string(),
                });
            }
        }
        Self::new(all.try_into().map_err(|source| PretrainError::Recorded {
            path: out.join(FILE),
            source: Box::new(source),
        })?)
    }

    fn validate(&self) -> Result<(), PretrainError> {
        let counts = [
            ("text", self.texts.len(), usize::MAX),
            ("epochs", self.epochs, 1 << 20),
            ("batch_size", self.batch_size, 1 << 20),
            ("evaluate_every", self.evaluate_every.unwrap_or(1), usize::MAX),
            ("threads", self.threads, crate::train::config::MOST_THREADS),
        ];
        for (option, value, most) in counts {
            if value == 0 || value > most {
                return Err(OptionError::Count { option, value, most }.into());
            }
        }
        if self.precision == Precision::Fp16 {
            return Err(OptionError::from(PrecisionError::Fp16InPretraining).into());
        }
        let shares = [
            ("mask_probability", self.mask_probability),
            ("held_out", self.held_out),
        ];
        let out_of_range = |option, value: f64, range| OptionError::Range {
            option,
            value: value.to_string(),
            range,
        };
        for (option, share) in shares {
            if !(share > 0.0 && share < 1.0) {
                return Err(out_of_range(option, share, "above 0 and below 1").into());
            }
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return Err(out_of_range("learning_rate", self.learning_rate, "above 0").into());
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return Err(out_of_range("weight_decay", self.weight_decay, "at least 0").into());
        }
        if !(0.0..=1.0).contains(&self.warmup) {
            return Err(out_of_range("warmup", self.warmup, "in [0, 1]").into());
        }
        Ok(())
    }
}

/// The options that the run in a directory was started with.
fn read_options(out: &Path) -> Result<PretrainOptions, PretrainError> {
    let path = out.join(FILE);
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(crate::train::error::TrainError::NoRun { dir: out.to_owned() }.into());
        }
        Err(source) => return Err(crate::train::error::TrainError::Read { path, source }.into()),
        Ok(text) => text,
    };
    toml::from_str(&text).map_err(|source| PretrainError::Recorded {
        path,
        source: Box::new(source),
    })
}
