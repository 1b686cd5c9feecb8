//! The choice of `--device auto`.

use std::sync::Arc;

use nerve_inference::{Device, Model, Runtime, SessionOptions};
use tracing::info;

use crate::config::ModelConfig;
use crate::device::DeviceChoice;

/// The configuration with its device chosen. Blocks: to choose, a session is opened.
///
/// A canary and later versions run on the device chosen for this model, or are refused.
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

/// Nothing where a session of the model opens on CUDA, else why it does not.
fn runs_on_cuda(config: &ModelConfig, runtime: &Arc<Runtime>) -> Result<(), String> {
    let model = Model::open_with(&config.path, &config.plain()).map_err(|error| error.to_string())?;
    let options = SessionOptions {
        device: Device::Cuda(0),
        ..SessionOptions::default()
    };
    match model.session(runtime, &options) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
