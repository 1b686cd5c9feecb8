//! Writing ONNX models.

pub(crate) mod builder;
