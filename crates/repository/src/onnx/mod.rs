//! The ONNX file format: its protobuf messages, and the outline of a file.

mod constants;
mod outline;
#[allow(missing_docs)] // The fields have the names of the schema.
pub mod proto;

pub use constants::{CONTRIB, OPSET, SELECTION};
pub use outline::Outline;
pub use proto::{DimensionValue, TensorTypeProto, ValueInfoProto};
