//! The layers of a BERT-like encoder: their tensors and the order in which they are applied.

use candle_core::{Result, Tensor};
use nerve_repository::{Activation, ModelConfig, POSITION_BIAS};

use crate::model::packed::Packed;
use crate::model::parameters::WORD_EMBEDDINGS;
use crate::ops::dropout::Dropout;
use crate::ops::position_bias::PositionBias;
use crate::ops::weights::WeightGradients;
use crate::ops::{activation, attention, layer_norm, linear};

/// The state of one pass through a network: its dropout source and its weight gradients.
pub(super) struct Pass {
    pub(super) dropout: Dropout,
    /// The gradients of weight matrices, which the backward pass does not put into candle's gradient store.
    pub(super) weights: WeightGradients,
}

impl Pass {
    /// A pass with this source of dropout masks.
    pub(super) fn new(dropout: Dropout) -> Self {
        Self {
            dropout,
            weights: WeightGradients::default(),
        }
    }
}

/// The tensors of a token classifier.
pub(super) struct Network {
    shape: Shape,
    words: Tensor,
    positions: Tensor,
    // The row of `positions` for the first token of a sequence.
    first_position: u32,
    token_types: Option<Tensor>,
    embedded: Norm,
    // The table of position biases, `[buckets, heads]`.
    position_bias: Option<Tensor>,
    layers: Vec<Layer>,
    classifier: Dense,
}

#[derive(Clone, Copy)]
struct Shape {
    heads: usize,
    activation: Activation,
    hidden_dropout: f64,
    attention_dropout: f64,
    classifier_dropout: f64,
}

struct Layer {
    query: Dense,
    key: Dense,
    value: Dense,
    attended: Dense,
    attended_norm: Norm,
    wide: Dense,
    narrow: Dense,
    norm: Norm,
}

struct Dense {
    weight: Tensor,
    bias: Tensor,
}

impl Dense {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        linear(x, &self.weight, &self.bias, &pass.weights)
    }
}

struct Norm {
    gamma: Tensor,
    beta: Tensor,
    eps: f64,
}

impl Norm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        layer_norm(x, &self.gamma, &self.beta, self.eps)
    }
}

impl Network {
    /// The network of this configuration. `tensor` yields a tensor by its name in BERT's files.
    pub(super) fn new(config: &ModelConfig, tensor: &dyn Fn(&str) -> Result<Tensor>) -> Result<Self> {
        let dense = |name: String| -> Result<Dense> {
            Ok(Dense {
                weight: tensor(&format!("{name}.weight"))?,
                bias: tensor(&format!("{name}.bias"))?,
            })
        };
        let norm = |name: String| -> Result<Norm> {
            Ok(Norm {
                gamma: tensor(&format!("{name}.weight"))?,
                beta: tensor(&format!("{name}.bias"))?,
                eps: config.layer_norm_eps,
            })
        };
        let layer = |index: usize| -> Result<Layer> {
            let name = |part: &str| format!("bert.encoder.layer.{index}.{part}");
            Ok(Layer {
                query: dense(name("attention.self.query"))?,
                key: dense(name("attention.self.key"))?,
                value: dense(name("attention.self.value"))?,
                attended: dense(name("attention.output.dense"))?,
                attended_norm: norm(name("attention.output.LayerNorm"))?,
                wide: dense(name("intermediate.dense"))?,
                narrow: dense(name("output.dense"))?,
                norm: norm(name("output.LayerNorm"))?,
            })
        };
        Ok(Self {
            shape: Shape {
                heads: config.num_attention_heads,
                activation: config.hidden_act,
                hidden_dropout: config.hidden_dropout_prob,
                attention_dropout: config.attention_probs_dropout_prob,
                classifier_dropout: config.classifier_dropout.unwrap_or(config.hidden_dropout_prob),
            },
            words: tensor(WORD_EMBEDDINGS)?,
            positions: tensor("bert.embeddings.position_embeddings.weight")?,
            first_position: u32::try_from(config.first_position()).map_err(candle_core::Error::wrap)?,
            token_types: match config.type_vocab_size {
                0 => None,
                _ => Some(tensor("bert.embeddings.token_type_embeddings.weight")?),
            },
            embedded: norm("bert.embeddings.LayerNorm".to_owned())?,
            position_bias: match config.family.position_buckets() {
                None => None,
                Some(_) => Some(tensor(POSITION_BIAS)?),
            },
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            classifier: dense("classifier".to_owned())?,
        })
    }

    /// The word embedding table: `[vocabulary, hidden]`.
    pub(super) fn words(&self) -> &Tensor {
        &self.words
    }

    /// The last hidden states, `[tokens, hidden]`, of the tokens of `batch`, whose word embeddings are `word_rows`.
    pub(super) fn encode(&self, word_rows: Tensor, batch: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let p = self.shape.hidden_dropout;
        let positions: Vec<u32> = batch
            .positions()
            .iter()
            .map(|position| position + self.first_position)
            .collect();
        let positions = Tensor::new(positions, word_rows.device())?;
        let mut summed = word_rows;
        if let Some(types) = &self.token_types {
            // All tokens belong to the first segment.
            let segments = Tensor::zeros(batch.ids().len(), candle_core::DType::U32, summed.device())?;
            summed = (summed + types.index_select(&segments, 0)?)?;
        }
        let summed = (summed + self.positions.index_select(&positions, 0)?)?;
        let mut x = pass.dropout.apply(&self.embedded.forward(&summed)?, p)?;
        let bias = self.position_bias.as_ref().map(|table| PositionBias {
            table: table.clone(),
            gradients: pass.weights.clone(),
        });
        for layer in &self.layers {
            x = layer.forward(&x, batch, bias.as_ref(), self.shape, pass)?;
        }
        Ok(x)
    }

    /// The label logits, `[tokens, labels]`, of hidden states.
    pub(super) fn classify(&self, hidden: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let hidden = pass.dropout.apply(hidden, self.shape.classifier_dropout)?;
        self.classifier.forward(&hidden, pass)
    }
}

impl Layer {
    fn forward(
        &self,
        x: &Tensor,
        batch: &Packed,
        bias: Option<&PositionBias>,
        shape: Shape,
        pass: &mut Pass,
    ) -> Result<Tensor> {
        let p = shape.hidden_dropout;
        let (q, k, v) = (
            self.query.forward(x, pass)?,
            self.key.forward(x, pass)?,
            self.value.forward(x, pass)?,
        );
        let mask = pass.dropout.next(shape.attention_dropout);
        let context = attention(&q, &k, &v, batch.cu_seqlens(), shape.heads, bias, mask)?;
        let attended = self.attended.forward(&context, pass)?;
        let attended = pass.dropout.apply(&attended, p)?;
        let x = self.attended_norm.forward(&(attended + x)?)?;
        let wide = activation(&self.wide.forward(&x, pass)?, shape.activation)?;
        let narrow = self.narrow.forward(&wide, pass)?;
        let narrow = pass.dropout.apply(&narrow, p)?;
        self.norm.forward(&(narrow + x)?)
    }
}
