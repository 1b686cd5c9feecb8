//! The layers of ModernBERT: their tensors and the order in which they are applied (Warner et al. 2024).

use std::sync::Arc;

use candle_core::{Error, Result, Tensor};
use nerve_repository::{Activation, ModelConfig, ModernBert};

use crate::model::encoder::Encoder;
use crate::model::packed::Packed;
use crate::model::parts::{Dense, Norm, Tensors};
use crate::model::pass::Pass;
use crate::model::recomputed::layer_output;
use crate::ops::activation;
use crate::ops::gated::gated;
use crate::ops::rotary::{Rotary, RotaryHeads};
use crate::ops::rotary_attention::rotary_attention;

/// The tensors of the encoder and of the head below the classifier.
pub(super) struct ModernBertEncoder {
    shape: Shape,
    embedded: Norm,
    layers: Vec<Arc<Layer>>,
    last: Norm,
    head: Dense,
    head_norm: Norm,
}

#[derive(Clone, Copy)]
struct Shape {
    heads: usize,
    head_size: usize,
    global_theta: f64,
    local_theta: f64,
    activation: Activation,
    head_activation: Activation,
    embedding_dropout: f64,
    attention_dropout: f64,
    gated_dropout: f64,
}

struct Layer {
    // The largest distance from a query to a key that it attends to, in a layer with a window.
    reach: Option<usize>,
    // Absent in the first layer, whose input is normalized.
    norm: Option<Norm>,
    query_key_value: Dense,
    attended: Dense,
    gated_norm: Norm,
    wide: Dense,
    narrow: Dense,
}

impl ModernBertEncoder {
    /// The encoder of this configuration.
    pub(super) fn new(config: &ModelConfig, tensor: Tensors<'_>) -> Result<Self> {
        let own = config.modern_bert().map_err(Error::wrap)?;
        let norm = |name: &str| Norm::with_bias(name, own.norm_bias, config.layer_norm_eps, tensor);
        Ok(Self {
            shape: Shape {
                heads: config.num_attention_heads,
                head_size: config.head_size(),
                global_theta: own.global_theta,
                local_theta: own.local_theta,
                activation: config.hidden_act,
                head_activation: own.classifier_activation,
                embedding_dropout: own.embedding_dropout,
                attention_dropout: config.attention_probs_dropout_prob,
                gated_dropout: config.hidden_dropout_prob,
            },
            embedded: norm("bert.embeddings.LayerNorm")?,
            layers: (0..config.num_hidden_layers)
                .map(|index| Layer::new(index, config, &own, tensor).map(Arc::new))
                .collect::<Result<_>>()?,
            last: norm("bert.encoder.LayerNorm")?,
            head: Dense::with_bias("head.dense", own.classifier_bias, tensor)?,
            head_norm: norm("head.LayerNorm")?,
        })
    }
}

impl Encoder for ModernBertEncoder {
    fn encode(&self, word_rows: Tensor, batch: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let shape = self.shape;
        let lengths = batch.cu_seqlens().windows(2).map(|pair| pair[1] - pair[0]);
        let longest = lengths.max().unwrap_or_default();
        let rotary = |theta| Arc::new(Rotary::new(theta, shape.head_size, longest));
        let (global, local) = (rotary(shape.global_theta), rotary(shape.local_theta));
        let mut x = pass
            .dropout
            .apply(&self.embedded.forward(&word_rows)?, shape.embedding_dropout)?;
        let batch = Arc::new(batch.clone());
        for layer in &self.layers {
            let rotary = match layer.reach {
                None => &global,
                Some(_) => &local,
            };
            let heads = RotaryHeads {
                heads: shape.heads,
                rotary: rotary.clone(),
                reach: layer.reach,
            };
            let (layer, batch) = (layer.clone(), batch.clone());
            x = layer_output(&x, pass, move |x, pass| {
                layer.forward(x, &batch, &heads, shape, pass)
            })?;
        }
        self.last.forward(&x)
    }

    fn head(&self, hidden: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let x = self.head.forward(hidden, pass)?;
        self.head_norm
            .forward(&activation(&x, self.shape.head_activation)?)
    }
}

impl Layer {
    fn new(index: usize, config: &ModelConfig, own: &ModernBert, tensor: Tensors<'_>) -> Result<Self> {
        let name = |part: &str| format!("bert.encoder.layer.{index}.{part}");
        let norm = |part: &str| Norm::with_bias(&name(part), own.norm_bias, config.layer_norm_eps, tensor);
        let dense = |part: &str, has_bias| Dense::with_bias(&name(part), has_bias, tensor);
        Ok(Self {
            reach: own.reach(index),
            norm: match index {
                0 => None,
                _ => Some(norm("attention.LayerNorm")?),
            },
            query_key_value: dense("attention.Wqkv", own.attention_bias)?,
            attended: dense("attention.Wo", own.attention_bias)?,
            gated_norm: norm("mlp.LayerNorm")?,
            wide: dense("mlp.Wi", own.mlp_bias)?,
            narrow: dense("mlp.Wo", own.mlp_bias)?,
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        batch: &Packed,
        heads: &RotaryHeads,
        shape: Shape,
        pass: &mut Pass,
    ) -> Result<Tensor> {
        let normal = match &self.norm {
            Some(norm) => norm.forward(x)?,
            None => x.clone(),
        };
        let qkv = self.query_key_value.forward(&normal, pass)?;
        let mask = pass.dropout.next(shape.attention_dropout);
        let context = rotary_attention(&qkv, batch.cu_seqlens(), heads, mask, pass.multiplier)?;
        let attended = self.attended.forward(&context, pass)?;
        let x = (x + pass.dropout.apply(&attended, shape.attention_dropout)?)?;
        let wide = self.wide.forward(&self.gated_norm.forward(&x)?, pass)?;
        let inner = pass
            .dropout
            .apply(&gated(&wide, shape.activation)?, shape.gated_dropout)?;
        x + self.narrow.forward(&inner, pass)?
    }
}
