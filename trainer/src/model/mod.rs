//! The network: BERT's encoder, whatever the family, with a token-classification head, in candle.

mod bert;
mod checkpoint;
#[cfg(test)]
mod families;
mod gradients;
mod init;
mod network;
mod packed;
mod parameters;
mod threaded;

pub use bert::BertTagger;
pub use checkpoint::{CheckpointError, ModelDir, write_checkpoint};
pub(crate) use gradients::{Gradients, Targets, gradients};
#[cfg(test)]
pub(crate) use init::initial;
pub use packed::Packed;
pub use parameters::{Parameters, parameter_shapes};
pub(crate) use parameters::{WORD_EMBEDDINGS, is_exempt_from_decay};
pub use threaded::ThreadedNetwork;
