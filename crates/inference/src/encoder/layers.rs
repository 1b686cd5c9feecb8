//! The layers of an int8 graph, node by node in the order in which `nerve-export` writes them.

use std::sync::Arc;

use nerve_kernels::{
    Activation, Affine, EncoderError, Layer, Linear, Norm, PositionBias, Quantization, Shape,
};
use nerve_repository::onnx::CONTRIB;
use nerve_repository::onnx::proto::NodeProto;

use crate::encoder::constants::Constants;
use crate::encoder::error::UnfitGraph;
use crate::encoder::pattern::{Pattern, Producers, TokenPatterns};
use crate::encoder::position_bias::{ScoreBias, read_score_bias};
use crate::encoder::weights::{Product, ReadWeights};

/// The layers of a graph, and the values around them.
pub(super) struct Layers<'g> {
    pub(super) shape: Shape,
    pub(super) layers: Vec<Layer>,
    /// The bias by distance that all layers add to attention scores, besides the mask; none if they add the mask alone.
    pub(super) position_bias: Option<PositionBias>,
    /// The first hidden states.
    pub(super) input: &'g str,
    /// The rows of the selected tokens.
    pub(super) selected: &'g str,
    /// The last hidden states of the selected tokens.
    pub(super) output: &'g str,
    /// The number of nodes.
    pub(super) nodes: usize,
}

/// The quantized input of products.
struct Quantized<'g> {
    value: &'g str,
    scale: &'g str,
    zero: &'g str,
    quantization: Quantization,
}

/// What differs between layers only if the graph is not of `nerve-export`.
#[derive(Clone, Copy, PartialEq)]
struct Common {
    inner: usize,
    epsilon: f32,
    activation: Activation,
}

struct Cursor<'g, 'c> {
    nodes: std::slice::Iter<'g, NodeProto>,
    constants: &'c mut Constants,
    producers: &'c Producers<'g>,
    patterns: TokenPatterns,
    weights: ReadWeights<'g>,
    hidden: usize,
    /// The size of a head.
    size: usize,
    common: Option<Common>,
    /// What the first layer adds to attention scores.
    score_bias: Option<ScoreBias<'g>>,
    /// The rows of the selected tokens, known after the last layer.
    selected: Option<&'g str>,
}

/// The layers that begin with the first of these nodes.
pub(super) fn read_layers<'g>(
    nodes: &'g [NodeProto],
    constants: &mut Constants,
    producers: &Producers<'g>,
) -> Result<Layers<'g>, UnfitGraph> {
    let (input, hidden, size) = widths(nodes, constants)?;
    let heads = hidden / size;
    let mut cursor = Cursor {
        nodes: nodes.iter(),
        constants,
        producers,
        patterns: TokenPatterns::of_heads(heads),
        weights: ReadWeights::default(),
        hidden,
        size,
        common: None,
        score_bias: None,
        selected: None,
    };
    let [embeddings, projected] = &cursor.patterns.embeddings;
    let is_projected = producers.node::<3>(input, "Gemm").is_some();
    cursor.check(
        input,
        if is_projected { projected } else { embeddings },
        "the embeddings of the real tokens",
    )?;
    let mut layers = Vec::new();
    let mut output = input;
    let selected = loop {
        let (layer, states) = cursor.layer(output)?;
        layers.push(layer);
        output = states;
        if let Some(selected) = cursor.selected {
            break selected;
        }
    };
    let Common {
        inner,
        epsilon,
        activation,
    } = cursor.common.ok_or(UnfitGraph::NotQuantized)?;
    Ok(Layers {
        shape: Shape {
            hidden,
            heads,
            inner,
            epsilon,
            activation,
        },
        layers,
        position_bias: cursor.score_bias.and_then(|bias| bias.by_distance),
        input,
        selected,
        output,
        nodes: nodes.len() - cursor.nodes.len(),
    })
}

/// The first hidden states, their width and the size of a head, from the first nodes.
fn widths<'g>(nodes: &'g [NodeProto], constants: &Constants) -> Result<(&'g str, usize, usize), UnfitGraph> {
    let is_smoothed = nodes.first().is_some_and(|node| node.op_type == "Mul");
    let quantize = usize::from(is_smoothed);
    let input = |at: usize, number: usize| nodes.get(at)?.input.get(number).map(String::as_str);
    let states = input(0, 0).ok_or(UnfitGraph::NotQuantized)?;
    let weight = input(quantize + 1, 3).ok_or(UnfitGraph::NotQuantized)?;
    let [hidden, outputs] = constants.matrix(weight)?;
    if hidden != outputs {
        return Err(UnfitGraph::Constant {
            name: weight.to_owned(),
        });
    }
    // The products of query, key and value precede the first reshape to heads.
    let parts = input(quantize + 4, 1).unwrap_or_default();
    let size = match constants.of_shape::<i64>(parts, &[2])?[..] {
        [-1, size] => usize::try_from(size)
            .ok()
            .filter(|&size| size > 0 && hidden % size == 0),
        _ => None,
    };
    match size {
        Some(size @ (32 | 64)) => Ok((states, hidden, size)),
        Some(size) => Err(EncoderError::Heads {
            hidden,
            heads: hidden / size,
        }
        .into()),
        None => Err(UnfitGraph::Constant {
            name: parts.to_owned(),
        }),
    }
}

impl<'g> Cursor<'g, '_> {
    /// The next node, which must be this operator with these first inputs, and have no attributes but these.
    fn node(
        &mut self,
        op: &'static str,
        inputs: &[&str],
        attributes: &[&str],
    ) -> Result<&'g NodeProto, UnfitGraph> {
        let unfit = |node: Option<&NodeProto>| UnfitGraph::Node {
            expected: op,
            found: node
                .and_then(|node| node.output.first())
                .cloned()
                .unwrap_or_default(),
        };
        let node = self.nodes.next().ok_or_else(|| unfit(None))?;
        let domain = if op == "QGemm" { CONTRIB } else { "" };
        let takes = node.input.len() >= inputs.len() && node.input.iter().zip(inputs).all(|(a, b)| a == b);
        let known = node
            .attribute
            .iter()
            .all(|attribute| attributes.contains(&attribute.name.as_str()));
        if node.op_type != op || node.domain != domain || !takes || !known || node.output.len() != 1 {
            return Err(unfit(Some(node)));
        }
        Ok(node)
    }

    /// The output of the next node, which has as many inputs as given.
    fn value(
        &mut self,
        op: &'static str,
        inputs: &[&str],
        attributes: &[&str],
    ) -> Result<&'g str, UnfitGraph> {
        let node = self.node(op, inputs, attributes)?;
        let [output] = &node.output[..] else {
            return Err(UnfitGraph::Node {
                expected: op,
                found: String::new(),
            });
        };
        if node.input.len() != inputs.len() {
            return Err(UnfitGraph::Node {
                expected: op,
                found: output.clone(),
            });
        }
        Ok(output)
    }

    /// The node's inputs after the first ones, if there are `N`.
    fn further<const N: usize>(
        &mut self,
        op: &'static str,
        inputs: &[&str],
        attributes: &[&str],
    ) -> Result<(&'g NodeProto, &'g str, &'g [String; N]), UnfitGraph> {
        let node = self.node(op, inputs, attributes)?;
        let output = node.output.first().map(String::as_str).unwrap_or_default();
        let further = node
            .input
            .get(inputs.len()..)
            .and_then(|names| <&[String; N]>::try_from(names).ok());
        let further = further.ok_or_else(|| UnfitGraph::Node {
            expected: op,
            found: output.to_owned(),
        })?;
        Ok((node, output, further))
    }

    /// The output of a gather along the first axis, and its indices.
    fn gathered(&mut self, values: &str) -> Result<(&'g str, &'g str), UnfitGraph> {
        let (node, output, [indices]) = self.further("Gather", &[values], &["axis"])?;
        match node.attribute.iter().any(|axis| axis.i.unwrap_or(0) != 0) {
            true => Err(UnfitGraph::Node {
                expected: "a gather along the first axis",
                found: output.to_owned(),
            }),
            false => Ok((output, indices)),
        }
    }

    /// Fails unless the value is computed as the pattern says.
    fn check(&self, name: &str, pattern: &Pattern, expected: &'static str) -> Result<(), UnfitGraph> {
        match self.producers.fits(self.constants, name, pattern) {
            true => Ok(()),
            false => Err(UnfitGraph::Value {
                name: name.to_owned(),
                expected,
            }),
        }
    }

    /// The quantized value of this width, which may be smoothed before.
    fn quantized(&mut self, value: &'g str, width: usize) -> Result<Quantized<'g>, UnfitGraph> {
        let is_smoothed = self
            .nodes
            .as_slice()
            .first()
            .is_some_and(|node| node.op_type == "Mul");
        let (value, factors) = match is_smoothed {
            false => (value, None),
            true => {
                let (_, smoothed, [factors]) = self.further("Mul", &[value], &[])?;
                (smoothed, Some(self.constants.take(factors, &[width])?))
            }
        };
        let (_, value, [scale, zero]) = self.further("QuantizeLinear", &[value], &[])?;
        let affine = Affine {
            scale: self.constants.scalar(scale)?,
            zero_point: self.constants.scalar(zero)?,
        };
        Ok(Quantized {
            value,
            scale,
            zero,
            quantization: Quantization { affine, factors },
        })
    }

    /// The next product of this input with so many columns.
    fn product(&mut self, input: &Quantized, columns: usize) -> Result<Product<'g>, UnfitGraph> {
        let inputs = [input.value, input.scale, input.zero];
        let (_, output, [weight, scales, zeros, bias]) = self.further("QGemm", &inputs, &[])?;
        Ok(Product {
            output,
            weights: [weight, scales, zeros],
            bias: self.constants.take(bias, &[columns])?,
        })
    }

    fn linear(&mut self, input: &Quantized, [from, to]: [usize; 2]) -> Result<(&'g str, Linear), UnfitGraph> {
        let product = self.product(input, to)?;
        let output = product.output;
        let affine = input.quantization.affine;
        let linear = self
            .weights
            .linear(&[product], [from, to], affine, self.constants)?;
        Ok((output, linear))
    }

    /// Reshapes a value to this shape.
    fn reshaped(&mut self, value: &str, shape: [i64; 2]) -> Result<&'g str, UnfitGraph> {
        let (_, output, [name]) = self.further("Reshape", &[value], &[])?;
        if self.constants.of_shape::<i64>(name, &[2])? != shape {
            return Err(UnfitGraph::Constant { name: name.clone() });
        }
        Ok(output)
    }

    /// The heads of projected rows.
    fn heads(&mut self, rows: &str) -> Result<&'g str, UnfitGraph> {
        let parts = self.reshaped(rows, [-1, self.size as i64])?;
        let (output, indices) = self.gathered(parts)?;
        self.check(indices, &self.patterns.parts, "the parts of heads")?;
        Ok(output)
    }

    fn norm(&mut self, input: &str) -> Result<(&'g str, Arc<Norm>, f32), UnfitGraph> {
        let (node, output, [weight, bias]) =
            self.further("LayerNormalization", &[input], &["axis", "epsilon"])?;
        let attribute = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
        if attribute("axis").is_some_and(|axis| axis.i != Some(-1)) {
            return Err(UnfitGraph::Node {
                expected: "LayerNormalization",
                found: output.to_owned(),
            });
        }
        let epsilon = attribute("epsilon")
            .and_then(|attribute| attribute.f)
            .unwrap_or(1e-5);
        if !(epsilon.is_finite() && epsilon >= 0.0) {
            return Err(UnfitGraph::Value {
                name: output.to_owned(),
                expected: "normalized with an epsilon of 0 or more",
            });
        }
        let norm = self
            .weights
            .norm([weight, bias].map(String::as_str), self.hidden, self.constants)?;
        Ok((output, norm, epsilon))
    }

    fn activated(&mut self, input: &str) -> Result<(&'g str, Activation), UnfitGraph> {
        if self
            .nodes
            .as_slice()
            .first()
            .is_some_and(|node| node.op_type == "Relu")
        {
            return Ok((self.value("Relu", &[input], &[])?, Activation::Relu));
        }
        let (node, output, []) = self.further("Gelu", &[input], &["approximate"])?;
        let approximate = node
            .attribute
            .first()
            .and_then(|attribute| attribute.s.as_deref());
        match approximate {
            None | Some(b"none") => Ok((output, Activation::Gelu)),
            Some(b"tanh") => Ok((output, Activation::GeluTanh)),
            Some(_) => Err(UnfitGraph::Node {
                expected: "Gelu",
                found: output.to_owned(),
            }),
        }
    }

    /// Attention: the packed projections, the rows of the heads' outputs, and the states of the same tokens.
    fn attention(
        &mut self,
        input: &Quantized,
        states: &'g str,
    ) -> Result<(Linear, &'g str, &'g str), UnfitGraph> {
        let hidden = self.hidden;
        let products = [
            self.product(input, hidden)?,
            self.product(input, hidden)?,
            self.product(input, hidden)?,
        ];
        let projections = self.weights.linear(
            &products,
            [hidden, hidden],
            input.quantization.affine,
            self.constants,
        )?;
        let [query, key, value] = products.map(|product| product.output);
        let query = self.heads(query)?;
        let key = self.heads(key)?;
        let (turned, key, []) = self.further("Transpose", &[key], &["perm"])?;
        let order = turned
            .attribute
            .first()
            .map(|attribute| attribute.ints.as_slice());
        if order != Some(&[0, 1, 3, 2]) {
            return Err(UnfitGraph::Node {
                expected: "Transpose",
                found: key.to_owned(),
            });
        }
        let value = self.heads(value)?;
        let scores = self.value("MatMul", &[query, key], &[])?;
        let (_, masked, [bias]) = self.further("Add", &[scores], &[])?;
        self.score_bias(bias)?;
        let (softmax, weights, []) = self.further("Softmax", &[masked], &["axis"])?;
        if softmax.attribute.iter().any(|axis| axis.i != Some(-1)) {
            return Err(UnfitGraph::Node {
                expected: "Softmax",
                found: weights.to_owned(),
            });
        }
        let mixed = self.value("MatMul", &[weights, value], &[])?;
        let parts = self.reshaped(mixed, [-1, self.size as i64])?;
        let (merged, outputs) = self.gathered(parts)?;
        let rows = self.reshaped(merged, [-1, hidden as i64])?;
        // The last layer goes on with the selected tokens alone.
        if self
            .nodes
            .as_slice()
            .first()
            .is_none_or(|node| node.op_type != "Gather")
        {
            self.check(outputs, &self.patterns.outputs, "the parts of tokens")?;
            return Ok((projections, rows, states));
        }
        self.check(
            outputs,
            &self.patterns.selected_outputs,
            "the parts of selected tokens",
        )?;
        let (states, selected) = self.gathered(states)?;
        self.check(selected, &self.patterns.selected, "the rows of selected tokens")?;
        self.selected = Some(selected);
        Ok((projections, rows, states))
    }

    /// Reads what the first layer adds to attention scores, and checks that the others add the same.
    fn score_bias(&mut self, name: &'g str) -> Result<(), UnfitGraph> {
        match &self.score_bias {
            Some(first) if first.name == name => {}
            Some(_) => {
                return Err(UnfitGraph::Value {
                    name: name.to_owned(),
                    expected: "the bias of scores in the first layer",
                });
            }
            None => {
                let heads = self.hidden / self.size;
                let found = read_score_bias(name, heads, &self.patterns, self.constants, self.producers)?;
                self.score_bias = Some(found);
            }
        }
        Ok(())
    }

    /// The next layer, and its output.
    fn layer(&mut self, states: &'g str) -> Result<(Layer, &'g str), UnfitGraph> {
        let hidden = self.hidden;
        let input = self.quantized(states, hidden)?;
        let (projections, rows, states) = self.attention(&input, states)?;
        let mixed = self.quantized(rows, hidden)?;
        let (projected, output) = self.linear(&mixed, [hidden, hidden])?;
        let sum = self.value("Add", &[projected, states], &[])?;
        let (attended_states, attention_norm, epsilon) = self.norm(sum)?;
        let attended = self.quantized(attended_states, hidden)?;
        let inner = self.inner()?;
        let (widened, widen) = self.linear(&attended, [hidden, inner])?;
        let (activated, activation) = self.activated(widened)?;
        let activated = self.quantized(activated, inner)?;
        let (narrowed, narrow) = self.linear(&activated, [inner, hidden])?;
        let sum = self.value("Add", &[narrowed, attended_states], &[])?;
        let (output_states, output_norm, output_epsilon) = self.norm(sum)?;
        let common = Common {
            inner,
            epsilon,
            activation,
        };
        if output_epsilon != epsilon || *self.common.get_or_insert(common) != common {
            return Err(UnfitGraph::Value {
                name: output_states.to_owned(),
                expected: "of the same width, epsilon and activation as in other layers",
            });
        }
        let layer = Layer {
            projections,
            output,
            widen,
            narrow,
            input: input.quantization,
            mixed: mixed.quantization,
            attended: attended.quantization,
            activated: activated.quantization,
            attention_norm,
            output_norm,
        };
        Ok((layer, output_states))
    }

    /// The width of the feed-forward network: in the first layer that of the next product's output, then that of the first layer.
    fn inner(&self) -> Result<usize, UnfitGraph> {
        if let Some(common) = &self.common {
            return Ok(common.inner);
        }
        let weight = self.nodes.as_slice().first().and_then(|node| node.input.get(3));
        let [_, width] = self.constants.matrix(weight.ok_or(UnfitGraph::NotQuantized)?)?;
        Ok(width)
    }
}
