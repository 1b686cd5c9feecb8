//! The command line.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};
use nerve_tagging::Splitter;
use nerve_trainer::TrainOptions;

/// Fine-tunes and evaluates BERT entity taggers.
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
        /// TOML file of the options below, their hyphens as underscores; the command line overrides it.
        #[arg(long, value_name = "FILE.toml")]
        config: Option<PathBuf>,
        #[command(flatten)]
        options: Box<TrainOptions>,
    },
    /// Score a checkpoint or a bundle on a labelled file.
    Evaluate {
        #[command(flatten)]
        model: ModelArgs,
        /// Labelled sentences: CoNLL, or JSON lines.
        #[arg(long, value_name = "FILE")]
        data: PathBuf,
        /// Also write the figures as JSON.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Give the tagger running text, and score spans of it.
        #[arg(long)]
        raw: bool,
        /// Take each word's most probable label, even where the labels make no valid IOB2.
        #[arg(long)]
        unconstrained: bool,
    },
    /// Score a CoNLL file of predictions against a gold one.
    Score {
        /// The gold file.
        #[arg(long, value_name = "FILE")]
        gold: PathBuf,
        /// The predictions, over the same words.
        #[arg(long, value_name = "FILE")]
        pred: PathBuf,
        /// Drop `I-` tags that continue nothing: strict IOB2.
        #[arg(long)]
        strict: bool,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Tag plain text, a sentence a line, as CoNLL.
    Tag {
        #[command(flatten)]
        model: ModelArgs,
        /// The text; `-` is standard input.
        #[arg(value_name = "FILE|-")]
        text: PathBuf,
    },
}

#[derive(Args)]
#[command(group = ArgGroup::new("model").required(true).args(["checkpoint", "bundle"]))]
pub(crate) struct ModelArgs {
    /// Checkpoint to run on candle.
    #[arg(long, value_name = "DIR")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Bundle, store or plain export to run on ONNX Runtime.
    #[arg(long, value_name = "DIR")]
    pub(crate) bundle: Option<PathBuf>,
    /// Longest window of a checkpoint in tokens [default: 128].
    #[arg(long, requires = "checkpoint")]
    pub(crate) max_length: Option<usize>,
    /// ONNX Runtime library for a bundle [default: ORT_DYLIB_PATH, else a `.onnxruntime/` above the program].
    #[arg(long, value_name = "FILE", requires = "bundle")]
    pub(crate) onnxruntime: Option<PathBuf>,
    /// The graph of a plain export, relative to its directory [default: model.onnx, else onnx/model.onnx].
    #[arg(long, value_name = "FILE", requires = "bundle")]
    pub(crate) onnx_file: Option<PathBuf>,
    /// How a plain export's running text is split: corpus, whitespace or bert [default: bert].
    #[arg(long, requires = "bundle")]
    pub(crate) splitter: Option<Splitter>,
    /// Threads [default: as many as the machine offers].
    #[arg(long)]
    pub(crate) threads: Option<usize>,
}
