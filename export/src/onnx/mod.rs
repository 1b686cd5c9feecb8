//! Writing ONNX models, and reading what they say of themselves.

mod builder;
mod outline;
mod proto;

pub(crate) use builder::{Attribute, Axis, CONTRIB, Element, GraphBuilder, OPSET};
pub(crate) use outline::Outline;
pub(crate) use proto::{DimensionValue, TensorTypeProto, ValueInfoProto};
