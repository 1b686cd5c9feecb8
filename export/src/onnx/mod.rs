//! Writing ONNX models.

mod builder;

pub(crate) use builder::{Attribute, Axis, Element, GraphBuilder};
