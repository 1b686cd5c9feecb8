//! One optimisation step over a batch, its shards on threads of their own.

use std::thread;

use candle_core::Result;

use super::adamw::AdamW;
use super::example::{Example, pack};
use super::shard::shards;
use crate::model::{BertTagger, Gradients, gradients};
use crate::ops::Dropout;

/// The mean cross-entropy of a batch's labelled tokens and the norm of its gradient, which the optimiser then holds.
///
/// Shard `i`'s dropout follows from `seed` and `i`, and gradients are added in the order of the shards: the same seed
/// and thread count give the same result to the last bit.
pub(super) fn differentiate(
    tagger: &BertTagger,
    optimiser: &mut AdamW,
    batch: &[&Example],
    threads: usize,
    seed: u64,
) -> Result<(f64, f64)> {
    let labelled: usize = batch.iter().map(|example| example.labelled.len()).sum();
    let shard_gradients = |index: u64, shard: &[&Example]| {
        let (packed, targets) = pack(shard);
        let dropout = Dropout::seeded(seed ^ index.rotate_right(16));
        gradients(tagger, &packed, &targets, labelled, dropout)
    };
    let parts: Vec<Result<Gradients>> = thread::scope(|scope| {
        let handles: Vec<_> = (0u64..)
            .zip(shards(batch, threads))
            .map(|(index, shard)| scope.spawn(move || shard_gradients(index, &shard)))
            .collect();
        handles.into_iter().map(super::joined).collect()
    });
    let parts = parts.into_iter().collect::<Result<Vec<Gradients>>>()?;
    let loss = parts.iter().map(|part| part.loss).sum();
    let norm = optimiser.accumulate(&parts)?;
    Ok((loss, norm))
}
