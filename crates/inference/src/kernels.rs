//! Which kernels compute the encoder.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nerve_kernels::InstructionSet;
use serde::Serialize;
use thiserror::Error;

use crate::encoder::{EncoderGraph, replace_encoder};

/// Which kernels compute the encoder of a model on the CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernels {
    /// Nerve's where the graph fits them, else those of ONNX Runtime.
    #[default]
    Auto,
    /// Nerve's. A graph that does not fit is an error.
    Nerve,
    /// Those of ONNX Runtime.
    OnnxRuntime,
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

/// Why Nerve's kernels cannot compute a model.
#[derive(Debug, Error)]
#[error("{}: Nerve's kernels cannot compute the model: {reason}; use --kernels auto or onnxruntime", path.display())]
pub struct UnusableKernels {
    path: PathBuf,
    reason: String,
}

/// The graph with Nerve's encoder, if it is to be used, and what to tell about it. `is_candidate` says whether the manifest describes an int8
/// graph without padding.
pub(crate) fn choose_kernels(
    kernels: Kernels,
    is_candidate: bool,
    graph: &Path,
) -> Result<(Option<EncoderGraph>, KernelsInUse), UnusableKernels> {
    let reason = match kernels {
        Kernels::OnnxRuntime => "as requested".to_owned(),
        Kernels::Auto | Kernels::Nerve if !is_candidate => {
            "the model is not a padding-free int8 bundle".to_owned()
        }
        Kernels::Auto | Kernels::Nerve => match read_encoder(graph) {
            Ok(graph) => {
                let instructions = graph.encoder.instructions().name();
                return Ok((Some(graph), KernelsInUse::Nerve { instructions }));
            }
            Err(reason) => reason,
        },
    };
    match kernels {
        Kernels::Nerve => Err(UnusableKernels {
            path: graph.to_owned(),
            reason,
        }),
        Kernels::Auto | Kernels::OnnxRuntime => Ok((None, KernelsInUse::OnnxRuntime { reason })),
    }
}

/// The graph with Nerve's encoder, else the reason why there is none.
fn read_encoder(graph: &Path) -> Result<EncoderGraph, String> {
    let instructions = InstructionSet::detect().map_err(|error| error.to_string())?;
    let bytes = std::fs::read(graph).map_err(|error| error.to_string())?;
    replace_encoder(&bytes, instructions).map_err(|error| error.to_string())
}
