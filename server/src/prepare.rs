//! The models of a configuration, ready to be opened: those of the hub fetched, and checkpoints exported.

use std::thread;

use nerve_engine::EngineConfig;
use nerve_export::{Cancellation, CheckpointOptions, FoundModel, ModelRequest, PrepareError};
use nerve_repository::{ModelAddress, ModelKind, StoreMirror};
use tokio::sync::oneshot;
use tracing::debug;
use url::Url;

/// The configuration with models that the engine opens; none if `stop` completes before.
///
/// Models of the hub and versions of stores on object storage are fetched, and checkpoints are exported, into the cache, on threads of their own. A download is abandoned
/// when `stop` completes. An export ends before this returns, because a process that exits while ONNX Runtime works can crash.
pub async fn prepare(
    mut config: EngineConfig,
    options: &CheckpointOptions,
    stop: impl Future<Output = ()>,
) -> Result<Option<EngineConfig>, PrepareError> {
    let mut stop = std::pin::pin!(stop);
    let model = &config.model;
    let canary = config.versions.canary.as_ref();
    let addresses = [Some(&model.address), canary.map(|canary| &canary.address)];
    let requests: Vec<ModelRequest> = addresses
        .into_iter()
        .flatten()
        .map(|address| ModelRequest {
            address: address.clone(),
            onnx_file: model.onnx_file.clone(),
            splitter: model.splitter,
            options: options.clone(),
        })
        .collect();
    let mut finding = on_thread(move || {
        let found = find(&requests)?;
        for model in &found {
            if let FoundModel::Store(url) = model {
                download_current(url);
            }
        }
        Ok(found)
    });
    let found = tokio::select! {
        found = &mut finding => found.unwrap_or(Err(PrepareError::ThreadLost))?,
        () = &mut stop => return Ok(None),
    };
    let cancellation = Cancellation::default();
    let library = model.onnxruntime.clone();
    let cancelled = cancellation.clone();
    let mut exporting = on_thread(move || {
        let ready = found.into_iter().map(|model| match model {
            FoundModel::Ready(ready) => Ok((ModelAddress::Local(ready.path), ready.source)),
            FoundModel::Store(url) => Ok((ModelAddress::ObjectStore(url), None)),
            FoundModel::Checkpoint(checkpoint) => {
                let path = checkpoint.export_cached(library.as_deref(), &cancelled)?;
                // The manifest of the bundle names its source.
                Ok((ModelAddress::Local(path), None))
            }
        });
        ready.collect::<Result<Vec<_>, PrepareError>>()
    });
    let ready = tokio::select! {
        ready = &mut exporting => ready.unwrap_or(Err(PrepareError::ThreadLost))?,
        () = &mut stop => {
            cancellation.cancel();
            let _abandoned = exporting.await;
            return Ok(None);
        }
    };
    let canary = config.versions.canary.as_mut();
    let places = [
        Some((&mut config.model.address, &mut config.model.source)),
        canary.map(|canary| (&mut canary.address, &mut canary.source)),
    ];
    for ((address, source), ready) in places.into_iter().flatten().zip(ready) {
        (*address, *source) = ready;
    }
    Ok(Some(config))
}

/// Whether the models are opened as they are.
pub(crate) fn is_ready(config: &EngineConfig) -> bool {
    let canary = config.versions.canary.as_ref();
    let addresses = [Some(&config.model.address), canary.map(|canary| &canary.address)];
    let onnx_file = config.model.onnx_file.as_deref();
    addresses.into_iter().flatten().all(|address| match address {
        ModelAddress::Local(path) => ModelKind::of(path, onnx_file) != ModelKind::Checkpoint,
        ModelAddress::Hub(_) | ModelAddress::ObjectStore(_) => false,
    })
}

/// Downloads the current version of a store on object storage into the cache, so that the engine opens it at once. What fails here
/// fails again when the engine opens the store, which reports it or serves what the cache has.
fn download_current(url: &Url) {
    let downloaded = StoreMirror::open(url).and_then(|mirror| mirror.fetch(&mirror.current()?));
    if let Err(error) = downloaded {
        debug!(%error, "the current version was not downloaded ahead");
    }
}

/// The files of each model. Options for checkpoints are an error only if no model is a checkpoint.
fn find(requests: &[ModelRequest]) -> Result<Vec<FoundModel>, PrepareError> {
    let mut found: Vec<_> = requests.iter().map(ModelRequest::find).collect();
    let is_checkpoint = |found: &Result<_, _>| matches!(found, Ok(FoundModel::Checkpoint(_)));
    if found.iter().any(is_checkpoint) {
        for (found, request) in found.iter_mut().zip(requests) {
            if matches!(found, Err(PrepareError::NotCheckpoint { .. })) {
                let options = CheckpointOptions::default();
                *found = ModelRequest {
                    options,
                    ..request.clone()
                }
                .find();
            }
        }
    }
    found.into_iter().collect()
}

/// The result of work on a thread that the end of the process does not wait for.
fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (send, receive) = oneshot::channel();
    // If no thread can be started, the sender is dropped, which the receiver reports.
    let _thread = thread::Builder::new().name("prepare".to_owned()).spawn(move || {
        // Nobody waits for an abandoned result.
        let _abandoned = send.send(work());
    });
    receive
}
