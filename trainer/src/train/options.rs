//! The options of a training run: one definition for the flags, the TOML file and the resolved `config.toml` of a run.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::ops::precision::Precision;
use crate::soup::kind::SoupKind;
use crate::train::config::error::OptionError;
use crate::train::loss::{ClassWeights, LossKind};
use crate::train::optimizer::OptimizerKind;
use crate::train::record::TestedCheckpoint;
use crate::train::schedule::ScheduleKind;
use crate::train::select_by::SelectBy;
use crate::train::subwords::LabeledSubwords;
use crate::train::time_limit::TimeLimit;
use nerve_inference::Device;

/// Options of earlier versions, which may still be there as `false`.
const RETIRED: [&str; 2] = ["train_on_padding", "padded_metric"];

/// Where the weights come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// From the base model.
    #[default]
    Base,
    /// From random weights of a BERT.
    Scratch,
}

/// An option in which two sets of options differ, with both values as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionDifference {
    /// The option, as the TOML file spells it.
    pub option: &'static str,
    /// The value in the first set.
    pub first: String,
    /// The value in the second set.
    pub second: String,
}

impl OptionDifference {
    fn new<T: Serialize>(option: &'static str, first: &Option<T>, second: &Option<T>) -> Self {
        let shown = |value: &Option<T>| match value {
            Some(value) => serde_json::to_string(value).unwrap_or_default(),
            None => "not set".to_owned(),
        };
        Self {
            option,
            first: shown(first),
            second: shown(second),
        }
    }
}

impl fmt::Display for OptionDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}, not {}", self.option, self.first, self.second)
    }
}

macro_rules! options {
    (
        fixed { $($(#[$fixed_meta:meta])* $fixed:ident: $fixed_type:ty,)* }
        adjustable { $($(#[$meta:meta])* $name:ident: $type:ty,)* }
    ) => {
        /// The options of a training run, all of them optional. The keys of the TOML file are the names of the fields.
        #[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct TrainOptions {
            $($(#[$fixed_meta])* #[serde(skip_serializing_if = "Option::is_none")] pub $fixed: Option<$fixed_type>,)*
            $($(#[$meta])* #[serde(skip_serializing_if = "Option::is_none")] pub $name: Option<$type>,)*
        }

        /// The options that determine the records and weights of a run step by step: a resumed run must have the values
        /// it was started with. The other options may change.
        #[derive(Clone, Debug, PartialEq)]
        pub struct FixedOptions {
            $(#[doc = concat!("See `TrainOptions::", stringify!($fixed), "`.")] pub $fixed: Option<$fixed_type>,)*
        }

        impl TrainOptions {
            /// These options, completed by those of `other`.
            pub fn or(self, other: Self) -> Self {
                Self {
                    $($fixed: self.$fixed.or(other.$fixed),)*
                    $($name: self.$name.or(other.$name),)*
                }
            }

            /// The options that must not change when the run is resumed.
            pub fn fixed(&self) -> FixedOptions {
                FixedOptions { $($fixed: self.$fixed.clone(),)* }
            }

            /// The first option in which these options differ from `other`.
            pub fn first_difference(&self, other: &Self) -> Option<OptionDifference> {
                if let Some(difference) = self.fixed().differences(&other.fixed()).into_iter().next() {
                    return Some(difference);
                }
                $(if self.$name != other.$name {
                    return Some(OptionDifference::new(stringify!($name), &self.$name, &other.$name));
                })*
                None
            }
        }

        impl FixedOptions {
            /// The options in which these options differ from `other`.
            pub fn differences(&self, other: &Self) -> Vec<OptionDifference> {
                let mut differences = Vec::new();
                $(if self.$fixed != other.$fixed {
                    differences.push(OptionDifference::new(stringify!($fixed), &self.$fixed, &other.$fixed));
                })*
                differences
            }
        }
    };
}

options! {
    fixed {
        /// Corpus: a directory with a train file and optionally a dev and a test file, `wnut17`, or a data set of the hub,
        /// OWNER/NAME[@REVISION][:CONFIG], such as tner/wnut2017. An existing path takes precedence over the hub.
        #[arg(long, value_name = "DIR|wnut17|HUB_ID")]
        data: String,
        /// Files of the train split, in place of those of --data; may be given several times.
        #[arg(long, value_name = "FILE|GLOB")]
        train: Vec<String>,
        /// Files of the dev split, in place of those of --data; may be given several times.
        #[arg(long, value_name = "FILE|GLOB")]
        dev: Vec<String>,
        /// Files of the test split, in place of those of --data; may be given several times.
        #[arg(long, value_name = "FILE|GLOB")]
        test: Vec<String>,
        /// Fraction of the training sentences that become the dev split of a corpus that has none [default: the fraction 0.1].
        #[arg(long, value_name = "FRACTION")]
        dev_fraction: f64,
        /// Seed that draws this dev split [default: the seed 42, whatever --seed is].
        #[arg(long, value_name = "SEED")]
        dev_seed: u64,
        /// TOML file that merges, renames or drops entity types: lines such as creative-work = "work" and product = "".
        #[arg(long, value_name = "FILE.toml")]
        map_labels: PathBuf,
        /// Column of CoNLL files that holds the word, counted from 1 [default: the first; in files that look like GermEval, the
        /// second].
        #[arg(long, value_name = "COLUMN", value_parser = nerve_corpus::parse_column)]
        word_column: NonZeroUsize,
        /// Column of CoNLL files that holds the tag, counted from 1 [default: the last; in files that look like GermEval, the
        /// third, of outer entities].
        #[arg(long, value_name = "COLUMN", value_parser = nerve_corpus::parse_column)]
        tag_column: NonZeroUsize,
        /// Names of the numbers that JSON lines, and Parquet files without names of their own, have as tags: a file, one name a
        /// line or a JSON array, or a list such as O,B-PER,I-PER.
        #[arg(long, value_name = "FILE|LIST")]
        labels: String,
        /// Model to start from: a Hugging Face directory or a hub id, which may end with @REVISION, of a BERT, DistilBERT, RoBERTa,
        /// XLM-R, CamemBERT, MPNet, ELECTRA, ALBERT, DeBERTa-v3 or ModernBERT model.
        #[arg(long, value_name = "DIR|HUB_ID")]
        base: String,
        /// Start from the weights of the base, or from random weights of a BERT of the given sizes, with the tokenizer of the base
        /// [default: base].
        #[arg(long, value_enum)]
        init: Init,
        /// Directory with the tokenizer of a model that starts from random weights, if it is not that of the base.
        #[arg(long, value_name = "DIR")]
        vocab: PathBuf,
        /// Hidden size of a model that starts from random weights [default: 128].
        #[arg(long)]
        hidden_size: usize,
        /// Encoder layers of a model that starts from random weights [default: 2], or number of the base's layers to keep,
        /// counted from the first [default: all].
        #[arg(long)]
        layers: usize,
        /// Attention heads of a model that starts from random weights [default: 2].
        #[arg(long)]
        heads: usize,
        /// Feed-forward size of a model that starts from random weights [default: 4 * hidden-size].
        #[arg(long)]
        intermediate_size: usize,
        /// Train on this number of sentences, drawn at random by the seed [default: all].
        #[arg(long, value_name = "SENTENCES")]
        subset: usize,
        /// Cross-validate: divide the train split into this number of folds at random by the seed, and train once for each fold, in
        /// OUT/fold-N, on the other folds, with this one in place of dev. Equal sentences are in one fold.
        #[arg(long, value_name = "FOLDS", conflicts_with = "seeds")]
        folds: usize,
        /// Train only the run of `--folds` that holds out this fold, counted from 1, in OUT.
        #[arg(long, value_name = "FOLD")]
        fold: usize,
        /// Which subwords of a word carry its label in training [default: first].
        #[arg(long, value_enum)]
        label_subwords: LabeledSubwords,
        /// Windows per batch [default: 16].
        #[arg(long)]
        batch_size: usize,
        /// Batches per step, whose gradients are summed [default: 1].
        #[arg(long, value_name = "BATCHES")]
        accumulate: usize,
        /// Format of the factors in the matrix products of linear layers, and on a GPU of attention, in training steps: f32, or bf16
        /// on a GPU or on processors with AVX-512 BF16, or fp16 on a GPU. Sums are f32; on a GPU the products are rounded too.
        /// Everything else is f32 [default: f32].
        #[arg(long, value_enum)]
        precision: Precision,
        /// Put windows of similar length into one batch; the order of the batches stays random [default: false].
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        group_by_length: bool,
        /// How a gradient changes the weights [default: adamw].
        #[arg(long, value_enum, alias = "optimiser")]
        #[serde(alias = "optimiser")]
        optimizer: OptimizerKind,
        /// Highest learning rate; must be given for sgd [default: the one for the hidden size, 2e-4 below 512, 5e-5 below
        /// 1024, 2e-5 from 1024].
        #[arg(long)]
        learning_rate: f64,
        /// Highest learning rate of the classification head [default: learning-rate].
        #[arg(long)]
        head_learning_rate: f64,
        /// Learning rate of each layer divided by that of the layer above it; the embeddings have the lowest, and so have MPNet's
        /// position biases and DeBERTa's relative embeddings [default: 1].
        #[arg(long, value_name = "FACTOR")]
        layer_decay: f64,
        /// Weight decay of matrices and embeddings, decoupled in adamw [default: 0.01].
        #[arg(long)]
        weight_decay: f64,
        /// Momentum of sgd [default: 0].
        #[arg(long)]
        momentum: f64,
        /// Use Nesterov momentum in sgd [default: false].
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        nesterov: bool,
        /// How the learning rate falls after warm-up [default: linear].
        #[arg(long, value_enum)]
        schedule: ScheduleKind,
        /// Fraction of all steps in which the learning rate rises from 0 [default: 0.1].
        #[arg(long, value_name = "FRACTION")]
        warmup: f64,
        /// Factor by which the schedules step and plateau lower the learning rate each time [default: 0.1].
        #[arg(long, value_name = "FACTOR")]
        gamma: f64,
        /// Epochs after which the schedule step lowers the learning rate [default: 1].
        #[arg(long, value_name = "EPOCHS")]
        step_epochs: usize,
        /// Evaluations without a better score (--select-by) after which the schedule plateau lowers the learning rate.
        /// Evaluations during warm-up, and those that score 0, do not count [default: 1].
        #[arg(long, value_name = "EVALUATIONS")]
        plateau_patience: usize,
        /// Largest norm of the gradient; 0 disables clipping [default: 1].
        #[arg(long, value_name = "NORM")]
        clip: f64,
        /// Loss function [default: cross-entropy].
        #[arg(long, value_enum)]
        loss: LossKind,
        /// Probability that cross-entropy spreads over all labels [default: 0].
        #[arg(long)]
        label_smoothing: f64,
        /// Exponent of the focal loss [default: 2].
        #[arg(long)]
        focal_gamma: f64,
        /// Weights of labels in the loss: `balanced`, or `O=0.5,B-person=2`, where other labels weigh 1 [default: all 1].
        #[arg(long, value_name = "WEIGHTS")]
        class_weights: ClassWeights,
        /// Teacher whose word probabilities the model learns beside the labels (distillation): a checkpoint, bundle, store or
        /// plain export, or a hub id. May be given several times; the teachers' probabilities are averaged. Their labels must
        /// be the corpus's, in any order. ONNX Runtime is found by ORT_DYLIB_PATH or in a `.onnxruntime/` above the program.
        #[arg(long, value_name = "DIR|HUB_ID")]
        teacher: Vec<String>,
        /// Temperature of the probabilities that teacher and student are compared at [default: 2].
        #[arg(long, value_name = "TEMPERATURE")]
        distill_temperature: f64,
        /// Weight W of the teachers: the loss of a word is (1-W) * loss of the label + W * T^2 * KL(teachers, student)
        /// [default: 0.7].
        #[arg(long, value_name = "W")]
        distill_weight: f64,
        /// File of text without labels that the teachers label: a sentence a line, JSON lines, CoNLL or Parquet, whose
        /// tags are ignored. May be given several times. The sentences are mixed with the training sentences.
        #[arg(long, value_name = "FILE", alias = "unlabeled")]
        #[serde(alias = "unlabeled")]
        unlabelled: Vec<PathBuf>,
        /// Number of sentences drawn at random from the unlabelled files, the same for every seed [default: all].
        #[arg(long, value_name = "SENTENCES", alias = "unlabeled-sentences")]
        #[serde(alias = "unlabeled_sentences")]
        unlabelled_sentences: usize,
        /// Probability that a word is hidden: each of its tokens becomes the mask token. Its label stays [default: 0].
        #[arg(long, value_name = "P")]
        word_dropout: f64,
        /// Probability that an entity mention is replaced by another one of its type from the training sentences [default: 0].
        #[arg(long, value_name = "P")]
        mention_replacement: f64,
        /// Probability that a sentence is lowercased, uppercased or title-cased [default: 0].
        #[arg(long, value_name = "P")]
        case_noise: f64,
        /// Probability that an entity mention becomes a hashtag (`#BarackObama`), or loses the `#` or `@` that it begins with
        /// [default: 0].
        #[arg(long, value_name = "P")]
        hashtag_noise: f64,
        /// Probability that symbols labeled O (emoji, bullets, dashes, quotation marks) are inserted into a sentence, never
        /// inside a mention [default: 0].
        #[arg(long, value_name = "P")]
        symbol_noise: f64,
        /// Do not train this number of encoder layers, counted from the first; of ALBERT, groups of layers. The embeddings below them
        /// are trained unless --freeze-embeddings is given [default: 0].
        #[arg(long, value_name = "LAYERS")]
        freeze_layers: usize,
        /// Do not train the embeddings, MPNet's position biases and DeBERTa's relative embeddings. Together with --freeze-layers
        /// the backward pass ends above the frozen layers, which makes steps faster; alone it saves little [default: false].
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        freeze_embeddings: bool,
        /// Do not train parameters whose name matches this regular expression; may be given several times.
        #[arg(long, value_name = "PATTERN")]
        freeze: Vec<String>,
        /// Dropout probability of embeddings and sub-layer outputs [default: the base's].
        #[arg(long)]
        dropout: f64,
        /// Dropout probability of attention weights [default: the base's].
        #[arg(long)]
        attention_dropout: f64,
        /// R-Drop: pass every batch twice with other dropout masks, and add this factor times the divergence of both
        /// passes' distributions to the mean of their losses.
        #[arg(long, value_name = "FACTOR")]
        r_drop: f64,
        /// Adversarial training (FGM): add the gradient of a second pass in which the word embeddings of each window are
        /// moved by this norm to where the loss is larger.
        #[arg(long, value_name = "NORM")]
        adversarial: f64,
        /// Evaluate and keep an exponential moving average of the weights, with this factor of the previous average in each
        /// step; after step N at most N / (N + 9).
        #[arg(long, value_name = "DECAY")]
        ema: f64,
        /// Evaluate and keep the mean of the weights over the last part of the steps, this fraction of all.
        #[arg(long, value_name = "FRACTION")]
        swa: f64,
        /// Steps from one set of weights in the mean of --swa to the next, counted from the first step of the run
        /// [default: 1].
        #[arg(long, value_name = "STEPS")]
        swa_every: usize,
        /// Measure on dev that makes an evaluation the best one: `micro` (entity F1), `macro` (mean F1 of the types), the
        /// F1 of an entity type, given by its name, or `loss` [default: micro].
        #[arg(long, value_name = "micro|macro|TYPE|loss")]
        select_by: SelectBy,
        /// Longest window in tokens, special tokens included [default: 128].
        #[arg(long, value_name = "TOKENS")]
        max_length: usize,
        /// Steps between evaluations on the dev split [default: an epoch's].
        #[arg(long, value_name = "STEPS")]
        evaluate_every: usize,
        /// Seed of the order of the sentences, dropout, subset and random weights [default: 42].
        #[arg(long)]
        seed: u64,
    }
    adjustable {
        /// Directory the run is written to.
        #[arg(long, value_name = "RUN")]
        out: PathBuf,
        /// Passes over the training sentences [default: 5].
        #[arg(long)]
        epochs: usize,
        /// Stop after this number of evaluations without a better score (--select-by) [default: never].
        #[arg(long, value_name = "EVALUATIONS")]
        patience: usize,
        /// End the run after the step in which it has taken this long, evaluations included, with an evaluation and a
        /// checkpoint: 3600s, 90m, 2h. The schedule stays that of all epochs [default: never].
        #[arg(long, value_name = "DURATION")]
        max_time: TimeLimit,
        /// Train once for each of these seeds, in OUT/seed-N, and report mean and standard deviation.
        #[arg(long, value_delimiter = ',', conflicts_with = "seed")]
        seeds: Vec<u64>,
        /// Also average the best checkpoints of all --seeds, in OUT/soup: all of them, or those with which the average is
        /// not worse on dev.
        #[arg(long, value_enum)]
        soup: SoupKind,
        /// Device to train on: cpu, or cuda[:N] in a program built with the feature `cuda` [default: cpu].
        #[arg(long, value_name = "cpu|cuda[:N]")]
        device: Device,
        /// Keep only the input of each encoder layer in the forward pass, and compute the layer again in the backward pass: less
        /// memory, longer steps, the same gradients [default: false].
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        gradient_checkpointing: bool,
        /// Threads [default: as many as the machine offers].
        #[arg(long)]
        threads: usize,
        /// Evaluate a checkpoint on the test split at the end [default: false].
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        evaluate_test: bool,
        /// The checkpoint that `--evaluate-test` evaluates [default: best].
        #[arg(long, value_enum)]
        test_checkpoint: TestedCheckpoint,
        /// Write report.html, TensorBoard events, a model card and a fitted temperature [default: true].
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        reports: bool,
        /// URL from which `wnut17` is downloaded [default: the authors' repository].
        #[arg(long, env = "NERVE_WNUT17_URL", value_name = "URL")]
        wnut17_url: String,
    }
}

impl TrainOptions {
    /// These options of a command line, completed by those of a file. `seed` or `seeds` on the command line replaces both
    /// in the file.
    pub fn over(self, mut file: Self) -> Self {
        if self.seed.is_some() || self.seeds.is_some() {
            (file.seed, file.seeds) = (None, None);
        }
        self.or(file)
    }

    /// The options in a TOML file; an unknown key is an error.
    pub fn read(path: &Path) -> Result<Self, OptionError> {
        let text = std::fs::read(path)
            .and_then(nerve_tagging::into_text)
            .map_err(|source| OptionError::Read {
                path: path.to_owned(),
                source,
            })?;
        let failed = |source| OptionError::Parse {
            path: path.to_owned(),
            source,
        };
        // Earlier versions wrote two options of the study to the `config.toml` of every run.
        let mut table: toml::Table = toml::from_str(&text).map_err(failed)?;
        let is_unset = |option: &&str| table.get(*option) == Some(&toml::Value::Boolean(false));
        let retired: Vec<&str> = RETIRED.into_iter().filter(is_unset).collect();
        if retired.is_empty() {
            return toml::from_str(&text).map_err(failed);
        }
        for option in retired {
            table.remove(option);
        }
        table.try_into().map_err(failed)
    }
}
