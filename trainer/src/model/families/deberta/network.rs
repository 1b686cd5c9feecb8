//! The layers of a DeBERTa-v3 encoder: their tensors and the order in which they are applied (He et al. 2021).

use std::sync::Arc;

use candle_core::{DType, Result, Tensor};
use nerve_repository::{ModelConfig, RelativeAttention};

use crate::model::encoder::Encoder;
use crate::model::packed::Packed;
use crate::model::parts::{Dense, FeedForwardPart, Norm, Tensors};
use crate::model::pass::Pass;
use crate::model::recomputed::layer_output_with;
use crate::ops::disentangled_attention;
use crate::ops::distance_rows::DistanceRows;
use crate::ops::relative_positions::RelativePositions;
use crate::ops::residual::Residual;

/// The tensors of the encoder.
pub(super) struct DebertaEncoder {
    shape: Shape,
    positions: Option<Tensor>,
    token_types: Option<Tensor>,
    embedded: Norm,
    // `[rows, hidden]`, for all layers.
    relative: Tensor,
    relative_norm: Option<Norm>,
    layers: Vec<Arc<Layer>>,
}

#[derive(Clone, Copy)]
struct Shape {
    heads: usize,
    hidden_dropout: f64,
    attention_dropout: f64,
    relative: RelativeAttention,
}

struct Layer {
    query: Dense,
    key: Dense,
    value: Dense,
    // Where the projections of tokens do not make them.
    position_query: Option<Dense>,
    position_key: Option<Dense>,
    attended: Dense,
    attended_norm: Norm,
    feed_forward: FeedForwardPart,
}

impl DebertaEncoder {
    /// The encoder of this configuration.
    pub(super) fn new(config: &ModelConfig, tensor: Tensors<'_>) -> Result<Self> {
        let relative = config.relative_attention().map_err(candle_core::Error::wrap)?;
        let table = |kind: &str, exists: bool| match exists {
            true => tensor(&format!("bert.embeddings.{kind}_embeddings.weight")).map(Some),
            false => Ok(None),
        };
        Ok(Self {
            shape: Shape {
                heads: config.num_attention_heads,
                hidden_dropout: config.hidden_dropout_prob,
                attention_dropout: config.attention_probs_dropout_prob,
                relative,
            },
            positions: table("position", relative.has_position_table)?,
            token_types: table("token_type", config.type_vocab_size > 0)?,
            embedded: Norm::new("bert.embeddings.LayerNorm", config.layer_norm_eps, tensor)?,
            relative: tensor(RelativeAttention::TABLE)?,
            relative_norm: match relative.is_normalized {
                true => Some(Norm::new(RelativeAttention::NORM, config.layer_norm_eps, tensor)?),
                false => None,
            },
            layers: (0..config.num_hidden_layers)
                .map(|index| Layer::new(index, config, relative, tensor).map(Arc::new))
                .collect::<Result<_>>()?,
        })
    }

    /// The relative positions of the distances in a batch, and their embeddings, `[rows, hidden]`.
    fn relative_positions(&self, batch: &Packed) -> Result<(RelativePositions, Tensor)> {
        let lengths = batch.cu_seqlens().windows(2).map(|pair| pair[1] - pair[0]);
        let longest = lengths.max().unwrap_or_default().saturating_sub(1);
        let relative = self.shape.relative;
        let rows = DistanceRows::new(longest, |distance| relative.row(distance));
        let first = relative.row(-(longest as isize));
        let embeddings = self.relative.narrow(0, first, rows.count())?;
        let embeddings = match &self.relative_norm {
            Some(norm) => norm.forward(&embeddings)?,
            None => embeddings,
        };
        let positions = RelativePositions {
            rows,
            content_to_position: relative.content_to_position,
            position_to_content: relative.position_to_content,
        };
        Ok((positions, embeddings))
    }
}

impl Encoder for DebertaEncoder {
    fn encode(&self, word_rows: Tensor, batch: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let mut summed = word_rows;
        if let Some(table) = &self.positions {
            let positions = Tensor::new(batch.positions(), summed.device())?;
            summed = (summed + table.index_select(&positions, 0)?)?;
        }
        if let Some(types) = &self.token_types {
            // All tokens belong to the first segment.
            let segments = Tensor::zeros(batch.ids().len(), DType::U32, summed.device())?;
            summed = (summed + types.index_select(&segments, 0)?)?;
        }
        let embedded = self.embedded.forward(&summed)?;
        let mut x = pass.dropout.apply(&embedded, self.shape.hidden_dropout)?;
        let (positions, embeddings) = self.relative_positions(batch)?;
        let (batch, positions) = (Arc::new(batch.clone()), Arc::new(positions));
        for layer in &self.layers {
            let (layer, batch, positions, shape) =
                (layer.clone(), batch.clone(), positions.clone(), self.shape);
            x = layer_output_with(&x, &embeddings, pass, move |x, embeddings, pass| {
                layer.forward(x, &batch, &positions, embeddings, shape, pass)
            })?;
        }
        Ok(x)
    }
}

impl Layer {
    fn new(
        index: usize,
        config: &ModelConfig,
        relative: RelativeAttention,
        tensor: Tensors<'_>,
    ) -> Result<Self> {
        let name = format!("bert.encoder.layer.{index}");
        let dense = |part: &str| Dense::new(&format!("{name}.{part}"), tensor);
        let own = |part: &str, is_used: bool| match is_used && !relative.shares_projections {
            true => dense(part).map(Some),
            false => Ok(None),
        };
        let attended_norm = format!("{name}.attention.output.LayerNorm");
        Ok(Self {
            query: dense("attention.self.query")?,
            key: dense("attention.self.key")?,
            value: dense("attention.self.value")?,
            position_query: own("attention.self.pos_query_proj", relative.position_to_content)?,
            position_key: own("attention.self.pos_key_proj", relative.content_to_position)?,
            attended: dense("attention.output.dense")?,
            attended_norm: Norm::new(&attended_norm, config.layer_norm_eps, tensor)?,
            feed_forward: FeedForwardPart::new(&name, config.hidden_dropout_prob, config, tensor)?,
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        batch: &Packed,
        positions: &RelativePositions,
        embeddings: &Tensor,
        shape: Shape,
        pass: &mut Pass,
    ) -> Result<Tensor> {
        let p = shape.hidden_dropout;
        // A node of this layer, so that its gradients are summed before those of other layers are added. With gradient checkpointing
        // the sums have the same order.
        let embeddings = pass.dropout.apply(&embeddings.affine(1.0, 0.0)?, p)?;
        // Tokens and relative positions in one product where they have the same projection.
        let with_positions = match shape.relative.shares_projections {
            true => Some(Tensor::cat(&[x, &embeddings], 0)?),
            false => None,
        };
        let projected = |of_tokens: &Dense, of_positions: Option<&Dense>, is_used: bool| match (
            &with_positions,
            of_positions,
        ) {
            (Some(both), _) if is_used => of_tokens.forward(both, pass),
            (None, Some(of_positions)) if is_used => {
                let positions = of_positions.forward(&embeddings, pass)?;
                Tensor::cat(&[&of_tokens.forward(x, pass)?, &positions], 0)
            }
            _ => of_tokens.forward(x, pass),
        };
        let q = projected(
            &self.query,
            self.position_query.as_ref(),
            positions.position_to_content,
        )?;
        let k = projected(
            &self.key,
            self.position_key.as_ref(),
            positions.content_to_position,
        )?;
        let v = self.value.forward(x, pass)?;
        let [q, k, v] = [q, k, v].map(|projected| pass.multiplier.factor(&projected));
        let (q, k, v) = (q?, k?, v?);
        let mask = pass.dropout.next(shape.attention_dropout);
        let cu_seqlens = batch.cu_seqlens();
        let context = disentangled_attention(&q, &k, &v, cu_seqlens, shape.heads, positions, mask)?;
        let residual = Residual {
            mask: pass.dropout.next(p),
            norm: self.attended_norm.layer(),
        };
        let x = residual.apply(&self.attended.forward(&context, pass)?, x)?;
        self.feed_forward.forward(&x, pass)
    }
}
