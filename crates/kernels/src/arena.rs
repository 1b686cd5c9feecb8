//! The buffers of a run, kept for the next one.

use std::sync::Mutex;

use crate::attention::HeadBuffers;

/// The buffers of a run, kept for the next one: a run that is no larger than earlier ones allocates no buffer.
#[derive(Default)]
pub struct Arena {
    /// Hidden states of a group of sequences, `[tokens, hidden]`.
    pub(crate) states: Vec<f32>,
    /// Queries, keys and values of a layer and of the next one, each `[tokens, 3 hidden]`.
    pub(crate) projections: [Vec<f32>; 2],
    /// The last hidden states of the selected tokens, unless the caller has a place for them.
    pub(crate) outputs: Vec<f32>,
    /// The numbers of the tokens of a group of sequences.
    pub(crate) tokens: Vec<usize>,
    /// Those of the selected ones.
    pub(crate) selected: Vec<usize>,
    /// The buffers of each thread.
    pub(crate) threads: Vec<Mutex<ThreadBuffers>>,
}

/// The buffers of a thread for a block of rows.
#[derive(Default)]
pub(crate) struct ThreadBuffers {
    /// Quantized hidden states, `[rows, hidden]`.
    pub(crate) inputs: Vec<u8>,
    /// Quantized outputs of attention, `[rows, hidden]`.
    pub(crate) mixed: Vec<u8>,
    /// Quantized activations of the feed-forward network, `[rows, inner]`.
    pub(crate) activated: Vec<u8>,
    pub(crate) head: HeadBuffers,
}
