//! The layers of a BERT-like encoder: their tensors and the order in which they are applied (Devlin et al. 2019).

use std::sync::Arc;

use candle_core::{Result, Tensor};
use nerve_repository::{Family, ModelConfig, POSITION_BIAS};

use crate::model::encoder::Encoder;
use crate::model::packed::Packed;
use crate::model::parts::{Dense, FeedForwardPart, Norm, Tensors};
use crate::model::pass::Pass;
use crate::model::recomputed::layer_output;
use crate::ops::position_bias::PositionBias;
use crate::ops::residual::Residual;
use crate::ops::self_attention::{SelfAttention, self_attention};

/// The tensors of the encoder.
pub(super) struct BertEncoder {
    shape: Shape,
    positions: Tensor,
    // The row of `positions` for the first token of a sequence.
    first_position: u32,
    token_types: Option<Tensor>,
    embedded: Norm,
    // Normalized embeddings to hidden states.
    projection: Option<Dense>,
    // The table of position biases, `[buckets, heads]`.
    position_bias: Option<Tensor>,
    // In the order in which they are applied. Layers that share weights have the same variables.
    layers: Vec<Arc<Layer>>,
}

#[derive(Clone, Copy)]
struct Shape {
    heads: usize,
    hidden_dropout: f64,
    attention_dropout: f64,
}

struct Layer {
    query: Dense,
    key: Dense,
    value: Dense,
    attended: Dense,
    attended_norm: Norm,
    feed_forward: FeedForwardPart,
}

impl BertEncoder {
    /// The encoder of this configuration.
    pub(super) fn new(config: &ModelConfig, tensor: Tensors<'_>) -> Result<Self> {
        Ok(Self {
            shape: Shape {
                heads: config.num_attention_heads,
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
            projection: match config.projects_embeddings() {
                true => Some(Dense::new("bert.embeddings_project", tensor)?),
                false => None,
            },
            position_bias: match config.family.position_buckets() {
                None => None,
                Some(_) => Some(tensor(POSITION_BIAS)?),
            },
            layers: (0..config.layer_count())
                .map(|index| Layer::new(&config.layer_name(index), config, tensor).map(Arc::new))
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
        if let Some(projection) = &self.projection {
            x = projection.forward(&x, pass)?;
        }
        let bias = self.position_bias.as_ref().map(|table| PositionBias {
            table: table.clone(),
            gradients: pass.weights.clone(),
        });
        let batch = Arc::new(batch.clone());
        for layer in &self.layers {
            let (layer, batch, bias, shape) = (layer.clone(), batch.clone(), bias.clone(), self.shape);
            x = layer_output(&x, pass, move |x, pass| {
                layer.forward(x, &batch, bias.as_ref(), shape, pass)
            })?;
        }
        Ok(x)
    }
}

impl Layer {
    /// The layer whose tensors' names begin with `name`.
    fn new(name: &str, config: &ModelConfig, tensor: Tensors<'_>) -> Result<Self> {
        let dense = |part: &str| Dense::new(&format!("{name}.{part}"), tensor);
        let attended_norm = format!("{name}.attention.output.LayerNorm");
        // In `transformers`, ALBERT drops none of the feed-forward network's output.
        let feed_forward_dropout = match config.family {
            Family::Albert => 0.0,
            _ => config.hidden_dropout_prob,
        };
        Ok(Self {
            query: dense("attention.self.query")?,
            key: dense("attention.self.key")?,
            value: dense("attention.self.value")?,
            attended: dense("attention.output.dense")?,
            attended_norm: Norm::new(&attended_norm, config.layer_norm_eps, tensor)?,
            feed_forward: FeedForwardPart::new(name, feed_forward_dropout, config, tensor)?,
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
        let attention = SelfAttention {
            projections: [self.query.layer(), self.key.layer(), self.value.layer()],
            heads: shape.heads,
            cu_seqlens: batch.cu_seqlens().clone(),
            bias: bias.cloned(),
            mask: pass.dropout.next(shape.attention_dropout),
            output: self.attended.layer(),
            residual: Residual {
                mask: pass.dropout.next(shape.hidden_dropout),
                norm: self.attended_norm.layer(),
            },
        };
        let x = self_attention(x, attention, pass.multiplier, &pass.weights)?;
        self.feed_forward.forward(&x, pass)
    }
}
