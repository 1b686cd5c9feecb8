//! A finished run to a version in a model store.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nerve_export::{
    BundleRequest, Cancellation, CompareError, Comparison, ExportError, LogitsOf, export, publish_if_better,
};
use nerve_inference::{Runtime, RuntimeError};
use nerve_repository::{Precision, StoreAddress};
use nerve_tagging::Splitter;
use thiserror::Error;

use nerve_corpus::{Corpus, CorpusError, Splits};

use crate::base::open::hub_model;
use crate::data::error::DataError;
use crate::report::card::last_parts;
use crate::train::config::TrainConfig;
use crate::train::config::start::InitialModel;
use crate::train::error::TrainError;
use crate::train::lock::RunLock;

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
    /// The corpus cannot be read.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The corpus cannot be found.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The bundle cannot be made.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] nerve_repository::PublishError),
    /// The bundle cannot be compared with the live version, or the store does not take it.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// The run is being written.
    #[error(transparent)]
    Run(#[from] Box<TrainError>),
    /// The bundle of an earlier publication cannot be replaced.
    #[error("{}: {source}", path.display())]
    Replace {
        /// The bundle.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl PublishError {
    /// Whether another publisher was faster.
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Store(error) => error.is_conflict(),
            Self::Compare(error) => error.is_conflict(),
            _ => false,
        }
    }
}

/// Where and how a run is published.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The store.
    pub store: StoreAddress,
    /// The model's name, by which clients of `/v2` know it; that of the live version where absent, or else the run's.
    pub name: Option<String>,
    /// The bundle's arithmetic.
    pub precision: Precision,
    /// Whether it must have a higher entity F1 on dev than the version that is live.
    pub only_if_better: bool,
    /// The ONNX Runtime library; found by itself where absent.
    pub onnxruntime: Option<PathBuf>,
}

/// The name of the base model: its hub id, or the end of its path. Fresh weights have none.
fn base_name(start: &InitialModel) -> Option<String> {
    match start {
        InitialModel::Base { base, .. } if hub_model(base).is_some() => Some(base.clone()),
        InitialModel::Base { base, .. } => Some(last_parts(base)),
        InitialModel::Scratch(_) => None,
    }
}

/// Publishes the run of a training: everything it needs besides the checkpoint is opened and read before the training begins, so
/// that a missing library or a defective file stops the command at once.
pub struct Publisher {
    publication: Publication,
    runtime: Arc<Runtime>,
    /// The words of the training sentences, where the precision is int8.
    calibration: Vec<Vec<String>>,
    dev: Corpus,
}

impl Publisher {
    /// Checks the store, opens ONNX Runtime and reads the splits.
    pub fn new(publication: Publication, splits: &Splits) -> Result<Self, PublishError> {
        publication.store.check()?;
        let runtime = Runtime::load(publication.onnxruntime.as_deref())?;
        let (train, dev) = splits.read_train_and_dev()?;
        let calibration = match publication.precision {
            Precision::Int8 => train.words(),
            Precision::Fp32 | Precision::Fp16 => Vec::new(),
        };
        Ok(Self {
            publication,
            runtime,
            calibration,
            dev,
        })
    }

    /// Makes `RUN/bundle` of the best checkpoint of a run, evaluates it on the dev split and puts it into the store.
    ///
    /// int8 takes its ranges from the training split.
    pub fn publish(&self, config: &TrainConfig, best: &Path) -> Result<Comparison, PublishError> {
        let run = &config.out;
        let _lock = RunLock::acquire(run).map_err(Box::new)?;
        let publication = &self.publication;
        let out = run.join(BUNDLE);
        match fs::remove_dir_all(&out) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(PublishError::Replace { path: out, source });
            }
            Ok(()) | Err(_) => {}
        }
        let live_name = || -> Result<Option<String>, nerve_repository::PublishError> {
            let live = publication.store.begin()?.live_manifest()?;
            Ok(live.map(|manifest| manifest.name))
        };
        let name = match &publication.name {
            Some(name) => name.clone(),
            None => live_name()?.unwrap_or_else(|| {
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
            calibration: self.calibration.clone(),
            calibration_texts: CALIBRATION_TEXTS,
            evaluate: Some(self.dev.clone()),
            name,
            base: base_name(&config.start),
            max_length: config.max_length,
            splitter: Splitter::Corpus,
            source: None,
            cancellation: Cancellation::default(),
        };
        let manifest = export(&request, &self.runtime)?;
        if publication.only_if_better {
            return Ok(publish_if_better(
                &out,
                &publication.store,
                &self.dev,
                &self.runtime,
            )?);
        }
        Ok(Comparison {
            published: Some(publication.store.begin()?.publish(&out)?),
            f1: manifest.evaluation.map_or(0.0, |earned| earned.f1),
            live_f1: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_named_by_its_hub_id_or_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let local = dir.path().join("bases/minilm");
        fs::create_dir_all(&local).unwrap();
        let of = |base: &str| {
            base_name(&InitialModel::Base {
                base: base.to_owned(),
                layers: None,
            })
        };
        assert_eq!(
            of("google-bert/bert-base-uncased").as_deref(),
            Some("google-bert/bert-base-uncased")
        );
        assert_eq!(of(local.to_str().unwrap()).as_deref(), Some("bases/minilm"));
    }
}
