//! Where the model runs: as asked, or as chosen.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use nerve_inference::{Device, DeviceError, Model, Runtime, SessionOptions};
use tracing::info;

use crate::config::ServerConfig;

/// A device, or the best there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// This one: what is not to be had is an error.
    On(Device),
    /// CUDA where the model runs on it, else the processor; the log says which and why.
    Auto,
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        match name {
            "auto" => Ok(Self::Auto),
            _ => name.parse().map(Self::On),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On(device) => device.fmt(f),
            Self::Auto => f.write_str("auto"),
        }
    }
}

/// The configuration with its device chosen. Blocks: to choose, a session is opened.
///
/// A canary and later versions run on the device chosen for this model, or are refused.
pub(crate) fn with_device(config: ServerConfig, runtime: &Arc<Runtime>) -> ServerConfig {
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
    ServerConfig {
        device: DeviceChoice::On(device),
        ..config
    }
}

/// Nothing where a session of the model opens on CUDA, else why it does not.
fn runs_on_cuda(config: &ServerConfig, runtime: &Arc<Runtime>) -> Result<(), String> {
    let model = Model::open_with(&config.model, &config.plain).map_err(|error| error.to_string())?;
    let options = SessionOptions {
        device: Device::Cuda(0),
        ..SessionOptions::default()
    };
    match model.session(runtime, &options) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names() {
        assert_eq!("auto".parse(), Ok(DeviceChoice::Auto));
        assert_eq!("cuda:1".parse(), Ok(DeviceChoice::On(Device::Cuda(1))));
        assert_eq!(DeviceChoice::Auto.to_string(), "auto");
        assert!("best".parse::<DeviceChoice>().is_err());
    }
}
