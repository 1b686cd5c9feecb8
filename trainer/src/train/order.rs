//! The order of the training windows in each epoch.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::train::example::Example;

/// The number of consecutive batches whose windows are sorted by length together.
const GROUPED_BATCHES: usize = 50;

/// The purpose of the generator of the order of an epoch.
const ORDER: u64 = 0;
/// The purpose of the generator of dropout.
const DROPOUT: u64 = 1;
/// The purpose of the generator of a subset of the training sentences.
const SUBSET: u64 = 2;
/// The purpose of the generator of sentences without labels.
const UNLABELED: u64 = 3;
/// The seed that draws sentences without labels, whatever that of the run is.
const UNLABELED_SEED: u64 = 1;
/// The purpose of the generator of folds.
const FOLDS: u64 = 0x666f_6c64;
/// The purpose of the generator of masks.
const MASKS: u64 = 0x6d61_736b;

/// A random generator for one purpose of the seed, so that random choices for different purposes are independent.
fn generator(seed: u64, purpose: u64, index: usize) -> StdRng {
    seeded([seed, purpose, index as u64, 0x006e_6572_7665])
}

/// The random generator for one kind of change to a sentence in an epoch, both counted from 0.
pub(super) fn augmentation(seed: u64, kind: u64, epoch: usize, sentence: usize) -> StdRng {
    // `generator` has no purpose from 16 to 16 plus the largest kind.
    seeded([seed, 16 + kind, epoch as u64, sentence as u64])
}

fn seeded(numbers: [u64; 4]) -> StdRng {
    let mut bytes = [0; 32];
    for (to, from) in bytes.chunks_exact_mut(8).zip(numbers) {
        to.copy_from_slice(&from.to_le_bytes());
    }
    StdRng::from_seed(bytes)
}

/// The batches of an epoch, counted from 0. Each example occurs once; the order depends on the seed and on the epoch.
pub fn batches(
    examples: &[Example],
    batch_size: usize,
    group_by_length: bool,
    seed: u64,
    epoch: usize,
) -> Vec<Vec<&Example>> {
    let mut generator = generator(seed, ORDER, epoch);
    let mut shuffled: Vec<&Example> = examples.iter().collect();
    shuffled.shuffle(&mut generator);
    if !group_by_length {
        return shuffled.chunks(batch_size).map(<[_]>::to_vec).collect();
    }
    let mut grouped = Vec::new();
    for run in shuffled.chunks_mut(batch_size.saturating_mul(GROUPED_BATCHES)) {
        run.sort_by_key(|example| std::cmp::Reverse(example.ids.len()));
        grouped.extend(run.chunks(batch_size).map(<[_]>::to_vec));
    }
    grouped.shuffle(&mut generator);
    grouped
}

/// The seed of the dropout in a step, counted from 0.
pub(super) fn dropout_seed(seed: u64, step: usize) -> u64 {
    generator(seed, DROPOUT, step).random()
}

/// Draws `size` of `count` training sentences without replacement, and returns their indices in ascending order.
pub(super) fn subset(count: usize, size: usize, seed: u64) -> Vec<usize> {
    drawn(count, size, generator(seed, SUBSET, 0))
}

/// Draws `size` of `count` sentences without labels as [`subset`] draws training sentences, the same for every seed of a run:
/// teachers label them once for all seeds.
pub(super) fn unlabeled(count: usize, size: usize) -> Vec<usize> {
    drawn(count, size, generator(UNLABELED_SEED, UNLABELED, 0))
}

fn drawn(count: usize, size: usize, mut generator: StdRng) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..count).collect();
    indices.shuffle(&mut generator);
    indices.truncate(size);
    indices.sort_unstable();
    indices
}

/// The generator of the masks of a step of a pre-training, counted from 0.
pub(super) fn mask_generator(seed: u64, step: usize) -> StdRng {
    generator(seed, MASKS, step)
}

/// The numbers below `count` in an order for the folds of a cross-validation.
pub(super) fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..count).collect();
    numbers.shuffle(&mut generator(seed, FOLDS, 0));
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples() -> Vec<Example> {
        let example = |sentence: usize| Example {
            sentence,
            ids: vec![0; 3 + sentence * 7 % 31],
            ..Example::default()
        };
        (0..53).map(example).collect()
    }

    fn sentences(grouped: bool, seed: u64, epoch: usize) -> Vec<Vec<usize>> {
        let examples = examples();
        let batches = batches(&examples, 4, grouped, seed, epoch);
        let of = |batch: Vec<&Example>| batch.into_iter().map(|example| example.sentence).collect();
        batches.into_iter().map(of).collect()
    }

    #[test]
    fn every_epoch_has_every_example_once_in_its_own_order() {
        for grouped in [false, true] {
            let first = sentences(grouped, 7, 0);
            let mut all = first.concat();
            all.sort_unstable();
            assert_eq!(all, (0..53).collect::<Vec<_>>());
            assert_eq!(first, sentences(grouped, 7, 0));
            assert_ne!(first, sentences(grouped, 7, 1));
            assert_ne!(first, sentences(grouped, 8, 0));
        }
    }

    #[test]
    fn groups_have_windows_of_like_length_in_no_order_of_their_own() {
        let examples = examples();
        let longest = |batch: &Vec<&Example>| batch.iter().map(|e| e.ids.len()).max().unwrap();
        let padded = |grouped| -> usize {
            let batches = batches(&examples, 4, grouped, 1, 0);
            batches.iter().map(|batch| longest(batch) * batch.len()).sum()
        };
        assert!(padded(true) * 10 < padded(false) * 8);
        let grouped = batches(&examples, 4, true, 1, 0);
        assert!(!grouped.is_sorted_by_key(|batch| std::cmp::Reverse(longest(batch))));
    }

    #[test]
    fn steps_drop_and_subsets_draw_by_the_seed() {
        assert_eq!(dropout_seed(1, 5), dropout_seed(1, 5));
        assert_ne!(dropout_seed(1, 5), dropout_seed(1, 6));
        let drawn = subset(100, 10, 3);
        assert!(drawn.len() == 10 && drawn.is_sorted() && drawn != subset(100, 10, 4));
        assert_eq!(subset(3, 10, 3), [0, 1, 2]);
    }
}
