//! How a value of a graph is computed from the inputs.

use std::collections::BTreeMap;

use nerve_repository::onnx::SELECTION;
use nerve_repository::onnx::proto::{GraphProto, NodeProto};

use crate::encoder::constants::Constants;

/// How a value is computed from the inputs of the graph.
#[derive(Clone)]
pub(super) enum Pattern {
    Input(&'static str),
    Integers(Vec<i64>),
    Float(f32),
    /// An operator with these inputs.
    Node(&'static str, Vec<Pattern>),
}

use Pattern::{Float, Input, Integers, Node};

/// The values between tokens of the batch and rows of the encoder, as `nerve-export` writes them.
pub(super) struct TokenPatterns {
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
            mask: Node(
                "Unsqueeze",
                vec![Node("Mul", vec![padding, Float(-10_000.0)]), one(1)],
            ),
            selected: Node("Gather", vec![rows, Input(SELECTION)]),
            parts: Node("Reshape", vec![Node("Add", vec![first_parts, column]), shape]),
            outputs: outputs(found),
            selected_outputs: outputs(Input(SELECTION)),
        }
    }
}

/// The nodes of a graph by the names of what they compute.
pub(super) struct Producers<'g> {
    nodes: BTreeMap<&'g str, &'g NodeProto>,
    constants: &'g Constants<'g>,
}

impl<'g> Producers<'g> {
    pub(super) fn of(graph: &'g GraphProto, constants: &'g Constants<'g>) -> Self {
        let outputs = graph
            .node
            .iter()
            .filter_map(|node| Some((node.output.first()?.as_str(), node)));
        Self {
            nodes: outputs.collect(),
            constants,
        }
    }

    /// Whether the value is computed as the pattern says. Axes are those of `nerve-export`, whose operators in these patterns take them as
    /// inputs or use the first axis.
    pub(super) fn fits(&self, name: &str, pattern: &Pattern) -> bool {
        match pattern {
            Input(input) => name == *input && !self.nodes.contains_key(name),
            Integers(expected) => self
                .constants
                .of_shape::<i64>(name, &[expected.len()])
                .is_ok_and(|found| found == *expected),
            Float(expected) => self
                .constants
                .scalar::<f32>(name)
                .is_ok_and(|found| found == *expected),
            Node(op, inputs) => self.nodes.get(name).is_some_and(|node| {
                let first_axis = node
                    .attribute
                    .iter()
                    .all(|a| a.name != "axis" || a.i.unwrap_or(0) == 0);
                node.op_type == *op
                    && node.domain.is_empty()
                    && first_axis
                    && node.input.len() == inputs.len()
                    && node
                        .input
                        .iter()
                        .zip(inputs)
                        .all(|(name, pattern)| self.fits(name, pattern))
            }),
        }
    }
}
