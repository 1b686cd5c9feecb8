//! The state of a graph that is being written, and what all its parts use.

use std::collections::BTreeMap;

use nerve_repository::Checkpoint;
use nerve_repository::onnx::SELECTION;

use crate::graph::options::{Arithmetic, LayerTokens, LogitsOf};
use crate::onnx::builder::{Attribute, Element, GraphBuilder};

/// The graph's inputs: int64, `[batch, length]` each.
pub(super) const INPUTS: [&str; 2] = ["input_ids", "attention_mask"];
/// The graph's output: f32, `[batch, length, labels]`, or `[tokens, labels]` of the selected tokens.
pub(super) const OUTPUT: &str = "logits";

/// Writes the graph of a checkpoint. Each file beside this one adds the methods for one part of the network.
pub(super) struct Writer<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) arithmetic: Arithmetic<'a>,
    pub(super) logits_of: LogitsOf,
    pub(super) graph: GraphBuilder,
    /// The names of the linear layers' inputs.
    pub(super) observed: Vec<String>,
    /// The weight by which an input is multiplied first, by the name of the input.
    pub(super) weights_of_inputs: BTreeMap<String, String>,
}

impl Writer<'_> {
    /// The activations of these tokens; a matrix if the tokens are selected.
    pub(super) fn of_tokens(&mut self, activations: &str, tokens: LayerTokens) -> String {
        if matches!(tokens, LayerTokens::All) {
            return activations.to_owned();
        }
        let (rows, indices) = if self.is_padding_free() {
            (activations.to_owned(), "packed.selected")
        } else {
            let flat = format!("{activations}.flat");
            self.graph.op("Reshape", &[activations, "shape.flat"], &[], &flat);
            (flat, SELECTION)
        };
        self.rows_of(&rows, indices, &format!("{activations}.selected"))
    }

    /// The beginning of the names of a part's tensors. Layers that share weights have the same names; a part of another layer has its
    /// own.
    pub(super) fn tensors_of(&self, part: &str) -> String {
        let in_layer = part.strip_prefix("bert.encoder.layer.");
        let numbered = in_layer.and_then(|in_layer| in_layer.split_once('.'));
        match numbered.and_then(|(number, rest)| Some((number.parse().ok()?, rest))) {
            Some((index, rest)) => format!("{}.{rest}", self.checkpoint.config.layer_name(index)),
            None => part.to_owned(),
        }
    }

    /// The rows of a matrix, or the entries of a vector, at these indices.
    pub(super) fn rows_of(&mut self, matrix: &str, indices: &str, name: &str) -> String {
        let axis = [("axis", Attribute::Int(0))];
        self.graph.op("Gather", &[matrix, indices], &axis, name)
    }

    /// Whether activations between attention blocks are matrices.
    pub(super) fn is_of_rows(&self) -> bool {
        !self.is_half()
    }

    /// Whether activations between attention blocks hold real tokens alone.
    pub(super) fn is_padding_free(&self) -> bool {
        self.is_of_rows() && self.logits_of == LogitsOf::Selected
    }

    pub(super) fn is_half(&self) -> bool {
        matches!(self.arithmetic, Arithmetic::Half)
    }

    /// A value of the linear layers as f32; a cast in half precision.
    pub(super) fn as_f32(&mut self, name: &str) -> String {
        self.converted(name, Element::F32, "f32")
    }

    /// An f32 value in the element type of the linear layers; a cast in half precision.
    pub(super) fn as_operand(&mut self, name: &str) -> String {
        self.converted(name, Element::F16, "f16")
    }

    fn converted(&mut self, name: &str, element: Element, suffix: &str) -> String {
        if !self.is_half() {
            return name.to_owned();
        }
        let to = [("to", Attribute::Int(element as i64))];
        self.graph.op("Cast", &[name], &to, &format!("{name}.{suffix}"))
    }
}
