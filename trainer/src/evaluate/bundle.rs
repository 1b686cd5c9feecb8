//! A bundle as a tagger that runs on ONNX Runtime.

use std::path::Path;

use nerve_inference::{
    KernelsInUse, Model, ModelError, OpenOptions, Runtime, RuntimeError, Session, SessionError,
    SessionOptions, WordTagger,
};
use thiserror::Error;

/// Why a bundle cannot be opened.
#[derive(Debug, Error)]
pub enum BundleError {
    /// ONNX Runtime cannot be loaded.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The bundle is invalid.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// ONNX Runtime cannot open the bundle's graph.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// The tagger of a bundle, a store or a plain export, with one session of `threads` threads, and the kernels that compute its encoder.
pub fn open_bundle(
    dir: &Path,
    plain: &OpenOptions,
    library: Option<&Path>,
    threads: usize,
) -> Result<(WordTagger<Session>, KernelsInUse), BundleError> {
    let runtime = Runtime::load(library)?;
    let model = Model::open_with(dir, plain)?;
    let options = SessionOptions {
        intra_threads: threads,
        ..SessionOptions::default()
    };
    let tagger = model.tagger(&runtime, &options)?;
    Ok((tagger, model.info().kernels.clone()))
}
