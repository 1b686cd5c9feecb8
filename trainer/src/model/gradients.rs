//! The loss and the gradients of one shard of a batch.

use candle_core::{DType, Result, Tensor};

use crate::model::bert::BertTagger;
use crate::model::network::Pass;
use crate::model::packed::Packed;
use crate::model::parameters::WORD_EMBEDDINGS;
use crate::ops::dropout::Dropout;
use crate::train::loss::Loss;
use crate::train::targets::Targets;

/// The contribution of one shard to the loss and the gradients of a step.
pub(crate) struct Gradients {
    /// The shard's contribution to the mean loss of the step.
    pub(crate) loss: f64,
    /// The most probable label of each labeled token.
    pub(crate) predicted: Vec<u32>,
    /// The gradient of each parameter, in name order; `None` for the word embeddings and for frozen parameters.
    pub(crate) dense: Vec<Option<Tensor>>,
    /// The vocabulary id of each row of `word_rows`.
    pub(crate) word_ids: Vec<u32>,
    /// The gradient of the word embeddings, one row per token: `[tokens, hidden]`; `None` if they are frozen.
    pub(crate) word_rows: Option<Tensor>,
}

/// The loss and the gradients of one shard.
///
/// The sum of the token losses is divided by `weight`, the total weight of the labeled tokens of the whole step, so
/// the results of all shards add up to those of the step.
pub(crate) fn gradients(
    tagger: &BertTagger,
    batch: &Packed,
    targets: &Targets,
    loss: &Loss,
    weight: f64,
    dropout: Dropout,
) -> Result<Gradients> {
    let mut pass = Pass::new(dropout);
    let trained = tagger.training(batch, &mut pass)?;
    let tokens = Tensor::new(targets.tokens.as_slice(), trained.logits.device())?;
    let logits = trained.logits.index_select(&tokens, 0)?;
    let loss = (loss.sum(&logits, targets)? * (1.0 / weight))?;
    let predicted = trained.logits.detach().argmax(1)?.to_vec1()?;
    let store = loss.backward()?;
    let dense = tagger
        .parameters()
        .iter()
        .map(
            |(name, var)| match pass.weights.take(var).or_else(|| store.get(var).cloned()) {
                Some(gradient) => gradient.contiguous().map(Some),
                None if name == WORD_EMBEDDINGS || tagger.parameters().is_frozen(name) => Ok(None),
                None => candle_core::bail!("the graph has lost the parameter {name}"),
            },
        )
        .collect::<Result<_>>()?;
    let word_rows = match trained.word_rows.as_ref().map(|leaf| store.get(leaf)) {
        Some(Some(gradient)) => Some(gradient.contiguous()?),
        Some(None) => candle_core::bail!("the graph has lost the parameter {WORD_EMBEDDINGS}"),
        None => None,
    };
    Ok(Gradients {
        loss: loss.to_dtype(DType::F64)?.to_scalar()?,
        predicted,
        dense,
        word_ids: batch.ids().to_vec(),
        word_rows,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::init::initial;
    use crate::model::parameters::{Parameters, parameter_shapes};
    use crate::train::loss::LossFunction;
    use candle_core::Device;
    use nerve_repository::{Family, ModelConfig};

    pub(crate) fn tiny_config() -> ModelConfig {
        let text = r#"{"model_type": "bert", "vocab_size": 12, "hidden_size": 8, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 9,
            "initializer_range": 0.3, "hidden_act": "gelu"}"#;
        ModelConfig::parse(text, "config.json".as_ref()).unwrap()
    }

    /// The configuration of the same network for another model family.
    fn tiny_config_of(family: Family) -> ModelConfig {
        let bert = tiny_config();
        let (type_vocab_size, pad_token_id) = match family {
            Family::Bert => (2, 0),
            Family::DistilBert => (0, 0),
            Family::Roberta | Family::XlmRoberta | Family::Camembert => (1, 1),
        };
        ModelConfig {
            family,
            type_vocab_size,
            pad_token_id,
            ..bert
        }
    }

    fn tiny() -> BertTagger {
        tiny_of(Family::Bert)
    }

    fn tiny_of(family: Family) -> BertTagger {
        let config = tiny_config_of(family);
        let weights = initial(&config, &parameter_shapes(&config, 3), 11);
        BertTagger::new(config, Parameters::new(weights, &Device::Cpu).unwrap()).unwrap()
    }

    fn batch() -> (Packed, Targets) {
        let targets = Targets {
            tokens: vec![1, 2, 5, 6],
            labels: vec![0, 2, 1, 0],
            ..Targets::default()
        };
        (Packed::new([vec![2, 7, 9, 3], vec![2, 7, 11, 3]]), targets)
    }

    fn loss_of_tokens() -> Loss {
        Loss {
            function: LossFunction::CrossEntropy { smoothing: 0.0 },
            weights: None,
            soft: None,
        }
    }

    fn row_sums(gradients: &Gradients) -> Vec<Vec<f32>> {
        let mut table = vec![vec![0f32; 8]; 12];
        let rows: Vec<Vec<f32>> = gradients.word_rows.as_ref().unwrap().to_vec2().unwrap();
        for (&id, row) in gradients.word_ids.iter().zip(rows) {
            for (sum, g) in table[id as usize].iter_mut().zip(row) {
                *sum += g;
            }
        }
        table
    }

    #[test]
    fn every_parameter_has_a_gradient() {
        for family in Family::ALL {
            let tagger = tiny_of(family);
            let (batch, targets) = batch();
            let found = gradients(&tagger, &batch, &targets, &loss_of_tokens(), 4.0, Dropout::off()).unwrap();
            for ((name, _), gradient) in tagger.parameters().iter().zip(&found.dense) {
                let largest = match gradient {
                    Some(gradient) => gradient.abs().unwrap().max_all().unwrap().to_scalar().unwrap(),
                    None => row_sums(&found).concat().into_iter().fold(0f32, f32::max),
                };
                // Adding the same vector to every key leaves the attention weights unchanged, so the gradient of a
                // key bias is only rounding error.
                let exempt = name.ends_with("key.bias");
                assert!(exempt || largest > 1e-5, "{family:?} {name}: {largest}");
            }
        }
    }

    #[test]
    fn the_positions_of_a_family_are_the_rows_that_learn() {
        for family in Family::ALL {
            let tagger = tiny_of(family);
            let (batch, targets) = batch();
            let found = gradients(&tagger, &batch, &targets, &loss_of_tokens(), 4.0, Dropout::off()).unwrap();
            let mut named = tagger.parameters().iter().zip(&found.dense);
            let ((_, _), table) = named.find(|((name, _), _)| name.contains("position")).unwrap();
            let rows: Vec<Vec<f32>> = table.as_ref().unwrap().to_vec2().unwrap();
            let learning = |row: &Vec<f32>| row.iter().any(|x| *x != 0.0);
            let learning: Vec<usize> = (0..rows.len()).filter(|&row| learning(&rows[row])).collect();
            let first = tagger.config().first_position();
            assert_eq!(learning, [first, first + 1, first + 2, first + 3], "{family:?}");
        }
    }

    #[test]
    fn gradients_are_the_finite_differences_of_the_loss() {
        for family in Family::ALL {
            are_finite_differences(&tiny_of(family));
        }
    }

    fn are_finite_differences(tagger: &BertTagger) {
        let (batch, targets) = batch();
        let dropout = || Dropout::seeded(3);
        let loss = || {
            gradients(tagger, &batch, &targets, &loss_of_tokens(), 4.0, dropout())
                .unwrap()
                .loss
        };
        let found = gradients(tagger, &batch, &targets, &loss_of_tokens(), 4.0, dropout()).unwrap();
        let rows = row_sums(&found).concat();
        const STEP: f32 = 5e-3;
        for ((name, var), gradient) in tagger.parameters().iter().zip(&found.dense) {
            let elements: Vec<f32> = var.flatten_all().unwrap().to_vec1().unwrap();
            let gradient: Vec<f32> = match gradient {
                Some(gradient) => gradient.flatten_all().unwrap().to_vec1().unwrap(),
                None => rows.clone(),
            };
            for at in (0..elements.len()).step_by(elements.len() / 7 + 1) {
                let moved = |by: f32| {
                    let mut elements = elements.clone();
                    elements[at] += by;
                    let tensor = Tensor::from_vec(elements, var.shape(), &Device::Cpu).unwrap();
                    var.set(&tensor).unwrap();
                    loss()
                };
                let expected = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
                moved(0.0);
                let error = (f64::from(gradient[at]) - expected).abs();
                assert!(
                    error < 1e-3 + 0.02 * expected.abs(),
                    "{name}[{at}]: {} {expected}",
                    gradient[at]
                );
            }
        }
    }

    #[test]
    fn a_frozen_parameter_has_no_gradient_and_the_others_keep_theirs() {
        let whole = tiny();
        let (batch, targets) = batch();
        let all = gradients(&whole, &batch, &targets, &loss_of_tokens(), 4.0, Dropout::off()).unwrap();
        let is_below = |name: &str| name.contains(".embeddings.") || name.contains(".layer.0.");
        let part = tiny().frozen(is_below).unwrap();
        let found = gradients(&part, &batch, &targets, &loss_of_tokens(), 4.0, Dropout::off()).unwrap();
        assert!(found.word_rows.is_none() && found.predicted == all.predicted);
        for (((name, _), all), found) in whole.parameters().iter().zip(&all.dense).zip(&found.dense) {
            assert_eq!(found.is_none(), is_below(name), "{name}");
            if let (Some(all), Some(found)) = (all, found) {
                crate::ops::check::assert_close(all, found, 1e-6);
            }
        }
    }

    #[test]
    fn what_is_below_the_lowest_trained_parameter_is_outside_of_the_graph() {
        let nodes = |frozen: &[&str]| {
            let tagger = tiny()
                .frozen(|name| frozen.iter().any(|part| name.contains(part)))
                .unwrap();
            let mut pass = Pass::new(Dropout::seeded(3));
            let (batch, _) = batch();
            tagger
                .training(&batch, &mut pass)
                .unwrap()
                .logits
                .sorted_nodes()
                .len()
        };
        let all = nodes(&[]);
        // The gradient of the embeddings passes through every operator of the two frozen layers, which have 16
        // parameters each.
        assert_eq!(nodes(&[".layer."]), all - 2 * 16);
        let lower = nodes(&[".embeddings.", ".layer.0."]);
        assert!(2 * lower < all, "{lower} of {all}");
        // Only the head remains: its weight, its bias and its product.
        assert_eq!(nodes(&[".embeddings.", ".layer."]), 3);
    }

    #[test]
    fn shards_add_up_to_the_batch() {
        let tagger = tiny();
        let (batch, targets) = batch();
        let whole = gradients(&tagger, &batch, &targets, &loss_of_tokens(), 4.0, Dropout::off()).unwrap();
        let part = |ids: Vec<u32>, labels: Vec<u32>| {
            let targets = Targets {
                tokens: vec![1, 2],
                labels,
                ..Targets::default()
            };
            gradients(
                &tagger,
                &Packed::new([ids]),
                &targets,
                &loss_of_tokens(),
                4.0,
                Dropout::off(),
            )
            .unwrap()
        };
        let parts = [
            part(vec![2, 7, 9, 3], vec![0, 2]),
            part(vec![2, 7, 11, 3], vec![1, 0]),
        ];
        assert!((whole.loss - parts[0].loss - parts[1].loss).abs() < 1e-6);
        for ((whole, a), b) in whole.dense.iter().zip(&parts[0].dense).zip(&parts[1].dense) {
            if let (Some(whole), Some(a), Some(b)) = (whole, a, b) {
                crate::ops::check::assert_close(whole, &(a + b).unwrap(), 1e-5);
            }
        }
    }
}
