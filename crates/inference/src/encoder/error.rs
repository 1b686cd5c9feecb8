//! Why the encoder of a graph cannot be replaced.

use nerve_kernels::{EncoderError, LinearError, PositionBiasError};
use thiserror::Error;

/// Why the encoder of a graph cannot be replaced.
#[derive(Debug, Error)]
pub(crate) enum UnfitGraph {
    /// The file is no ONNX model.
    #[error("the file is no ONNX model")]
    NotOnnx,
    /// The file has fields that `nerve-export` never writes and that would be lost.
    #[error("the file has fields that nerve-export does not write")]
    ForeignFields,
    /// The graph uses other operators than `nerve-export`.
    #[error("the graph uses version {version} of the operators `{domain}`")]
    OperatorSet {
        /// The domain; empty for ONNX.
        domain: String,
        /// The version.
        version: i64,
    },
    /// Two values have the same name.
    #[error("two values have the name `{name}`")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A node reads a value that no node before it computes.
    #[error("the value `{name}` is read before it is computed")]
    Undefined {
        /// The name of the value.
        name: String,
    },
    /// The graph quantizes nothing.
    #[error("the graph is not int8")]
    NotQuantized,
    /// The attention scores depend on relative positions as DeBERTa's do.
    #[error("its attention is disentangled (DeBERTa), for which there is no kernel")]
    DisentangledAttention,
    /// A node differs from what `nerve-export` writes.
    #[error("where the value `{found}` is computed, {expected} is expected")]
    Node {
        /// The operator expected.
        expected: &'static str,
        /// The output of the node found; empty at the end of the graph.
        found: String,
    },
    /// A value is computed in another way than `nerve-export` writes.
    #[error("the value `{name}` is not {expected}")]
    Value {
        /// The name of the value.
        name: String,
        /// What it is expected to be.
        expected: &'static str,
    },
    /// A constant is missing, or has another type, shape or value.
    #[error(
        "the constant `{name}` is missing, used twice, or has another type, shape or value than expected"
    )]
    Constant {
        /// Its name.
        name: String,
    },
    /// A product cannot be computed.
    #[error("the product `{name}`: {source}")]
    Product {
        /// Its name.
        name: String,
        /// The reason.
        source: LinearError,
    },
    /// The biases of attention scores cannot be computed.
    #[error(transparent)]
    PositionBias(#[from] PositionBiasError),
    /// The encoder cannot be built.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
}
