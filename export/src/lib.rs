//! Exports a checkpoint as an ONNX bundle, verifies it and publishes it.

mod bundle;
mod calibrate;
mod compare;
mod graph;
mod onnx;
mod quantize;
mod reference;
mod verify;

pub use bundle::{BundleRequest, ExportError, export};
pub use compare::{CompareError, Comparison, publish_if_better};
pub use graph::LogitsOf;
pub use verify::{Verification, VerifyError, verify};
