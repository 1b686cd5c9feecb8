//! The choice of `--device auto`.

use std::sync::Arc;

use nerve_inference::{Device, Model, Runtime, SessionOptions};
use nerve_repository::{CachedVersion, ModelAddress, RemoteError, StoreMirror};
use tracing::info;
use url::Url;

use crate::config::ModelConfig;
use crate::device::DeviceChoice;

/// The configuration with a definite device. Blocks: a session is opened to choose one.
///
/// A canary and later versions run on the device chosen for this model, or are rejected.
pub(crate) fn with_device(config: ModelConfig, runtime: &Arc<Runtime>) -> ModelConfig {
    if config.device != DeviceChoice::Auto {
        return config;
    }
    let device = match runs_on_cuda(&config, runtime) {
        Ok(()) => Device::Cuda(0),
        Err(reason) => {
            info!(device = %Device::Cpu, %reason, "chosen by --device auto");
            Device::Cpu
        }
    };
    if device != Device::Cpu {
        info!(%device, "chosen by --device auto");
    }
    ModelConfig {
        device: DeviceChoice::On(device),
        ..config
    }
}

/// Succeeds if a session of the model opens on CUDA; otherwise returns the reason.
fn runs_on_cuda(config: &ModelConfig, runtime: &Arc<Runtime>) -> Result<(), String> {
    let downloaded;
    let path = match &config.address {
        ModelAddress::Local(path) => path,
        ModelAddress::ObjectStore(url) => {
            downloaded = download(url).map_err(|error| error.to_string())?;
            &downloaded.dir
        }
        ModelAddress::Hub(_) => return Err(format!("{} is not on disk", config.address)),
    };
    let options = config.plain(config.source.as_ref());
    let model = Model::open_with(path, &options).map_err(|error| error.to_string())?;
    let options = SessionOptions {
        device: Device::Cuda(0),
        ..SessionOptions::default()
    };
    match model.session(runtime, &options) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// The version that a store on object storage will serve first.
fn download(url: &Url) -> Result<CachedVersion, RemoteError> {
    let mirror = StoreMirror::open(url)?;
    let version = mirror.current().or_else(|error| mirror.cached().ok_or(error))?;
    mirror.fetch(&version)
}
