//! A BERT-like encoder (Devlin et al. 2019) with a token-classification head, over shared variables.

use candle_core::{Device, Result, Tensor, Var};
use nerve_repository::{ModelConfig, TRANSITIONS};
use nerve_tagging::TransitionScores;

use crate::model::network::Network;
use crate::model::packed::Packed;
use crate::model::parameters::Parameters;
use crate::model::pass::Pass;
use crate::ops::dropout::Dropout;
use crate::ops::multiplier::Multiplier;

/// A trainable token classifier: a BERT-like encoder and a linear head.
pub struct BertTagger {
    config: ModelConfig,
    parameters: Parameters,
    trained: Network,
    // The same weights without a gradient graph, so that an evaluation frees each activation as soon as it has been
    // used.
    frozen: Network,
    // The products of training passes.
    multiplier: Multiplier,
    // See [`Self::with_gradient_checkpointing`].
    checkpoints_gradients: bool,
}

/// The result of a differentiable forward pass.
pub(super) struct Training {
    /// The label logits of every token: `[tokens, labels]`.
    pub(super) logits: Tensor,
    /// The word embeddings of the tokens, `[tokens, hidden]`, where they are a leaf of the graph.
    pub(super) word_rows: Option<Var>,
}

impl BertTagger {
    /// The network of this configuration over these parameters.
    pub fn new(config: ModelConfig, parameters: Parameters) -> Result<Self> {
        let trained = Network::new(&config, &|name| parameters.tensor(name))?;
        let frozen = Network::new(&config, &|name| Ok(parameters.tensor(name)?.detach()))?;
        Ok(Self {
            config,
            parameters,
            trained,
            frozen,
            multiplier: Multiplier::default(),
            checkpoints_gradients: false,
        })
    }

    /// The same network, trained with these products. Without dropout, in evaluations, its products are f32.
    pub(crate) fn with_multiplier(self, multiplier: Multiplier) -> Self {
        Self { multiplier, ..self }
    }

    /// The same network, whose training passes keep the inputs of encoder layers and compute the layers again in the backward pass
    /// if `checkpoints_gradients`. Gradients are the same.
    pub(crate) fn with_gradient_checkpointing(self, checkpoints_gradients: bool) -> Self {
        Self {
            checkpoints_gradients,
            ..self
        }
    }

    /// The same network, with every parameter whose name `matches` excluded from training.
    pub(crate) fn frozen(mut self, matches: impl Fn(&str) -> bool) -> Result<Self> {
        self.parameters.freeze(matches);
        Ok(Self {
            multiplier: self.multiplier,
            checkpoints_gradients: self.checkpoints_gradients,
            ..Self::new(self.config, self.parameters)?
        })
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The variables.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The scores of transitions between labels, shape `[labels + 1, labels + 1]` as [`TransitionScores`] has them; `None` for a
    /// network without them.
    pub(crate) fn transitions(&self) -> Result<Option<Tensor>> {
        match self.parameters.get(TRANSITIONS) {
            Some(_) => self.parameters.tensor(TRANSITIONS).map(Some),
            None => Ok(None),
        }
    }

    /// The current values of [`Self::transitions`].
    pub(crate) fn transition_scores(&self) -> Result<Option<TransitionScores>> {
        let Some(scores) = self.transitions()? else {
            return Ok(None);
        };
        let labels = scores.dim(0)?.saturating_sub(1);
        let scores = scores
            .detach()
            .to_device(&Device::Cpu)?
            .flatten_all()?
            .to_vec1()?;
        match TransitionScores::new(scores, labels) {
            Some(scores) => Ok(Some(scores)),
            None => candle_core::bail!("the scores of transitions are not finite"),
        }
    }

    /// The last hidden states of every token, without dropout: `[tokens, hidden]`.
    pub fn hidden_states(&self, batch: &Packed) -> Result<Tensor> {
        self.frozen
            .encode(self.word_rows(batch)?, batch, &mut Pass::new(Dropout::off()))
    }

    /// The label logits of every token, without dropout, on the CPU: `[tokens, labels]`.
    pub fn logits(&self, batch: &Packed) -> Result<Tensor> {
        self.frozen
            .classify(&self.hidden_states(batch)?, &mut Pass::new(Dropout::off()))?
            .to_device(&Device::Cpu)
    }

    /// A pass for [`Self::training`] with this source of dropout masks.
    pub(super) fn training_pass(&self, dropout: Dropout) -> Pass {
        Pass {
            multiplier: self.multiplier,
            checkpoints_gradients: self.checkpoints_gradients,
            ..Pass::new(dropout)
        }
    }

    /// A differentiable forward pass over a batch with these word embeddings of its tokens, which are a leaf of the graph
    /// where `is_leaf`. The gradient of the leaf is the gradient of the table's rows, without a tensor of the table's size.
    pub(super) fn training(
        &self,
        batch: &Packed,
        rows: Tensor,
        is_leaf: bool,
        pass: &mut Pass,
    ) -> Result<Training> {
        let (hidden, word_rows) = self.training_states(batch, rows, is_leaf, pass)?;
        let logits = self.trained.classify(&hidden, pass)?;
        Ok(Training { logits, word_rows })
    }

    /// The last hidden states of every token in the graph, `[tokens, hidden]`, and the leaf of their word embeddings, as
    /// [`Training::word_rows`].
    pub(super) fn training_states(
        &self,
        batch: &Packed,
        rows: Tensor,
        is_leaf: bool,
        pass: &mut Pass,
    ) -> Result<(Tensor, Option<Var>)> {
        let word_rows = match is_leaf {
            true => Some(Var::from_tensor(&rows)?),
            false => None,
        };
        let rows = word_rows.as_ref().map_or(rows, |leaf| leaf.as_tensor().clone());
        Ok((self.trained.encode(rows, batch, pass)?, word_rows))
    }

    /// The word embeddings of the tokens of a batch: `[tokens, hidden]`.
    pub(super) fn word_rows(&self, batch: &Packed) -> Result<Tensor> {
        let words = self.frozen.words();
        words.index_select(&Tensor::new(batch.ids(), words.device())?, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::checkpoint::ModelDir;
    use crate::model::families::parameter_shapes;
    use crate::model::init::initial;
    use candle_core::DType;
    use candle_nn::VarBuilder;
    use candle_transformers::models::bert;
    use std::collections::HashMap;

    /// The largest difference between these hidden states and those of candle-transformers, which runs one sequence
    /// at a time.
    fn difference(tagger: &BertTagger, config: &bert::Config, sequences: &[&[u32]]) -> f32 {
        let tensors: HashMap<String, Tensor> = tagger
            .parameters()
            .iter()
            .map(|(name, var)| (name.to_owned(), var.as_tensor().clone()))
            .collect();
        let weights = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
        let reference = bert::BertModel::load(weights.pp("bert"), config).unwrap();
        let ours = tagger.hidden_states(&Packed::new(sequences)).unwrap();
        let mut start = 0;
        let mut largest = 0f32;
        for sequence in sequences {
            let ids = Tensor::new(*sequence, &Device::Cpu)
                .unwrap()
                .unsqueeze(0)
                .unwrap();
            let theirs = reference.forward(&ids, &ids.zeros_like().unwrap(), None).unwrap();
            let ours = ours.narrow(0, start, sequence.len()).unwrap();
            let apart = (theirs.squeeze(0).unwrap() - ours).unwrap().abs().unwrap();
            largest = largest.max(apart.max_all().unwrap().to_scalar().unwrap());
            start += sequence.len();
        }
        largest
    }

    fn reference_config(config: &ModelConfig) -> bert::Config {
        serde_json::from_value(serde_json::to_value(config).unwrap()).unwrap()
    }

    #[test]
    fn hidden_states_equal_candle_transformers_on_random_weights() {
        let config = crate::model::gradients::tests::tiny_config();
        let weights = initial(&config, &parameter_shapes(&config, 3), 5);
        let tagger =
            BertTagger::new(config.clone(), Parameters::new(weights, &Device::Cpu).unwrap()).unwrap();
        let sequences: [&[u32]; 3] = [&[2, 7, 9, 3], &[2, 3], &[2, 5, 5, 8, 11, 4, 3]];
        let apart = difference(&tagger, &reference_config(&config), &sequences);
        assert!(apart < 1e-4, "{apart}");
    }

    #[test]
    fn hidden_states_equal_candle_transformers_on_pretrained_weights() {
        let Some(dir) = std::env::var_os("NERVE_BASE_DIR") else {
            eprintln!("skipped: NERVE_BASE_DIR names no base model");
            return;
        };
        let base = ModelDir::open(dir.as_ref()).unwrap();
        let reference = reference_config(&base.config);
        let labels = nerve_tagging::LabelSet::iob2(["a"]).unwrap();
        let (tagger, _) = base.into_tagger(&labels, 1).unwrap();
        let sequences: [&[u32]; 2] = [
            &[101, 7592, 2088, 999, 102],
            &[101, 2023, 2003, 1037, 2204, 2154, 102],
        ];
        let apart = difference(&tagger, &reference, &sequences);
        assert!(apart < 1e-4, "{apart}");
    }
}
