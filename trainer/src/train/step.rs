//! The gradient of one step: its batches are computed in sequence, the shards of a batch in parallel.

use candle_core::Result;

use crate::model::bert::BertTagger;
use crate::model::gradients;
use crate::model::gradients::{Gradients, StepLoss};
use crate::ops::dropout::Dropout;
use crate::threads::on_threads;
use crate::train::config::regularization::Regularization;
use crate::train::example::{Example, pack};
use crate::train::hook::Prediction;
use crate::train::loss::Loss;
use crate::train::optimizer::Optimizer;
use crate::train::shard::shards;

/// The loss, the gradient norm and the predictions of a step, whose gradient is in the optimizer.
pub(super) struct AccumulatedGradients<'e> {
    /// The weighted mean loss of the step's labeled tokens, without what regularizes it.
    pub(super) loss: f64,
    /// The norm of its gradient, without the scale of the loss.
    pub(super) norm: f64,
    /// The predictions for the examples of each batch; empty if they are not read.
    pub(super) predicted: Vec<Vec<Prediction<'e>>>,
}

/// Computes the gradient of a step with these batches, times `scale`, and adds it to the optimizer. The labels that the network
/// predicts are fetched from its device only where `reads_predictions`.
///
/// Each labeled token of the step has the same influence, whatever its batch. The dropout of a shard depends on
/// `seed` and on the index of the shard in the step, and gradients are added in this order. So the same seed and
/// number of threads give a bit-identical result.
pub(super) fn differentiate<'e>(
    tagger: &BertTagger,
    optimizer: &mut Optimizer,
    batches: &[Vec<&'e Example>],
    (loss, regularization, scale): (&Loss, Regularization, f64),
    (threads, reads_predictions): (usize, bool),
    seed: u64,
) -> Result<AccumulatedGradients<'e>> {
    let labels = || {
        let labels = batches.iter().flatten().flat_map(|example| &example.labeled);
        labels.map(|(_, label)| *label)
    };
    let weight = loss.weight(labels());
    // If every label of the step has weight 0, the loss is 0 instead of NaN.
    let weight = if weight > 0.0 { weight } else { 1.0 };
    // With R-Drop every window passes twice, in one batch, and half of the loss of each pass counts.
    let copies = if regularization.r_drop.is_some() { 2 } else { 1 };
    let tokens = labels().count() as f64;
    let loss = StepLoss {
        loss,
        weight: weight * copies as f64,
        consistency: regularization.r_drop.map(|factor| factor / tokens),
        adversarial: regularization.adversarial,
        scale,
    };
    let mut found = AccumulatedGradients {
        loss: 0.0,
        norm: 0.0,
        predicted: Vec::with_capacity(batches.len()),
    };
    let mut shard_index = 0u64;
    for batch in batches {
        let of_shard = |shard_index: u64, shard: &[&Example]| -> Result<Gradients> {
            let (packed, targets) = pack(&shard.repeat(copies));
            let dropout = Dropout::seeded(seed ^ shard_index.rotate_right(16));
            gradients(tagger, &packed, &targets, &loss, dropout)
        };
        let shards = shards(batch, threads);
        let parts = on_threads((shard_index..).zip(&shards), |(index, shard)| {
            of_shard(index, shard)
        });
        shard_index += parts.len() as u64;
        let parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
        for part in &parts {
            found.loss += part.loss;
        }
        if reads_predictions {
            let mut predicted = Vec::with_capacity(batch.len());
            for (part, shard) in parts.iter().zip(&shards) {
                predicted.extend(predictions(part, shard)?);
            }
            found.predicted.push(predicted);
        }
        found.norm = optimizer.accumulate(&parts)? / scale;
    }
    Ok(found)
}

/// The predictions of a pass for the examples of its shard.
fn predictions<'e>(of: &Gradients, shard: &[&'e Example]) -> Result<Vec<Prediction<'e>>> {
    let labels: Vec<u32> = match &of.predicted {
        Some(labels) => labels.to_vec1()?,
        None => Vec::new(),
    };
    let mut rest = labels.as_slice();
    let mut found = Vec::with_capacity(shard.len());
    for &example in shard {
        let Some((own, others)) = rest.split_at_checked(example.ids.len()) else {
            candle_core::bail!("a pass has fewer predictions than tokens");
        };
        let labels = own.to_vec();
        found.push(Prediction { example, labels });
        rest = others;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::gradients::tests::tiny;
    use crate::train::loss::LossFunction;
    use crate::train::optimizer::{ParameterPlan, UpdateRule};

    fn optimizer(tagger: &BertTagger) -> Optimizer {
        let plan = |name: &str| ParameterPlan::new(name, 2, 1.0, 1.0);
        Optimizer::new(tagger.parameters(), plan, UpdateRule::AdamW, 0.0, 1).unwrap()
    }

    #[test]
    fn r_drop_divides_the_divergence_by_the_tokens_and_the_loss_by_the_weights_of_the_step() {
        let tagger = tiny();
        let example = |ids: &[u32], labeled: &[(u32, u32)]| Example {
            ids: ids.to_vec(),
            labeled: labeled.to_vec(),
            ..Example::default()
        };
        let (one, other) = (
            example(&[2, 7, 9, 3], &[(1, 0), (2, 2)]),
            example(&[2, 7, 11, 5, 3], &[(1, 1), (2, 0), (3, 0)]),
        );
        let loss = Loss {
            function: LossFunction::CrossEntropy { smoothing: 0.0 },
            weights: Some(vec![0.5, 2.0, 3.0]),
            soft: None,
        };
        let regularization = Regularization {
            r_drop: Some(2.0),
            adversarial: Some(0.3),
        };
        let batches = [vec![&one], vec![&other]];
        let mut accumulated = optimizer(&tagger);
        let loss_of = (&loss, regularization, 1.0);
        let found = differentiate(&tagger, &mut accumulated, &batches, loss_of, (1, true), 5).unwrap();
        let predicted: Vec<usize> = found.predicted.concat().iter().map(|p| p.labels.len()).collect();
        assert_eq!(predicted, [4, 5]);
        // The same by hand: five tokens that weigh 0.5 + 3 and 2 + 0.5 + 0.5, each in two passes.
        let expected = StepLoss {
            loss: &loss,
            weight: 2.0 * 6.5,
            consistency: Some(2.0 / 5.0),
            adversarial: Some(0.3),
            scale: 1.0,
        };
        let parts: Vec<Gradients> = (0u64..)
            .zip([&one, &other])
            .map(|(index, example)| {
                let (packed, targets) = pack(&[example, example]);
                let dropout = Dropout::seeded(5 ^ index.rotate_right(16));
                gradients(&tagger, &packed, &targets, &expected, dropout).unwrap()
            })
            .collect();
        let norm = optimizer(&tagger).accumulate(&parts).unwrap();
        assert_eq!(found.norm, norm);
        assert_eq!(found.loss, parts[0].loss + parts[1].loss);
        let unread =
            differentiate(&tagger, &mut optimizer(&tagger), &batches, loss_of, (1, false), 5).unwrap();
        assert_eq!((unread.loss, unread.predicted), (found.loss, Vec::new()));
    }
}
