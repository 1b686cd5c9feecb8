//! A finished run to a version in a model store.

use std::fs;
use std::path::{Path, PathBuf};

use nerve_export::{
    BundleRequest, CompareError, Comparison, ExportError, LogitsOf, export, publish_if_better,
};
use nerve_inference::{Runtime, RuntimeError};
use nerve_repository::{Manifest, Precision, StoreError, publish};
use nerve_tagging::Splitter;
use thiserror::Error;

use crate::corpus::{CorpusError, Splits};
use crate::train::{RunLock, TrainError};

/// How many training sentences show int8 its ranges.
const CALIBRATION_TEXTS: usize = 512;
/// The bundle of a run, inside it.
const BUNDLE: &str = "bundle";

/// Why a run was not published.
#[derive(Debug, Error)]
pub enum PublishError {
    /// ONNX Runtime cannot be opened.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The corpus cannot be found.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The bundle cannot be made.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bundle cannot be compared with the live version, or the store does not take it.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// The run is being written.
    #[error(transparent)]
    Run(#[from] TrainError),
    /// The bundle of an earlier publication cannot be replaced.
    #[error("{}: {source}", path.display())]
    Replace {
        /// The bundle.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// Where and how a run is published.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The store.
    pub store: PathBuf,
    /// The model's name, by which clients of `/v2` know it; that of the live version where absent, or else the run's.
    pub name: Option<String>,
    /// The bundle's arithmetic.
    pub precision: Precision,
    /// Whether it must have a higher entity F1 on dev than the version that is live.
    pub only_if_better: bool,
    /// The ONNX Runtime library; found by itself where absent.
    pub onnxruntime: Option<PathBuf>,
}

/// The name of the model that a store has current, if any.
fn live_name(store: &Path) -> Result<Option<String>, StoreError> {
    let current = store.join("current");
    match current.symlink_metadata() {
        Ok(_) => Ok(Some(Manifest::read(&current)?.name)),
        Err(_) => Ok(None),
    }
}

/// Makes `RUN/bundle` of a run's best checkpoint, evaluates it on the dev split and puts it into the store.
///
/// int8 takes its ranges from the training split. Splits must be CoNLL files.
pub fn publish_run(
    run: &Path,
    best: &Path,
    splits: &Splits,
    max_length: usize,
    publication: &Publication,
) -> Result<Comparison, PublishError> {
    let runtime = Runtime::load(publication.onnxruntime.as_deref())?;
    let _lock = RunLock::acquire(run)?;
    let out = run.join(BUNDLE);
    match fs::remove_dir_all(&out) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            return Err(PublishError::Replace { path: out, source });
        }
        Ok(()) | Err(_) => {}
    }
    let name = match &publication.name {
        Some(name) => name.clone(),
        None => live_name(&publication.store)?.unwrap_or_else(|| {
            run.file_name()
                .unwrap_or(run.as_os_str())
                .to_string_lossy()
                .into_owned()
        }),
    };
    let request = BundleRequest {
        checkpoint: best.to_owned(),
        out: out.clone(),
        precision: publication.precision,
        logits_of: LogitsOf::Selected,
        calibration: (publication.precision == Precision::Int8).then(|| splits.train.clone()),
        calibration_texts: CALIBRATION_TEXTS,
        evaluate: Some(splits.dev.clone()),
        name,
        base: None,
        max_length,
        splitter: Splitter::Corpus,
    };
    let manifest = export(&request, &runtime)?;
    if publication.only_if_better {
        return Ok(publish_if_better(
            &out,
            &publication.store,
            &splits.dev,
            &runtime,
        )?);
    }
    Ok(Comparison {
        published: Some(publish(&out, &publication.store)?),
        f1: manifest.evaluation.map_or(0.0, |earned| earned.f1),
        live_f1: None,
    })
}
