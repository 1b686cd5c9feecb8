//! The gradient of one step: its batches one after another, the shards of a batch in parallel.

use std::thread;

use candle_core::Result;

use crate::model::bert::BertTagger;
use crate::model::gradients;
use crate::model::gradients::Gradients;
use crate::ops::dropout::Dropout;
use crate::threads::joined;
use crate::train::example::{Example, pack};
use crate::train::hook::Prediction;
use crate::train::loss::Loss;
use crate::train::optimizer::Optimizer;
use crate::train::shard::shards;

/// The loss of the batches of a step, the norm of their gradient and their predictions. The optimizer holds the gradient.
pub(super) struct AccumulatedGradients<'e> {
    /// Weighted mean loss of the step's labelled tokens.
    pub(super) loss: f64,
    /// Norm of its gradient.
    pub(super) norm: f64,
    /// The predictions for the examples of each batch.
    pub(super) predicted: Vec<Vec<Prediction<'e>>>,
}

/// Computes the gradient of a step of these batches and adds it to the optimizer.
///
/// Every labelled token of the step counts alike, whichever batch it is in. A shard's dropout follows from `seed` and its
/// place in the step, and gradients are added in that order: the same seed and thread count give the same result to
/// the last bit.
pub(super) fn differentiate<'e>(
    tagger: &BertTagger,
    optimizer: &mut Optimizer,
    batches: &[Vec<&'e Example>],
    loss: &Loss,
    threads: usize,
    seed: u64,
) -> Result<AccumulatedGradients<'e>> {
    let labels = batches.iter().flatten().flat_map(|example| &example.labelled);
    let weight = loss.weight(labels.map(|(_, label)| *label));
    // Where no label of the step counts, the loss is 0 rather than no number.
    let weight = if weight > 0.0 { weight } else { 1.0 };
    let mut found = AccumulatedGradients {
        loss: 0.0,
        norm: 0.0,
        predicted: Vec::with_capacity(batches.len()),
    };
    let mut place = 0u64;
    for batch in batches {
        let of_shard = |place: u64, shard: &[&Example]| -> Result<Gradients> {
            let (packed, targets) = pack(shard);
            let dropout = Dropout::seeded(seed ^ place.rotate_right(16));
            gradients(tagger, &packed, &targets, loss, weight, dropout)
        };
        let shards = shards(batch, threads);
        let parts: Vec<Result<Gradients>> = thread::scope(|scope| {
            let handles: Vec<_> = (place..)
                .zip(&shards)
                .map(|(place, shard)| scope.spawn(move || of_shard(place, shard)))
                .collect();
            handles.into_iter().map(joined).collect()
        });
        place += parts.len() as u64;
        let parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
        let mut predicted = Vec::with_capacity(batch.len());
        for (part, shard) in parts.iter().zip(&shards) {
            found.loss += part.loss;
            let mut rest = part.predicted.as_slice();
            for &example in shard {
                let (own, others) = rest.split_at(example.ids.len());
                predicted.push(Prediction {
                    example,
                    labels: own.to_vec(),
                });
                rest = others;
            }
        }
        found.predicted.push(predicted);
        found.norm = optimizer.accumulate(&parts)?;
    }
    Ok(found)
}
