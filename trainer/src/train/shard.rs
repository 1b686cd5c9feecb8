//! A batch in parts of like work, one a thread.

use crate::train::example::Example;

/// Tokens that cost as much as the fixed part of one more pass.
const PASS_OVERHEAD_TOKENS: usize = 16;

/// The batch in at most `count` shards whose numbers of tokens are as equal as a greedy division makes them; none empty.
///
/// The division follows from the examples alone, so the same batch always falls into the same shards.
pub(super) fn shards<'e>(batch: &[&'e Example], count: usize) -> Vec<Vec<&'e Example>> {
    let mut by_length = batch.to_vec();
    by_length.sort_by_key(|example| std::cmp::Reverse(example.ids.len()));
    let tokens: usize = batch.iter().map(|example| example.ids.len()).sum();
    let useful = (tokens / PASS_OVERHEAD_TOKENS).clamp(1, count.max(1));
    let mut shards: Vec<(usize, Vec<&Example>)> = vec![(0, Vec::new()); useful];
    for example in by_length {
        if let Some((load, shard)) = shards.iter_mut().min_by_key(|(load, _)| *load) {
            *load += example.ids.len();
            shard.push(example);
        }
    }
    shards.retain(|(_, shard)| !shard.is_empty());
    shards.into_iter().map(|(_, shard)| shard).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(of: &[usize], count: usize) -> Vec<Vec<usize>> {
        let examples: Vec<Example> = of
            .iter()
            .map(|&length| Example {
                ids: vec![0; length],
                ..Example::default()
            })
            .collect();
        let batch: Vec<&Example> = examples.iter().collect();
        let sharded = shards(&batch, count);
        sharded
            .iter()
            .map(|shard| shard.iter().map(|e| e.ids.len()).collect())
            .collect()
    }

    #[test]
    fn loads_are_near_equal_and_nothing_is_lost() {
        assert_eq!(lengths(&[10, 40, 30, 20], 2), [vec![40, 10], vec![30, 20]]);
        assert_eq!(lengths(&[100, 10, 10], 3), [vec![100], vec![10], vec![10]]);
    }

    #[test]
    fn there_is_no_empty_or_tiny_shard() {
        assert_eq!(lengths(&[50], 4), [vec![50]]);
        assert_eq!(lengths(&[5, 5], 4), [vec![5, 5]]);
        assert!(lengths(&[], 2).is_empty());
    }
}
