//! A run of an encoder: one pass over blocks of rows for each layer.

use std::sync::{Mutex, TryLockError};

use crate::arena::{Arena, ThreadBuffers};
use crate::attention::{Mixed, Projections};
use crate::buffer::sized;
use crate::chunks::Chunks;
use crate::encoder::{Encoder, EncoderError, Layer, Sequences, Shape};
use crate::math::Quantizer;
use crate::position_bias::PositionBias;
use crate::product::{Activate, AddTo, Store, multiply};
use crate::simd::vector::{LANES, Rows, Simd, Task};
use crate::threads::{OneThread, Threads};

/// The most rows of a group of sequences, unless one alone has more. The weights are read from memory once a group.
const GROUP_ROWS: usize = 256;
/// The most rows that a thread takes through a layer together.
const BLOCK_ROWS: usize = 256;
/// The fewest, so that a product reads a weight for more than one row.
const FEWEST_BLOCK_ROWS: usize = 4;

/// A run of an encoder over a group of sequences.
///
/// From the attention of a layer to the queries, keys and values of the next one, a row depends on no other row. So a pass gives blocks
/// of rows to the threads, and they wait for one another once a layer.
#[derive(Clone, Copy)]
pub(crate) struct Run<'r> {
    encoder: &'r Encoder,
    /// The lengths of the sequences.
    lengths: &'r [usize],
    /// The first hidden states of their tokens.
    states: &'r [f32],
}

impl Encoder {
    /// The last hidden states of the selected tokens, `[selected, hidden]`, from the first hidden states of all tokens,
    /// `[tokens, hidden]`.
    pub fn run<'a>(
        &self,
        states: &[f32],
        sequences: Sequences,
        arena: &'a mut Arena,
    ) -> Result<&'a [f32], EncoderError> {
        let mut outputs = std::mem::take(&mut arena.outputs);
        let length = sequences.selected.len() * self.shape().hidden;
        self.run_on(&OneThread, states, sequences, arena, sized(&mut outputs, length))?;
        arena.outputs = outputs;
        Ok(&arena.outputs[..length])
    }

    /// The same as [`Self::run`], on these threads and into `outputs`.
    pub(crate) fn run_on(
        &self,
        threads: &impl Threads,
        states: &[f32],
        sequences: Sequences,
        arena: &mut Arena,
        outputs: &mut [f32],
    ) -> Result<(), EncoderError> {
        let tokens: usize = sequences.lengths.iter().sum();
        let hidden = self.shape().hidden;
        let lengths = [
            ("states", states.len(), tokens * hidden),
            ("outputs", outputs.len(), sequences.selected.len() * hidden),
        ];
        if let Some(&(part, found, expected)) = lengths.iter().find(|(_, found, expected)| found != expected)
        {
            return Err(EncoderError::States {
                part,
                found,
                expected,
            });
        }
        let ascending = sequences.selected.is_sorted_by(|a, b| a < b);
        if !ascending || sequences.selected.last().is_some_and(|&last| last >= tokens) {
            return Err(EncoderError::Selection { tokens });
        }
        run(self, threads, states, sequences, arena, outputs)
    }
}

/// Writes the last hidden states of the selected tokens to `outputs`. The lengths of all slices fit.
///
/// Sequences run in groups, one after the other.
fn run(
    encoder: &Encoder,
    threads: &impl Threads,
    states: &[f32],
    sequences: Sequences,
    arena: &mut Arena,
    outputs: &mut [f32],
) -> Result<(), EncoderError> {
    let hidden = encoder.shape().hidden;
    let Sequences {
        mut lengths,
        mut selected,
    } = sequences;
    let (mut start, mut outputs) = (0, outputs);
    while let Some((group, tokens)) = first_group(lengths) {
        let end = start + tokens;
        let (own, others) = selected.split_at(selected.partition_point(|&token| token < end));
        let (to, rest) = outputs.split_at_mut(own.len() * hidden);
        if !own.is_empty() {
            arena.selected.clear();
            arena.selected.extend(own.iter().map(|token| token - start));
            let states = &states[start * hidden..end * hidden];
            Run {
                encoder,
                lengths: &lengths[..group],
                states,
            }
            .on(threads, arena, to)?;
        }
        (lengths, selected, outputs, start) = (&lengths[group..], others, rest, end);
    }
    Ok(())
}

/// The number of sequences of the first group, and that of their tokens.
fn first_group(lengths: &[usize]) -> Option<(usize, usize)> {
    let (first, others) = lengths.split_first()?;
    let (mut count, mut tokens) = (1, *first);
    for length in others {
        if tokens + length > GROUP_ROWS {
            break;
        }
        count += 1;
        tokens += length;
    }
    Some((count, tokens))
}

impl Run<'_> {
    fn on(self, threads: &impl Threads, arena: &mut Arena, outputs: &mut [f32]) -> Result<(), EncoderError> {
        let Shape { hidden, .. } = self.encoder.shape();
        let Arena {
            states,
            projections: [current, next],
            tokens,
            selected,
            threads: buffers,
            ..
        } = arena;
        let count = self.states.len() / hidden;
        let [mut current, mut next] = [current, next].map(|buffer| sized(buffer, count * 3 * hidden));
        let states = sized(states, count * hidden);
        tokens.clear();
        tokens.extend(0..count);
        buffers.resize_with(buffers.len().max(threads.count()), Mutex::default);
        let pool = Pool(buffers);

        let rows = block_rows(count, threads.count());
        let (to_states, to_next) = (
            Chunks::new(states, rows * hidden),
            Chunks::new(current, rows * 3 * hidden),
        );
        threads.run(count.div_ceil(rows), &|number| {
            // SAFETY: the threads call once with each number.
            let (states, projections) = unsafe { (to_states.take(number), to_next.take(number)) };
            states.copy_from_slice(&self.states[number * rows * hidden..][..states.len()]);
            pool.with(|buffers| self.block(states, buffers, BlockWork::First { projections }));
        })?;
        let layers = self.encoder.layers();
        for (layer, following) in layers.iter().zip(&layers[1..]) {
            let (to_states, to_next) = (
                Chunks::new(states, rows * hidden),
                Chunks::new(next, rows * 3 * hidden),
            );
            let input = LayerInput {
                layer,
                projections: current,
            };
            threads.run(count.div_ceil(rows), &|number| {
                // SAFETY: the threads call once with each number.
                let (states, projections) = unsafe { (to_states.take(number), to_next.take(number)) };
                let tokens = &tokens[number * rows..][..states.len() / hidden];
                let work = BlockWork::Layer {
                    tokens,
                    input,
                    next: Some((following, projections)),
                };
                pool.with(|buffers| self.block(states, buffers, work));
            })?;
            std::mem::swap(&mut current, &mut next);
        }
        let Some(layer) = layers.last() else { return Ok(()) };
        let input = LayerInput {
            layer,
            projections: current,
        };
        let rows = block_rows(selected.len(), threads.count());
        let outputs = Chunks::new(outputs, rows * hidden);
        let states: &[f32] = states;
        threads.run(selected.len().div_ceil(rows), &|number| {
            // SAFETY: the threads call once with each number.
            let outputs = unsafe { outputs.take(number) };
            let tokens = &selected[number * rows..][..outputs.len() / hidden];
            for (&token, output) in tokens.iter().zip(outputs.chunks_exact_mut(hidden)) {
                output.copy_from_slice(&states[token * hidden..][..hidden]);
            }
            let work = BlockWork::Layer {
                tokens,
                input,
                next: None,
            };
            pool.with(|buffers| self.block(outputs, buffers, work));
        })
    }

    fn block(self, states: &mut [f32], buffers: &mut ThreadBuffers, work: BlockWork) {
        let shape = self.encoder.shape();
        self.encoder.instructions().run(Block {
            shape,
            lengths: self.lengths,
            bias: self.encoder.position_bias(),
            first: self.encoder.layers().first(),
            states,
            buffers,
            work,
        });
    }
}

/// The rows of a block, so that each thread has one.
fn block_rows(rows: usize, threads: usize) -> usize {
    rows.div_ceil(threads).clamp(FEWEST_BLOCK_ROWS, BLOCK_ROWS)
}

/// The buffers of the threads.
struct Pool<'a>(&'a [Mutex<ThreadBuffers>]);

impl Pool<'_> {
    /// Calls with the buffers of a thread. There are as many as threads, so one is free.
    fn with(&self, call: impl FnOnce(&mut ThreadBuffers)) {
        let free = self.0.iter().find_map(|buffers| match buffers.try_lock() {
            Ok(buffers) => Some(buffers),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        match free {
            Some(mut buffers) => call(&mut buffers),
            None => call(&mut ThreadBuffers::default()),
        }
    }
}

/// The layer of a block and the queries, keys and values of all tokens.
#[derive(Clone, Copy)]
struct LayerInput<'b> {
    layer: &'b Layer,
    projections: &'b [f32],
}

/// What is computed for a block of rows.
enum BlockWork<'b> {
    /// The queries, keys and values of the first layer.
    First { projections: &'b mut [f32] },
    /// A layer for these tokens, and their queries, keys and values in the next layer.
    Layer {
        tokens: &'b [usize],
        input: LayerInput<'b>,
        next: Option<(&'b Layer, &'b mut [f32])>,
    },
}

/// A block of rows.
struct Block<'b> {
    shape: Shape,
    /// The lengths of all sequences.
    lengths: &'b [usize],
    /// The bias by distance that is added to attention scores, if the model has one.
    bias: Option<&'b PositionBias>,
    first: Option<&'b Layer>,
    /// The hidden states of the block's rows.
    states: &'b mut [f32],
    buffers: &'b mut ThreadBuffers,
    work: BlockWork<'b>,
}

impl Task for Block<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self {
            shape,
            lengths,
            bias,
            first,
            states,
            buffers,
            work,
        } = self;
        let next = match work {
            BlockWork::First { projections } => {
                let inputs = sized(&mut buffers.inputs, states.len());
                if let Some(layer) = first {
                    let quantizer = Quantizer::new(simd, &layer.input);
                    let rows = states.chunks_exact(shape.hidden);
                    for (row, inputs) in rows.zip(inputs.chunks_exact_mut(shape.hidden)) {
                        quantize(simd, quantizer, row, inputs);
                    }
                }
                first.map(|layer| (layer, projections))
            }
            BlockWork::Layer { tokens, input, next } => {
                let projections = Projections {
                    rows: input.projections,
                    hidden: shape.hidden,
                    heads: shape.heads,
                    bias,
                };
                attend(simd, projections, input.layer, lengths, tokens, buffers);
                feed_forward(
                    simd,
                    shape,
                    input.layer,
                    next.as_ref().map(|(layer, _)| *layer),
                    states,
                    buffers,
                );
                next
            }
        };
        if let Some((layer, projections)) = next {
            let (hidden, stride) = (shape.hidden, 3 * shape.hidden);
            let rows = Rows {
                bytes: &buffers.inputs,
                stride: hidden,
                count: states.len() / hidden,
            };
            multiply(
                simd,
                rows,
                &layer.projections,
                &mut Store {
                    to: projections,
                    stride,
                },
            );
        }
    }
}

/// Quantizes a row.
#[inline(always)]
fn quantize<S: Simd>(simd: S, quantizer: Quantizer<S>, row: &[f32], to: &mut [u8]) {
    let (values, _) = row.as_chunks();
    let (to, _) = to.as_chunks_mut();
    for (vector, (values, to)) in values.iter().zip(to).enumerate() {
        quantizer.quantize(simd, simd.load(values), vector * LANES, to);
    }
}

/// Fills `mixed` with the outputs of the heads for these tokens.
#[inline(always)]
fn attend<S: Simd>(
    simd: S,
    projections: Projections,
    layer: &Layer,
    lengths: &[usize],
    mut tokens: &[usize],
    buffers: &mut ThreadBuffers,
) {
    let hidden = projections.hidden;
    let mut rows = sized(&mut buffers.mixed, tokens.len() * hidden);
    let quantizer = Quantizer::new(simd, &layer.mixed);
    let mut start = 0;
    for &length in lengths {
        let sequence = start..start + length;
        let (own, others) = tokens.split_at(tokens.partition_point(|&token| token < sequence.end));
        let (mixed, rest) = rows.split_at_mut(own.len() * hidden);
        start = sequence.end;
        if !own.is_empty() {
            projections.attend(
                simd,
                sequence,
                own,
                &mut buffers.head,
                &mut Mixed {
                    quantizer,
                    rows: mixed,
                },
            );
        }
        (tokens, rows) = (others, rest);
        if tokens.is_empty() {
            break;
        }
    }
}

/// The rest of the layer, from the outputs of the heads. The quantized inputs of the next layer replace `inputs`.
#[inline(always)]
fn feed_forward<S: Simd>(
    simd: S,
    shape: Shape,
    layer: &Layer,
    next: Option<&Layer>,
    states: &mut [f32],
    buffers: &mut ThreadBuffers,
) {
    let Shape {
        hidden,
        inner,
        epsilon,
        activation,
        ..
    } = shape;
    let count = states.len() / hidden;
    let ThreadBuffers {
        inputs,
        mixed,
        activated,
        ..
    } = buffers;
    let inputs = sized(inputs, states.len());
    let rows = |bytes, stride| Rows { bytes, stride, count };

    multiply(
        simd,
        rows(mixed, hidden),
        &layer.output,
        &mut AddTo {
            to: states,
            stride: hidden,
        },
    );
    let quantizer = Quantizer::new(simd, &layer.attended);
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
        quantizer: Quantizer::new(simd, &layer.activated),
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
    let quantizer = next.map(|next| Quantizer::new(simd, &next.input));
    for (row, quantized) in states
        .chunks_exact_mut(hidden)
        .zip(inputs.chunks_exact_mut(hidden))
    {
        layer.output_norm.apply(simd, row, epsilon, quantizer, quantized);
    }
}
