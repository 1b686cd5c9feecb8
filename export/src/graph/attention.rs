//! Multi-head attention over padded sequences.

use super::{INPUTS, Writer};
use crate::checkpoint::CheckpointError;
use crate::onnx::{Attribute, Element};

/// What is added to the attention score of a padded key. Any score this low leaves the softmax as an exact 0, so that
/// padding changes no bit of a real token's result, and it stays finite in half precision.
const MASKED: f32 = -10_000.0;

impl Writer<'_> {
    /// The additive attention mask, f32 `[batch, 1, 1, length]`: 0 for real keys, [`MASKED`] for padding.
    pub(super) fn mask(&mut self) {
        let to_f32 = [("to", Attribute::Int(Element::F32 as i64))];
        self.graph.op("Cast", &[INPUTS[1]], &to_f32, "mask.float");
        self.graph.f32s("mask.one", &[], &[1.0]);
        self.graph.f32s("mask.value", &[], &[MASKED]);
        self.graph.i64s("mask.axes", &[1, 2]);
        self.graph
            .op("Sub", &["mask.one", "mask.float"], &[], "mask.padding");
        self.graph
            .op("Mul", &["mask.padding", "mask.value"], &[], "mask.scores");
        self.graph
            .op("Unsqueeze", &["mask.scores", "mask.axes"], &[], "mask");
    }

    /// The values mixed by the softmax of the scaled scores, in the shape of `states` (Vaswani et al. 2017, *Attention Is
    /// All You Need*).
    ///
    /// Plain operators: on the processor the fused ones of ONNX Runtime's own domain were within 7% of them either way (see
    /// `bench/graph.py`), and depend on its version.
    pub(super) fn attention(&mut self, name: &str, states: &str) -> Result<String, CheckpointError> {
        let config = &self.checkpoint.config;
        let square = [config.hidden_size, config.hidden_size];
        let scale = 1.0 / (config.head_size() as f32).sqrt();
        let operand = self.as_operand(states);
        let input = self.layer_input(&operand);
        let query = self.linear(&format!("{name}.query"), &input, square, scale)?;
        let key = self.linear(&format!("{name}.key"), &input, square, 1.0)?;
        let value = self.linear(&format!("{name}.value"), &input, square, 1.0)?;
        let query = self.heads(&query, &[0, 2, 1, 3]);
        let key = self.heads(&key, &[0, 2, 3, 1]);
        let value = self.heads(&value, &[0, 2, 1, 3]);
        let scores = self
            .graph
            .op("MatMul", &[&query, &key], &[], &format!("{name}.scores"));
        let scores = self.as_f32(&scores);
        let masked = self
            .graph
            .op("Add", &[&scores, "mask"], &[], &format!("{name}.masked"));
        let axis = [("axis", Attribute::Int(-1))];
        let weights = self
            .graph
            .op("Softmax", &[&masked], &axis, &format!("{name}.weights"));
        let weights = self.as_operand(&weights);
        let mixed = self
            .graph
            .op("MatMul", &[&weights, &value], &[], &format!("{name}.mixed"));
        let order = [("perm", Attribute::Ints(&[0, 2, 1, 3]))];
        let merged = self
            .graph
            .op("Transpose", &[&mixed], &order, &format!("{name}.merged"));
        Ok(self
            .graph
            .op("Reshape", &[&merged, "shape.rows"], &[], &format!("{name}.rows")))
    }

    /// Activations to four axes, one of them the heads, in the order asked for.
    fn heads(&mut self, rows: &str, order: &[i64]) -> String {
        let split = self
            .graph
            .op("Reshape", &[rows, "shape.heads"], &[], &format!("{rows}.split"));
        self.graph.op(
            "Transpose",
            &[&split],
            &[("perm", Attribute::Ints(order))],
            &format!("{rows}.heads"),
        )
    }
}
