//! Blocks of queries in packed sequences, whose attention scores are computed together.

use std::ops::Range;

use crate::ops::heads::Head;

/// The queries whose scores are computed together. Their scores are the only ones in memory.
const BLOCK: usize = 64;

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
        let (length, first, keys) = (head.length, head.weights.start, self.keys.clone());
        self.queries.clone().map(move |query| {
            let window = window(query, reach, length);
            let weight = first + query * length + window.start;
            (window.start - keys.start..window.end - keys.start, weight)
        })
    }
}
