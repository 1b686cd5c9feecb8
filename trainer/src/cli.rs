//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};
use nerve_corpus::{ReadOptions, TagNames, parse_column};
use nerve_inference::Kernels;
use nerve_repository::{ModelAddress, Precision, StoreAddress};
use nerve_tagging::Splitter;
use nerve_trainer::evaluate::OutsideBiasChoice;
use nerve_trainer::{
    InputFormat, OptionError, OutputFormat, PretrainOptions, Publication, TrainOptions, TrainingData,
    read_label_map,
};

/// Fine-tunes and evaluates entity taggers.
#[derive(Parser)]
#[command(name = "nerve-trainer", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Fine-tune a model on a corpus.
    Train {
        /// TOML file of the options below, their hyphens as underscores; the command line overrides it. Options of the
        /// command line alone: --resume, --publish, --publish-name, --publish-precision, --only-if-better, --onnxruntime.
        #[arg(long, value_name = "FILE.toml")]
        config: Option<PathBuf>,
        /// Continue the run in `--out` where it was stopped, with its own options where none are given here.
        #[arg(long)]
        resume: bool,
        #[command(flatten)]
        options: Box<TrainOptions>,
        #[command(flatten)]
        publish: PublishArgs,
    },
    /// Continue the pre-training of a model on text of its domain, by masked language modeling of whole words.
    ///
    /// The model in OUT/last is a base for `train`. Its perplexity is measured on sentences that are held out. The head for masked
    /// words is that of the base, or new if the base has none.
    Pretrain {
        /// Continue the run in `--out` where it was stopped, with its own options where none are given here.
        #[arg(long)]
        resume: bool,
        #[command(flatten)]
        options: Box<PretrainOptions>,
    },
    /// Train many combinations of options, from a grid or drawn at random, and compare them on dev.
    ///
    /// The TOML file has the table [options] with options of `train` that all combinations share, and either [grid] with lists of
    /// values, of which all combinations are trained, or [random] with `runs`, `seed` and lists or ranges such as
    /// { low = 1e-5, high = 1e-3, log = true }. `seeds = [1, 2, 3]` above the tables trains each combination once for each seed.
    /// The same command continues a sweep that was stopped, and trains what was added to the file.
    Sweep {
        /// The file.
        #[arg(long, value_name = "SWEEP.toml")]
        config: PathBuf,
        /// Directory of the sweep: a directory for each combination, sweep.json and sweep.html.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Compare runs: curves, options in which they differ, dev scores by type, and whether a difference of F1 is real.
    ///
    /// A RUN is the directory of a run, of the runs of several seeds or folds, of a checkpoint or of a bundle; folds, checkpoints
    /// and bundles need --data. The best checkpoint of each run is evaluated, and the paired bootstrap (Koehn 2004) draws sentences
    /// with replacement.
    Compare {
        /// Directories of runs; the first is the one that the others are compared with.
        #[arg(value_name = "RUN", required = true, num_args = 2..)]
        runs: Vec<PathBuf>,
        /// Labeled sentences to evaluate on [default: the dev split of the runs, which must be the same].
        #[arg(long, value_name = "FILE")]
        data: Option<PathBuf>,
        #[command(flatten)]
        read: ReadArgs,
        /// Write a page with the curves and tables.
        #[arg(long, value_name = "FILE.html")]
        out: Option<PathBuf>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        /// Resamples of the bootstrap.
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1000..=1_000_000))]
        resamples: u32,
        /// Seed of the resamples.
        #[arg(long, default_value_t = 42)]
        seed: u64,
        /// Threads [default: as many as the machine offers].
        #[arg(long)]
        threads: Option<usize>,
    },
    /// Score a checkpoint or a bundle on a labeled file.
    Evaluate {
        #[command(flatten)]
        model: ModelArgs,
        /// Labeled sentences: CoNLL, JSON lines or Parquet.
        #[arg(long, value_name = "FILE")]
        data: PathBuf,
        #[command(flatten)]
        read: ReadArgs,
        /// Also write the figures as JSON.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Also write a page to look at: errors, confusion, calibration.
        #[arg(long, value_name = "FILE.html", conflicts_with = "raw")]
        report: Option<PathBuf>,
        /// Give the tagger running text, and score spans of it.
        #[arg(long)]
        raw: bool,
        /// Take each word's most probable label: without transition scores, and even where the labels make no valid sequence or an
        /// entity consists of symbols.
        #[arg(long)]
        unconstrained: bool,
    },
    /// Score a file of predicted tags against a gold one, both CoNLL, JSON lines or Parquet.
    ///
    /// Tags may be IOB2, IOB1, IOBES, BILOU or bare types, each file in its own scheme. A JSON line has `words` and `tags` (or
    /// `tokens` and `ner_tags`), or `text` and `entities`, each of `start`, `end` and `label`. What `tag` writes can be scored as
    /// CoNLL, not as ndjson.
    Score {
        /// The gold file; --word-column and --tag-column are those of this file.
        #[arg(long, value_name = "FILE")]
        gold: PathBuf,
        #[command(flatten)]
        read: ReadArgs,
        /// The predictions: the same sentences, with as many words each.
        #[arg(long, value_name = "FILE")]
        pred: PathBuf,
        /// Drop `I-` tags that continue nothing: strict IOB2.
        #[arg(long)]
        strict: bool,
        /// Fail when a word differs between the files; by default tags are compared by position, with a warning.
        #[arg(long)]
        same_words: bool,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Fit the temperature of a checkpoint's probabilities and write it to its `calibration.json`.
    Calibrate {
        /// The checkpoint.
        #[arg(long, value_name = "DIR")]
        checkpoint: PathBuf,
        /// Labeled sentences that it was not trained on: CoNLL, JSON lines or Parquet.
        #[arg(long, value_name = "FILE")]
        data: PathBuf,
        #[command(flatten)]
        read: ReadArgs,
        /// Change the bias of the label O in the checkpoint's classifier, which trades precision for recall: the number to add to the
        /// trained bias (below 0 the model finds more entities; 0 restores it), or f1, f2, f0.5, ... for the one with the
        /// highest F-measure on --data.
        #[arg(long, value_name = "NUMBER|fBETA", allow_hyphen_values = true)]
        outside_bias: Option<OutsideBiasChoice>,
        /// Longest window in tokens, special tokens included [default: model_max_length of the checkpoint's
        /// tokenizer_config.json, else 512; at most the positions of the model].
        #[arg(long)]
        max_length: Option<usize>,
        /// Threads [default: as many as the machine offers].
        #[arg(long)]
        threads: Option<usize>,
    },
    /// Average the weights of several checkpoints of one base model into one (a model soup).
    Soup {
        /// A checkpoint to average, such as RUN/best; given at least twice.
        #[arg(long, value_name = "DIR", required = true)]
        checkpoint: Vec<PathBuf>,
        /// Directory the soup is written to.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Take the checkpoints by their entity F1 on the sentences of --data, and keep those with which that of the soup is
        /// not lower.
        #[arg(long, requires = "data")]
        greedy: bool,
        /// Labeled sentences that the checkpoints were not trained on, to evaluate and calibrate on: CoNLL, JSON lines or
        /// Parquet.
        #[arg(long, value_name = "FILE")]
        data: Option<PathBuf>,
        #[command(flatten)]
        read: ReadArgs,
        /// Threads [default: as many as the machine offers].
        #[arg(long)]
        threads: Option<usize>,
    },
    /// Count the sentences, words, tokens and entities of a corpus, and warn of what harms a training.
    Inspect {
        #[command(flatten)]
        data: DataArgs,
        /// Model whose tokenizer counts tokens: a Hugging Face directory or a hub id, which may end with @REVISION.
        #[arg(long, value_name = "DIR|HUB_ID")]
        base: Option<String>,
        /// Longest window in tokens, special tokens included [default: 128].
        #[arg(long, value_name = "TOKENS", requires = "base")]
        max_length: Option<usize>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Tag the sentences of a file: running text, CoNLL or JSON lines.
    Tag {
        #[command(flatten)]
        model: ModelArgs,
        /// The format of the file [default: by its extension and content].
        #[arg(long, value_enum)]
        input: Option<InputFormat>,
        /// Column of a CoNLL file that holds the word, counted from 1 [default: the first; in files that look like GermEval,
        /// the second].
        #[arg(long, value_name = "COLUMN", value_parser = parse_column)]
        word_column: Option<NonZeroUsize>,
        /// What to print.
        #[arg(long, value_enum, default_value_t)]
        output: OutputFormat,
        /// Take each word's most probable label: without transition scores, and even where the labels make no valid sequence or an
        /// entity consists of symbols.
        #[arg(long)]
        unconstrained: bool,
        /// The file; `-` is standard input.
        #[arg(value_name = "FILE|-")]
        text: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct ReadArgs {
    /// Column of a CoNLL file that holds the word, counted from 1 [default: the first; in files that look like GermEval, the
    /// second].
    #[arg(long, value_name = "COLUMN", value_parser = parse_column)]
    word_column: Option<NonZeroUsize>,
    /// Column of a CoNLL file that holds the tag, counted from 1 [default: the last; in files that look like GermEval, the
    /// third, of outer entities].
    #[arg(long, value_name = "COLUMN", value_parser = parse_column)]
    tag_column: Option<NonZeroUsize>,
    /// Names of the numbers that JSON lines, and Parquet files without names of their own, have as tags: a file, one name a line
    /// or a JSON array, or a list such as O,B-PER,I-PER.
    #[arg(long, value_name = "FILE|LIST")]
    labels: Option<String>,
    /// TOML file that merges, renames or drops entity types: lines such as creative-work = "work" and product = "".
    #[arg(long, value_name = "FILE.toml")]
    map_labels: Option<PathBuf>,
}

/// The corpus to inspect; the options are those of `train`.
#[derive(Args)]
pub(crate) struct DataArgs {
    /// Corpus: a directory with a train file and optionally a dev and a test file, `wnut17`, or a data set of the hub,
    /// OWNER/NAME[@REVISION][:CONFIG], such as tner/wnut2017. An existing path takes precedence over the hub.
    #[arg(long, value_name = "DIR|wnut17|HUB_ID", required_unless_present = "train")]
    data: Option<String>,
    /// Files of the train split, in place of those of --data; may be given several times.
    #[arg(long, value_name = "FILE|GLOB")]
    train: Option<Vec<String>>,
    /// Files of the dev split, in place of those of --data; may be given several times.
    #[arg(long, value_name = "FILE|GLOB")]
    dev: Option<Vec<String>>,
    /// Files of the test split, in place of those of --data; may be given several times.
    #[arg(long, value_name = "FILE|GLOB")]
    test: Option<Vec<String>>,
    /// Fraction of the training sentences that become the dev split of a corpus that has none [default: 0.1].
    #[arg(long, value_name = "FRACTION")]
    dev_fraction: Option<f64>,
    /// Seed that draws this dev split [default: 42].
    #[arg(long, value_name = "SEED")]
    dev_seed: Option<u64>,
    #[command(flatten)]
    read: ReadArgs,
    /// URL from which `wnut17` is downloaded [default: the authors' repository].
    #[arg(long, env = "NERVE_WNUT17_URL", value_name = "URL")]
    wnut17_url: Option<String>,
}

impl DataArgs {
    pub(crate) fn resolve(self) -> Result<TrainingData, OptionError> {
        let mut options = TrainOptions {
            data: self.data,
            train: self.train,
            dev: self.dev,
            test: self.test,
            dev_fraction: self.dev_fraction,
            dev_seed: self.dev_seed,
            word_column: self.read.word_column,
            tag_column: self.read.tag_column,
            labels: self.read.labels,
            map_labels: self.read.map_labels,
            wnut17_url: self.wnut17_url,
            ..TrainOptions::default()
        };
        TrainingData::resolve(&mut options)
    }
}

impl ReadArgs {
    pub(crate) fn options(self) -> Result<ReadOptions, OptionError> {
        Ok(ReadOptions {
            word_column: self.word_column,
            tag_column: self.tag_column,
            labels: self
                .labels
                .as_deref()
                .map(TagNames::of_file_or_list)
                .transpose()?,
            label_map: self.map_labels.as_deref().map(read_label_map).transpose()?,
        })
    }
}

#[derive(Args)]
pub(crate) struct PublishArgs {
    /// Make a bundle of the best checkpoint and make it current in this model store: a directory, or a URL such as
    /// s3://bucket/prefix.
    #[arg(long, value_name = "DIR|URL", conflicts_with_all = ["seeds", "folds"])]
    pub(crate) publish: Option<StoreAddress>,
    /// The published model's name [default: that of the live version, else the run's].
    #[arg(long, value_name = "NAME", requires = "publish", conflicts_with_all = ["seeds", "folds"])]
    pub(crate) publish_name: Option<String>,
    /// The arithmetic of the published bundle: fp32, fp16 or int8 [default: int8].
    #[arg(long, requires = "publish", conflicts_with_all = ["seeds", "folds"])]
    pub(crate) publish_precision: Option<Precision>,
    /// Publish only if the bundle's entity F1 on dev is higher than that of the version that is live.
    #[arg(long, requires = "publish", conflicts_with_all = ["seeds", "folds"])]
    pub(crate) only_if_better: bool,
    /// ONNX Runtime library for publishing [default: ORT_DYLIB_PATH, else a `.onnxruntime/` above the program].
    #[arg(long, value_name = "FILE", requires = "publish", conflicts_with_all = ["seeds", "folds"])]
    pub(crate) onnxruntime: Option<PathBuf>,
}

impl PublishArgs {
    pub(crate) fn publication(self) -> Option<Publication> {
        Some(Publication {
            store: self.publish?,
            name: self.publish_name,
            precision: self.publish_precision.unwrap_or(Precision::Int8),
            only_if_better: self.only_if_better,
            onnxruntime: self.onnxruntime,
        })
    }
}

// Each option of one kind of model conflicts with the other kind: that it requires its own is not checked beside the other, as
// the two exclude each other.
#[derive(Args)]
#[command(group = ArgGroup::new("model").required(true).args(["checkpoint", "bundle"]))]
pub(crate) struct ModelArgs {
    /// Checkpoint to run on candle: a directory, or a model of the hub such as dslim/bert-base-NER, which @ and a branch, tag or
    /// commit may follow.
    #[arg(long, value_name = "DIR|HUB_ID")]
    pub(crate) checkpoint: Option<ModelAddress>,
    /// Bundle, store or plain export to run, or a checkpoint or a model of the hub, which is exported in fp32 and kept in
    /// NERVE_CACHE; --kernels chooses its kernels.
    #[arg(long, value_name = "DIR|HUB_ID")]
    pub(crate) bundle: Option<ModelAddress>,
    /// Longest window of a checkpoint in tokens, special tokens included [default: model_max_length of its
    /// tokenizer_config.json, else 512; at most the positions of the model].
    #[arg(long, conflicts_with = "bundle")]
    pub(crate) max_length: Option<usize>,
    /// ONNX Runtime library for a bundle [default: ORT_DYLIB_PATH, else a `.onnxruntime/` above the program].
    #[arg(long, value_name = "FILE", conflicts_with = "checkpoint")]
    pub(crate) onnxruntime: Option<PathBuf>,
    /// The graph of a plain export, relative to its directory [default: model.onnx, else onnx/model.onnx]. Of a checkpoint or a
    /// model of the hub, it is run instead of an export.
    #[arg(long, value_name = "FILE", conflicts_with = "checkpoint")]
    pub(crate) onnx_file: Option<PathBuf>,
    /// How running text is split for a plain export or an exported checkpoint: corpus, whitespace or bert [default: bert for a plain
    /// export, corpus for a checkpoint].
    #[arg(long, conflicts_with = "checkpoint")]
    pub(crate) splitter: Option<Splitter>,
    /// Which kernels compute a bundle's encoder: nerve (an error for a model that they cannot compute), onnxruntime, or auto, which uses
    /// Nerve's wherever they can.
    #[arg(long, default_value = "auto", conflicts_with = "checkpoint")]
    pub(crate) kernels: Kernels,
    /// Threads [default: as many as the machine offers].
    #[arg(long)]
    pub(crate) threads: Option<usize>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn the_help_of_config_names_the_options_that_it_does_not_take() {
        let command = Cli::command();
        let train = command.find_subcommand("train").unwrap();
        let in_file = TrainOptions::augment_args(clap::Command::new("train"));
        let in_file: BTreeSet<&str> = in_file
            .get_arguments()
            .filter_map(|option| option.get_long())
            .collect();
        let config = train
            .get_arguments()
            .find(|option| option.get_id() == "config")
            .unwrap();
        let help = config.get_help().unwrap().to_string();
        let named: BTreeSet<&str> = help
            .split([' ', ',', '.'])
            .filter_map(|word| word.strip_prefix("--"))
            .collect();
        let other = train.get_arguments().filter_map(|option| option.get_long());
        let other: BTreeSet<&str> = other
            .filter(|option| *option != "config" && !in_file.contains(option))
            .collect();
        assert_eq!(named, other);
    }

    fn parse(command: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(command.split(' '))
    }

    #[test]
    fn an_option_without_effect_on_the_model_is_refused() {
        for given in [
            "evaluate --data f --bundle b --max-length 5",
            "tag f --bundle b --max-length 5",
            "evaluate --data f --checkpoint c --splitter bert",
            "evaluate --data f --checkpoint c --onnx-file g",
            "tag f --checkpoint c --onnxruntime l",
            "train --seeds 1,2 --publish-name n",
            "train --folds 3 --publish s",
            "train --folds 3 --seeds 1,2",
        ] {
            let refused = parse(&format!("nerve-trainer {given}")).err();
            let kind = refused.map(|error| error.kind());
            assert_eq!(kind, Some(ErrorKind::ArgumentConflict), "{given}");
        }
        let column = parse("nerve-trainer tag f --bundle b --word-column 0").err();
        let column = column.map(|error| error.to_string()).unwrap_or_default();
        assert!(column.contains("columns count from 1"), "{column}");
        for given in [
            "evaluate --data f --checkpoint c --max-length 5",
            "tag f --bundle b --splitter bert --onnx-file g --onnxruntime l",
        ] {
            assert!(parse(&format!("nerve-trainer {given}")).is_ok(), "{given}");
        }
    }
}
