//! The attention heads of packed sequences.

use std::ops::Range;

/// One attention head of one sequence.
pub(super) struct Head {
    /// Its number among the heads of the sequence.
    pub(super) number: usize,
    /// The first token of the sequence.
    pub(super) token: usize,
    /// The number of tokens of the sequence, at least one.
    pub(super) length: usize,
    /// The range of its `length * length` attention weights in the weights of all heads. Dropout masks are indexed by it.
    pub(super) weights: Range<usize>,
}

impl Head {
    /// The index of its first element in rows of this width, in which heads of this size lie side by side.
    pub(super) fn start(&self, width: usize, size: usize) -> usize {
        self.token * width + self.number * size
    }
}

/// The heads of all sequences with tokens, by sequence.
pub(super) fn heads_of(cu_seqlens: &[usize], heads: usize) -> impl Iterator<Item = Head> {
    let mut weights = 0;
    let sequences = cu_seqlens.windows(2).map(|pair| (pair[0], pair[1] - pair[0]));
    sequences
        .filter(|(_, length)| *length > 0)
        .flat_map(move |(token, length)| (0..heads).map(move |number| (token, length, number)))
        .map(move |(token, length, number)| {
            let from = weights;
            weights += length * length;
            Head {
                number,
                token,
                length,
                weights: from..weights,
            }
        })
}
