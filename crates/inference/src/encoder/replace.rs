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
pub(crate) fn replace_encoder(
    bytes: &[u8],
    instructions: InstructionSet,
) -> Result<EncoderGraph, UnfitGraph> {
    let model = ModelProto::decode(bytes).map_err(|_| UnfitGraph::NotOnnx)?;
    replace_in(model, instructions)
}

fn replace_in(mut model: ModelProto, instructions: InstructionSet) -> Result<EncoderGraph, UnfitGraph> {
    let graph = model.graph.take().ok_or(UnfitGraph::NotOnnx)?;
    let first = graph
        .node
        .iter()
        .position(|node| node.op_type == "QuantizeLinear");
    let first = first.ok_or(UnfitGraph::NotQuantized)?;
    let constants = Constants::of(&graph);
    let producers = Producers::of(&graph, &constants);
    let found = read_layers(&graph.node[first..], &constants, &producers)?;
    let encoder = Arc::new(Encoder::new(found.shape, found.layers, instructions)?);
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
    graph
        .initializer
        .retain(|constant| needed.contains(&constant.name));
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

#[cfg(test)]
mod tests {
    use super::*;

    const SET: InstructionSet = InstructionSet::Portable;

    fn default_model() -> ModelProto {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/default/model.onnx");
        ModelProto::decode(std::fs::read(path).unwrap().as_slice()).unwrap()
    }

    #[test]
    fn the_default_model_keeps_its_embeddings_and_classifier() {
        let replaced = replace_in(default_model(), SET).unwrap();
        let model = ModelProto::decode(replaced.model.as_slice()).unwrap();
        let graph = model.graph.unwrap();
        let operators: Vec<&str> = graph.node.iter().map(|node| node.op_type.as_str()).collect();
        assert_eq!(operators[operators.len() - 2..], [OPERATOR, "Gemm"]);
        assert!(!operators.contains(&"QGemm") && !operators.contains(&"Softmax"));
        assert!(
            graph
                .initializer
                .iter()
                .all(|constant| !constant.name.contains("attention"))
        );
        let shape = replaced.encoder.shape();
        assert_eq!((shape.hidden, shape.heads, shape.inner), (384, 12, 1536));
    }

    #[test]
    fn a_graph_that_differs_in_a_node_is_left_alone() {
        let model = default_model();
        let nodes = model.graph.as_ref().unwrap().node.len();
        let (mut changed, layer) = (
            0,
            [
                "bert.encoder.layer.0.",
                "bert.encoder.layer.5.",
                "packed.",
                "mask",
            ],
        );
        for at in 0..nodes {
            let name = model.graph.as_ref().unwrap().node[at].output[0].clone();
            if !layer.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            // They feed the embeddings alone.
            if ["packed.ids", "packed.counts"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
            {
                continue;
            }
            let inputs = model.graph.as_ref().unwrap().node[at].input.len();
            for change in 0..=inputs {
                let mut model = model.clone();
                let node = &mut model.graph.as_mut().unwrap().node[at];
                match node.input.get_mut(change) {
                    Some(input) => input.push('?'),
                    None => node.op_type.push('?'),
                }
                assert!(replace_in(model, SET).is_err(), "{name}, change {change}");
                changed += 1;
            }
        }
        assert!(changed > 150, "{changed}");
    }

    #[test]
    fn a_graph_that_differs_in_a_constant_is_left_alone() {
        let model = default_model();
        let layer = [
            "bert.encoder.layer.0.",
            "bert.encoder.layer.5.",
            "packed.",
            "mask",
        ];
        let constants = model.graph.as_ref().unwrap().initializer.len();
        let mut changed = 0;
        for at in 0..constants {
            let name = model.graph.as_ref().unwrap().initializer[at].name.clone();
            if !layer.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            for change in 0..3 {
                let mut model = model.clone();
                let constant = &mut model.graph.as_mut().unwrap().initializer[at];
                match change {
                    0 => constant.dims.push(2),
                    1 => constant.data_type = 11,
                    _ => constant.raw_data.truncate(constant.raw_data.len() - 1),
                }
                assert!(replace_in(model, SET).is_err(), "{name}, change {change}");
                changed += 1;
            }
        }
        assert!(changed > 100, "{changed}");
    }

    #[test]
    fn what_is_no_int8_graph_has_a_reason() {
        assert!(matches!(
            replace_encoder(b"no graph", SET),
            Err(UnfitGraph::NotOnnx)
        ));
        let mut model = default_model();
        model
            .graph
            .as_mut()
            .unwrap()
            .node
            .retain(|node| node.op_type != "QuantizeLinear");
        assert!(matches!(replace_in(model, SET), Err(UnfitGraph::NotQuantized)));
    }
}
