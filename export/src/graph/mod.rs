//! A token classifier as an ONNX graph.

mod attention;
pub(crate) mod classifier;
mod embeddings;
mod layer;
mod linear;
pub(crate) mod options;
mod packing;
mod position_bias;
mod shapes;
mod writer;

pub use options::LogitsOf;
