//! The ONNX file format: its protobuf messages, and what a file says of itself.

mod outline;
#[allow(missing_docs)] // The fields have the schema's own names.
pub mod proto;

pub use outline::Outline;
pub use proto::{DimensionValue, TensorTypeProto, ValueInfoProto};

/// The version of the standard operator set: the first with `Gelu`.
pub const OPSET: i64 = 20;
/// The domain of ONNX Runtime's own operators.
pub const CONTRIB: &str = "com.microsoft";
/// The further input of a graph that gives the logits of some tokens alone: int64, `[tokens]`, where those are in the batch
/// read as rows, `sequence * length + position`.
pub const SELECTION: &str = "logits_indices";
