//! The logits of a checkpoint in plain matrix arithmetic, independent of ONNX Runtime and of the exported graph.

mod modernbert;
mod relative;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};

use nerve_repository::relative_position::bucket;
use nerve_repository::{
    Activation, Architecture, Checkpoint, CheckpointError, POSITION_BIAS, RelativeAttention,
};

use crate::reference::relative::RelativeTerms;

/// The label logits of one unpadded sequence of token ids, `[length, labels]`, row-major.
pub(crate) fn logits(checkpoint: &Checkpoint, ids: &[u32]) -> Result<Vec<f32>, CheckpointError> {
    let forward = Forward { checkpoint };
    let states = match checkpoint.config.family.architecture() {
        Architecture::Bert | Architecture::Deberta => forward.bert(ids)?,
        Architecture::ModernBert => forward.modern_bert(ids)?,
    };
    let logits = forward.linear("classifier", &states, checkpoint.labels.len())?;
    Ok(logits.iter().copied().collect())
}

struct Forward<'a> {
    checkpoint: &'a Checkpoint,
}

impl Forward<'_> {
    fn matrix(
        &self,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<ArrayView2<'_, f32>, CheckpointError> {
        let data = self.checkpoint.tensor(name, &[rows, columns])?;
        // `tensor` has checked the extents, so the shape always fits; the comparison would report an empty view.
        Ok(ArrayView2::from_shape((rows, columns), data).unwrap_or_else(|_| ArrayView2::from(&[[]; 0])))
    }

    fn vector(&self, name: &str, len: usize) -> Result<ArrayView1<'_, f32>, CheckpointError> {
        Ok(ArrayView1::from(self.checkpoint.tensor(name, &[len])?))
    }

    fn bert(&self, ids: &[u32]) -> Result<Array2<f32>, CheckpointError> {
        let mut states = self.embeddings(ids)?;
        let config = &self.checkpoint.config;
        for layer in 0..config.layer_count() {
            states = self.layer(&config.layer_name(layer), &states)?;
        }
        Ok(states)
    }

    fn embeddings(&self, ids: &[u32]) -> Result<Array2<f32>, CheckpointError> {
        let config = &self.checkpoint.config;
        let width = config.embedding_size;
        let prefix = "bert.embeddings";
        let words = self.matrix(
            &format!("{prefix}.word_embeddings.weight"),
            config.vocab_size,
            width,
        )?;
        let ids: Vec<usize> = ids.iter().map(|&id| id as usize).collect();
        let mut sum = words.select(Axis(0), &ids);
        if self
            .relative_attention()?
            .is_none_or(|relative| relative.has_position_table)
        {
            let positions = self.matrix(
                &format!("{prefix}.position_embeddings.weight"),
                config.max_position_embeddings,
                width,
            )?;
            let first = config.first_position();
            sum += &positions.slice(s![first..first + ids.len(), ..]);
        }
        if config.type_vocab_size > 0 {
            let types = self.matrix(
                &format!("{prefix}.token_type_embeddings.weight"),
                config.type_vocab_size,
                width,
            )?;
            sum += &types.row(0);
        }
        let states = self.layer_norm(&format!("{prefix}.LayerNorm"), sum)?;
        match config.projects_embeddings() {
            true => self.linear("bert.embeddings_project", &states, config.hidden_size),
            false => Ok(states),
        }
    }

    fn layer(&self, name: &str, states: &Array2<f32>) -> Result<Array2<f32>, CheckpointError> {
        let config = &self.checkpoint.config;
        let (hidden, head) = (config.hidden_size, config.head_size());
        let attention = format!("{name}.attention");
        let query = self.linear(&format!("{attention}.self.query"), states, hidden)?;
        let key = self.linear(&format!("{attention}.self.key"), states, hidden)?;
        let value = self.linear(&format!("{attention}.self.value"), states, hidden)?;
        let heads = config.num_attention_heads;
        let biases = match config.family.position_buckets() {
            Some(buckets) => Some(self.matrix(POSITION_BIAS, buckets, heads)?),
            None => None,
        };
        let relative = self.relative_terms(&format!("{attention}.self"))?;
        let terms = relative.as_ref().map_or(1, RelativeTerms::count);
        let scale = ((head * terms) as f32).sqrt();
        let mut mixed = Array2::zeros(states.raw_dim());
        for (number, first) in (0..hidden).step_by(head).enumerate() {
            let columns = s![.., first..first + head];
            let (query, key) = (query.slice(columns), key.slice(columns));
            let mut scores = query.dot(&key.t());
            if let Some(relative) = &relative {
                relative.add(first..first + head, &query, &key, &mut scores);
            }
            scores /= scale;
            if let Some(biases) = &biases {
                for ((query, key), score) in scores.indexed_iter_mut() {
                    *score += biases[[bucket(key as isize - query as isize), number]];
                }
            }
            softmax(&mut scores);
            mixed
                .slice_mut(columns)
                .assign(&scores.dot(&value.slice(columns)));
        }
        let projected = self.linear(&format!("{attention}.output.dense"), &mixed, hidden)?;
        let attended = self.layer_norm(&format!("{attention}.output.LayerNorm"), projected + states)?;
        let activation = config.hidden_act;
        let inner = self
            .linear(
                &format!("{name}.intermediate.dense"),
                &attended,
                config.intermediate_size,
            )?
            .mapv_into(|x| activate(activation, x));
        let narrowed = self.linear(&format!("{name}.output.dense"), &inner, hidden)?;
        self.layer_norm(&format!("{name}.output.LayerNorm"), narrowed + attended)
    }

    /// How distances enter the attention scores; `None` for a family in which they do not.
    fn relative_attention(&self) -> Result<Option<RelativeAttention>, CheckpointError> {
        let config = &self.checkpoint.config;
        match config.family.architecture() {
            Architecture::Deberta => Ok(Some(config.relative_attention()?)),
            Architecture::Bert | Architecture::ModernBert => Ok(None),
        }
    }

    /// The terms of a layer's attention; `None` for a family without them.
    fn relative_terms(&self, name: &str) -> Result<Option<RelativeTerms>, CheckpointError> {
        let Some(relative) = self.relative_attention()? else {
            return Ok(None);
        };
        let hidden = self.checkpoint.config.hidden_size;
        let mut rows = self
            .matrix(RelativeAttention::TABLE, relative.rows(), hidden)?
            .to_owned();
        if relative.is_normalized {
            rows = self.layer_norm(RelativeAttention::NORM, rows)?;
        }
        let projected = |is_used: bool, shared: &str, own: &str| match is_used {
            false => Ok(None),
            true => {
                let part = if relative.shares_projections { shared } else { own };
                self.linear(&format!("{name}.{part}"), &rows, hidden).map(Some)
            }
        };
        Ok(Some(RelativeTerms {
            keys: projected(relative.content_to_position, "key", "pos_key_proj")?,
            queries: projected(relative.position_to_content, "query", "pos_query_proj")?,
            relative,
        }))
    }

    fn linear(&self, name: &str, input: &Array2<f32>, to: usize) -> Result<Array2<f32>, CheckpointError> {
        self.linear_with(name, true, input, to)
    }

    fn linear_with(
        &self,
        name: &str,
        has_bias: bool,
        input: &Array2<f32>,
        to: usize,
    ) -> Result<Array2<f32>, CheckpointError> {
        let weight = self.matrix(&format!("{name}.weight"), to, input.ncols())?;
        let product = input.dot(&weight.t());
        match has_bias {
            true => Ok(product + self.vector(&format!("{name}.bias"), to)?),
            false => Ok(product),
        }
    }

    fn layer_norm(&self, name: &str, rows: Array2<f32>) -> Result<Array2<f32>, CheckpointError> {
        self.layer_norm_with(name, true, rows)
    }

    fn layer_norm_with(
        &self,
        name: &str,
        has_bias: bool,
        mut rows: Array2<f32>,
    ) -> Result<Array2<f32>, CheckpointError> {
        let width = rows.ncols();
        let weight = self.vector(&format!("{name}.weight"), width)?;
        let bias = match has_bias {
            true => Some(self.vector(&format!("{name}.bias"), width)?),
            false => None,
        };
        let epsilon = self.checkpoint.config.layer_norm_eps as f32;
        for mut row in rows.rows_mut() {
            let mean = row.sum() / width as f32;
            row -= mean;
            let variance = row.iter().map(|x| x * x).sum::<f32>() / width as f32;
            row /= (variance + epsilon).sqrt();
            row *= &weight;
            if let Some(bias) = &bias {
                row += bias;
            }
        }
        Ok(rows)
    }
}

/// The softmax of each row.
fn softmax(scores: &mut Array2<f32>) {
    for mut row in scores.rows_mut() {
        let highest = row.fold(f32::NEG_INFINITY, |a, b| a.max(*b));
        row.mapv_inplace(|x| (x - highest).exp());
        let total = row.sum();
        row /= total;
    }
}

fn activate(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Gelu => 0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2)),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f32::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::Relu => x.max(0.0),
    }
}
