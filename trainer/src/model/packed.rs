//! Sequences of different lengths in one packed tensor, without padding.

use std::sync::Arc;

/// Token sequences that are concatenated without padding.
#[derive(Clone, Debug)]
pub struct Packed {
    ids: Vec<u32>,
    positions: Vec<u32>,
    // Invariant: ascending from 0 to ids.len(). Sequence i is ids[cu_seqlens[i]..cu_seqlens[i + 1]].
    cu_seqlens: Arc<[usize]>,
}

impl Packed {
    /// Packs sequences of token ids, which include the special tokens, in this order.
    pub fn new<S: AsRef<[u32]>>(sequences: impl IntoIterator<Item = S>) -> Self {
        let (mut ids, mut positions, mut cu_seqlens) = (Vec::new(), Vec::new(), vec![0]);
        for sequence in sequences {
            let sequence = sequence.as_ref();
            ids.extend_from_slice(sequence);
            positions.extend((0u32..).take(sequence.len()));
            cu_seqlens.push(ids.len());
        }
        Self {
            ids,
            positions,
            cu_seqlens: cu_seqlens.into(),
        }
    }

    /// The vocabulary id of every token.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The cumulative sequence lengths: the start of each sequence, then the number of all tokens.
    pub fn cu_seqlens(&self) -> &Arc<[usize]> {
        &self.cu_seqlens
    }

    /// The position of each token in its sequence, counted from 0.
    pub(super) fn positions(&self) -> &[u32] {
        &self.positions
    }
}
