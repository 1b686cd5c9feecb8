//! Sequences of different lengths as one run of tokens, without padding.

use std::sync::Arc;

/// Token sequences laid end to end.
#[derive(Clone, Debug)]
pub struct Packed {
    ids: Vec<u32>,
    positions: Vec<u32>,
    // Invariant: ascending from 0 to ids.len(); sequence i owns ids[bounds[i]..bounds[i + 1]].
    bounds: Arc<[usize]>,
}

impl Packed {
    /// The sequences of these token ids, special tokens included, in order.
    pub fn new<S: AsRef<[u32]>>(sequences: impl IntoIterator<Item = S>) -> Self {
        let (mut ids, mut positions, mut bounds) = (Vec::new(), Vec::new(), vec![0]);
        for sequence in sequences {
            let sequence = sequence.as_ref();
            ids.extend_from_slice(sequence);
            positions.extend((0u32..).take(sequence.len()));
            bounds.push(ids.len());
        }
        Self {
            ids,
            positions,
            bounds: bounds.into(),
        }
    }

    /// The vocabulary id of every token.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Where each sequence begins, and the number of tokens at the end.
    pub fn bounds(&self) -> &Arc<[usize]> {
        &self.bounds
    }

    /// Each token's position in its sequence.
    pub(super) fn positions(&self) -> &[u32] {
        &self.positions
    }
}
