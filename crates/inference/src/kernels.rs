//! Which kernels compute the encoder.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nerve_kernels::{InstructionSet, InstructionSetError};
use nerve_repository::Precision;
use serde::Serialize;
use thiserror::Error;

use crate::device::Device;
use crate::encoder::{EncoderGraph, replace_encoder};

/// Which kernels compute the encoder of a model on the CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernels {
    /// Nerve's where the graph fits them and the processor has instructions for them, else those of ONNX Runtime.
    #[default]
    Auto,
    /// Nerve's. A graph that does not fit is an error.
    Nerve,
    /// Those of ONNX Runtime.
    OnnxRuntime,
}

impl Kernels {
    /// Why Nerve's kernels are not to be used on the instruction set.
    fn obstacle(self, instructions: InstructionSet) -> Option<&'static str> {
        // Portable Rust is there for its correctness: ONNX Runtime is many times as fast.
        (self == Self::Auto && instructions == InstructionSet::Portable).then_some(
            "only portable Rust is available, which is slower than ONNX Runtime; --kernels nerve uses it nevertheless",
        )
    }
}

/// An unknown name of kernels.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` names no kernels: use auto, nerve or onnxruntime")]
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

/// The kernels that compute the encoder of an open model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum KernelsInUse {
    /// Nerve's.
    Nerve {
        /// The instruction set that they are compiled for.
        instructions: &'static str,
    },
    /// Those of ONNX Runtime.
    OnnxRuntime {
        /// Why they are not Nerve's.
        reason: String,
    },
}

impl fmt::Display for KernelsInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nerve { instructions } => write!(f, "nerve ({instructions})"),
            Self::OnnxRuntime { reason } => write!(f, "onnxruntime ({reason})"),
        }
    }
}

/// Why the kernels asked for cannot compute a model.
#[derive(Debug, Error)]
pub enum UnusableKernels {
    /// Nerve's kernels do not fit the model.
    #[error("{}: Nerve's kernels cannot compute the model: {reason}; use --kernels auto or onnxruntime", path.display())]
    Model {
        /// The path of the graph.
        path: PathBuf,
        /// Why they do not fit.
        reason: String,
    },
    /// The environment names an instruction set that cannot be used.
    #[error(transparent)]
    Instructions(#[from] InstructionSetError),
}

/// What a model's files say about its graph.
#[derive(Clone, Copy)]
pub(crate) enum GraphFormat {
    Plain,
    Bundle {
        precision: Precision,
        padding_free: bool,
    },
}

impl GraphFormat {
    /// Why Nerve's kernels cannot compute such a graph on the device; `None` if the graph itself decides.
    fn obstacle(self, device: Device) -> Option<String> {
        match self {
            _ if device != Device::Cpu => Some(format!("the model runs on {device}")),
            Self::Plain => Some("the model is a plain export, not a bundle of nerve-export".to_owned()),
            Self::Bundle {
                precision: Precision::Int8,
                padding_free: true,
            } => None,
            Self::Bundle {
                precision: Precision::Int8,
                padding_free: false,
            } => Some("the graph computes padding; export the model with --logits selected".to_owned()),
            Self::Bundle { precision, .. } => Some(format!("the model is {precision}, not int8")),
        }
    }
}

/// The graph with Nerve's encoder, if it is to be used, and the kernels in use.
pub(crate) fn choose_kernels(
    kernels: Kernels,
    device: Device,
    format: GraphFormat,
    graph: &Path,
) -> Result<(Option<EncoderGraph>, KernelsInUse), UnusableKernels> {
    if kernels == Kernels::OnnxRuntime {
        let reason = "as requested".to_owned();
        return Ok((None, KernelsInUse::OnnxRuntime { reason }));
    }
    let found = match format.obstacle(device) {
        Some(reason) => Err(reason),
        None => {
            let instructions = InstructionSet::detect()?;
            match kernels.obstacle(instructions) {
                Some(reason) => Err(reason.to_owned()),
                None => read_encoder(instructions, graph),
            }
        }
    };
    match found {
        Ok(graph) => {
            let instructions = graph.encoder.instructions().name();
            Ok((Some(graph), KernelsInUse::Nerve { instructions }))
        }
        Err(reason) if kernels == Kernels::Nerve => Err(UnusableKernels::Model {
            path: graph.to_owned(),
            reason,
        }),
        Err(reason) => Ok((None, KernelsInUse::OnnxRuntime { reason })),
    }
}

/// The graph with Nerve's encoder, else the reason why there is none.
fn read_encoder(instructions: InstructionSet, graph: &Path) -> Result<EncoderGraph, String> {
    let bytes = std::fs::read(graph).map_err(|error| error.to_string())?;
    replace_encoder(bytes, instructions).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portable_rust_runs_on_request_only() {
        for set in InstructionSet::ALL {
            assert_eq!(Kernels::Nerve.obstacle(set), None);
            assert_eq!(
                Kernels::Auto.obstacle(set).is_some(),
                set == InstructionSet::Portable
            );
        }
    }
}
