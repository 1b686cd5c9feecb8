//! The command line of `nerve-export`.

use std::path::{Path, PathBuf};

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand};
use nerve_corpus::{Corpus, read_words};
use nerve_export::{BundleRequest, Cancellation, LogitsOf, checkpoint_dir};
use nerve_inference::Kernels;
use nerve_repository::{MaxLength, ModelAddress, Precision, StoreAddress};
use nerve_tagging::Splitter;

/// Exports a checkpoint as a bundle for nerve-server; verifies and publishes bundles.
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
    /// ONNX Runtime library [default: ORT_DYLIB_PATH, else the library in the nearest .onnxruntime/ above the executable]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) onnxruntime: Option<PathBuf>,
}

/// Commands on a bundle.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Verifies that logits are finite and the same in every batch and, with --checkpoint, that they are those of the checkpoint
    Verify {
        /// The bundle
        bundle: PathBuf,
        /// The checkpoint that the bundle was exported from; without it, the bundle is compared with itself only
        #[arg(long, value_name = "DIR|HUB_ID")]
        checkpoint: Option<ModelAddress>,
        /// The sentences to run: CoNLL, JSON lines, Parquet, or one text a line [default: built-in texts]
        #[arg(long, value_name = "FILE")]
        calibration: Option<PathBuf>,
        /// Least fraction of tokens, from 0 to 1, that must have the label of the checkpoint
        #[arg(long, value_name = "FRACTION", default_value_t = 0.99, value_parser = fraction, requires = "checkpoint")]
        min_agreement: f64,
        /// Which kernels compute the encoder: nerve (an error for a model that they cannot compute), onnxruntime, or auto, which uses
        /// Nerve's wherever they can. The labels of Nerve's kernels are compared with those of ONNX Runtime's
        #[arg(long, default_value = "auto")]
        kernels: Kernels,
    },
    /// Copies a bundle into a model store and makes it the current version
    ///
    /// Exits with 4 if another publisher made a version current on object storage meanwhile
    Publish {
        /// The bundle
        bundle: PathBuf,
        /// The store, which is made if it does not exist: a directory, or a URL such as s3://bucket/prefix, gs://bucket/prefix or
        /// az://container/prefix
        #[arg(long, value_name = "DIR|URL")]
        store: StoreAddress,
        /// Only if its entity F1 on this labeled file (CoNLL, JSON lines, Parquet) is higher than that of the version that is live; else
        /// exit with 3. Entities of types that a version lacks count as missed
        #[arg(long, value_name = "FILE")]
        only_if_better: Option<PathBuf>,
    },
    /// Makes an earlier version of a model store current again
    Rollback {
        /// The version: the name of its directory in the store's `versions`
        version: String,
        /// The store: a directory or a URL
        #[arg(long, value_name = "DIR|URL")]
        store: StoreAddress,
    },
}

fn fraction(text: &str) -> Result<f64, String> {
    let fraction = text
        .parse()
        .ok()
        .filter(|fraction| (0.0..=1.0).contains(fraction));
    fraction.ok_or_else(|| "not a number from 0 to 1".to_owned())
}

/// How to export a bundle.
#[derive(Args)]
pub(crate) struct ExportArgs {
    /// The checkpoint: a directory with config.json, model.safetensors and tokenizer.json or vocab.txt (BERTweet: with bpe.codes), or
    /// a model of the hub such as dslim/bert-base-NER, which @ and a branch, tag or commit may follow
    #[arg(long, value_name = "DIR|HUB_ID")]
    checkpoint: ModelAddress,
    /// The bundle directory to write; it must not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Arithmetic of the graph: fp32; fp16, for accelerators; int8, for CPUs, which needs --calibration
    #[arg(long, value_name = "fp32|fp16|int8")]
    precision: Precision,
    /// Which tokens the graph computes logits for: `selected` per run, which is faster and in fp32 and int8 padding-free, or `all`,
    /// padding included, which other programs expect
    #[arg(long, value_enum, default_value = "selected")]
    logits: LogitsOf,
    /// The sentences on which int8 ranges are observed: CoNLL, JSON lines, Parquet, or one text a line
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// Greatest number of texts to observe, taken at even distances from the file
    #[arg(long, value_name = "NUMBER", default_value_t = 512, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    calibration_texts: usize,
    /// A labeled file (CoNLL, JSON lines, Parquet); the bundle's scores on it go into the manifest
    #[arg(long, value_name = "FILE")]
    evaluate: Option<PathBuf>,
    /// Name of the model [default: the name of the bundle directory]
    #[arg(long)]
    name: Option<String>,
    /// Name of the base model, which the manifest records
    #[arg(long)]
    base: Option<String>,
    /// Longest window in tokens, special tokens included [default: model_max_length of the checkpoint's
    /// tokenizer_config.json, else 512; at most the positions of the model]
    #[arg(long, value_name = "TOKENS")]
    max_length: Option<usize>,
    /// How running text is split into words: as the training corpus was
    #[arg(long, value_name = "corpus|whitespace|bert", default_value = "corpus")]
    splitter: Splitter,
}

/// The labeled sentences of a file; prints what the user should know of it.
pub(crate) fn read_corpus(path: &Path) -> anyhow::Result<Corpus> {
    let corpus = Corpus::read(path)?;
    for warning in corpus.warnings() {
        eprintln!("warning: {warning}");
    }
    Ok(corpus)
}

impl ExportArgs {
    /// The request; a maximum length that is not given is read from the checkpoint and reported.
    pub(crate) fn into_request(self) -> anyhow::Result<BundleRequest> {
        let checkpoint = checkpoint_dir(&self.checkpoint)?;
        let max_length = match self.max_length {
            Some(max_length) => max_length,
            None => {
                let found = MaxLength::of_checkpoint(&checkpoint.path)?;
                eprintln!("maximum length: {found}");
                found.tokens()
            }
        };
        let calibration = self.calibration.as_deref().map(read_words).transpose()?;
        let evaluate = self.evaluate.as_deref().map(read_corpus).transpose()?;
        let named = || {
            self.out
                .file_name()
                .unwrap_or(self.out.as_os_str())
                .to_string_lossy()
                .into_owned()
        };
        Ok(BundleRequest {
            name: self.name.unwrap_or_else(named),
            checkpoint: checkpoint.path,
            source: checkpoint.source,
            out: self.out,
            precision: self.precision,
            logits_of: self.logits,
            calibration: calibration.unwrap_or_default(),
            calibration_texts: self.calibration_texts,
            evaluate,
            base: self.base,
            max_length,
            splitter: self.splitter,
            cancellation: Cancellation::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_one_text_is_observed() {
        let parse = |texts: &str| {
            let given = "nerve-export --checkpoint c --out b --precision int8 --calibration-texts";
            Cli::try_parse_from(given.split(' ').chain([texts]))
        };
        let refused = parse("0").err().unwrap().to_string();
        assert!(refused.contains("--calibration-texts"), "{refused}");
        assert!(parse("1").is_ok());
    }
}
