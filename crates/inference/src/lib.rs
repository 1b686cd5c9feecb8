//! Runs token-classification models: tokenizer, windows, ONNX Runtime sessions, and the labels of words.

mod bertweet_pieces;
mod device;
mod encoded;
mod encoder;
mod first_alone;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod interface;
mod kernels;
mod model;
mod no_trainer;
mod pipeline_tokenizer;
mod runtime;
mod session;
mod session_logits;
mod subword_encoder;
mod tagger;
mod text_parts;
mod text_tokenizer;
mod tokenizer_error;
mod tweet_normalizer;
mod window_logits;
mod word_cache;
mod word_pieces;
mod word_tagger;

pub use device::{Device, DeviceError};
pub use encoded::{EncodedWindow, encode};
pub use interface::{GraphError, OneByOne};
pub use kernels::{Kernels, KernelsError, KernelsInUse, UnusableKernels};
pub use model::{Model, ModelError, ModelInfo, OpenOptions};
pub use pipeline_tokenizer::{PipelineText, PipelineToken, PipelineTokenizer};
pub use runtime::{Runtime, RuntimeError, SessionOptions};
pub use session::{Logits, Session, SessionError};
pub use tagger::{TagError, TaggedSentences, Tagger, WordLogits, evaluate};
pub use text_tokenizer::{TextTokenizer, WordToken};
pub use tokenizer_error::TokenizerError;
pub use window_logits::{LogitsError, TokenWindow, WindowLogits};
pub use word_tagger::WordTagger;
