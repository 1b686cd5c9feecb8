//! The bias by distance that all layers add to their attention scores.

use nerve_repository::relative_position::{LONGEST_DISTANCE, bucket};
use nerve_repository::{CheckpointError, POSITION_BIAS};

use crate::graph::writer::{INPUTS, Writer};
use crate::onnx::builder::Attribute;

impl Writer<'_> {
    /// What is added to attention scores: the mask, with the bias of each head and distance if the family has one (Raffel et al.
    /// 2020).
    ///
    /// The biases are a table by distance, since distances are differences of positions in the batch, and buckets are not: no
    /// logarithm is rounded in the graph. Positions are counted in a column of ones that is made without a shape, which would be
    /// computed on the CPU only. The sum of bias and mask is the same in all layers.
    pub(in crate::graph) fn score_bias(&mut self) -> Result<String, CheckpointError> {
        self.mask();
        let heads = self.checkpoint.config.num_attention_heads;
        let Some(buckets) = self.checkpoint.config.family.position_buckets() else {
            return Ok("mask".to_owned());
        };
        let by_bucket = self.checkpoint.tensor(POSITION_BIAS, &[buckets, heads])?;
        let longest = LONGEST_DISTANCE as isize;
        let rows = (-longest..=longest).flat_map(|distance| &by_bucket[bucket(distance) * heads..][..heads]);
        let by_distance: Vec<f32> = rows.copied().collect();
        let last = 2 * LONGEST_DISTANCE;
        self.graph.f32s("bias.table", &[last + 1, heads], &by_distance);
        for (name, axis) in [("bias.axis_0", 0), ("bias.axis_1", 1), ("bias.axis_2", 2)] {
            self.graph.i64s(name, &[axis]);
        }
        self.graph.i64s("bias.one", &[1]);
        self.graph.i64s("bias.longest", &[longest as i64]);
        self.graph.i64_scalar("bias.first_row", 0);
        self.graph.i64_scalar("bias.last_row", last as i64);

        let mut plain = |op: &str, inputs: &[&str], output: &str| {
            self.graph.op(op, inputs, &[], output);
        };
        plain("Sub", &[INPUTS[1], INPUTS[1]], "bias.zeros");
        plain("ReduceSum", &["bias.zeros", "bias.axis_0"], "bias.zero_row");
        plain("Add", &["bias.zero_row", "bias.one"], "bias.ones");
        plain("CumSum", &["bias.ones", "bias.axis_1"], "bias.positions");
        plain("Unsqueeze", &["bias.positions", "bias.axis_1"], "bias.keys");
        plain("Unsqueeze", &["bias.positions", "bias.axis_2"], "bias.queries");
        plain("Sub", &["bias.keys", "bias.queries"], "bias.distances");
        plain("Add", &["bias.distances", "bias.longest"], "bias.unclipped_rows");
        plain(
            "Clip",
            &["bias.unclipped_rows", "bias.first_row", "bias.last_row"],
            "bias.rows",
        );
        self.rows_of("bias.table", "bias.rows", "bias.of_positions");
        // From `[1, query, key, heads]`.
        let order: &[i64] = if self.is_padding_free() {
            &[3, 0, 1, 2]
        } else {
            &[0, 3, 1, 2]
        };
        let order = [("perm", Attribute::Ints(order))];
        self.graph
            .op("Transpose", &["bias.of_positions"], &order, "bias.of_heads");
        Ok(self
            .graph
            .op("Add", &["bias.of_heads", "mask"], &[], "bias.masked"))
    }
}
