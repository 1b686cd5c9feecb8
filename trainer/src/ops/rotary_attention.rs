//! Attention with rotary positions (Su et al. 2021, *RoFormer*), in a sliding window (Beltagy et al. 2020, *Longformer*) or over
//! the whole sequence, without padding.

mod plain;

use std::ops::Range;
use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use nerve_kernels::Matrix;
use pulp::Arch;

use crate::ops::attention::{softmax_gradient, softmax_rows};
use crate::ops::attention_blocks::{Block, blocks};
use crate::ops::heads::{Head, heads_of};
use crate::ops::mask::Mask;
use crate::ops::matrix::{Into, multiply};
use crate::ops::multiplier::Multiplier;
use crate::ops::rotary::RotaryHeads;
use crate::ops::values::{slice, values};

/// Multi-head self-attention within each sequence: `[tokens, heads * size]`.
///
/// The rows of `qkv`, `[tokens, 3 * heads * size]`, are a token's queries, keys and values. Sequence `i` consists of the tokens
/// `cu_seqlens[i]..cu_seqlens[i + 1]`. `mask` is the dropout mask of the attention weights. In a window, time and memory are
/// linear in the length of a sequence; over the whole sequence, memory is. The backward pass computes the weights again.
pub(crate) fn rotary_attention(
    qkv: &Tensor,
    cu_seqlens: &Arc<[usize]>,
    heads: &RotaryHeads,
    mask: Option<Mask>,
    multiplier: Multiplier,
) -> Result<Tensor> {
    let (tokens, columns) = qkv.dims2()?;
    let pairs = heads.rotary.pairs;
    if columns != 6 * pairs * heads.heads {
        candle_core::bail!(
            "attention of {} heads of {} cannot take {:?}",
            heads.heads,
            2 * pairs,
            qkv.shape()
        );
    }
    if cu_seqlens.last().is_none_or(|&end| end != tokens) || !cu_seqlens.is_sorted() {
        candle_core::bail!("the sequences do not cover {tokens} tokens");
    }
    let longest = cu_seqlens.windows(2).map(|pair| pair[1] - pair[0]).max();
    if longest.unwrap_or_default() * pairs > heads.rotary.cosines.len() {
        candle_core::bail!("a sequence is longer than the positions with a rotation");
    }
    if multiplier.is_composed(qkv.device()) {
        return plain::rotary_attention(qkv, cu_seqlens, heads, mask, multiplier);
    }
    qkv.apply_op1(RotaryAttention {
        cu_seqlens: cu_seqlens.clone(),
        heads: heads.clone(),
        mask,
    })
}

struct RotaryAttention {
    cu_seqlens: Arc<[usize]>,
    heads: RotaryHeads,
    mask: Option<Mask>,
}

/// Multiplies the weights of a block by the dropout mask.
fn drop_weights(mask: Mask, weights: &mut [f32], block: &Block, head: &Head, reach: Option<usize>) {
    let rows = weights.chunks_exact_mut(block.keys.len());
    for (row, (columns, from)) in rows.zip(block.rows(head, reach)) {
        mask.multiply(&mut row[columns], from);
    }
}

/// Sets what is outside the windows of a block to 0.
fn clear_outside(row: &mut [f32], columns: &Range<usize>) {
    row[..columns.start].fill(0.0);
    row[columns.end..].fill(0.0);
}

impl RotaryAttention {
    /// The widths of a head, of the queries of a token, and of a token.
    fn widths(&self) -> (usize, usize, usize) {
        let size = 2 * self.heads.rotary.pairs;
        let width = size * self.heads.heads;
        (size, width, 3 * width)
    }

    /// The rotated rows of a head, `[length, size]`, which begin at `rows` and are `stride` apart.
    fn rotated(&self, rows: &[f32], stride: usize, out: &mut [f32]) {
        let size = 2 * self.heads.rotary.pairs;
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (position, (row, out)) in rows.chunks(stride).zip(out.chunks_exact_mut(size)).enumerate()
                {
                    self.heads.rotary.rotate(position, 1.0, &row[..size], out);
                }
            },
        );
    }

    /// Writes rows of gradients, rotated back, to rows that begin at `out` and are `stride` apart.
    fn rotated_back(&self, rows: &[f32], out: &mut [f32], stride: usize) {
        let size = 2 * self.heads.rotary.pairs;
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (position, (row, out)) in rows.chunks_exact(size).zip(out.chunks_mut(stride)).enumerate()
                {
                    self.heads.rotary.rotate(position, -1.0, row, &mut out[..size]);
                }
            },
        );
    }

    /// The attention weights of a block, `[queries, keys]`, before dropout; 0 outside the windows. `q` and `k` are the rotated
    /// rows of the head.
    fn weigh(&self, head: &Head, block: &Block, q: &[f32], k: &[f32], weights: &mut Vec<f32>) {
        let (size, ..) = self.widths();
        let columns = block.keys.len();
        weights.clear();
        weights.resize(block.queries.len() * columns, 0.0);
        multiply(
            1.0 / (size as f32).sqrt(),
            Matrix::new(&q[block.queries.start * size..], block.queries.len(), size, size),
            Matrix::new(&k[block.keys.start * size..], columns, size, size).transposed(),
            weights,
            columns,
            Into::Replace,
        );
        let rows = weights.chunks_exact_mut(columns);
        for (row, (columns, _)) in rows.zip(block.rows(head, self.heads.reach)) {
            clear_outside(row, &columns);
            let count = columns.len();
            softmax_rows(&mut row[columns], count);
        }
    }
}

impl CustomOp1 for RotaryAttention {
    fn name(&self) -> &'static str {
        "rotary-attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (tokens, _) = layout.shape().dims2()?;
        let (size, width, stride) = self.widths();
        let qkv = slice(qkv, layout)?;
        let mut out = vec![0f32; tokens * width];
        let (mut q, mut k, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for head in heads_of(&self.cu_seqlens, self.heads.heads) {
            let (length, start) = (head.length, head.start(stride, size));
            q.resize(length * size, 0.0);
            k.resize(length * size, 0.0);
            self.rotated(&qkv[start..], stride, &mut q);
            self.rotated(&qkv[start + width..], stride, &mut k);
            let v = &qkv[start + 2 * width..];
            let out = &mut out[head.start(width, size)..];
            for block in blocks(length, self.heads.reach) {
                self.weigh(&head, &block, &q, &k, &mut weights);
                if let Some(mask) = self.mask {
                    drop_weights(mask, &mut weights, &block, &head, self.heads.reach);
                }
                let (rows, columns) = (block.queries.len(), block.keys.len());
                multiply(
                    1.0,
                    Matrix::new(&weights, rows, columns, columns),
                    Matrix::new(&v[block.keys.start * stride..], columns, size, stride),
                    &mut out[block.queries.start * width..],
                    width,
                    Into::Replace,
                );
            }
        }
        Ok((CpuStorage::F32(out), (tokens, width).into()))
    }

    fn bwd(&self, qkv: &Tensor, _out: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let shape = qkv.shape().clone();
        let (size, width, stride) = self.widths();
        let scale = 1.0 / (size as f32).sqrt();
        let gradient = gradient.contiguous()?;
        let (qkv, dout) = (values(qkv)?, values(&gradient)?);
        let mut dqkv = vec![0f32; qkv.len()];
        let (mut q, mut k, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        let (mut dq, mut dk) = (Vec::new(), Vec::new());
        let (mut dropped, mut scores) = (Vec::new(), Vec::new());
        for head in heads_of(&self.cu_seqlens, self.heads.heads) {
            let (length, start) = (head.length, head.start(stride, size));
            q.resize(length * size, 0.0);
            k.resize(length * size, 0.0);
            self.rotated(&qkv[start..], stride, &mut q);
            self.rotated(&qkv[start + width..], stride, &mut k);
            dq.resize(length * size, 0.0);
            dk.clear();
            dk.resize(length * size, 0.0);
            let v = &qkv[start + 2 * width..];
            let dout = &dout[head.start(width, size)..];
            for block in blocks(length, self.heads.reach) {
                let (rows, columns) = (block.queries.len(), block.keys.len());
                self.weigh(&head, &block, &q, &k, &mut weights);
                let dout = Matrix::new(&dout[block.queries.start * width..], rows, size, width);
                scores.resize(rows * columns, 0.0);
                multiply(
                    1.0,
                    dout,
                    Matrix::new(&v[block.keys.start * stride..], columns, size, stride).transposed(),
                    &mut scores,
                    columns,
                    Into::Replace,
                );
                dropped.clear();
                dropped.extend_from_slice(&weights);
                if let Some(mask) = self.mask {
                    drop_weights(mask, &mut dropped, &block, &head, self.heads.reach);
                    drop_weights(mask, &mut scores, &block, &head, self.heads.reach);
                }
                multiply(
                    1.0,
                    Matrix::new(&dropped, rows, columns, columns).transposed(),
                    dout,
                    &mut dqkv[start + 2 * width + block.keys.start * stride..],
                    stride,
                    Into::Add,
                );
                let table = scores
                    .chunks_exact_mut(columns)
                    .zip(weights.chunks_exact(columns));
                for ((row, weights), (columns, _)) in table.zip(block.rows(&head, self.heads.reach)) {
                    clear_outside(row, &columns);
                    let weights = &weights[columns.clone()];
                    softmax_gradient(&mut row[columns], weights, weights.len());
                }
                let slope = Matrix::new(&scores, rows, columns, columns);
                multiply(
                    scale,
                    slope,
                    Matrix::new(&k[block.keys.start * size..], columns, size, size),
                    &mut dq[block.queries.start * size..],
                    size,
                    Into::Replace,
                );
                multiply(
                    scale,
                    slope.transposed(),
                    Matrix::new(&q[block.queries.start * size..], rows, size, size),
                    &mut dk[block.keys.start * size..],
                    size,
                    Into::Add,
                );
            }
            self.rotated_back(&dq, &mut dqkv[start..], stride);
            self.rotated_back(&dk, &mut dqkv[start + width..], stride);
        }
        Tensor::from_vec(dqkv, shape, gradient.device()).map(Some)
    }
}

#[cfg(test)]
mod tests;
