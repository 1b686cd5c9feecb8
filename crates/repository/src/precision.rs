//! The arithmetic of a bundle's graph.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The arithmetic of a bundle's graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats throughout.
    Fp32,
    /// 16-bit floats in the linear layers and the products of attention, 32-bit floats elsewhere. For accelerators.
    Fp16,
    /// 8-bit weights and activations in the linear layers; calibration fixes the ranges of the activations.
    Int8,
}

/// A name that is not a precision.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a precision; use fp32, fp16 or int8")]
pub struct PrecisionError(String);

impl Precision {
    /// All precisions.
    pub const ALL: [Self; 3] = [Self::Fp32, Self::Fp16, Self::Int8];

    /// The name in a manifest and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Precision {
    type Err = PrecisionError;

    fn from_str(name: &str) -> Result<Self, PrecisionError> {
        Self::ALL
            .into_iter()
            .find(|precision| precision.name() == name)
            .ok_or_else(|| PrecisionError(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_precision_has_one_name_everywhere() {
        for precision in Precision::ALL {
            assert_eq!(precision.name().parse(), Ok(precision));
            assert_eq!(serde_json::to_value(precision).unwrap(), precision.name());
        }
        let error = "int4".parse::<Precision>().unwrap_err().to_string();
        assert_eq!(error, "`int4` is not a precision; use fp32, fp16 or int8");
    }
}
