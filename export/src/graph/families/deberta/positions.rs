//! Relative positions: the row of each distance, and the keys and queries of the rows.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use nerve_repository::{Checkpoint, CheckpointError, RelativeAttention};

use crate::graph::writer::Writer;

/// The relative embeddings of a checkpoint, as its layers project them.
pub(super) struct RelativePositions {
    pub(super) relative: RelativeAttention,
    /// `[rows, hidden]`, normalized if the model normalizes them.
    embeddings: Array2<f32>,
}

impl RelativePositions {
    /// The relative embeddings of this checkpoint.
    pub(super) fn of(checkpoint: &Checkpoint, relative: RelativeAttention) -> Result<Self, CheckpointError> {
        let config = &checkpoint.config;
        let shape = [relative.rows(), config.hidden_size];
        let mut embeddings = matrix(checkpoint, RelativeAttention::TABLE, shape)?.to_owned();
        if relative.is_normalized {
            let vector = |part: &str| -> Result<Array1<f32>, CheckpointError> {
                let name = format!("{}.{part}", RelativeAttention::NORM);
                Ok(ArrayView1::from(checkpoint.tensor(&name, &shape[1..])?).to_owned())
            };
            let (weight, bias) = (vector("weight")?, vector("bias")?);
            for mut row in embeddings.rows_mut() {
                let mean = row.mean().unwrap_or_default();
                row -= mean;
                let variance = row.pow2().mean().unwrap_or_default();
                row /= (variance + config.layer_norm_eps as f32).sqrt();
            }
            embeddings = embeddings * weight + bias;
        }
        Ok(Self { relative, embeddings })
    }

    /// The projection of the rows by a linear layer, `[rows, hidden]`.
    fn projected(&self, checkpoint: &Checkpoint, name: &str) -> Result<Array2<f32>, CheckpointError> {
        let hidden = checkpoint.config.hidden_size;
        let weight = matrix(checkpoint, &format!("{name}.weight"), [hidden, hidden])?;
        let bias = checkpoint.tensor(&format!("{name}.bias"), &[hidden])?;
        Ok(self.embeddings.dot(&weight.t()) + ArrayView1::from(bias))
    }
}

fn matrix<'c>(
    checkpoint: &'c Checkpoint,
    name: &str,
    shape: [usize; 2],
) -> Result<ArrayView2<'c, f32>, CheckpointError> {
    let data = checkpoint.tensor(name, &shape)?;
    // `tensor` has checked the extents, so the shape always fits.
    Ok(ArrayView2::from_shape(shape, data).unwrap_or_else(|_| ArrayView2::from(&[[]; 0])))
}

impl Writer<'_> {
    /// The row of the relative embeddings of each pair of tokens, `relative.index`: int64, in the shape of attention scores, which
    /// `GatherElements` needs.
    ///
    /// Outside of half precision, rows are counted from the first one that the batch's length reaches, `relative.first`; those
    /// before `relative.end` are used.
    pub(super) fn distance_rows(&mut self, relative: RelativeAttention) {
        let config = &self.checkpoint.config;
        let heads = vec![0; config.num_attention_heads];
        let longest = config.max_length().saturating_sub(1) as isize;
        // The distances are keys' positions less queries'.
        let by_distance = (-longest..=longest)
            .rev()
            .map(|distance| relative.row(distance) as i64);
        self.graph
            .i64s("relative.table", &by_distance.collect::<Vec<_>>());
        self.distances("relative", longest.unsigned_abs());
        let mut rows = self.rows_of("relative.table", "relative.rows", "relative.of_positions");
        if self.is_of_rows() {
            self.rows_of("shape.batch_length", "relative.axis_1", "relative.length");
            let of_lengths = |row: &dyn Fn(isize) -> usize| -> Vec<i64> {
                let farthest = (0..=longest + 1).map(|length| (length - 1).max(0));
                farthest.map(|distance| row(distance) as i64).collect()
            };
            let firsts = of_lengths(&|distance| relative.row(-distance));
            let ends = of_lengths(&|distance| relative.row(distance) + 1);
            self.graph.i64s("relative.firsts", &firsts);
            self.graph.i64s("relative.ends", &ends);
            self.rows_of("relative.firsts", "relative.length", "relative.first");
            self.rows_of("relative.ends", "relative.length", "relative.end");
            rows = self
                .graph
                .op("Sub", &[&rows, "relative.first"], &[], "relative.reached");
        }
        // Zeros bring the rows to the shape of the scores without a node that computes a shape.
        self.graph.i64s("relative.zero_heads", &heads);
        let is_packed = self.is_padding_free();
        let (heads_axes, batch_axes): (&[i64], &[i64]) = match is_packed {
            true => (&[1, 2, 3], &[1]),
            false => (&[1, 2], &[1, 2]),
        };
        self.graph.i64s("relative.heads_axes", heads_axes);
        self.graph.i64s("relative.batch_axes", batch_axes);
        let mut plain = |op: &str, inputs: &[&str], output: &str| {
            self.graph.op(op, inputs, &[], output);
        };
        plain(
            "ReduceSum",
            &["relative.zeros", "relative.axis_1"],
            "relative.zero_column",
        );
        let heads = ["relative.zero_heads", "relative.heads_axes"];
        plain("Unsqueeze", &heads, "relative.of_heads");
        let batch = ["relative.zero_column", "relative.batch_axes"];
        plain("Unsqueeze", &batch, "relative.of_batch");
        let (inner, outer) = match is_packed {
            true => ("relative.of_batch", "relative.of_heads"),
            false => ("relative.of_heads", "relative.of_batch"),
        };
        plain("Add", &[&rows, inner], "relative.inner");
        plain("Add", &["relative.inner", outer], "relative.index");
    }

    /// The position keys of a layer's heads, transposed: `[heads, 1, head, rows]` for packed activations, else `[heads, head, rows]`.
    pub(super) fn position_keys(
        &mut self,
        name: &str,
        positions: &RelativePositions,
    ) -> Result<String, CheckpointError> {
        let part = match positions.relative.shares_projections {
            true => "key",
            false => "pos_key_proj",
        };
        let rows = positions.projected(self.checkpoint, &format!("{name}.{part}"))?;
        let head = self.checkpoint.config.head_size();
        let data: Vec<f32> = rows.t().iter().copied().collect();
        let count = rows.nrows();
        Ok(self.of_reached_rows(&format!("{name}.position_keys"), [head, count], 1, &data))
    }

    /// The scaled position queries of a layer's heads: `[heads, 1, rows, head]` for packed activations, else `[heads, rows, head]`.
    pub(super) fn position_queries(
        &mut self,
        name: &str,
        positions: &RelativePositions,
        scale: f32,
    ) -> Result<String, CheckpointError> {
        let part = match positions.relative.shares_projections {
            true => "query",
            false => "pos_query_proj",
        };
        let rows = positions.projected(self.checkpoint, &format!("{name}.{part}"))? * scale;
        let head = self.checkpoint.config.head_size();
        let heads = rows.axis_chunks_iter(Axis(1), head);
        let data: Vec<f32> = heads
            .flat_map(|head| head.iter().copied().collect::<Vec<_>>())
            .collect();
        let count = rows.nrows();
        Ok(self.of_reached_rows(&format!("{name}.position_queries"), [count, head], 0, &data))
    }

    /// A constant matrix for each head, whose `axis` holds the rows of the relative embeddings, cut to the rows that the batch
    /// reaches.
    fn of_reached_rows(&mut self, name: &str, matrix: [usize; 2], axis: usize, data: &[f32]) -> String {
        let heads = self.checkpoint.config.num_attention_heads;
        let [rows, columns] = matrix;
        let shape: &[usize] = match self.is_padding_free() {
            true => &[heads, 1, rows, columns],
            false => &[heads, rows, columns],
        };
        let all = self.operands(name, shape, data);
        if !self.is_of_rows() {
            return all;
        }
        let axis = self
            .graph
            .i64s(&format!("{name}.axis"), &[(shape.len() - 2 + axis) as i64]);
        let inputs = [all.as_str(), "relative.first", "relative.end", &axis];
        self.graph.op("Slice", &inputs, &[], &format!("{name}.reached"))
    }
}
