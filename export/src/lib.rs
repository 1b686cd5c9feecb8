//! Exports a checkpoint as an ONNX bundle, verifies it and publishes it.

mod bundle;
mod calibrate;
mod cancellation;
mod compare;
mod export_error;
mod graph;
mod logging;
mod onnx;
mod prepare;
mod quantize;
mod reference;
mod smoothing;
mod verify;

pub use bundle::{BundleRequest, export};
pub use cancellation::{Cancellation, Cancelled};
pub use compare::{CompareError, Comparison, publish_if_better};
pub use export_error::ExportError;
pub use graph::LogitsOf;
pub use logging::start_logging;
pub use prepare::{
    CheckpointOptions, FoundCheckpoint, FoundModel, ModelRequest, PrepareError, ReadyModel, checkpoint_dir,
};
pub use verify::{Verification, VerifyError, VerifyRequest, verify};
