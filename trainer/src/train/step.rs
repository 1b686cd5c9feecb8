//! The gradient of one step, its batches one after another, their shards on threads of their own.

use std::thread;

use candle_core::Result;

use super::example::{Example, pack};
use super::loss::Loss;
use super::optimiser::Optimiser;
use super::shard::shards;
use crate::model::{BertTagger, Gradients, Targets, gradients};
use crate::ops::Dropout;

/// What the batches of a step came to; the optimiser holds their gradient.
pub(super) struct Differentiated {
    /// Weighted mean loss of the step's labelled tokens.
    pub(super) loss: f64,
    /// Norm of its gradient.
    pub(super) norm: f64,
    /// Right and most probable label of every labelled token.
    pub(super) labelled: Vec<(u32, u32)>,
}

/// The loss of a step of these batches, whose gradient the optimiser then holds.
///
/// Every labelled token of the step counts alike, whichever batch it is in. A shard's dropout follows from `seed` and its
/// place in the step, and gradients are added in that order: the same seed and thread count give the same result to
/// the last bit.
pub(super) fn differentiate(
    tagger: &BertTagger,
    optimiser: &mut Optimiser,
    batches: &[Vec<&Example>],
    loss: &Loss,
    threads: usize,
    seed: u64,
) -> Result<Differentiated> {
    let labels = batches.iter().flatten().flat_map(|example| &example.labelled);
    let weight = loss.weight(labels.map(|(_, label)| *label));
    // Where no label of the step counts, the loss is 0 rather than no number.
    let weight = if weight > 0.0 { weight } else { 1.0 };
    let mut found = Differentiated {
        loss: 0.0,
        norm: 0.0,
        labelled: Vec::new(),
    };
    let mut place = 0u64;
    for batch in batches {
        let of_shard = |place: u64, shard: &[&Example]| -> Result<(Gradients, Targets)> {
            let (packed, targets) = pack(shard);
            let dropout = Dropout::seeded(seed ^ place.rotate_right(16));
            Ok((
                gradients(tagger, &packed, &targets, loss, weight, dropout)?,
                targets,
            ))
        };
        let parts: Vec<Result<(Gradients, Targets)>> = thread::scope(|scope| {
            let handles: Vec<_> = (place..)
                .zip(shards(batch, threads))
                .map(|(place, shard)| scope.spawn(move || of_shard(place, &shard)))
                .collect();
            handles.into_iter().map(super::joined).collect()
        });
        place += parts.len() as u64;
        let (parts, targets): (Vec<Gradients>, Vec<Targets>) =
            parts.into_iter().collect::<Result<Vec<_>>>()?.into_iter().unzip();
        for (part, targets) in parts.iter().zip(&targets) {
            found.loss += part.loss;
            let pairs = targets.labels.iter().copied().zip(part.predicted.iter().copied());
            found.labelled.extend(pairs);
        }
        optimiser.accumulate(&parts)?;
    }
    found.norm = optimiser.norm()?;
    Ok(found)
}
