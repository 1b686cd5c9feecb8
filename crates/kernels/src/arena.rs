//! The buffers of a run, kept for the next one.

use crate::attention::HeadBuffers;

/// The buffers of a run, kept for the next one: a run that is no larger than earlier ones allocates nothing.
#[derive(Default)]
pub struct Arena {
    /// Hidden states, `[tokens, hidden]`.
    pub(crate) states: Vec<f32>,
    /// Quantized hidden states, `[tokens, hidden]`.
    pub(crate) inputs: Vec<u8>,
    /// Queries, keys and values, `[tokens, 3 hidden]`.
    pub(crate) projections: Vec<f32>,
    /// Quantized outputs of attention, `[tokens, hidden]`.
    pub(crate) mixed: Vec<u8>,
    /// Quantized activations of the feed-forward network, `[rows of a block, inner]`.
    pub(crate) activated: Vec<u8>,
    pub(crate) head: HeadBuffers,
    /// The queries of a sequence.
    pub(crate) queries: Vec<usize>,
}

/// The first `length` elements, of which new ones are 0.
pub(crate) fn sized<T: Copy + Default>(buffer: &mut Vec<T>, length: usize) -> &mut [T] {
    if buffer.len() < length {
        buffer.resize(length, T::default());
    }
    &mut buffer[..length]
}
