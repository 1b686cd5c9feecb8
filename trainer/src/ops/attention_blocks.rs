//! Blocks of queries in packed sequences, whose attention scores are computed together.

use std::ops::Range;

/// The queries whose scores are computed together. Their scores are the only ones in memory.
const BLOCK: usize = 64;

/// One head of one sequence.
pub(super) struct Head {
    /// The index of its first query in the packed rows.
    pub(super) start: usize,
    /// The number of tokens of the sequence.
    pub(super) length: usize,
    /// The index of the weight of its first query and key for the dropout mask, as if all weights were computed.
    pub(super) first_weight: usize,
}

/// The heads of all sequences.
pub(super) fn heads_of(cu_seqlens: &[usize], heads: usize, size: usize) -> impl Iterator<Item = Head> {
    let mut weights = 0;
    let sequences = cu_seqlens.windows(2).map(|pair| (pair[0], pair[1] - pair[0]));
    let all = sequences.flat_map(move |(token, length)| (0..heads).map(move |head| (token, length, head)));
    all.map(move |(token, length, head)| {
        let first_weight = weights;
        weights += length * length;
        Head {
            start: (token * 3 * heads + head) * size,
            length,
            first_weight,
        }
    })
}

/// Queries that are computed together and the keys that at least one of them attends to, by their positions in a sequence.
pub(super) struct Block {
    pub(super) queries: Range<usize>,
    pub(super) keys: Range<usize>,
}

/// The positions that a query attends to.
pub(super) fn window(query: usize, reach: Option<usize>, length: usize) -> Range<usize> {
    match reach {
        None => 0..length,
        Some(reach) => query.saturating_sub(reach)..length.min(query.saturating_add(reach).saturating_add(1)),
    }
}

/// The blocks of a sequence.
pub(super) fn blocks(length: usize, reach: Option<usize>) -> impl Iterator<Item = Block> {
    (0..length).step_by(BLOCK).map(move |from| {
        let to = length.min(from + BLOCK);
        Block {
            queries: from..to,
            keys: window(from, reach, length).start..window(to - 1, reach, length).end,
        }
    })
}

impl Block {
    /// The rows of the queries in a `[queries, keys]` table, with the columns that each attends to and the index of the first of
    /// these weights for the dropout mask.
    pub(super) fn rows(
        &self,
        head: &Head,
        reach: Option<usize>,
    ) -> impl Iterator<Item = (Range<usize>, usize)> + use<> {
        let (length, first, keys) = (head.length, head.first_weight, self.keys.clone());
        self.queries.clone().map(move |query| {
            let window = window(query, reach, length);
            let weight = first + query * length + window.start;
            (window.start - keys.start..window.end - keys.start, weight)
        })
    }
}
