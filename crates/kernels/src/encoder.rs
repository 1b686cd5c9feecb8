//! A transformer encoder in 8-bit integers.

use std::sync::Arc;

use thiserror::Error;

use crate::activation::Activation;
use crate::instructions::InstructionSet;
use crate::linear::{GROUP, Linear};
use crate::norm::Norm;
use crate::position_bias::PositionBias;
use crate::quantization::Quantization;

/// The widths of an encoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// The width of the hidden states.
    pub hidden: usize,
    /// Attention heads of 32 or 64 dimensions.
    pub heads: usize,
    /// The width inside the feed-forward network.
    pub inner: usize,
    /// What layer normalization adds to the variance.
    pub epsilon: f32,
    /// The activation of the feed-forward network.
    pub activation: Activation,
}

/// A layer: attention and feed-forward network, each followed by the residual sum and layer normalization. Layers may share weights
/// and normalizations; biases and quantizations are their own.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Hidden states to `[query | key | value]`, the query with the scale of attention.
    pub projections: Linear,
    /// The outputs of the heads to hidden states.
    pub output: Linear,
    /// Hidden states to the inside of the feed-forward network.
    pub widen: Linear,
    /// The inside of the feed-forward network to hidden states.
    pub narrow: Linear,
    /// The quantization of the layer's input.
    pub input: Quantization,
    /// The quantization of the outputs of the heads.
    pub mixed: Quantization,
    /// The quantization of the feed-forward network's input.
    pub attended: Quantization,
    /// The quantization of the activations.
    pub activated: Quantization,
    /// The normalization after attention.
    pub attention_norm: Arc<Norm>,
    /// The normalization after the feed-forward network.
    pub output_norm: Arc<Norm>,
}

/// The sequences of a batch, whose tokens lie one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Sequences<'a> {
    /// The number of tokens of each sequence.
    pub lengths: &'a [usize],
    /// The tokens whose hidden states are wanted, ascending.
    pub selected: &'a [usize],
}

/// Why an encoder cannot be built or run.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum EncoderError {
    /// The processor lacks the instruction set, or its operating system refuses it.
    #[error("this processor or its operating system does not offer {}", .0.name())]
    Instructions(InstructionSet),
    /// There is no layer.
    #[error("the encoder has no layer")]
    NoLayer,
    /// The heads have another size.
    #[error("{hidden} dimensions in {heads} heads: a head must have 32 or 64 dimensions")]
    Heads {
        /// The hidden width.
        hidden: usize,
        /// The heads.
        heads: usize,
    },
    /// The inner width is no multiple of 16.
    #[error("the feed-forward network has {inner} dimensions, which is no multiple of 16")]
    Inner {
        /// The inner width.
        inner: usize,
    },
    /// The position biases are of another number of heads.
    #[error("the position biases are of {found} heads, the encoder has {heads}")]
    BiasHeads {
        /// Their heads.
        found: usize,
        /// The heads of the encoder.
        heads: usize,
    },
    /// A part has other widths than the shape.
    #[error("layer {layer}: {part}: the widths are {found:?} instead of {expected:?}")]
    Widths {
        /// The part.
        part: &'static str,
        /// The number of the layer.
        layer: usize,
        /// Its widths.
        found: [usize; 2],
        /// The widths of the shape.
        expected: [usize; 2],
    },
    /// The states are of another number of tokens than the sequences.
    #[error("the {part} have {found} numbers; the sequences require {expected}")]
    States {
        /// `states` or `outputs`.
        part: &'static str,
        /// The numbers.
        found: usize,
        /// The numbers required.
        expected: usize,
    },
    /// The threads of ONNX Runtime cannot be used.
    #[error("the work cannot be divided over threads: {0}")]
    Threads(String),
    /// The selected tokens are not ascending, or not in the batch.
    #[error("the selected tokens are not ascending numbers below {tokens}")]
    Selection {
        /// The tokens of the batch.
        tokens: usize,
    },
}

/// A transformer encoder in 8-bit integers, with the weights packed for products.
///
/// The output of a token depends on its sequence alone, bit for bit: not on the batch, the selection or the instruction set.
#[derive(Debug)]
pub struct Encoder {
    shape: Shape,
    layers: Vec<Layer>,
    position_bias: Option<PositionBias>,
    instructions: InstructionSet,
}

impl Encoder {
    /// The encoder of these layers, on an instruction set that the processor has.
    pub fn new(shape: Shape, layers: Vec<Layer>, instructions: InstructionSet) -> Result<Self, EncoderError> {
        let Shape {
            hidden, heads, inner, ..
        } = shape;
        if !instructions.is_available() {
            return Err(EncoderError::Instructions(instructions));
        }
        if heads == 0 || (hidden != heads * 32 && hidden != heads * 64) {
            return Err(EncoderError::Heads { hidden, heads });
        }
        if inner == 0 || inner % 16 != 0 {
            return Err(EncoderError::Inner { inner });
        }
        if layers.is_empty() {
            return Err(EncoderError::NoLayer);
        }
        for (number, layer) in layers.iter().enumerate() {
            let widths = |linear: &Linear| [linear.inputs(), linear.outputs()];
            let lengths = |norm: &Norm| [norm.weight.len(), norm.bias.len()];
            let factors = |quantization: &Quantization, width: usize| {
                let found = quantization.factors.as_ref().map_or(width, Vec::len);
                ([found, width], [width; 2])
            };
            let of_inputs = [
                ("the factors of the input", factors(&layer.input, hidden)),
                ("the factors of the heads' outputs", factors(&layer.mixed, hidden)),
                (
                    "the factors of the feed-forward input",
                    factors(&layer.attended, hidden),
                ),
                ("the factors of the activations", factors(&layer.activated, inner)),
            ]
            .map(|(part, (found, expected))| (part, found, expected));
            let parts = [
                (
                    "the projections",
                    widths(&layer.projections),
                    [hidden, 3 * hidden],
                ),
                ("the attention output", widths(&layer.output), [hidden, hidden]),
                (
                    "the first feed-forward product",
                    widths(&layer.widen),
                    [hidden, inner],
                ),
                (
                    "the second feed-forward product",
                    widths(&layer.narrow),
                    [inner, hidden],
                ),
                (
                    "the first normalization",
                    lengths(&layer.attention_norm),
                    [hidden; 2],
                ),
                (
                    "the second normalization",
                    lengths(&layer.output_norm),
                    [hidden; 2],
                ),
            ];
            for (part, found, expected) in parts.into_iter().chain(of_inputs) {
                if found != expected {
                    let layer = number;
                    return Err(EncoderError::Widths {
                        part,
                        layer,
                        found,
                        expected,
                    });
                }
            }
        }
        Ok(Self {
            shape,
            layers,
            position_bias: None,
            instructions,
        })
    }

    /// The same encoder, which adds this bias to the attention scores of all layers.
    pub fn with_position_bias(self, bias: PositionBias) -> Result<Self, EncoderError> {
        let (found, heads) = (bias.heads(), self.shape.heads);
        if found != heads {
            return Err(EncoderError::BiasHeads { found, heads });
        }
        Ok(Self {
            position_bias: Some(bias),
            ..self
        })
    }

    /// The widths.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The instruction set that runs.
    pub fn instructions(&self) -> InstructionSet {
        self.instructions
    }

    /// The layers, the first one first.
    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The bias by distance that is added to attention scores, if the model has one.
    pub(crate) fn position_bias(&self) -> Option<&PositionBias> {
        self.position_bias.as_ref()
    }
}

const _: () = assert!(32 % GROUP == 0, "rows of bytes need no padding");

#[cfg(test)]
mod tests;
