//! A token classifier as an ONNX graph.

mod attention;
pub(crate) mod classifier;
mod distances;
mod families;
mod linear;
pub(crate) mod options;
mod packing;
mod parts;
mod shapes;
mod words;
mod writer;

pub use options::LogitsOf;
