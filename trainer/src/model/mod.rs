//! The network in candle: the encoder of any supported model family with a token-classification head.

pub(crate) mod bert;
pub(crate) mod checkpoint;
#[cfg(test)]
mod families;
pub(crate) mod gradients;
mod init;
pub(crate) mod masked;
mod network;
pub(crate) mod packed;
pub(crate) mod parameters;
pub(crate) mod threaded;

pub use bert::BertTagger;
pub use checkpoint::{CheckpointError, ModelDir, write_checkpoint};
pub(crate) use gradients::gradients;
pub use packed::Packed;
pub use parameters::{Parameters, parameter_shapes};
pub use threaded::ThreadedNetwork;
