//! A transformer encoder in 8-bit integers.

use thiserror::Error;

use crate::activation::Activation;
use crate::arena::{Arena, sized};
use crate::attention::{Mixed, Projections};
use crate::instructions::InstructionSet;
use crate::linear::{Affine, GROUP, Linear};
use crate::math::Quantizer;
use crate::norm::Norm;
use crate::product::{Activate, AddTo, Rows, Store, multiply};
use crate::simd::{Simd, Task};

/// Rows that go through the feed-forward network together, so that they stay in the cache.
const BLOCK: usize = 96;

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

/// A layer: attention and feed-forward network, each followed by the residual sum and layer normalization.
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
    pub input: Affine,
    /// The quantization of the outputs of the heads.
    pub mixed: Affine,
    /// The quantization of the feed-forward network's input.
    pub attended: Affine,
    /// The quantization of the activations.
    pub activated: Affine,
    /// The normalization after attention.
    pub attention_norm: Norm,
    /// The normalization after the feed-forward network.
    pub output_norm: Norm,
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
    /// A part has other widths than the shape.
    #[error("{part} of layer {layer} has the widths {found:?} instead of {expected:?}")]
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
    #[error("the hidden states have {found} numbers; the sequences require {expected}")]
    States {
        /// The numbers.
        found: usize,
        /// The numbers required.
        expected: usize,
    },
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
    instructions: InstructionSet,
}

impl Encoder {
    /// The encoder of these layers, on an instruction set that the processor has.
    pub fn new(shape: Shape, layers: Vec<Layer>, instructions: InstructionSet) -> Result<Self, EncoderError> {
        let Shape {
            hidden, heads, inner, ..
        } = shape;
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
            for (part, found, expected) in parts {
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
            instructions: if instructions.is_available() {
                instructions
            } else {
                InstructionSet::Portable
            },
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

    /// The memory of the packed weights in bytes.
    pub fn bytes(&self) -> usize {
        let linears = |layer: &Layer| {
            let linears = [&layer.projections, &layer.output, &layer.widen, &layer.narrow];
            linears.map(Linear::bytes).iter().sum::<usize>()
        };
        self.layers.iter().map(linears).sum()
    }

    /// The last hidden states of the selected tokens, `[selected, hidden]`, from the first hidden states of all tokens,
    /// `[tokens, hidden]`.
    pub fn run<'a>(
        &self,
        states: &[f32],
        sequences: Sequences,
        arena: &'a mut Arena,
    ) -> Result<&'a [f32], EncoderError> {
        let tokens: usize = sequences.lengths.iter().sum();
        let expected = tokens * self.shape.hidden;
        if states.len() != expected {
            let found = states.len();
            return Err(EncoderError::States { found, expected });
        }
        let ascending = sequences.selected.is_sorted_by(|a, b| a < b);
        if !ascending || sequences.selected.last().is_some_and(|&last| last >= tokens) {
            return Err(EncoderError::Selection { tokens });
        }
        self.instructions.run(Run {
            encoder: self,
            states,
            sequences,
            arena,
        });
        Ok(&arena.states[..sequences.selected.len() * self.shape.hidden])
    }

    #[inline(always)]
    fn run_with<S: Simd>(&self, simd: S, states: &[f32], sequences: Sequences, arena: &mut Arena) {
        let hidden = self.shape.hidden;
        let tokens = states.len() / hidden;
        sized(&mut arena.states, states.len()).copy_from_slice(states);
        let inputs = sized(&mut arena.inputs, states.len());
        if let Some(first) = self.layers.first() {
            let quantizer = Quantizer::new(simd, first.input);
            let (inputs, _) = inputs.as_chunks_mut();
            let (states, _) = states.as_chunks();
            for (values, to) in states.iter().zip(inputs) {
                quantizer.quantize(simd, simd.load(values), to);
            }
        }
        for (number, layer) in self.layers.iter().enumerate() {
            let next = self.layers.get(number + 1);
            self.attention(
                simd,
                layer,
                tokens,
                next.is_none().then_some(sequences.selected),
                sequences.lengths,
                arena,
            );
            let rows = match next {
                Some(_) => tokens,
                None => {
                    // The other tokens are not needed any more.
                    for (at, &token) in sequences.selected.iter().enumerate() {
                        arena
                            .states
                            .copy_within(token * hidden..(token + 1) * hidden, at * hidden);
                    }
                    sequences.selected.len()
                }
            };
            for first in (0..rows).step_by(BLOCK) {
                let block = first..rows.min(first + BLOCK);
                self.feed_forward(simd, layer, next, block, arena);
            }
        }
    }

    /// Fills `mixed` with the outputs of the heads: of the selected tokens, or of all.
    #[inline(always)]
    fn attention<S: Simd>(
        &self,
        simd: S,
        layer: &Layer,
        tokens: usize,
        selected: Option<&[usize]>,
        lengths: &[usize],
        arena: &mut Arena,
    ) {
        let Shape { hidden, heads, .. } = self.shape;
        let Arena {
            inputs,
            projections,
            mixed,
            head,
            queries,
            ..
        } = arena;
        let projections = sized(projections, tokens * 3 * hidden);
        let rows = Rows {
            bytes: inputs,
            stride: hidden,
            count: tokens,
        };
        let stride = 3 * hidden;
        multiply(
            simd,
            rows,
            &layer.projections,
            &mut Store {
                to: projections,
                stride,
            },
        );
        let projections = Projections {
            rows: projections,
            hidden,
            heads,
        };
        let count = selected.map_or(tokens, <[usize]>::len);
        let mixed = sized(mixed, count * hidden);
        let quantizer = Quantizer::new(simd, layer.mixed);
        let (mut start, mut done) = (0, 0);
        for &length in lengths {
            let range = start..start + length;
            queries.clear();
            match selected {
                None => queries.extend(0..length),
                Some(selected) => {
                    let rest = &selected[done..];
                    let own = rest.iter().take_while(|&&token| token < range.end);
                    queries.extend(own.map(|token| token - start));
                }
            }
            if !queries.is_empty() {
                let rows = &mut mixed[done * hidden..];
                projections.attend(simd, range, queries, head, &mut Mixed { quantizer, rows });
            }
            start += length;
            done += queries.len();
        }
    }

    /// The rest of the layer for a block of rows.
    #[inline(always)]
    fn feed_forward<S: Simd>(
        &self,
        simd: S,
        layer: &Layer,
        next: Option<&Layer>,
        block: std::ops::Range<usize>,
        arena: &mut Arena,
    ) {
        let Shape {
            hidden,
            inner,
            epsilon,
            activation,
            ..
        } = self.shape;
        let count = block.len();
        let Arena {
            states,
            inputs,
            mixed,
            activated,
            ..
        } = arena;
        let part = block.start * hidden..block.end * hidden;
        let states = &mut states[part.clone()];
        let inputs = &mut inputs[part.clone()];
        let rows = |bytes, stride| Rows { bytes, stride, count };

        multiply(
            simd,
            rows(&mixed[part], hidden),
            &layer.output,
            &mut AddTo {
                to: states,
                stride: hidden,
            },
        );
        let quantizer = Quantizer::new(simd, layer.attended);
        for (row, quantized) in states
            .chunks_exact_mut(hidden)
            .zip(inputs.chunks_exact_mut(hidden))
        {
            layer
                .attention_norm
                .apply(simd, row, epsilon, Some(quantizer), quantized);
        }
        let activated = sized(activated, count * inner);
        let mut activate = Activate {
            activation,
            quantizer: Quantizer::new(simd, layer.activated),
            to: activated,
            stride: inner,
        };
        multiply(simd, rows(inputs, hidden), &layer.widen, &mut activate);
        multiply(
            simd,
            rows(activated, inner),
            &layer.narrow,
            &mut AddTo {
                to: states,
                stride: hidden,
            },
        );
        let quantizer = next.map(|next| Quantizer::new(simd, next.input));
        for (row, quantized) in states
            .chunks_exact_mut(hidden)
            .zip(inputs.chunks_exact_mut(hidden))
        {
            layer.output_norm.apply(simd, row, epsilon, quantizer, quantized);
        }
    }
}

/// A run of an encoder.
struct Run<'r> {
    encoder: &'r Encoder,
    states: &'r [f32],
    sequences: Sequences<'r>,
    arena: &'r mut Arena,
}

impl Task for Run<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.encoder
            .run_with(simd, self.states, self.sequences, self.arena);
    }
}

const _: () = assert!(32 % GROUP == 0, "rows of bytes need no padding");

#[cfg(test)]
mod tests;
