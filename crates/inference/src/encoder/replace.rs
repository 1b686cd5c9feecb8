//! A graph whose encoder is replaced by the operator of `nerve-kernels`.

use std::collections::BTreeSet;
use std::sync::Arc;

use nerve_kernels::{DOMAIN, Encoder, InstructionSet, OPERATOR};
use nerve_repository::onnx::proto::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto};
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
pub(crate) fn replace_encoder(bytes: &[u8], instructions: InstructionSet) -> Result<EncoderGraph, UnfitGraph> {
    let mut model = ModelProto::decode(bytes).map_err(|_| UnfitGraph::NotOnnx)?;
    let graph = model.graph.take().ok_or(UnfitGraph::NotOnnx)?;
    let first = graph.node.iter().position(|node| node.op_type == "QuantizeLinear");
    let first = first.ok_or(UnfitGraph::NotQuantized)?;
    let constants = Constants::of(&graph);
    let producers = Producers::of(&graph, &constants);
    let found = read_layers(&graph.node[first..], &constants, &producers)?;
    let encoder = Arc::new(Encoder::new(found.shape, found.layers, instructions)?);
    let operator = NodeProto {
        input: [found.input, "attention_mask", found.selected].map(str::to_owned).to_vec(),
        output: vec![found.output.to_owned()],
        name: OPERATOR.to_owned(),
        op_type: OPERATOR.to_owned(),
        attribute: Vec::new(),
        domain: DOMAIN.to_owned(),
    };
    let (before, after) = (&graph.node[..first], &graph.node[first + found.nodes..]);
    let nodes: Vec<NodeProto> = before.iter().chain([&operator]).chain(after).cloned().collect();
    let graph = pruned(graph, nodes);
    check_complete(&graph)?;
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

/// The graph of these nodes, without nodes and constants that no output needs.
fn pruned(mut graph: GraphProto, nodes: Vec<NodeProto>) -> GraphProto {
    let mut needed: BTreeSet<String> = graph.output.iter().map(|output| output.name.clone()).collect();
    let mut kept = Vec::with_capacity(nodes.len());
    for node in nodes.into_iter().rev() {
        if node.output.iter().any(|output| needed.contains(output)) {
            needed.extend(node.input.iter().cloned());
            kept.push(node);
        }
    }
    kept.reverse();
    graph.initializer.retain(|constant| needed.contains(&constant.name));
    graph.node = kept;
    graph
}

/// Fails if a node reads a value inside the replaced encoder.
fn check_complete(graph: &GraphProto) -> Result<(), UnfitGraph> {
    let outputs = graph.node.iter().flat_map(|node| &node.output);
    let inputs = graph.input.iter().map(|input| &input.name);
    let constants = graph.initializer.iter().map(|constant| &constant.name);
    let known: BTreeSet<&String> = outputs.chain(inputs).chain(constants).collect();
    let mut read = graph.node.iter().flat_map(|node| &node.input);
    match read.find(|name| !name.is_empty() && !known.contains(name)) {
        None => Ok(()),
        Some(name) => Err(UnfitGraph::Value {
            name: name.clone(),
            expected: "read by the encoder alone",
        }),
    }
}
