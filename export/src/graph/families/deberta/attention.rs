//! Disentangled attention.

use nerve_repository::CheckpointError;

use crate::graph::families::deberta::positions::RelativePositions;
use crate::graph::options::LayerTokens;
use crate::graph::writer::Writer;
use crate::onnx::builder::Attribute;

impl Writer<'_> {
    /// The values weighted by the softmax of the sum of three products: query and key, query and position key, key and position
    /// query (He et al. 2021). The scale is multiplied into the query weights and the position queries.
    pub(super) fn disentangled_attention(
        &mut self,
        name: &str,
        states: &str,
        positions: &RelativePositions,
        tokens: LayerTokens,
    ) -> Result<String, CheckpointError> {
        let config = &self.checkpoint.config;
        let square = [config.hidden_size, config.hidden_size];
        let scale = 1.0 / ((config.head_size() * positions.relative.terms()) as f32).sqrt();
        let operand = self.as_operand(states);
        let input = self.layer_input(&operand);
        let query = self.linear(&format!("{name}.query"), &input, square, scale)?;
        let key = self.linear(&format!("{name}.key"), &input, square, 1.0)?;
        let value = self.linear(&format!("{name}.value"), &input, square, 1.0)?;
        let query = self.heads(&query);
        let key = self.heads_transposed(&key);
        let value = self.heads(&value);
        let scores = self
            .graph
            .op("MatMul", &[&query, &key], &[], &format!("{name}.scores"));
        let mut scores = self.as_f32(&scores);
        if positions.relative.content_to_position {
            let keys = self.position_keys(name, positions)?;
            let of_positions = format!("{name}.content_to_position");
            scores = self.with_positions(&scores, [&query, &keys], 3, &of_positions);
        }
        if positions.relative.position_to_content {
            let queries = self.position_queries(name, positions, scale)?;
            let of_positions = format!("{name}.position_to_content");
            scores = self.with_positions(&scores, [&queries, &key], 2, &of_positions);
        }
        Ok(self.attended(name, &scores, "mask", &value, tokens))
    }

    /// Scores with products of tokens and relative positions, which are along this axis: those of each pair's distance.
    fn with_positions(&mut self, scores: &str, factors: [&str; 2], axis: i64, name: &str) -> String {
        let products = self
            .graph
            .op("MatMul", &factors, &[], &format!("{name}.products"));
        let axis = [("axis", Attribute::Int(axis))];
        let inputs = [products.as_str(), "relative.index"];
        let found = self.graph.op("GatherElements", &inputs, &axis, name);
        let found = self.as_f32(&found);
        self.graph
            .op("Add", &[scores, &found], &[], &format!("{name}.sum"))
    }
}
