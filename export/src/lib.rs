//! Checkpoint to ONNX graph to verified bundle, and the bundle's reader.

mod bundle;
mod calibrate;
mod checkpoint;
mod config;
mod encoder;
mod graph;
mod interface;
mod json_file;
mod manifest;
mod model;
mod onnx;
mod pipeline_encoder;
mod plain;
mod quantize;
mod reference;
mod runtime;
mod session;
mod store;
mod tagger;
mod tokenizer_config;
mod verify;

pub use bundle::{BundleRequest, ExportError, Precision, export};
pub use checkpoint::{Checkpoint, CheckpointError, Weight, read_weights};
pub use config::{Activation, ConfigError, ModelConfig};
pub use encoder::{EncoderError, TextEncoder, WordToken};
pub use interface::{GraphError, OneByOne};
pub use manifest::{Evaluation, FileInfo, GraphInfo, Manifest, ManifestError};
pub use model::{Model, ModelError, ModelInfo, OpenOptions};
pub use pipeline_encoder::{PipelineEncoder, PipelineText, PipelineToken};
pub use runtime::{Device, DeviceError, Runtime, RuntimeError, SessionOptions};
pub use session::{Logits, Session, SessionError};
pub use store::{StoreError, publish};
pub use tagger::{TagError, tag};
pub use verify::{Verification, VerifyError, verify};
