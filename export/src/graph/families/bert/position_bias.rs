//! The bias by distance that all layers add to their attention scores.

use nerve_repository::relative_position::{LONGEST_DISTANCE, bucket};
use nerve_repository::{CheckpointError, POSITION_BIAS};

use crate::graph::writer::Writer;
use crate::onnx::builder::Attribute;

impl Writer<'_> {
    /// What is added to attention scores: the mask, with the bias of each head and distance if the family has one (Raffel et al.
    /// 2020).
    ///
    /// The biases are a table by distance, since distances are differences of positions in the batch, and buckets are not: no
    /// logarithm is rounded in the graph. The sum of bias and mask is the same in all layers.
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
        let distances = 2 * LONGEST_DISTANCE + 1;
        self.graph.f32s("bias.table", &[distances, heads], &by_distance);
        self.distances("bias", LONGEST_DISTANCE);
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
