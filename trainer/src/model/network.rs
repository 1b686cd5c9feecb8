//! A token classifier: the encoder of a model family with a linear head.

use candle_core::{Result, Tensor};
use nerve_repository::ModelConfig;

use crate::model::encoder::Encoder;
use crate::model::families;
use crate::model::packed::Packed;
use crate::model::parameters::WORD_EMBEDDINGS;
use crate::model::parts::{Dense, Tensors};
use crate::model::pass::Pass;

/// The tensors of a token classifier.
pub(super) struct Network {
    words: Tensor,
    encoder: Box<dyn Encoder>,
    classifier_dropout: f64,
    classifier: Dense,
}

impl Network {
    /// The network of this configuration.
    pub(super) fn new(config: &ModelConfig, tensor: Tensors<'_>) -> Result<Self> {
        Ok(Self {
            words: tensor(WORD_EMBEDDINGS)?,
            encoder: families::encoder(config, tensor)?,
            classifier_dropout: config.classifier_dropout.unwrap_or(config.hidden_dropout_prob),
            classifier: Dense::new("classifier", tensor)?,
        })
    }

    /// The word embedding table: `[vocabulary, embedding size]`.
    pub(super) fn words(&self) -> &Tensor {
        &self.words
    }

    /// The last hidden states, `[tokens, hidden]`, of the tokens of `batch`, whose word embeddings are `word_rows`.
    pub(super) fn encode(&self, word_rows: Tensor, batch: &Packed, pass: &mut Pass) -> Result<Tensor> {
        self.encoder.encode(word_rows, batch, pass)
    }

    /// The label logits, `[tokens, labels]`, of hidden states.
    pub(super) fn classify(&self, hidden: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let hidden = self.encoder.head(hidden, pass)?;
        let hidden = pass.dropout.apply(&hidden, self.classifier_dropout)?;
        self.classifier.forward(&hidden, pass)
    }
}
