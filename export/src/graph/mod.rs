//! A token classifier as an ONNX graph.

mod attention;
mod classifier;
mod embeddings;
mod layer;
mod linear;
mod options;
mod packing;
mod shapes;
mod writer;

pub(crate) use classifier::{Graph, build};
pub(crate) use options::Arithmetic;
pub use options::LogitsOf;
