//! The division of a batch into shards of similar size, one for each thread.

use crate::train::example::Example;

/// The fixed cost of a forward and backward pass, as an equivalent number of tokens.
const PASS_OVERHEAD_TOKENS: usize = 16;

/// Divides a batch into at most `count` non-empty shards, with a greedy balance of their numbers of tokens.
///
/// The division depends only on the examples and on `count`, so the same batch always yields the same shards.
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
