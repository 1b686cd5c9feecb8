//! How a value of a graph is computed from the inputs.

use std::collections::BTreeMap;

use nerve_repository::onnx::SELECTION;
use nerve_repository::onnx::proto::NodeProto;

use crate::encoder::constants::Constants;

/// How a value is computed from the inputs of the graph.
#[derive(Clone)]
pub(super) enum Pattern {
    Input(&'static str),
    /// Any constant.
    Constant,
    Integers(Vec<i64>),
    /// An integer without axes.
    Integer(i64),
    Float(f32),
    /// An operator with these inputs.
    Node(&'static str, Vec<Pattern>),
}

use Pattern::{Constant, Float, Input, Integer, Integers, Node};

/// The values between tokens of the batch and rows of the encoder, as `nerve-export` writes them.
pub(super) struct TokenPatterns {
    /// The first hidden states, a row for each real token: the normalized embeddings, or what a linear layer makes of them where
    /// they are narrower than the hidden states.
    pub(super) embeddings: [Pattern; 2],
    /// What is added to scores: 0 for tokens, a very low number for padding.
    pub(super) mask: Pattern,
    /// The rows of the selected tokens among the real ones.
    pub(super) selected: Pattern,
    /// The index of each head's part of each position in the rows split by heads.
    pub(super) parts: Pattern,
    /// The indices of the real tokens' parts in the positions split by heads.
    pub(super) outputs: Pattern,
    /// The same of the selected tokens.
    pub(super) selected_outputs: Pattern,
}

impl TokenPatterns {
    /// The patterns of a graph with this number of heads.
    pub(super) fn of_heads(heads: usize) -> Self {
        let count = i64::try_from(heads).unwrap_or(i64::MAX);
        let one = |number| Integers(vec![number]);
        let numbered = || Integers((0..count).collect());
        let flat = Node("Reshape", vec![Input("attention_mask"), one(-1)]);
        let counted = Node("CumSum", vec![flat.clone(), one(0)]);
        let rows = Node("Sub", vec![counted, one(1)]);
        let first_parts = Node("Mul", vec![rows.clone(), one(count)]);
        let column = Node("Unsqueeze", vec![numbered(), one(1)]);
        let shape = Node(
            "Concat",
            vec![one(count), Node("Shape", vec![Input("input_ids")])],
        );
        let starts = Node(
            "Mul",
            vec![numbered(), Node("Size", vec![Input("attention_mask")])],
        );
        let found = Node("Reshape", vec![Node("NonZero", vec![flat]), one(-1)]);
        let real = |values| {
            let flat = Node("Reshape", vec![values, one(-1)]);
            Node("Gather", vec![flat, found.clone()])
        };
        let ids = real(Input("input_ids"));
        let table = |rows| Node("Gather", vec![Constant, rows]);
        let words = Node("Mul", vec![Node("Cast", vec![table(ids.clone())]), table(ids)]);
        let counted = Node("CumSum", vec![Input("attention_mask"), one(1)]);
        let sum = Node("Add", vec![words, table(real(counted))]);
        let normalized = Node("LayerNormalization", vec![sum, Constant, Constant]);
        let outputs = |tokens| {
            Node(
                "Add",
                vec![Node("Unsqueeze", vec![tokens, one(1)]), starts.clone()],
            )
        };
        let padding = Node(
            "Sub",
            vec![Float(1.0), Node("Cast", vec![Input("attention_mask")])],
        );
        Self {
            embeddings: [
                normalized.clone(),
                Node("Gemm", vec![normalized, Constant, Constant]),
            ],
            mask: Node(
                "Unsqueeze",
                vec![Node("Mul", vec![padding, Float(-10_000.0)]), one(1)],
            ),
            selected: Node("Gather", vec![rows, Input(SELECTION)]),
            parts: Node("Reshape", vec![Node("Add", vec![first_parts, column]), shape]),
            outputs: outputs(found.clone()),
            selected_outputs: outputs(Input(SELECTION)),
        }
    }
}

/// The row of the bias table for each query and key: the position of the key minus that of the query, clipped to
/// `-longest..=longest`, plus `longest`.
pub(super) fn bias_rows(longest: i64) -> Pattern {
    let one = |number| Integers(vec![number]);
    let zeros = Node("Sub", vec![Input("attention_mask"), Input("attention_mask")]);
    let ones = Node("Add", vec![Node("ReduceSum", vec![zeros, one(0)]), one(1)]);
    let positions = Node("CumSum", vec![ones, one(1)]);
    let along = |axis| Node("Unsqueeze", vec![positions.clone(), one(axis)]);
    let distances = Node("Sub", vec![along(1), along(2)]);
    let rows = Node("Add", vec![distances, one(longest)]);
    Node("Clip", vec![rows, Integer(0), Integer(2 * longest)])
}

/// The nodes of a graph by the names of what they compute.
pub(super) struct Producers<'g>(BTreeMap<&'g str, &'g NodeProto>);

impl<'g> Producers<'g> {
    pub(super) fn of(nodes: &'g [NodeProto]) -> Self {
        let outputs = nodes
            .iter()
            .filter_map(|node| Some((node.output.first()?.as_str(), node)));
        Self(outputs.collect())
    }

    /// The node of this ONNX operator that computes the value, if it has `N` inputs, and the names of its inputs.
    pub(super) fn node<const N: usize>(
        &self,
        name: &str,
        op: &str,
    ) -> Option<(&'g NodeProto, &'g [String; N])> {
        let node = *self.0.get(name)?;
        let inputs = node.input.as_slice().try_into().ok()?;
        (node.op_type == op && node.domain.is_empty()).then_some((node, inputs))
    }

    /// Whether the value is computed as the pattern says. The time is bounded by the size of the pattern, whatever the graph.
    pub(super) fn fits(&self, constants: &Constants, name: &str, pattern: &Pattern) -> bool {
        match pattern {
            // Names are unique, so no node computes an input.
            Input(input) => name == *input,
            Constant => constants.contains(name),
            Integers(expected) => constants
                .of_shape::<i64>(name, &[expected.len()])
                .is_ok_and(|found| found == *expected),
            Integer(expected) => constants
                .scalar::<i64>(name)
                .is_ok_and(|found| found == *expected),
            Float(expected) => constants
                .scalar::<f32>(name)
                .is_ok_and(|found| found == *expected),
            Node(op, inputs) => self.0.get(name).is_some_and(|node| {
                node.op_type == *op
                    && node.domain.is_empty()
                    && has_expected_attributes(node)
                    && node.input.len() == inputs.len()
                    && node
                        .input
                        .iter()
                        .zip(inputs)
                        .all(|(name, pattern)| self.fits(constants, name, pattern))
            }),
        }
    }
}

/// Whether the node has no attributes but those with which `nerve-export` writes the operators of patterns.
fn has_expected_attributes(node: &NodeProto) -> bool {
    const F32: i64 = 1;
    node.attribute.iter().all(
        |attribute| match (node.op_type.as_str(), attribute.name.as_str()) {
            ("Gather" | "Concat", "axis") => attribute.i.unwrap_or(0) == 0,
            ("Cast", "to") => attribute.i == Some(F32),
            ("LayerNormalization", "axis") => attribute.i == Some(-1),
            ("LayerNormalization", "epsilon") => true,
            _ => false,
        },
    )
}
