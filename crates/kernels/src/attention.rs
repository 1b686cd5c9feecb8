//! Attention over one sequence, one head at a time.

use std::ops::Range;

use crate::buffer::sized;
use crate::math::{Quantizer, exp};
use crate::position_bias::PositionBias;
use crate::simd::vector::{LANES, Simd};

/// Queries that are computed together, so that a key or value is loaded once for all of them.
const QUERIES: usize = 4;
/// The score of positions behind the sequence's end. Their weight is 0.
const ABSENT: f32 = f32::MIN;

/// The queries, keys and values of packed tokens: rows of `[query | key | value]`, each part as wide as the hidden states. The queries
/// are scaled.
#[derive(Clone, Copy)]
pub(crate) struct Projections<'a> {
    pub(crate) rows: &'a [f32],
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    /// The bias of each head and distance, added to the scaled scores; none if the model has no position biases.
    pub(crate) bias: Option<&'a PositionBias>,
}

/// The outputs of attention: quantized rows as wide as the hidden states.
pub(crate) struct Mixed<'a, S: Simd> {
    pub(crate) quantizer: Quantizer<'a, S>,
    pub(crate) rows: &'a mut [u8],
}

/// Buffers of a head, as long as the longest sequence so far.
#[derive(Default)]
pub(crate) struct HeadBuffers {
    /// `[head size][length]`, padded to whole vectors.
    keys: Vec<f32>,
    /// Scores, then weights, `[queries][length]`, padded to whole vectors.
    weights: Vec<f32>,
    /// Biases of a head by distance, `[length - 1 + padded length]`: element `i` is of the distance `i - (length - 1)` from query
    /// to key. The biases of a query begin at `length - 1` minus its position in the sequence.
    biases: Vec<f32>,
}

/// The last vector of a sequence's positions: what is added to scores and what weights are multiplied by.
struct Tail<S: Simd> {
    scores: S::Floats,
    weights: S::Floats,
}

impl Projections<'_> {
    /// The query (0), key (1) or value (2) of a token.
    #[inline(always)]
    fn row<const V: usize>(&self, token: usize, part: usize, head: usize) -> &[[f32; LANES]; V] {
        let start = (token * 3 + part) * self.hidden + head * V * LANES;
        let (vectors, _) = self.rows[start..].as_chunks::<LANES>();
        match vectors.first_chunk() {
            Some(row) => row,
            None => &[[0.0; LANES]; V],
        }
    }

    /// The mean of the values weighted by the softmax of the scores (Vaswani et al. 2017, *Attention Is All You Need*).
    ///
    /// `tokens` is the sequence's range of rows. Each of `queries`, which are tokens of the sequence, gets a row of `mixed`.
    #[inline(always)]
    pub(crate) fn attend<S: Simd>(
        &self,
        simd: S,
        tokens: Range<usize>,
        queries: &[usize],
        buffers: &mut HeadBuffers,
        mixed: &mut Mixed<S>,
    ) {
        for head in 0..self.heads {
            match self.hidden / self.heads / LANES {
                2 => self.head::<S, 2>(simd, head, tokens.clone(), queries, buffers, mixed),
                4 => self.head::<S, 4>(simd, head, tokens.clone(), queries, buffers, mixed),
                // `Encoder::new` permits no other size.
                _ => {}
            }
        }
    }

    /// [`Self::attend`] for one head of `V` vectors.
    #[inline(always)]
    fn head<S: Simd, const V: usize>(
        &self,
        simd: S,
        head: usize,
        tokens: Range<usize>,
        queries: &[usize],
        buffers: &mut HeadBuffers,
        mixed: &mut Mixed<S>,
    ) {
        let length = tokens.len();
        let vectors = length.div_ceil(LANES);
        let padded = vectors * LANES;
        let HeadBuffers {
            keys,
            weights,
            biases,
        } = buffers;
        let last = length - 1;
        let biases: Option<&[f32]> = self.bias.map(|bias| {
            let biases = sized(biases, last + padded);
            bias.write(head, last, biases);
            &*biases
        });
        let (keys, _) = sized(keys, V * LANES * padded).as_chunks_mut::<LANES>();
        self.transpose_keys::<S, V>(simd, head, tokens.clone(), keys);
        let tail = Tail::new(simd, length);
        let (weights, _) = sized(weights, QUERIES * padded).as_chunks_mut::<LANES>();
        for (block, queries) in queries.chunks(QUERIES).enumerate() {
            // A block that is not full repeats its last query.
            let query = |at: usize| queries[at.min(queries.len() - 1)];
            let row = |at: usize| self.row::<V>(query(at), 0, head).as_flattened();
            let rows: [&[f32]; QUERIES] = std::array::from_fn(row);
            let biases: Option<[&[f32]; QUERIES]> = biases.map(|biases| {
                std::array::from_fn(|at| &biases[last - (query(at) - tokens.start)..][..padded])
            });
            let biases = biases.as_ref();
            for vector in (0..vectors - vectors % 2).step_by(2) {
                scores::<S, 2>(simd, &rows, keys, biases, weights, vectors, vector);
            }
            if vectors % 2 == 1 {
                scores::<S, 1>(simd, &rows, keys, biases, weights, vectors, vectors - 1);
            }
            let mut totals = [0.0; QUERIES];
            for (weights, total) in weights.chunks_exact_mut(vectors).zip(&mut totals) {
                *total = softmax(simd, weights, &tail);
            }
            let flat = weights.as_flattened();
            let rows: [&[f32]; QUERIES] = std::array::from_fn(|query| &flat[query * padded..][..length]);
            let mut sums = [[simd.splat(0.0); V]; QUERIES];
            for (at, token) in tokens.clone().enumerate() {
                let value = self.row::<V>(token, 2, head);
                let value: [S::Floats; V] = std::array::from_fn(|part| simd.load(&value[part]));
                for (sums, row) in sums.iter_mut().zip(&rows) {
                    let weight = simd.splat(row[at]);
                    for (sum, &value) in sums.iter_mut().zip(&value) {
                        *sum = simd.mul_add(weight, value, *sum);
                    }
                }
            }
            for (query, (sums, total)) in sums.iter().zip(totals).enumerate().take(queries.len()) {
                let inverse = simd.splat(1.0 / total);
                let column = head * V * LANES;
                let at = (block * QUERIES + query) * self.hidden + column;
                let (to, _) = mixed.rows[at..at + V * LANES].as_chunks_mut::<LANES>();
                for (vector, (sum, to)) in sums.iter().zip(to).enumerate() {
                    let value = simd.mul(*sum, inverse);
                    mixed.quantizer.quantize(simd, value, column + vector * LANES, to);
                }
            }
        }
    }

    /// Writes the keys of a head as `[head size][length]`, padded with 0 to whole vectors.
    #[inline(always)]
    fn transpose_keys<S: Simd, const V: usize>(
        &self,
        simd: S,
        head: usize,
        tokens: Range<usize>,
        to: &mut [[f32; LANES]],
    ) {
        let vectors = tokens.len().div_ceil(LANES);
        for vector in 0..vectors {
            let first = tokens.start + vector * LANES;
            for part in 0..V {
                let rows = std::array::from_fn(|at| match first + at < tokens.end {
                    true => simd.load(&self.row::<V>(first + at, 1, head)[part]),
                    false => simd.splat(0.0),
                });
                for (column, keys) in simd.transpose(rows).into_iter().enumerate() {
                    simd.store(keys, &mut to[(part * LANES + column) * vectors + vector]);
                }
            }
        }
    }
}

/// The scores of the queries, with their biases, for `N` vectors of keys, from the vector with the number `first`.
#[inline(always)]
fn scores<S: Simd, const N: usize>(
    simd: S,
    queries: &[&[f32]; QUERIES],
    keys: &[[f32; LANES]],
    biases: Option<&[&[f32]; QUERIES]>,
    to: &mut [[f32; LANES]],
    vectors: usize,
    first: usize,
) {
    let mut sums = [[simd.splat(0.0); N]; QUERIES];
    for (part, keys) in keys.chunks_exact(vectors).enumerate() {
        let keys: [S::Floats; N] = std::array::from_fn(|at| simd.load(&keys[first + at]));
        for (sums, query) in sums.iter_mut().zip(queries) {
            let query = simd.splat(query[part]);
            for (sum, &key) in sums.iter_mut().zip(&keys) {
                *sum = simd.mul_add(query, key, *sum);
            }
        }
    }
    if let Some(biases) = biases {
        for (sums, biases) in sums.iter_mut().zip(biases) {
            let (biases, _) = biases.as_chunks::<LANES>();
            for (sum, bias) in sums.iter_mut().zip(&biases[first..]) {
                *sum = simd.add(*sum, simd.load(bias));
            }
        }
    }
    for (query, sums) in sums.iter().enumerate() {
        for (at, &sum) in sums.iter().enumerate() {
            simd.store(sum, &mut to[query * vectors + first + at]);
        }
    }
}

impl<S: Simd> Tail<S> {
    #[inline(always)]
    fn new(simd: S, length: usize) -> Self {
        let last = length.saturating_sub(1) % LANES;
        let select = |inside: f32, outside: f32| {
            let lanes = std::array::from_fn(|lane| if lane <= last { inside } else { outside });
            simd.load(&lanes)
        };
        Self {
            scores: select(0.0, ABSENT),
            weights: select(1.0, 0.0),
        }
    }
}

/// Replaces scores by `e^(score - highest)`, 0 behind the sequence's end, and returns their sum.
#[inline(always)]
fn softmax<S: Simd>(simd: S, scores: &mut [[f32; LANES]], tail: &Tail<S>) -> f32 {
    let Some((last, whole)) = scores.split_last_mut() else {
        return 1.0;
    };
    let end = simd.add(simd.load(last), tail.scores);
    let mut highest = end;
    for values in whole.iter() {
        highest = simd.max(simd.load(values), highest);
    }
    let highest = simd.splat(simd.highest(highest));
    let mut sum = simd.splat(0.0);
    for values in whole.iter_mut() {
        let weight = exp(simd, simd.sub(simd.load(values), highest));
        sum = simd.add(sum, weight);
        simd.store(weight, values);
    }
    let weight = simd.mul(exp(simd, simd.sub(end, highest)), tail.weights);
    simd.store(weight, last);
    simd.sum(simd.add(sum, weight))
}
