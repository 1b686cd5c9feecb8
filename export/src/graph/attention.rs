//! Multi-head attention.

use nerve_repository::CheckpointError;

use crate::graph::options::LayerTokens;
use crate::graph::writer::{INPUTS, Writer};
use crate::onnx::builder::{Attribute, Element};

/// The mask value that is added to the attention score of a padded key. The softmax of such a score is exactly 0, so that padding
/// changes no bit of a real token's result; the value is finite in half precision.
const MASKED: f32 = -10_000.0;

impl Writer<'_> {
    /// The additive attention mask, f32 `[batch, 1, 1, length]`, or `[batch, 1, length]` for packed activations: 0 for real
    /// keys, [`MASKED`] for padding.
    pub(super) fn mask(&mut self) {
        let to_f32 = [("to", Attribute::Int(Element::F32 as i64))];
        self.graph.op("Cast", &[INPUTS[1]], &to_f32, "mask.float");
        self.graph.f32s("mask.one", &[], &[1.0]);
        self.graph.f32s("mask.value", &[], &[MASKED]);
        let axes: &[i64] = if self.is_padding_free() { &[1] } else { &[1, 2] };
        self.graph.i64s("mask.axes", axes);
        self.graph
            .op("Sub", &["mask.one", "mask.float"], &[], "mask.padding");
        self.graph
            .op("Mul", &["mask.padding", "mask.value"], &[], "mask.scores");
        self.graph
            .op("Unsqueeze", &["mask.scores", "mask.axes"], &[], "mask");
    }

    /// The values weighted by the softmax of the scaled scores with `score_bias`, for these tokens (Vaswani et al. 2017,
    /// *Attention Is All You Need*).
    ///
    /// It uses standard operators: on the CPU, the fused operators of ONNX Runtime were at most 7% faster or slower (see
    /// `bench/graph.py`), and they depend on its version.
    pub(super) fn attention(
        &mut self,
        name: &str,
        states: &str,
        score_bias: &str,
        tokens: LayerTokens,
    ) -> Result<String, CheckpointError> {
        let config = &self.checkpoint.config;
        let square = [config.hidden_size, config.hidden_size];
        let scale = 1.0 / (config.head_size() as f32).sqrt();
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
        let scores = self.as_f32(&scores);
        Ok(self.attended(name, &scores, score_bias, &value, tokens))
    }

    /// The values weighted by the softmax of f32 scores with `score_bias`, for these tokens.
    pub(super) fn attended(
        &mut self,
        name: &str,
        scores: &str,
        score_bias: &str,
        value: &str,
        tokens: LayerTokens,
    ) -> String {
        let masked = self
            .graph
            .op("Add", &[scores, score_bias], &[], &format!("{name}.masked"));
        let axis = [("axis", Attribute::Int(-1))];
        let weights = self
            .graph
            .op("Softmax", &[&masked], &axis, &format!("{name}.weights"));
        let weights = self.as_operand(&weights);
        let mixed = self
            .graph
            .op("MatMul", &[&weights, value], &[], &format!("{name}.mixed"));
        self.merged(name, &mixed, tokens)
    }

    /// Splits activations by heads: `[batch, heads, length, head]`, or `[heads, batch, length, head]` if they are packed.
    pub(super) fn heads(&mut self, rows: &str) -> String {
        if self.is_padding_free() {
            self.heads_of_packed(rows)
        } else {
            self.split(rows, &[0, 2, 1, 3])
        }
    }

    /// [`Self::heads`] with the last two axes exchanged.
    pub(super) fn heads_transposed(&mut self, rows: &str) -> String {
        if self.is_padding_free() {
            let heads = self.heads_of_packed(rows);
            self.transpose(&heads, &[0, 1, 3, 2], &format!("{heads}.turned"))
        } else {
            self.split(rows, &[0, 2, 3, 1])
        }
    }

    fn split(&mut self, rows: &str, order: &[i64]) -> String {
        let split = self
            .graph
            .op("Reshape", &[rows, "shape.heads"], &[], &format!("{rows}.split"));
        self.transpose(&split, order, &format!("{rows}.heads"))
    }

    fn transpose(&mut self, input: &str, order: &[i64], name: &str) -> String {
        let order = [("perm", Attribute::Ints(order))];
        self.graph.op("Transpose", &[input], &order, name)
    }

    /// The outputs of all heads side by side, for these tokens.
    fn merged(&mut self, name: &str, mixed: &str, tokens: LayerTokens) -> String {
        let rows = format!("{name}.rows");
        if self.is_padding_free() {
            let merged = self.packed_of_heads(mixed, tokens);
            return self.graph.op("Reshape", &[&merged, "shape.rows"], &[], &rows);
        }
        let merged = self.transpose(mixed, &[0, 2, 1, 3], &format!("{name}.merged"));
        self.graph.op("Reshape", &[&merged, "shape.rows"], &[], &rows);
        self.of_tokens(&rows, tokens)
    }
}
