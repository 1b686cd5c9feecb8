//! Publishes a bundle only if its score is higher than that of the live version.

use std::path::{Path, PathBuf};

use nerve_corpus::Corpus;
use nerve_inference::{Model, ModelError, Runtime};
use nerve_repository::{PublishError, StoreAddress};
use thiserror::Error;

use crate::bundle::evaluate;
use crate::export_error::ExportError;

/// Why a bundle cannot be compared with the live version or published.
#[derive(Debug, Error)]
pub enum CompareError {
    /// The store rejects the bundle.
    #[error(transparent)]
    Store(#[from] PublishError),
    /// The bundle or the live version cannot be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The path of the model.
        path: PathBuf,
        /// The reason.
        source: ModelError,
    },
    /// The bundle or the live version cannot be evaluated.
    #[error(transparent)]
    Evaluate(#[from] ExportError),
}

impl CompareError {
    /// Whether another publisher was faster.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_conflict())
    }
}

/// The result of a comparison with the live version.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The place of the published version; absent if the bundle is not better, in which case the store is unchanged.
    pub published: Option<String>,
    /// The entity F1 of the bundle.
    pub f1: f64,
    /// The entity F1 of the previously live version; absent if the store had none.
    pub live_f1: Option<f64>,
}

/// Publishes a bundle if its entity F1 on `dev` is higher than that of the live version.
///
/// Both bundles are evaluated on the same sentences; the scores in their manifests are not used. Entities of types
/// that a bundle lacks count as missed. A store without a live version accepts every bundle that can be evaluated.
/// From the comparison to the publication, a store in a directory is locked; on object storage, the publication fails if the live
/// version has changed.
pub fn publish_if_better(
    bundle: &Path,
    store: &StoreAddress,
    dev: &Corpus,
    runtime: &Runtime,
) -> Result<Comparison, CompareError> {
    let f1 = |path: &Path| -> Result<f64, CompareError> {
        let model = Model::open(path).map_err(|source| CompareError::Open {
            path: path.to_owned(),
            source,
        })?;
        Ok(evaluate(&model, dev, runtime)?.f1)
    };
    let publication = store.begin()?;
    let candidate = f1(bundle)?;
    let live = publication.live()?;
    let live_f1 = live.map(|live| f1(live.path())).transpose()?;
    let published = match live_f1.is_none_or(|live| candidate > live) {
        true => Some(publication.publish(bundle)?),
        false => None,
    };
    Ok(Comparison {
        published,
        f1: candidate,
        live_f1,
    })
}
