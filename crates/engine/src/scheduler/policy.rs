//! The batching policy: which waiting windows run together.

use crate::config::BatchLimits;

/// How many waiting windows, in order, are candidates for one batch.
///
/// It bounds the time of a decision, and how often a window is overtaken.
pub const LOOKAHEAD: usize = 256;

/// The largest number of waiting windows that one worker takes: with other workers idle too, each takes an equal
/// part.
pub fn batch_size_for(waiting: usize, idle_workers: usize) -> usize {
    waiting.div_ceil(idle_workers.max(1))
}

/// The windows of the next batch, as indices into `waiting`, the oldest first.
///
/// `waiting` holds the lengths in tokens of the first [`LOOKAHEAD`] windows in order of virtual start. The first
/// window always runs, alone if it exceeds `batch_tokens` by itself. Then the windows nearest to it in length join,
/// the older first among equals, as long as the padded batch (longest length times count) stays within
/// `batch_tokens`, the padding within `max_padding_percent`, and the count within `share` and `max_batch`.
///
/// So a window that arrives when `n` windows wait runs after at most `n` batches, and is overtaken by at most `n *
/// (max_batch - 1)` windows, each of which arrived at most [`LOOKAHEAD`] windows after the one it ran with.
pub fn next_batch(waiting: &[usize], limits: BatchLimits, share: usize) -> Vec<usize> {
    let Some(&oldest) = waiting.first() else {
        return Vec::new();
    };
    let room = limits.max_batch.min(share).max(1);
    let mut chosen = vec![0];
    if room == 1 || waiting.len() == 1 {
        return chosen;
    }
    let mut by_likeness: Vec<usize> = (1..waiting.len()).collect();
    by_likeness.sort_by_key(|&at| (waiting[at].abs_diff(oldest), at));
    let (mut longest, mut real) = (oldest, oldest);
    for at in by_likeness {
        if chosen.len() == room {
            break;
        }
        let longest_with = longest.max(waiting[at]);
        let padded = longest_with.saturating_mul(chosen.len() + 1);
        let real_with = real.saturating_add(waiting[at]);
        let padding = padded.saturating_sub(real_with);
        let within_share = padding.saturating_mul(100) <= padded.saturating_mul(limits.max_padding_percent);
        if padded <= limits.batch_tokens && within_share {
            chosen.push(at);
            (longest, real) = (longest_with, real_with);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: BatchLimits = BatchLimits {
        batch_tokens: 100,
        max_batch: 4,
        max_padding_percent: 20,
    };

    #[test]
    fn the_like_go_together_and_the_oldest_always_goes() {
        assert_eq!(next_batch(&[20, 90, 21, 19, 5], LIMITS, 9), [0, 2, 3]);
        assert_eq!(next_batch(&[200, 20], LIMITS, 9), [0]);
        assert_eq!(next_batch(&[10; 9], LIMITS, 9), [0, 1, 2, 3]);
        assert_eq!(next_batch(&[10; 9], LIMITS, 2), [0, 1]);
        assert_eq!(next_batch(&[10; 9], LIMITS, 0), [0]);
        assert!(next_batch(&[], LIMITS, 9).is_empty());
    }

    proptest! {
        #[test]
        fn no_window_is_overtaken_more_often_than_the_bound_says(
            lengths in prop::collection::vec(1usize..130, 1..120),
            max_batch in 1usize..9,
            seed in any::<u64>(),
        ) {
            let limits = BatchLimits { batch_tokens: 256, max_batch, max_padding_percent: 10 };
            // Windows come between batches, as many each time as the seed's digits say.
            let mut waiting: Vec<(usize, usize, usize)> = Vec::new();
            let (mut came, mut batches, mut random) = (0, 0, seed);
            while came < lengths.len() || !waiting.is_empty() {
                for _ in 0..(random % 7) {
                    if let Some(&length) = lengths.get(came) {
                        let before = waiting.len();
                        waiting.push((length, batches, before));
                        came += 1;
                    }
                }
                random = random.rotate_right(3) ^ 0x9e37;
                if waiting.is_empty() {
                    random = random.wrapping_add(1);
                    continue;
                }
                let only_lengths: Vec<usize> = waiting.iter().map(|w| w.0).collect();
                let mut batch = next_batch(&only_lengths, limits, usize::MAX);
                batch.sort_unstable();
                for at in batch.into_iter().rev() {
                    let (_, entered, before) = waiting.remove(at);
                    prop_assert!(batches - entered <= before);
                }
                batches += 1;
            }
        }

        #[test]
        fn every_batch_obeys_the_limits_and_every_window_runs_once(
            lengths in prop::collection::vec(0usize..600, 0..80),
            batch_tokens in 1usize..2000,
            max_batch in 1usize..20,
            max_padding_percent in 0usize..=100,
            share in 0usize..20,
        ) {
            let limits = BatchLimits { batch_tokens, max_batch, max_padding_percent };
            let mut waiting: Vec<(usize, usize)> = lengths.iter().copied().enumerate().collect();
            let mut ran = Vec::new();
            while !waiting.is_empty() {
                let only_lengths: Vec<usize> = waiting.iter().map(|w| w.1).collect();
                let batch = next_batch(&only_lengths, limits, share);
                prop_assert_eq!(batch[0], 0);
                prop_assert!(batch.len() <= max_batch);
                if batch.len() > 1 {
                    let longest = batch.iter().map(|&at| only_lengths[at]).max().unwrap();
                    let real: usize = batch.iter().map(|&at| only_lengths[at]).sum();
                    let padded = longest * batch.len();
                    prop_assert!(padded <= batch_tokens);
                    prop_assert!((padded - real) * 100 <= padded * max_padding_percent);
                }
                let mut positions = batch;
                positions.sort_unstable();
                positions.dedup();
                for at in positions.into_iter().rev() {
                    ran.push(waiting.remove(at).0);
                }
            }
            ran.sort_unstable();
            prop_assert_eq!(ran, (0..lengths.len()).collect::<Vec<_>>());
        }
    }
}
