//! Attention over one sequence, one head at a time.

use std::ops::Range;

use crate::math::{Quantizer, exp, sum_lanes};
use crate::simd::{LANES, Simd};

/// Queries that are computed together, so that a key is loaded once for all of them.
const QUERIES: usize = 4;
/// A score of positions behind the sequence's end. Their weight is 0.
const ABSENT: f32 = f32::MIN;

/// The queries, keys and values of packed tokens: rows of `[query | key | value]`, each part as wide as the hidden states. The queries
/// are scaled.
#[derive(Clone, Copy)]
pub(crate) struct Projections<'a> {
    pub(crate) rows: &'a [f32],
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
}

/// Buffers of a head, as long as the longest sequence so far.
#[derive(Default)]
pub(crate) struct HeadBuffers {
    /// `[head size][length]`, padded to whole vectors.
    keys: Vec<f32>,
    /// Scores, then weights, `[queries][length]`, padded to whole vectors.
    weights: Vec<f32>,
}

impl Projections<'_> {
    fn row(&self, token: usize, part: usize, head: usize) -> &[f32] {
        let size = self.hidden / self.heads;
        let start = (token * 3 + part) * self.hidden + head * size;
        &self.rows[start..start + size]
    }

    /// The mean of the values weighted by the softmax of the scores, quantized (Vaswani et al. 2017, *Attention Is All You Need*).
    ///
    /// `tokens` is the sequence's range of rows. Each of `queries`, which are row numbers within it, gets a row of `mixed`, `stride` bytes
    /// after the one before.
    #[inline(always)]
    pub(crate) fn attend<S: Simd>(
        &self,
        simd: S,
        tokens: Range<usize>,
        queries: &[usize],
        quantizer: Quantizer<S>,
        buffers: &mut HeadBuffers,
        mixed: &mut [u8],
        stride: usize,
    ) {
        for head in 0..self.heads {
            match self.hidden / self.heads / LANES {
                2 => self.head::<S, 2>(simd, head, tokens.clone(), queries, quantizer, buffers, mixed, stride),
                4 => self.head::<S, 4>(simd, head, tokens.clone(), queries, quantizer, buffers, mixed, stride),
                // `Shape` permits no other size.
                _ => {}
            }
        }
    }

    /// [`Self::attend`] for one head of `V` vectors.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn head<S: Simd, const V: usize>(
        &self,
        simd: S,
        head: usize,
        tokens: Range<usize>,
        queries: &[usize],
        quantizer: Quantizer<S>,
        buffers: &mut HeadBuffers,
        mixed: &mut [u8],
        stride: usize,
    ) {
        let length = tokens.len();
        let vectors = length.div_ceil(LANES);
        let padded = vectors * LANES;
        let size = V * LANES;
        let HeadBuffers { keys, weights } = buffers;
        if keys.len() < size * padded {
            keys.resize(size * padded, 0.0);
        }
        if weights.len() < QUERIES * padded {
            weights.resize(QUERIES * padded, 0.0);
        }
        let keys = &mut keys[..size * padded];
        for (at, token) in tokens.clone().enumerate() {
            for (part, &key) in self.row(token, 1, head).iter().enumerate() {
                keys[part * padded + at] = key;
            }
        }
        for (part, column) in keys.chunks_exact_mut(padded).enumerate().take(size) {
            let _part = part;
            column[length..].fill(0.0);
        }
        let (keys, _) = keys.as_chunks::<LANES>();
        for (block, queries) in queries.chunks(QUERIES).enumerate() {
            let (weights, _) = weights[..QUERIES * padded].as_chunks_mut::<LANES>();
            // A block that is not full repeats its last query.
            let row = |at: usize| self.row(tokens.start + queries[at.min(queries.len() - 1)], 0, head);
            let rows: [&[f32]; QUERIES] = std::array::from_fn(row);
            for vector in 0..vectors {
                let mut sums = [simd.splat(0.0); QUERIES];
                for part in 0..size {
                    let key = simd.load(&keys[part * vectors + vector]);
                    for (sum, row) in sums.iter_mut().zip(&rows) {
                        *sum = simd.mul_add(simd.splat(row[part]), key, *sum);
                    }
                }
                for (query, sum) in sums.iter().enumerate() {
                    simd.store(*sum, &mut weights[query * vectors + vector]);
                }
            }
            let mut totals = [0.0; QUERIES];
            for (weights, total) in weights.chunks_exact_mut(vectors).zip(&mut totals) {
                *total = softmax(simd, weights, length);
            }
            let mut sums = [[simd.splat(0.0); V]; QUERIES];
            for (at, token) in tokens.clone().enumerate() {
                let (value, _) = self.row(token, 2, head).as_chunks::<LANES>();
                let value: [S::Floats; V] = std::array::from_fn(|part| simd.load(&value[part]));
                for (query, sums) in sums.iter_mut().enumerate() {
                    let weight = simd.splat(weights[query * vectors + at / LANES][at % LANES]);
                    for (sum, &value) in sums.iter_mut().zip(&value) {
                        *sum = simd.mul_add(weight, value, *sum);
                    }
                }
            }
            for (query, (sums, total)) in sums.iter().zip(totals).enumerate().take(queries.len()) {
                let inverse = simd.splat(1.0 / total);
                let at = (block * QUERIES + query) * stride + head * size;
                let (to, _) = mixed[at..at + size].as_chunks_mut::<LANES>();
                for (sum, to) in sums.iter().zip(to) {
                    quantizer.quantize(simd, simd.mul(*sum, inverse), to);
                }
            }
        }
    }
}

/// Replaces scores by `e^(score - highest)`, 0 behind `length`, and returns their sum.
#[inline(always)]
fn softmax<S: Simd>(simd: S, scores: &mut [[f32; LANES]], length: usize) -> f32 {
    if let Some(last) = scores.last_mut() {
        last[(length - 1) % LANES + 1..].fill(ABSENT);
    }
    let mut highest = simd.splat(ABSENT);
    for values in scores.iter() {
        highest = simd.max(simd.load(values), highest);
    }
    let mut lanes = [0.0; LANES];
    simd.store(highest, &mut lanes);
    let highest = simd.splat(lanes.iter().copied().fold(ABSENT, |a, b| if b > a { b } else { a }));
    for values in scores.iter_mut() {
        simd.store(exp(simd, simd.sub(simd.load(values), highest)), values);
    }
    if let Some(last) = scores.last_mut() {
        last[(length - 1) % LANES + 1..].fill(0.0);
    }
    let mut sum = simd.splat(0.0);
    for values in scores.iter() {
        sum = simd.add(sum, simd.load(values));
    }
    sum_lanes(simd, sum)
}
