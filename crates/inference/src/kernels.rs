//! Which kernels compute the encoder.

use std::str::FromStr;

use thiserror::Error;

/// Which kernels compute the encoder of a model on the CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernels {
    /// Nerve's where the graph fits, else those of ONNX Runtime.
    #[default]
    Auto,
    /// Nerve's. A graph that does not fit is an error.
    Nerve,
    /// Those of ONNX Runtime.
    OnnxRuntime,
}

/// An unknown name of kernels.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` are no kernels: auto, nerve or onnxruntime")]
pub struct KernelsError(String);

impl FromStr for Kernels {
    type Err = KernelsError;

    fn from_str(name: &str) -> Result<Self, KernelsError> {
        match name {
            "auto" => Ok(Self::Auto),
            "nerve" => Ok(Self::Nerve),
            "onnxruntime" => Ok(Self::OnnxRuntime),
            other => Err(KernelsError(other.to_owned())),
        }
    }
}
