//! Writing ONNX models.

mod builder;
mod proto;

pub(crate) use builder::{Attribute, Axis, Element, GraphBuilder, OPSET};
