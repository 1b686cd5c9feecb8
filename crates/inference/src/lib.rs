//! An open model: its tokenizer, its sessions, and the labels of words.

mod encoder;
mod interface;
mod model;
mod pipeline_encoder;
mod runtime;
mod session;
mod tagger;
mod word_cache;

pub use encoder::{EncoderError, TextEncoder, WordToken};
pub use interface::{GraphError, OneByOne};
pub use model::{Model, ModelError, ModelInfo, OpenOptions};
pub use pipeline_encoder::{PipelineEncoder, PipelineText, PipelineToken};
pub use runtime::{Device, DeviceError, Runtime, RuntimeError, SessionOptions};
pub use session::{Logits, Session, SessionError};
pub use tagger::{EncodedWindow, TagError, encode, tag, word_logits};
