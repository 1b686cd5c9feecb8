//! The gradient of one step: its batches are computed in sequence, the shards of a batch in parallel.

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

/// The loss, the gradient norm and the predictions of a step, whose gradient is in the optimizer.
pub(super) struct AccumulatedGradients<'e> {
    /// The weighted mean loss of the step's labeled tokens.
    pub(super) loss: f64,
    /// The norm of its gradient.
    pub(super) norm: f64,
    /// The predictions for the examples of each batch.
    pub(super) predicted: Vec<Vec<Prediction<'e>>>,
}

/// Computes the gradient of a step with these batches and adds it to the optimizer.
///
/// Each labeled token of the step has the same influence, whatever its batch. The dropout of a shard depends on
/// `seed` and on the index of the shard in the step, and gradients are added in this order. So the same seed and
/// number of threads give a bit-identical result.
pub(super) fn differentiate<'e>(
    tagger: &BertTagger,
    optimizer: &mut Optimizer,
    batches: &[Vec<&'e Example>],
    loss: &Loss,
    threads: usize,
    seed: u64,
) -> Result<AccumulatedGradients<'e>> {
    let labels = batches.iter().flatten().flat_map(|example| &example.labeled);
    let weight = loss.weight(labels.map(|(_, label)| *label));
    // If every label of the step has weight 0, the loss is 0 instead of NaN.
    let weight = if weight > 0.0 { weight } else { 1.0 };
    let mut found = AccumulatedGradients {
        loss: 0.0,
        norm: 0.0,
        predicted: Vec::with_capacity(batches.len()),
    };
    let mut shard_index = 0u64;
    for batch in batches {
        let of_shard = |shard_index: u64, shard: &[&Example]| -> Result<Gradients> {
            let (packed, targets) = pack(shard);
            let dropout = Dropout::seeded(seed ^ shard_index.rotate_right(16));
            gradients(tagger, &packed, &targets, loss, weight, dropout)
        };
        let shards = shards(batch, threads);
        let parts: Vec<Result<Gradients>> = thread::scope(|scope| {
            let handles: Vec<_> = (shard_index..)
                .zip(&shards)
                .map(|(shard_index, shard)| scope.spawn(move || of_shard(shard_index, shard)))
                .collect();
            handles.into_iter().map(joined).collect()
        });
        shard_index += parts.len() as u64;
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
