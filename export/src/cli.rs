//! The command line of `nerve-export`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use nerve_export::{BundleRequest, LogitsOf};
use nerve_repository::Precision;
use nerve_tagging::Splitter;

/// Makes, verifies and publishes bundles: what the server serves.
#[derive(Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) export: Option<ExportArgs>,
    /// The ONNX Runtime library [default: ORT_DYLIB_PATH, else .onnxruntime/ above the executable]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) onnxruntime: Option<PathBuf>,
}

/// What to do with a bundle.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Compares a bundle with its checkpoint and its batched answers with single ones
    Verify {
        /// The bundle
        bundle: PathBuf,
        /// The checkpoint it was made of
        #[arg(long, value_name = "DIR")]
        checkpoint: Option<PathBuf>,
        /// The texts to run: CoNLL, or one a line (.txt) [default: built-in ones]
        #[arg(long, value_name = "FILE")]
        calibration: Option<PathBuf>,
    },
    /// Puts a bundle into a model store and makes it current
    Publish {
        /// The bundle
        bundle: PathBuf,
        /// The store
        #[arg(long, value_name = "DIR")]
        store: PathBuf,
        /// Only if its entity F1 on this CoNLL file is higher than that of the version that is live; else exit with 3
        #[arg(long, value_name = "DEV.conll")]
        only_if_better: Option<PathBuf>,
    },
}

/// How to make a bundle.
#[derive(Args)]
pub(crate) struct ExportArgs {
    /// The checkpoint: config.json, model.safetensors, tokenizer.json
    #[arg(long, value_name = "DIR")]
    checkpoint: PathBuf,
    /// The bundle to make; must not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The arithmetic
    #[arg(long, value_name = "fp32|fp16|int8")]
    precision: Precision,
    /// Whose logits the graph gives: of the tokens that a run selects, which is faster (and in fp32 and int8 padding-free), or
    /// of all, padding included, as other programs expect
    #[arg(long, value_enum, default_value = "selected")]
    logits: LogitsOf,
    /// The texts on which int8 ranges are observed: CoNLL, or one a line (.txt)
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// How many of them to observe at most, evenly spaced over the file
    #[arg(long, default_value_t = 512)]
    calibration_texts: usize,
    /// A CoNLL file; the bundle's scores on it go into the manifest
    #[arg(long, value_name = "FILE")]
    evaluate: Option<PathBuf>,
    /// The model's name [default: that of the target directory]
    #[arg(long)]
    name: Option<String>,
    /// The base model's name, for the manifest
    #[arg(long)]
    base: Option<String>,
    /// Longest window in tokens
    #[arg(long, default_value_t = 128)]
    max_length: usize,
    /// How the training words came about
    #[arg(long, value_name = "corpus|whitespace|bert", default_value = "corpus")]
    splitter: Splitter,
}

impl ExportArgs {
    pub(crate) fn into_request(self) -> BundleRequest {
        let named = || {
            self.out
                .file_name()
                .unwrap_or(self.out.as_os_str())
                .to_string_lossy()
                .into_owned()
        };
        BundleRequest {
            name: self.name.unwrap_or_else(named),
            checkpoint: self.checkpoint,
            out: self.out,
            precision: self.precision,
            logits_of: self.logits,
            calibration: self.calibration,
            calibration_texts: self.calibration_texts,
            evaluate: self.evaluate,
            base: self.base,
            max_length: self.max_length,
            splitter: self.splitter,
        }
    }
}
