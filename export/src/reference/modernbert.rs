//! The states of ModernBERT below the classifier.

use ndarray::{Array2, Axis, s};

use nerve_repository::rotary::rotations;
use nerve_repository::{CheckpointError, ModernBert};

use crate::reference::{Forward, activate, softmax};

impl Forward<'_> {
    pub(super) fn modern_bert(&self, ids: &[u32]) -> Result<Array2<f32>, CheckpointError> {
        let config = &self.checkpoint.config;
        let own = config.modern_bert()?;
        let hidden = config.hidden_size;
        let words = "bert.embeddings.word_embeddings.weight";
        let words = self.matrix(words, config.vocab_size, hidden)?;
        let ids: Vec<usize> = ids.iter().map(|&id| id as usize).collect();
        let norm = |name: &str, rows| self.layer_norm_with(name, own.norm_bias, rows);
        let mut states = norm("bert.embeddings.LayerNorm", words.select(Axis(0), &ids))?;
        for layer in 0..config.num_hidden_layers {
            let name = |part: &str| format!("bert.encoder.layer.{layer}.{part}");
            let normal = match layer {
                0 => states.clone(),
                _ => norm(&name("attention.LayerNorm"), states.clone())?,
            };
            let qkv = self.linear_with(&name("attention.Wqkv"), own.attention_bias, &normal, 3 * hidden)?;
            let mixed = self.rotary_attention(&own, layer, qkv);
            states += &self.linear_with(&name("attention.Wo"), own.attention_bias, &mixed, hidden)?;
            let normal = norm(&name("mlp.LayerNorm"), states.clone())?;
            let inner = config.intermediate_size;
            let wide = self.linear_with(&name("mlp.Wi"), own.mlp_bias, &normal, 2 * inner)?;
            let activated = wide
                .slice(s![.., ..inner])
                .mapv(|x| activate(config.hidden_act, x));
            let gated = activated * wide.slice(s![.., inner..]);
            states += &self.linear_with(&name("mlp.Wo"), own.mlp_bias, &gated, hidden)?;
        }
        let states = norm("bert.encoder.LayerNorm", states)?;
        let dense = self.linear_with("head.dense", own.classifier_bias, &states, hidden)?;
        norm(
            "head.LayerNorm",
            dense.mapv_into(|x| activate(own.classifier_activation, x)),
        )
    }

    fn rotary_attention(&self, own: &ModernBert, layer: usize, mut qkv: Array2<f32>) -> Array2<f32> {
        let config = &self.checkpoint.config;
        let (hidden, head) = (config.hidden_size, config.head_size());
        let reach = own.reach(layer);
        let theta = match reach {
            None => own.global_theta,
            Some(_) => own.local_theta,
        };
        let pairs = head / 2;
        let (cosines, sines) = rotations(theta, head, qkv.nrows());
        // Queries and keys, which stand side by side.
        for (position, mut row) in qkv.rows_mut().into_iter().enumerate() {
            for first in (0..2 * hidden).step_by(head) {
                for pair in 0..pairs {
                    let (cosine, sine) = (cosines[position * pairs + pair], sines[position * pairs + pair]);
                    let (x, y) = (row[first + pair], row[first + pair + pairs]);
                    row[first + pair] = x * cosine - y * sine;
                    row[first + pair + pairs] = y * cosine + x * sine;
                }
            }
        }
        let mut mixed = Array2::zeros((qkv.nrows(), hidden));
        for first in (0..hidden).step_by(head) {
            let part = |from: usize| qkv.slice(s![.., from + first..from + first + head]);
            let mut scores = part(0).dot(&part(hidden).t()) / (head as f32).sqrt();
            for ((query, key), score) in scores.indexed_iter_mut() {
                if reach.is_some_and(|reach| query.abs_diff(key) > reach) {
                    *score = f32::NEG_INFINITY;
                }
            }
            softmax(&mut scores);
            mixed
                .slice_mut(s![.., first..first + head])
                .assign(&scores.dot(&part(2 * hidden)));
        }
        mixed
    }
}
