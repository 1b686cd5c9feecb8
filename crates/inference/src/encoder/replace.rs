//! A graph whose encoder is replaced by the operator of `nerve-kernels`.

use std::collections::BTreeSet;
use std::sync::Arc;

use nerve_kernels::{DOMAIN, Encoder, InstructionSet, OPERATOR};
use nerve_repository::onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto};
use nerve_repository::onnx::{CONTRIB, OPSET};
use prost::Message;

use crate::encoder::constants::Constants;
use crate::encoder::error::UnfitGraph;
use crate::encoder::layers::read_layers;
use crate::encoder::pattern::Producers;

/// A graph whose encoder is the operator of `nerve-kernels`, and what the operator runs.
pub(crate) struct EncoderGraph {
    /// The model: embeddings, the operator, the classifier.
    pub(crate) model: Vec<u8>,
    /// What the operator runs.
    pub(crate) encoder: Arc<Encoder>,
}

/// Replaces the encoder of a padding-free int8 graph of `nerve-export`; fails for every other graph.
///
/// Each node, constant and index of the encoder is checked, so that the operator computes what they compute.
pub(crate) fn replace_encoder(
    bytes: Vec<u8>,
    instructions: InstructionSet,
) -> Result<EncoderGraph, UnfitGraph> {
    let model = ModelProto::decode(bytes.as_slice()).map_err(|_| UnfitGraph::NotOnnx)?;
    // Decoding drops fields that the schema lacks.
    if model.encode_to_vec() != bytes {
        return Err(UnfitGraph::ForeignFields);
    }
    drop(bytes);
    replace_in(model, instructions)
}

fn replace_in(mut model: ModelProto, instructions: InstructionSet) -> Result<EncoderGraph, UnfitGraph> {
    check_operator_sets(&model)?;
    let mut graph = model.graph.take().ok_or(UnfitGraph::NotOnnx)?;
    check_values(&graph)?;
    check_attributes(&graph)?;
    let first = first_of_layers(&graph.node).ok_or(UnfitGraph::NotQuantized)?;
    // `nerve-export` finds the products of tokens and relative positions with this operator, and uses it nowhere else.
    if graph.node.iter().any(|node| node.op_type == "GatherElements") {
        return Err(UnfitGraph::DisentangledAttention);
    }
    let is_rotary = graph
        .initializer
        .iter()
        .any(|constant| constant.name.starts_with("rotary."));
    let mut constants = Constants::new(std::mem::take(&mut graph.initializer));
    let producers = Producers::of(&graph.node);
    let found = read_layers(&graph.node[first..], &mut constants, &producers);
    let found = found.map_err(|error| match is_rotary {
        // The name of the constants only decides which reason is logged.
        true => UnfitGraph::RotaryPositions,
        false => error,
    })?;
    let operator = NodeProto {
        input: [found.input, "attention_mask", found.selected]
            .map(str::to_owned)
            .to_vec(),
        output: vec![found.output.to_owned()],
        name: OPERATOR.to_owned(),
        op_type: OPERATOR.to_owned(),
        attribute: Vec::new(),
        domain: DOMAIN.to_owned(),
    };
    let mut encoder = Encoder::new(found.shape, found.layers, instructions)?;
    if let Some(bias) = found.position_bias {
        encoder = encoder.with_position_bias(bias)?;
    }
    let encoder = Arc::new(encoder);
    graph.node.splice(first..first + found.nodes, [operator]);
    graph.initializer = constants.into_rest().collect();
    prune(&mut graph);
    check_values(&graph).map_err(|error| match error {
        UnfitGraph::Undefined { name } => UnfitGraph::Value {
            name,
            expected: "read by the encoder alone",
        },
        other => other,
    })?;
    model.graph = Some(graph);
    model.opset_import.push(OperatorSetIdProto {
        domain: DOMAIN.to_owned(),
        version: 1,
    });
    Ok(EncoderGraph {
        model: model.encode_to_vec(),
        encoder,
    })
}

/// The index of the first node of the layers: the first quantization, or the smoothing before it.
fn first_of_layers(nodes: &[NodeProto]) -> Option<usize> {
    let quantized = nodes.iter().position(|node| node.op_type == "QuantizeLinear")?;
    let is_smoothing = |before: &usize| {
        let node = &nodes[*before];
        node.op_type == "Mul" && node.output.first() == nodes[quantized].input.first()
    };
    let smoothing = quantized.checked_sub(1).filter(is_smoothing);
    Some(smoothing.unwrap_or(quantized))
}

/// Fails unless the operators are those of `nerve-export`, of which other versions may compute something else.
fn check_operator_sets(model: &ModelProto) -> Result<(), UnfitGraph> {
    let foreign = model
        .opset_import
        .iter()
        .find(|set| !matches!((set.domain.as_str(), set.version), ("", OPSET) | (CONTRIB, 1)));
    match foreign {
        None => Ok(()),
        Some(set) => Err(UnfitGraph::OperatorSet {
            domain: set.domain.clone(),
            version: set.version,
        }),
    }
}

/// Fails unless each attribute has a value of its type. What a missing value means depends on the reader.
fn check_attributes(graph: &GraphProto) -> Result<(), UnfitGraph> {
    const FLOAT: i32 = 1;
    const INT: i32 = 2;
    const STRING: i32 = 3;
    const INTS: i32 = 7;
    for node in &graph.node {
        let has_value = |attribute: &AttributeProto| match attribute.r#type {
            FLOAT => attribute.f.is_some(),
            INT => attribute.i.is_some(),
            STRING => attribute.s.is_some(),
            INTS => true,
            _ => false,
        };
        if !node.attribute.iter().all(has_value) {
            return Err(UnfitGraph::Node {
                expected: "attributes with a value of their type",
                found: node.output.first().cloned().unwrap_or_default(),
            });
        }
    }
    Ok(())
}

/// Fails unless each value has one name and is computed before it is read.
fn check_values(graph: &GraphProto) -> Result<(), UnfitGraph> {
    let inputs = graph.input.iter().map(|input| &input.name);
    let constants = graph.initializer.iter().map(|constant| &constant.name);
    let mut known = BTreeSet::new();
    inputs
        .chain(constants)
        .try_for_each(|name| insert_new(&mut known, name))?;
    for node in &graph.node {
        check_known(&known, &node.input)?;
        let mut attributes = BTreeSet::new();
        for attribute in &node.attribute {
            insert_new(&mut attributes, &attribute.name)?;
        }
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            insert_new(&mut known, name)?;
        }
    }
    check_known(&known, graph.output.iter().map(|output| &output.name))
}

fn insert_new<'n>(names: &mut BTreeSet<&'n str>, name: &'n str) -> Result<(), UnfitGraph> {
    match names.insert(name) {
        true => Ok(()),
        false => Err(UnfitGraph::Duplicate {
            name: name.to_owned(),
        }),
    }
}

fn check_known<'n>(
    known: &BTreeSet<&str>,
    names: impl IntoIterator<Item = &'n String>,
) -> Result<(), UnfitGraph> {
    let mut names = names.into_iter().filter(|name| !name.is_empty());
    match names.find(|name| !known.contains(name.as_str())) {
        None => Ok(()),
        Some(name) => Err(UnfitGraph::Undefined { name: name.clone() }),
    }
}

/// Removes nodes and constants that no output needs.
fn prune(graph: &mut GraphProto) {
    let mut needed: BTreeSet<String> = graph.output.iter().map(|output| output.name.clone()).collect();
    let mut kept = Vec::with_capacity(graph.node.len());
    for node in std::mem::take(&mut graph.node).into_iter().rev() {
        if node.output.iter().any(|output| needed.contains(output)) {
            needed.extend(node.input.iter().cloned());
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
    graph
        .initializer
        .retain(|constant| needed.contains(&constant.name));
}

#[cfg(test)]
mod tests;
