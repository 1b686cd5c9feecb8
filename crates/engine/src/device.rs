//! Where a model runs: on a given device, or on one that is chosen.

use std::fmt;
use std::str::FromStr;

use nerve_inference::{Device, DeviceError};

/// A device, or `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// This device. It is an error if it is unavailable.
    On(Device),
    /// CUDA if the model runs on it, otherwise the CPU. The log states which, and why.
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
