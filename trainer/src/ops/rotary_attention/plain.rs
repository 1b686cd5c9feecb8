//! Attention with rotary positions, composed of candle's differentiable operators, for any device.

use candle_core::{D, Device, Result, Tensor};
use candle_nn::ops::softmax;

use crate::ops::attention_blocks::{Block, blocks, window};
use crate::ops::heads::heads_of;
use crate::ops::mask::Mask;
use crate::ops::multiplier::Multiplier;
use crate::ops::plain::{MASKED, product};
use crate::ops::rotary::{Rotary, RotaryHeads};
use crate::ops::weight_mask::{QueryWeights, masked_weights};

/// See [`super::rotary_attention`]. Blocks of queries are padded to the longest, and so are their keys, so that the scores of
/// heads with a window are linear in the length of a sequence. Other heads have the scores of whole sequences.
pub(super) fn rotary_attention(
    qkv: &Tensor,
    cu_seqlens: &[usize],
    heads: &RotaryHeads,
    mask: Option<Mask>,
    multiplier: Multiplier,
) -> Result<Tensor> {
    let (tokens, columns) = qkv.dims2()?;
    let (count, size) = (heads.heads, 2 * heads.rotary.pairs);
    let padded = PaddedBlocks::new(cu_seqlens, heads.reach);
    if padded.blocks.is_empty() {
        return qkv.narrow(1, 0, columns / 3)?.zeros_like();
    }
    let device = qkv.device();
    let split = qkv.reshape((tokens, 3, count, size))?;
    let part = |at| split.narrow(1, at, 1)?.squeeze(1)?.contiguous();
    let (cosines, sines) = heads.rotary.of_tokens(cu_seqlens, device)?;
    let gather = |x: Tensor, indices: Vec<u32>, length: usize| {
        let x = multiplier.factor(&x)?;
        x.index_select(&Tensor::new(indices, device)?, 0)?
            .reshape((padded.blocks.len(), length, count, size))?
            .transpose(1, 2)?
            .contiguous()
    };
    // Queries are scaled, not scores, so that scores in fp16 are within its range.
    let q = gather(
        (rotated(&part(0)?, &cosines, &sines)? * (1.0 / (size as f64).sqrt()))?,
        padded.query_tokens(),
        padded.queries,
    )?;
    let k = gather(
        rotated(&part(1)?, &cosines, &sines)?,
        padded.key_tokens(),
        padded.keys,
    )?;
    let v = gather(part(2)?, padded.key_tokens(), padded.keys)?;
    let scores = product(&q, &k.t()?)?.broadcast_add(&padded.bias(device)?)?;
    let mut weights = softmax(&scores, D::Minus1)?;
    if let Some(mask) = mask {
        weights = masked_weights(&weights, padded.query_weights(cu_seqlens, count), mask)?;
    }
    let out = product(&weights.to_dtype(v.dtype())?, &v)?;
    let out = out.transpose(1, 2)?.contiguous()?;
    let out = out.reshape((padded.blocks.len() * padded.queries, count * size))?;
    out.index_select(&Tensor::new(padded.rows(), device)?, 0)
}

/// The heads of all tokens, `[tokens, heads, size]`, rotated by `[tokens, 1, pairs]`.
fn rotated(x: &Tensor, cosines: &Tensor, sines: &Tensor) -> Result<Tensor> {
    let halves = x.chunk(2, D::Minus1)?;
    let (first, second) = (&halves[0], &halves[1]);
    let turned = [
        (first.broadcast_mul(cosines)? - second.broadcast_mul(sines)?)?,
        (second.broadcast_mul(cosines)? + first.broadcast_mul(sines)?)?,
    ];
    Tensor::cat(&turned, D::Minus1)?.contiguous()
}

impl Rotary {
    /// The cosines and sines of the tokens, `[tokens, 1, pairs]` each.
    fn of_tokens(&self, cu_seqlens: &[usize], device: &Device) -> Result<(Tensor, Tensor)> {
        let table = |values: &[f32]| {
            let lengths = cu_seqlens.windows(2).map(|pair| pair[1] - pair[0]);
            let rows = lengths.flat_map(|length| values[..length * self.pairs].iter().copied());
            let rows: Vec<f32> = rows.collect();
            let tokens = rows.len() / self.pairs;
            Tensor::from_vec(rows, (tokens, 1, self.pairs), device)
        };
        Ok((table(&self.cosines)?, table(&self.sines)?))
    }
}

/// A block and its sequence.
struct SequenceBlock {
    /// The number of the sequence among those with tokens.
    sequence: usize,
    /// The first token of the sequence.
    first: usize,
    /// The tokens of the sequence.
    length: usize,
    block: Block,
}

/// The blocks of all sequences, padded to the most queries and keys of a block.
struct PaddedBlocks {
    blocks: Vec<SequenceBlock>,
    queries: usize,
    keys: usize,
    reach: Option<usize>,
}

impl PaddedBlocks {
    fn new(cu_seqlens: &[usize], reach: Option<usize>) -> Self {
        let mut all = Vec::new();
        let with_tokens = cu_seqlens.windows(2).filter(|pair| pair[0] < pair[1]);
        for (sequence, pair) in with_tokens.enumerate() {
            let length = pair[1] - pair[0];
            all.extend(blocks(length, reach).map(|block| SequenceBlock {
                sequence,
                first: pair[0],
                length,
                block,
            }));
        }
        let most = |count: fn(&Block) -> usize| all.iter().map(|each| count(&each.block)).max();
        Self {
            queries: most(|block| block.queries.len()).unwrap_or_default(),
            keys: most(|block| block.keys.len()).unwrap_or_default(),
            blocks: all,
            reach,
        }
    }

    /// The token of each padded query; any token of the sequence for padding.
    fn query_tokens(&self) -> Vec<u32> {
        let each = self.blocks.iter().flat_map(|SequenceBlock { first, block, .. }| {
            (0..self.queries).map(move |at| first + (block.queries.start + at).min(block.queries.end - 1))
        });
        each.map(|token| token as u32).collect()
    }

    /// The token of each padded key.
    fn key_tokens(&self) -> Vec<u32> {
        let each = self.blocks.iter().flat_map(|SequenceBlock { first, block, .. }| {
            (0..self.keys).map(move |at| first + (block.keys.start + at).min(block.keys.end - 1))
        });
        each.map(|token| token as u32).collect()
    }

    /// The padded query of each token.
    fn rows(&self) -> Vec<u32> {
        let each = self.blocks.iter().enumerate();
        each.flat_map(|(at, each)| {
            (0..each.block.queries.len()).map(move |query| (at * self.queries + query) as u32)
        })
        .collect()
    }

    /// What is added to scores: `[blocks, 1, queries, keys]`.
    fn bias(&self, device: &Device) -> Result<Tensor> {
        let mut bias = vec![MASKED; self.blocks.len() * self.queries * self.keys];
        let tables = bias.chunks_exact_mut(self.queries * self.keys);
        for (table, SequenceBlock { length, block, .. }) in tables.zip(&self.blocks) {
            for (row, query) in table.chunks_exact_mut(self.keys).zip(block.queries.clone()) {
                let window = window(query, self.reach, *length);
                row[window.start - block.keys.start..window.end - block.keys.start].fill(0.0);
            }
        }
        Tensor::from_vec(bias, (self.blocks.len(), 1, self.queries, self.keys), device)
    }

    /// The weights of each padded query.
    fn query_weights(&self, cu_seqlens: &[usize], heads: usize) -> impl Iterator<Item = QueryWeights> {
        let first_heads: Vec<_> = heads_of(cu_seqlens, heads).step_by(heads).collect();
        self.blocks
            .iter()
            .flat_map(move |SequenceBlock { sequence, block, .. }| {
                let head = &first_heads[*sequence];
                let of_head = head.length * head.length;
                let rows = block
                    .rows(head, self.reach)
                    .map(move |(columns, from)| QueryWeights {
                        start: columns.start,
                        end: columns.end,
                        from,
                        of_head,
                    });
                let padding =
                    std::iter::repeat_n(QueryWeights::default(), self.queries - block.queries.len());
                rows.chain(padding)
            })
    }
}
