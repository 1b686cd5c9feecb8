//! The network in candle: the encoder of any supported model family with a token-classification head.

pub(crate) mod bert;
pub(crate) mod checkpoint;
mod encoder;
mod families;
pub(crate) mod gradients;
mod init;
pub(crate) mod masked;
mod network;
pub(crate) mod packed;
pub(crate) mod parameters;
mod parts;
mod pass;
mod recomputed;
pub(crate) mod threaded;

pub use bert::BertTagger;
pub use checkpoint::{CheckpointError, ModelDir, write_checkpoint};
pub use families::parameter_shapes;
pub(crate) use gradients::gradients;
pub use packed::Packed;
pub use parameters::Parameters;
pub use threaded::ThreadedNetwork;
