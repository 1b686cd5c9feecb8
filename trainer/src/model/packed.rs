//! Sequences of different lengths as one run of tokens, without padding.

use std::sync::Arc;

/// Token sequences laid end to end.
#[derive(Clone, Debug)]
pub struct Packed {
    ids: Vec<u32>,
    positions: Vec<u32>,
    // Invariant: ascending from 0 to ids.len(); sequence i owns ids[cu_seqlens[i]..cu_seqlens[i + 1]].
    cu_seqlens: Arc<[usize]>,
}

impl Packed {
    /// The sequences of these token ids, special tokens included, in order.
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

    /// Where each sequence begins, and the number of tokens at the end.
    pub fn cu_seqlens(&self) -> &Arc<[usize]> {
        &self.cu_seqlens
    }

    /// Each token's position in its sequence.
    pub(super) fn positions(&self) -> &[u32] {
        &self.positions
    }
}
