//! The int8 encoder of a bundle's graph, found and replaced by the operator of `nerve-kernels`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nerve_kernels::{
    Activation, Affine, DOMAIN, Encoder, EncoderError, InstructionSet, InstructionSetError, Layer, Linear, LinearError,
    Norm, OPERATOR, Shape,
};
use nerve_repository::onnx::CONTRIB;
use nerve_repository::onnx::proto::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto};
use prost::Message;
use thiserror::Error;

/// A graph whose encoder is an operator of `nerve-kernels`, and the encoder.
pub(crate) struct EncoderGraph {
    /// The model: embeddings, the operator, the classifier.
    pub(crate) model: Vec<u8>,
    /// What the operator runs.
    pub(crate) encoder: Arc<Encoder>,
}

/// Why a graph's encoder cannot be replaced.
#[derive(Debug, Error)]
pub(crate) enum UnfitGraph {
    /// The file is no ONNX model.
    #[error("the file is no ONNX model")]
    NotOnnx,
    /// The graph quantizes nothing.
    #[error("the graph is not int8")]
    NotQuantized,
    /// A node differs.
    #[error("the node `{found}` stands where {expected} is expected")]
    Node {
        /// The operator expected.
        expected: &'static str,
        /// The output of the node found.
        found: String,
    },
    /// A constant is missing, or of another type or shape.
    #[error("the constant `{name}` is missing or has another type or shape")]
    Constant {
        /// Its name.
        name: String,
    },
    /// A product cannot be computed.
    #[error("the product `{name}`: {source}")]
    Product {
        /// Its name.
        name: String,
        /// The reason.
        source: LinearError,
    },
    /// The encoder cannot be built.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The instruction set that the environment names cannot be used.
    #[error(transparent)]
    Instructions(#[from] InstructionSetError),
}

/// An element type of constants, by its number in `TensorProto.DataType`.
trait Element: Sized {
    const NUMBER: i32;
    fn read(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! element {
    ($type:ty, $number:literal) => {
        impl Element for $type {
            const NUMBER: i32 = $number;

            fn read(bytes: &[u8]) -> Vec<Self> {
                let (elements, _) = bytes.as_chunks();
                elements.iter().map(|bytes| Self::from_le_bytes(*bytes)).collect()
            }
        }
    };
}
element!(f32, 1);
element!(u8, 2);
element!(i8, 3);
element!(i32, 6);
element!(i64, 7);

/// The nodes before the encoder that select its tokens, as `nerve-export` writes them: operator, inputs and output. The operator computes
/// what the encoder's nodes compute only together with these.
const SELECTION_NODES: [(&str, &[&str], &str); 4] = [
    ("Reshape", &["attention_mask", "shape.flat"], "packed.mask"),
    ("CumSum", &["packed.mask", "packed.axis_0"], "packed.counted"),
    ("Sub", &["packed.counted", "packed.one"], "packed.rows"),
    ("Gather", &["packed.rows", "logits_indices"], "packed.selected"),
];

/// The quantized input of products.
struct Quantized<'g> {
    value: &'g str,
    scale: &'g str,
    zero: &'g str,
    affine: Affine,
}

/// The columns of a product.
struct Columns {
    weight: Vec<i8>,
    scales: Vec<f32>,
    bias: Vec<i32>,
}

/// The nodes in order, as `nerve-export` writes them.
struct Cursor<'g> {
    nodes: std::slice::Iter<'g, NodeProto>,
    constants: &'g BTreeMap<&'g str, &'g TensorProto>,
    hidden: usize,
    inner: usize,
    epsilon: f32,
}

/// Replaces the encoder of an int8 graph that `nerve-export` wrote without padding.
pub(crate) fn replace_encoder(bytes: &[u8]) -> Result<EncoderGraph, UnfitGraph> {
    let mut model = ModelProto::decode(bytes).map_err(|_| UnfitGraph::NotOnnx)?;
    let graph = model.graph.take().ok_or(UnfitGraph::NotOnnx)?;
    let constants: BTreeMap<&str, &TensorProto> = graph.initializer.iter().map(|c| (c.name.as_str(), c)).collect();
    let first = graph.node.iter().position(|node| node.op_type == "QuantizeLinear");
    let first = first.ok_or(UnfitGraph::NotQuantized)?;
    for (op, inputs, output) in SELECTION_NODES {
        let found = graph.node[..first].iter().find(|node| node.output.iter().any(|name| name == output));
        if !found.is_some_and(|node| node.op_type == op && node.input == inputs) {
            return Err(UnfitGraph::Node { expected: op, found: output.to_owned() });
        }
    }
    let [_, head] = constant::<i64>(&constants, "shape.parts", &[2])?[..] else {
        return Err(UnfitGraph::Constant { name: "shape.parts".to_owned() });
    };
    let input = graph.node[first].input.first().map(String::as_str).unwrap_or_default();
    let hidden = hidden_width(&graph.node[first + 1..], &constants)?;
    let mut cursor = Cursor {
        nodes: graph.node[first..].iter(),
        constants: &constants,
        hidden,
        inner: 0,
        epsilon: 0.0,
    };
    let mut layers = Vec::new();
    let mut states = input;
    while cursor.nodes.as_slice().first().is_some_and(|node| node.op_type == "QuantizeLinear") {
        let (layer, output) = cursor.layer(states)?;
        layers.push(layer);
        states = output;
    }
    let shape = Shape {
        hidden,
        heads: usize::try_from(head).map_or(0, |head| hidden.checked_div(head).unwrap_or(0)),
        inner: cursor.inner,
        epsilon: cursor.epsilon,
        activation: Activation::Gelu,
    };
    let encoder = Arc::new(Encoder::new(shape, layers, InstructionSet::detect()?)?);
    let operator = NodeProto {
        input: [input, "attention_mask", "packed.selected"].map(str::to_owned).to_vec(),
        output: vec![states.to_owned()],
        name: "encoder".to_owned(),
        op_type: OPERATOR.to_owned(),
        attribute: Vec::new(),
        domain: DOMAIN.to_owned(),
    };
    let after = cursor.nodes.as_slice().to_vec();
    let nodes = graph.node[..first].iter().cloned().chain([operator]).chain(after).collect();
    drop(constants);
    model.graph = Some(pruned(graph, nodes));
    model.opset_import.push(OperatorSetIdProto { domain: DOMAIN.to_owned(), version: 1 });
    Ok(EncoderGraph { model: model.encode_to_vec(), encoder })
}

/// The graph of these nodes, without nodes and constants that no output needs.
fn pruned(mut graph: GraphProto, nodes: Vec<NodeProto>) -> GraphProto {
    let mut needed: BTreeSet<String> = graph.output.iter().map(|output| output.name.clone()).collect();
    let mut kept: Vec<NodeProto> = Vec::new();
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

/// The width of the first product's input.
fn hidden_width(nodes: &[NodeProto], constants: &BTreeMap<&str, &TensorProto>) -> Result<usize, UnfitGraph> {
    let product = nodes.first().filter(|node| node.op_type == "QGemm");
    let weight = product.and_then(|node| node.input.get(3)).and_then(|name| constants.get(name.as_str()));
    let width = weight.and_then(|weight| usize::try_from(*weight.dims.first()?).ok());
    width.ok_or(UnfitGraph::NotQuantized)
}

/// A constant of this shape.
fn constant<T: Element>(
    constants: &BTreeMap<&str, &TensorProto>,
    name: &str,
    shape: &[usize],
) -> Result<Vec<T>, UnfitGraph> {
    let wrong = || UnfitGraph::Constant { name: name.to_owned() };
    let found = constants.get(name).ok_or_else(wrong)?;
    let has_shape = found.dims.iter().map(|&extent| usize::try_from(extent).ok()).eq(shape.iter().copied().map(Some));
    let elements: usize = shape.iter().product();
    if !has_shape || found.data_type != T::NUMBER || found.raw_data.len() != elements * size_of::<T>() {
        return Err(wrong());
    }
    Ok(T::read(&found.raw_data))
}

impl<'g> Cursor<'g> {
    /// The next node, which must be this operator with these first inputs.
    fn node(&mut self, op: &'static str, inputs: &[&str]) -> Result<&'g NodeProto, UnfitGraph> {
        let unfit = |node: Option<&NodeProto>| UnfitGraph::Node {
            expected: op,
            found: node.and_then(|node| node.output.first()).cloned().unwrap_or_default(),
        };
        let node = self.nodes.next().ok_or_else(|| unfit(None))?;
        let domain = if op == "QGemm" { CONTRIB } else { "" };
        let takes = node.input.len() >= inputs.len() && node.input.iter().zip(inputs).all(|(a, b)| a == b);
        if node.op_type != op || node.domain != domain || !takes || node.output.len() != 1 {
            return Err(unfit(Some(node)));
        }
        Ok(node)
    }

    /// The output of the next node.
    fn op(&mut self, op: &'static str, inputs: &[&str]) -> Result<&'g str, UnfitGraph> {
        Ok(self.node(op, inputs)?.output[0].as_str())
    }

    fn constant<T: Element>(&self, name: &str, shape: &[usize]) -> Result<Vec<T>, UnfitGraph> {
        constant(self.constants, name, shape)
    }

    fn quantized(&mut self, value: &str) -> Result<Quantized<'g>, UnfitGraph> {
        let node = self.node("QuantizeLinear", &[value])?;
        let [_, scale, zero] = &node.input[..] else {
            return Err(UnfitGraph::Node { expected: "QuantizeLinear", found: node.output[0].clone() });
        };
        let affine = Affine {
            scale: self.constant::<f32>(scale, &[])?[0],
            zero_point: self.constant::<u8>(zero, &[])?[0],
        };
        Ok(Quantized { value: &node.output[0], scale, zero, affine })
    }

    fn columns(&mut self, input: &Quantized, [from, to]: [usize; 2]) -> Result<(&'g str, Columns), UnfitGraph> {
        let node = self.node("QGemm", &[input.value, input.scale, input.zero])?;
        let [_, _, _, weight, scales, zeros, bias] = &node.input[..] else {
            return Err(UnfitGraph::Node { expected: "QGemm", found: node.output[0].clone() });
        };
        if self.constant::<i8>(zeros, &[to])?.iter().any(|&zero| zero != 0) || !node.attribute.is_empty() {
            return Err(UnfitGraph::Constant { name: zeros.clone() });
        }
        let columns = Columns {
            weight: self.constant(weight, &[from, to])?,
            scales: self.constant(scales, &[to])?,
            bias: self.constant(bias, &[to])?,
        };
        Ok((&node.output[0], columns))
    }

    fn linear(&mut self, input: &Quantized, widths: [usize; 2]) -> Result<(&'g str, Linear), UnfitGraph> {
        let (name, columns) = self.columns(input, widths)?;
        Ok((name, linear(name, &[columns], widths, input.affine)?))
    }

    /// The heads of projected rows.
    fn heads(&mut self, rows: &str) -> Result<&'g str, UnfitGraph> {
        let parts = self.op("Reshape", &[rows, "shape.parts"])?;
        self.op("Gather", &[parts, "packed.parts"])
    }

    fn norm(&mut self, input: &str) -> Result<(&'g str, Norm), UnfitGraph> {
        let node = self.node("LayerNormalization", &[input])?;
        let [_, weight, bias] = &node.input[..] else {
            return Err(UnfitGraph::Node { expected: "LayerNormalization", found: node.output[0].clone() });
        };
        let epsilon = node.attribute.iter().find(|attribute| attribute.name == "epsilon");
        self.epsilon = epsilon.and_then(|attribute| attribute.f).unwrap_or(1e-5);
        let norm = Norm {
            weight: self.constant(weight, &[self.hidden])?,
            bias: self.constant(bias, &[self.hidden])?,
        };
        Ok((&node.output[0], norm))
    }

    /// The next layer, and its output.
    fn layer(&mut self, states: &str) -> Result<(Layer, &'g str), UnfitGraph> {
        let hidden = self.hidden;
        let input = self.quantized(states)?;
        let square = [hidden, hidden];
        let (query, query_columns) = self.columns(&input, square)?;
        let (key, key_columns) = self.columns(&input, square)?;
        let (value, value_columns) = self.columns(&input, square)?;
        let projections = linear(query, &[query_columns, key_columns, value_columns], [hidden, 3 * hidden], input.affine)?;
        let query = self.heads(query)?;
        let key = self.heads(key)?;
        let key = self.op("Transpose", &[key])?;
        let value = self.heads(value)?;
        let scores = self.op("MatMul", &[query, key])?;
        let masked = self.op("Add", &[scores, "mask"])?;
        let weights = self.op("Softmax", &[masked])?;
        let mixed = self.op("MatMul", &[weights, value])?;
        let parts = self.op("Reshape", &[mixed, "shape.parts"])?;
        let merged = self.op("Gather", &[parts])?;
        let rows = self.op("Reshape", &[merged, "shape.rows"])?;
        // The last layer selects the tokens here.
        let is_last = self.nodes.as_slice().first().is_some_and(|node| node.op_type == "Gather");
        let states = match is_last {
            true => self.op("Gather", &[states, "packed.selected"])?,
            false => states,
        };
        let mixed = self.quantized(rows)?;
        let (projected, output) = self.linear(&mixed, square)?;
        let sum = self.op("Add", &[projected, states])?;
        let (attended_name, attention_norm) = self.norm(sum)?;
        let attended = self.quantized(attended_name)?;
        let inner = self.inner_width()?;
        self.inner = inner;
        let (widened, widen) = self.linear(&attended, [hidden, inner])?;
        let activated = self.op("Gelu", &[widened])?;
        let activated = self.quantized(activated)?;
        let (narrowed, narrow) = self.linear(&activated, [inner, hidden])?;
        let sum = self.op("Add", &[narrowed, attended_name])?;
        let (output_name, output_norm) = self.norm(sum)?;
        let layer = Layer {
            projections,
            output,
            widen,
            narrow,
            input: input.affine,
            mixed: mixed.affine,
            attended: attended.affine,
            activated: activated.affine,
            attention_norm,
            output_norm,
        };
        Ok((layer, output_name))
    }

    /// The width of the next product's output.
    fn inner_width(&self) -> Result<usize, UnfitGraph> {
        let node = self.nodes.as_slice().first();
        let weight = node.and_then(|node| node.input.get(3)).and_then(|name| self.constants.get(name.as_str()));
        let width = weight.and_then(|weight| usize::try_from(*weight.dims.get(1)?).ok());
        width.ok_or(UnfitGraph::NotQuantized)
    }
}

/// The linear layer whose columns are those of the parts side by side.
fn linear(name: &str, parts: &[Columns], widths: [usize; 2], input: Affine) -> Result<Linear, UnfitGraph> {
    let [from, to] = widths;
    let mut weight = Vec::with_capacity(from * to);
    for row in 0..from {
        for part in parts {
            let width = part.scales.len();
            weight.extend_from_slice(&part.weight[row * width..(row + 1) * width]);
        }
    }
    let scales: Vec<f32> = parts.iter().flat_map(|part| part.scales.iter().copied()).collect();
    let bias: Vec<i32> = parts.iter().flat_map(|part| part.bias.iter().copied()).collect();
    Linear::new(&weight, &scales, &bias, widths, input).map_err(|source| UnfitGraph::Product {
        name: name.to_owned(),
        source,
    })
}
