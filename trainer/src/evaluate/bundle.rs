//! A bundle as a tagger, on ONNX Runtime.

use std::path::Path;

use nerve_inference::{
    Model, ModelError, OpenOptions, Runtime, RuntimeError, Session, SessionError, SessionOptions, WordTagger,
};
use thiserror::Error;

/// Why a bundle cannot be opened.
#[derive(Debug, Error)]
pub enum BundleError {
    /// ONNX Runtime cannot be opened.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The bundle is unusable.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its graph is unusable.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// The tagger of a bundle, store or plain export, on one session of so many threads.
pub fn open_bundle(
    dir: &Path,
    plain: &OpenOptions,
    library: Option<&Path>,
    threads: usize,
) -> Result<WordTagger<Session>, BundleError> {
    let runtime = Runtime::load(library)?;
    let model = Model::open_with(dir, plain)?;
    let options = SessionOptions {
        intra_threads: threads,
        ..SessionOptions::default()
    };
    Ok(model.tagger(&runtime, &options)?)
}
