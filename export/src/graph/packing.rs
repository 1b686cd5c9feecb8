//! Packed activations, which hold real tokens alone: the indices between their rows and the positions of the padded batch.

use nerve_repository::onnx::SELECTION;

use crate::graph::options::LayerTokens;
use crate::graph::writer::{INPUTS, Writer};
use crate::onnx::builder::Attribute;

impl Writer<'_> {
    /// The indices from packed activations to padded sequences of heads, and back.
    ///
    /// - `packed.tokens`, `[real]`: the positions of the real tokens in the batch.
    /// - `packed.selected`, `[tokens]`: the rows of the selected tokens in the packed activations.
    /// - `packed.parts`, `[heads, batch, length]`: the index of each head's part of each position in the packed activations split
    ///   by heads. Padding has the parts of the real token before it, or of the last one; the mask hides them.
    /// - `packed.outputs`, `[real, heads]`, and `packed.selected_outputs`, `[tokens, heads]`: the indices of each token's parts in
    ///   `[heads, batch, length]`.
    pub(super) fn packing(&mut self) {
        let config = &self.checkpoint.config;
        let (heads, head) = (config.num_attention_heads as i64, config.head_size() as i64);
        let numbered: Vec<i64> = (0..heads).collect();
        self.graph.i64s("packed.flat", &[-1]);
        self.graph.i64s("shape.parts", &[-1, head]);
        self.graph.i64s("packed.axis_0", &[0]);
        self.graph.i64s("packed.axis_1", &[1]);
        self.graph.i64s("packed.one", &[1]);
        self.graph.i64s("packed.heads", &[heads]);
        self.graph.i64s("packed.numbered_heads", &numbered);

        self.plain("Reshape", &[INPUTS[1], "packed.flat"], "packed.mask");
        self.plain("NonZero", &["packed.mask"], "packed.found");
        self.plain("Reshape", &["packed.found", "packed.flat"], "packed.tokens");
        self.plain("CumSum", &["packed.mask", "packed.axis_0"], "packed.counted");
        self.plain("Sub", &["packed.counted", "packed.one"], "packed.rows");
        self.rows_of("packed.rows", SELECTION, "packed.selected");

        let column = ["packed.numbered_heads", "packed.axis_1"];
        self.plain("Unsqueeze", &column, "packed.head_column");
        self.plain("Mul", &["packed.rows", "packed.heads"], "packed.first_parts");
        let sum = ["packed.first_parts", "packed.head_column"];
        self.plain("Add", &sum, "packed.flat_parts");
        let axis = [("axis", Attribute::Int(0))];
        let shape = ["packed.heads", "shape.batch_length"];
        self.graph.op("Concat", &shape, &axis, "packed.shape");
        self.plain("Reshape", &["packed.flat_parts", "packed.shape"], "packed.parts");

        self.plain("Size", &[INPUTS[1]], "packed.positions");
        let product = ["packed.numbered_heads", "packed.positions"];
        self.plain("Mul", &product, "packed.head_starts");
        for (tokens, outputs) in [
            ("packed.tokens", "packed.outputs"),
            (SELECTION, "packed.selected_outputs"),
        ] {
            let column = format!("{outputs}.column");
            self.plain("Unsqueeze", &[tokens, "packed.axis_1"], &column);
            self.plain("Add", &[&column, "packed.head_starts"], outputs);
        }
    }

    /// The entries of `[batch, length]` that belong to real tokens, `[real]`.
    pub(super) fn packed(&mut self, values: &str, name: &str) -> String {
        let flat = format!("{name}.flat");
        self.plain("Reshape", &[values, "packed.flat"], &flat);
        self.rows_of(&flat, "packed.tokens", name)
    }

    /// Packed activations as `[heads, batch, length, head]`. One gather pads them and moves the heads to the first axis.
    pub(super) fn heads_of_packed(&mut self, rows: &str) -> String {
        let parts = format!("{rows}.parts");
        self.plain("Reshape", &[rows, "shape.parts"], &parts);
        self.rows_of(&parts, "packed.parts", &format!("{rows}.heads"))
    }

    /// `[heads, batch, length, head]` as packed activations of these tokens, `[.., heads, head]`.
    pub(super) fn packed_of_heads(&mut self, values: &str, tokens: LayerTokens) -> String {
        let parts = format!("{values}.parts");
        self.plain("Reshape", &[values, "shape.parts"], &parts);
        let outputs = match tokens {
            LayerTokens::All => "packed.outputs",
            LayerTokens::Selected => "packed.selected_outputs",
        };
        self.rows_of(&parts, outputs, &format!("{values}.packed"))
    }

    /// An operator without attributes.
    fn plain(&mut self, op: &str, inputs: &[&str], output: &str) {
        self.graph.op(op, inputs, &[], output);
    }
}
