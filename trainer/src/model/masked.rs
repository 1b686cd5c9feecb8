//! A BERT-like encoder with the head that predicts masked tokens (Devlin et al. 2019).

use candle_core::{D, DType, Result, Tensor};
use candle_nn::ops::log_softmax;

use crate::model::bert::BertTagger;
use crate::model::gradients::{Gradients, gradient_of};
use crate::model::packed::Packed;
use crate::model::parameters::{Parameters, WORD_EMBEDDINGS};
use crate::model::pass::Pass;
use crate::ops::dropout::Dropout;
use crate::ops::multiplier::Multiplier;
use crate::ops::{activation, layer_norm, linear};
use crate::train::targets::Targets;

/// The parameters of the head, by their names in BERT's files. The decoder's weight is the word embedding table.
pub(crate) const DENSE_WEIGHT: &str = "cls.predictions.transform.dense.weight";
pub(crate) const DENSE_BIAS: &str = "cls.predictions.transform.dense.bias";
pub(crate) const NORM_WEIGHT: &str = "cls.predictions.transform.LayerNorm.weight";
pub(crate) const NORM_BIAS: &str = "cls.predictions.transform.LayerNorm.bias";
pub(crate) const DECODER_BIAS: &str = "cls.predictions.bias";

/// An encoder with a head for masked tokens: a dense layer, an activation, a normalization, and a decoder that is tied to the
/// word embeddings.
pub(crate) struct MaskedModel {
    // Its classifier is frozen and has no part in anything.
    encoder: BertTagger,
}

impl MaskedModel {
    /// The model of an encoder whose parameters include those of the head.
    pub(crate) fn new(encoder: BertTagger) -> Result<Self> {
        Ok(Self {
            encoder: encoder.frozen(is_of_classifier)?,
        })
    }

    /// The same model, trained with these products.
    pub(crate) fn with_multiplier(self, multiplier: Multiplier) -> Self {
        Self {
            encoder: self.encoder.with_multiplier(multiplier),
        }
    }

    /// The encoder.
    pub(crate) fn encoder(&self) -> &BertTagger {
        &self.encoder
    }

    /// The parameters of encoder and head; those of the classifier are frozen.
    pub(crate) fn parameters(&self) -> &Parameters {
        self.encoder.parameters()
    }

    /// The loss and the gradients of one shard; `targets` are the masked tokens with their true ids.
    ///
    /// The sum of the negative log-likelihoods is divided by `weight`, the number of masked tokens of the whole step. Logits are
    /// computed for masked tokens alone.
    pub(crate) fn gradients(
        &self,
        batch: &Packed,
        targets: &Targets,
        weight: f64,
        dropout: Dropout,
    ) -> Result<Gradients> {
        let mut pass = self.encoder.training_pass(dropout);
        let is_leaf = !self.parameters().is_frozen(WORD_EMBEDDINGS);
        let rows = self.encoder.word_rows(batch)?;
        let (hidden, word_rows) = self.encoder.training_states(batch, rows, is_leaf, &mut pass)?;
        let tensor = |name: &str| self.parameters().tensor(name);
        let loss = self.negative_log_likelihood(&hidden, targets, &pass, &tensor)?;
        let loss = (loss * (1.0 / weight))?;
        let store = loss.backward()?;
        let mut table = None;
        let mut dense = Vec::with_capacity(self.parameters().iter().len());
        for (name, var) in self.parameters().iter() {
            dense.push(match (name, gradient_of(&pass, &store, var)?) {
                (WORD_EMBEDDINGS, gradient) => {
                    table = gradient;
                    None
                }
                (_, None) if !self.parameters().is_frozen(name) => {
                    candle_core::bail!("the graph has lost the parameter {name}")
                }
                (_, gradient) => gradient,
            });
        }
        let rows = word_rows.as_ref().and_then(|leaf| store.get(leaf));
        let (Some(table), Some(rows)) = (table, rows) else {
            candle_core::bail!("the graph has lost the parameter {WORD_EMBEDDINGS}");
        };
        // Through the tied decoder every row of the table has a gradient, and those of the batch's tokens one more.
        let ids = Tensor::new(batch.ids(), table.device())?;
        let table = table.index_add(&ids, &rows.contiguous()?, 0)?;
        Ok(Gradients {
            loss: loss.to_dtype(DType::F64)?.to_scalar()?,
            predicted: None,
            dense,
            word_ids: (0u32..).take(table.dim(0)?).collect(),
            word_rows: Some(table),
        })
    }

    /// The sum of the negative log-likelihoods of the masked tokens, in nats, without dropout.
    pub(crate) fn loss(&self, batch: &Packed, targets: &Targets) -> Result<f64> {
        let hidden = self.encoder.hidden_states(batch)?;
        let tensor = |name: &str| Ok(self.parameters().tensor(name)?.detach());
        let pass = Pass::new(Dropout::off());
        self.negative_log_likelihood(&hidden, targets, &pass, &tensor)?
            .to_dtype(DType::F64)?
            .to_scalar()
    }

    fn negative_log_likelihood(
        &self,
        hidden: &Tensor,
        targets: &Targets,
        pass: &Pass,
        tensor: &dyn Fn(&str) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let config = self.encoder.config();
        let tokens = Tensor::new(targets.tokens.as_slice(), hidden.device())?;
        let masked = hidden.index_select(&tokens, 0)?;
        let x = linear(
            &masked,
            &tensor(DENSE_WEIGHT)?,
            &tensor(DENSE_BIAS)?,
            pass.multiplier,
            &pass.weights,
        )?;
        let of_head = config.family.masked_head().and_then(|head| head.activation);
        let x = activation(&x, of_head.unwrap_or(config.hidden_act))?;
        let x = layer_norm(
            &x,
            &tensor(NORM_WEIGHT)?,
            &tensor(NORM_BIAS)?,
            config.layer_norm_eps,
        )?;
        let logits = linear(
            &x,
            &tensor(WORD_EMBEDDINGS)?,
            &tensor(DECODER_BIAS)?,
            pass.multiplier,
            &pass.weights,
        )?;
        let ids = Tensor::new(targets.labels.as_slice(), hidden.device())?.unsqueeze(1)?;
        log_softmax(&logits, D::Minus1)?.gather(&ids, 1)?.neg()?.sum_all()
    }
}

/// Whether a parameter belongs to the classifier, which a masked model does not have.
pub(crate) fn is_of_classifier(name: &str) -> bool {
    name.starts_with("classifier.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::checkpoint::masked::head_shapes;
    use crate::model::families::parameter_shapes;
    use crate::model::gradients::tests::{tiny_albert, tiny_config};
    use crate::model::init::initial;
    use crate::ops::values;
    use candle_core::Device;
    use nerve_repository::ModelConfig;

    fn model(config: ModelConfig) -> MaskedModel {
        let mut shapes = parameter_shapes(&config, 1);
        shapes.extend(head_shapes(&config));
        let weights = initial(&config, &shapes, 5);
        MaskedModel::new(BertTagger::new(config, Parameters::new(weights, &Device::Cpu).unwrap()).unwrap())
            .unwrap()
    }

    fn batch() -> (Packed, Targets) {
        let targets = Targets {
            tokens: vec![1, 2, 5],
            labels: vec![7, 9, 4],
            ..Targets::default()
        };
        (Packed::new([vec![2, 7, 4, 3], vec![2, 4, 11, 3]]), targets)
    }

    /// The loss with one number of a parameter changed.
    fn moved(model: &MaskedModel, name: &str, at: usize, by: f32) -> f64 {
        let var = model.parameters().get(name).unwrap();
        let kept = values(var).unwrap().to_vec();
        let mut changed = kept.clone();
        changed[at] += by;
        let set = |data: Vec<f32>| {
            var.set(&Tensor::from_vec(data, var.dims().to_vec(), &Device::Cpu).unwrap())
                .unwrap();
        };
        set(changed);
        let (packed, targets) = batch();
        let loss = model.loss(&packed, &targets).unwrap();
        set(kept);
        loss
    }

    #[test]
    fn the_gradients_are_finite_differences_also_of_the_tied_table() {
        for config in [tiny_config(), tiny_albert(1)] {
            gradients_are_finite_differences(&model(config));
        }
    }

    fn gradients_are_finite_differences(model: &MaskedModel) {
        let width = model.encoder().config().embedding_size;
        let (packed, targets) = batch();
        let found = model.gradients(&packed, &targets, 1.0, Dropout::off()).unwrap();
        assert!((found.loss - model.loss(&packed, &targets).unwrap()).abs() < 1e-5);
        assert_eq!(found.word_ids, (0..12).collect::<Vec<u32>>());
        let table = values(found.word_rows.as_ref().unwrap()).unwrap().to_vec();
        for (index, (name, _)) in model.parameters().iter().enumerate() {
            if is_of_classifier(name) {
                assert!(found.dense[index].is_none());
                continue;
            }
            let gradient = match name {
                WORD_EMBEDDINGS => table.clone(),
                _ => values(found.dense[index].as_ref().unwrap()).unwrap().to_vec(),
            };
            // Row 4 of the table is read, masked and predicted; row 1 is only a class of the decoder.
            let numbers: Vec<usize> = match name {
                WORD_EMBEDDINGS => vec![4 * width + 2, width + 3],
                _ => vec![0, gradient.len() - 1],
            };
            for at in numbers {
                let step = 1e-2;
                let difference =
                    (moved(model, name, at, step) - moved(model, name, at, -step)) / f64::from(2.0 * step);
                let exact = f64::from(gradient[at]);
                assert!(
                    (difference - exact).abs() < 2e-2 * exact.abs().max(0.1),
                    "{name}[{at}]: {exact}, not {difference}"
                );
            }
        }
    }
}
