//! The shapes that activations are reshaped to.

use crate::graph::options::LogitsOf;
use crate::graph::writer::{INPUTS, Writer};
use crate::onnx::builder::Attribute;

impl Writer<'_> {
    /// The shapes of activations: `shape.heads` with an axis of heads, `shape.rows` without, `shape.logits` for logits of every
    /// token; packed activations have further ones. A 0 keeps the extent of an axis.
    pub(super) fn shapes(&mut self) {
        let config = &self.checkpoint.config;
        let (hidden, heads, head) = (
            config.hidden_size as i64,
            config.num_attention_heads as i64,
            config.head_size() as i64,
        );
        if !self.is_of_rows() {
            self.graph.i64s("shape.heads", &[0, 0, heads, head]);
            self.graph.i64s("shape.rows", &[0, 0, hidden]);
            if self.logits_of == LogitsOf::Selected {
                self.graph.i64s("shape.flat", &[-1, hidden]);
            }
            return;
        }
        self.graph.i64s("shape.rows", &[-1, hidden]);
        self.graph.op("Shape", &[INPUTS[0]], &[], "shape.batch_length");
        if self.is_padding_free() {
            return self.packing();
        }
        let labels = self.checkpoint.labels.len() as i64;
        self.shape_ending_in("shape.heads", &[heads, head]);
        self.shape_ending_in("shape.logits", &[labels]);
    }

    /// The shape `[batch, length]` with these further axes.
    fn shape_ending_in(&mut self, name: &str, last: &[i64]) {
        let last = self.graph.i64s(&format!("{name}.last"), last);
        let axis = [("axis", Attribute::Int(0))];
        self.graph
            .op("Concat", &["shape.batch_length", &last], &axis, name);
    }
}
