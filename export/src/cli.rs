//! The command line of `nerve-export`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use nerve_corpus::{Corpus, read_words};
use nerve_export::{BundleRequest, LogitsOf};
use nerve_repository::{MaxLength, Precision};
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
        /// The sentences to run: CoNLL, JSON lines, or one text a line [default: built-in texts]
        #[arg(long, value_name = "FILE")]
        calibration: Option<PathBuf>,
        /// The smallest fraction of token labels that must be the checkpoint's, from 0 to 1
        #[arg(long, value_name = "FRACTION", default_value_t = 0.99, value_parser = fraction, requires = "checkpoint")]
        min_agreement: f64,
    },
    /// Puts a bundle into a model store and makes it current
    Publish {
        /// The bundle
        bundle: PathBuf,
        /// The store
        #[arg(long, value_name = "DIR")]
        store: PathBuf,
        /// Only if its entity F1 on this labelled file (CoNLL, JSON lines) is higher than that of the version that is live; else
        /// exit with 3. Entities of types that a version lacks count as missed
        #[arg(long, value_name = "FILE")]
        only_if_better: Option<PathBuf>,
    },
}

fn fraction(text: &str) -> Result<f64, String> {
    let fraction = text
        .parse()
        .ok()
        .filter(|fraction| (0.0..=1.0).contains(fraction));
    fraction.ok_or_else(|| "not a number from 0 to 1".to_owned())
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
    /// The sentences on which int8 ranges are observed: CoNLL, JSON lines, or one text a line
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// How many of them to observe at most, evenly spaced over the file
    #[arg(long, default_value_t = 512)]
    calibration_texts: usize,
    /// A labelled file (CoNLL, JSON lines); the bundle's scores on it go into the manifest
    #[arg(long, value_name = "FILE")]
    evaluate: Option<PathBuf>,
    /// The model's name [default: that of the target directory]
    #[arg(long)]
    name: Option<String>,
    /// The base model's name, for the manifest
    #[arg(long)]
    base: Option<String>,
    /// Longest window in tokens, special tokens included [default: model_max_length of the checkpoint's
    /// tokenizer_config.json, else 512; at most the positions of the model]
    #[arg(long, value_name = "TOKENS")]
    max_length: Option<usize>,
    /// How the training words came about
    #[arg(long, value_name = "corpus|whitespace|bert", default_value = "corpus")]
    splitter: Splitter,
}

impl ExportArgs {
    /// The request; a maximum length that is not given is read from the checkpoint and reported.
    pub(crate) fn into_request(self) -> anyhow::Result<BundleRequest> {
        let max_length = match self.max_length {
            Some(max_length) => max_length,
            None => {
                let found = MaxLength::of_checkpoint(&self.checkpoint)?;
                eprintln!("maximum length: {found}");
                found.tokens()
            }
        };
        let calibration = self.calibration.as_deref().map(read_words).transpose()?;
        let evaluate = self.evaluate.as_deref().map(Corpus::read).transpose()?;
        let named = || {
            self.out
                .file_name()
                .unwrap_or(self.out.as_os_str())
                .to_string_lossy()
                .into_owned()
        };
        Ok(BundleRequest {
            name: self.name.unwrap_or_else(named),
            checkpoint: self.checkpoint,
            out: self.out,
            precision: self.precision,
            logits_of: self.logits,
            calibration: calibration.unwrap_or_default(),
            calibration_texts: self.calibration_texts,
            evaluate,
            base: self.base,
            max_length,
            splitter: self.splitter,
        })
    }
}
