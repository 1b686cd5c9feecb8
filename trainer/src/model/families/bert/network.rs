//! The layers of a BERT-like encoder: their tensors and the order in which they are applied (Devlin et al. 2019).

use candle_core::{Result, Tensor};
use nerve_repository::{Activation, ModelConfig, POSITION_BIAS};

use crate::model::encoder::Encoder;
use crate::model::packed::Packed;
use crate::model::parts::{Dense, Norm, Tensors};
use crate::model::pass::Pass;
use crate::ops::position_bias::PositionBias;
use crate::ops::{activation, attention};

/// The tensors of the encoder.
pub(super) struct BertEncoder {
    shape: Shape,
    positions: Tensor,
    // The row of `positions` for the first token of a sequence.
    first_position: u32,
    token_types: Option<Tensor>,
    embedded: Norm,
    // The table of position biases, `[buckets, heads]`.
    position_bias: Option<Tensor>,
    layers: Vec<Layer>,
}

#[derive(Clone, Copy)]
struct Shape {
    heads: usize,
    activation: Activation,
    hidden_dropout: f64,
    attention_dropout: f64,
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

impl BertEncoder {
    /// The encoder of this configuration.
    pub(super) fn new(config: &ModelConfig, tensor: Tensors<'_>) -> Result<Self> {
        Ok(Self {
            shape: Shape {
                heads: config.num_attention_heads,
                activation: config.hidden_act,
                hidden_dropout: config.hidden_dropout_prob,
                attention_dropout: config.attention_probs_dropout_prob,
            },
            positions: tensor("bert.embeddings.position_embeddings.weight")?,
            first_position: u32::try_from(config.first_position()).map_err(candle_core::Error::wrap)?,
            token_types: match config.type_vocab_size {
                0 => None,
                _ => Some(tensor("bert.embeddings.token_type_embeddings.weight")?),
            },
            embedded: Norm::new("bert.embeddings.LayerNorm", config.layer_norm_eps, tensor)?,
            position_bias: match config.family.position_buckets() {
                None => None,
                Some(_) => Some(tensor(POSITION_BIAS)?),
            },
            layers: (0..config.num_hidden_layers)
                .map(|index| Layer::new(index, config, tensor))
                .collect::<Result<_>>()?,
        })
    }
}

impl Encoder for BertEncoder {
    fn encode(&self, word_rows: Tensor, batch: &Packed, pass: &mut Pass) -> Result<Tensor> {
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
}

impl Layer {
    fn new(index: usize, config: &ModelConfig, tensor: Tensors<'_>) -> Result<Self> {
        let dense = |part: &str| Dense::new(&format!("bert.encoder.layer.{index}.{part}"), tensor);
        let norm = |part: &str| {
            let name = format!("bert.encoder.layer.{index}.{part}");
            Norm::new(&name, config.layer_norm_eps, tensor)
        };
        Ok(Self {
            query: dense("attention.self.query")?,
            key: dense("attention.self.key")?,
            value: dense("attention.self.value")?,
            attended: dense("attention.output.dense")?,
            attended_norm: norm("attention.output.LayerNorm")?,
            wide: dense("intermediate.dense")?,
            narrow: dense("output.dense")?,
            norm: norm("output.LayerNorm")?,
        })
    }

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
