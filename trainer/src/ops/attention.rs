//! Scaled dot-product attention (Vaswani et al. 2017) over sequences of different lengths, without padding.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor};
use nerve_kernels::Matrix;
use pulp::Arch;

use crate::ops::heads::heads_of;
use crate::ops::mask::Mask;
use crate::ops::matrix::{Into, multiply};
use crate::ops::plain;
use crate::ops::position_bias::{BiasGradient, PositionBias};
use crate::ops::values::{slice, values};
use crate::ops::vector::{dot, exp, max, sum};
use crate::ops::weights::in_graph;

/// Multi-head self-attention within each sequence: `[tokens, heads * size]`.
///
/// `q`, `k` and `v` are `[tokens, heads * size]`; sequence `i` consists of the tokens `cu_seqlens[i]..cu_seqlens[i +
/// 1]`. `bias` is added to the scores; on the CPU its gradient is added to its [`WeightGradients`]. `mask` is the dropout mask of
/// the attention weights.
///
/// [`WeightGradients`]: crate::ops::weights::WeightGradients
pub(crate) fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    cu_seqlens: &Arc<[usize]>,
    heads: usize,
    bias: Option<&PositionBias>,
    mask: Option<Mask>,
) -> Result<Tensor> {
    let (tokens, width) = q.dims2()?;
    if k.dims2()? != (tokens, width) || v.dims2()? != (tokens, width) {
        candle_core::bail!("attention cannot take {:?} with {:?}", q.shape(), k.shape());
    }
    check(tokens, width, cu_seqlens, heads, bias)?;
    if !q.device().is_cpu() || q.dtype() != DType::F32 {
        return plain::attention(q, k, v, cu_seqlens, heads, bias, mask);
    }
    let is_tracked = q.track_op() || k.track_op() || v.track_op();
    let learns_bias = bias.is_some_and(|bias| bias.table.is_variable());
    let q = in_graph(q, learns_bias && !is_tracked)?;
    let operator = Attention {
        options: AttentionOptions {
            cu_seqlens: cu_seqlens.clone(),
            heads,
            bias: bias.cloned(),
            mask,
        },
        keep: is_tracked || learns_bias,
        weights: Mutex::default(),
    };
    q.apply_op3(k, v, operator)
}

/// An error unless these heads and sequences can have so many tokens of this width.
pub(super) fn check(
    tokens: usize,
    width: usize,
    cu_seqlens: &[usize],
    heads: usize,
    bias: Option<&PositionBias>,
) -> Result<()> {
    if let Some(bias) = bias {
        bias.check(heads)?;
    }
    if heads == 0 || !width.is_multiple_of(heads) {
        candle_core::bail!("attention of {heads} heads cannot have the width {width}");
    }
    if cu_seqlens.last().is_none_or(|&end| end != tokens) || !cu_seqlens.is_sorted() {
        candle_core::bail!("the sequences do not cover {tokens} tokens");
    }
    Ok(())
}

/// What attention is computed with, besides queries, keys and values.
#[derive(Clone)]
pub(super) struct AttentionOptions {
    pub(super) cu_seqlens: Arc<[usize]>,
    pub(super) heads: usize,
    pub(super) bias: Option<PositionBias>,
    /// The dropout mask of the attention weights.
    pub(super) mask: Option<Mask>,
}

struct Attention {
    options: AttentionOptions,
    keep: bool,
    /// See [`AttentionOptions::forward`]. The backward pass needs them again.
    weights: Mutex<Vec<f32>>,
}

/// Replaces each row of scores by its softmax.
pub(super) fn softmax_rows(scores: &mut [f32], width: usize) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for row in scores.chunks_exact_mut(width) {
                let highest = max(row);
                for x in row.iter_mut() {
                    *x = exp(*x - highest);
                }
                let scale = 1.0 / sum(row);
                for x in row.iter_mut() {
                    *x *= scale;
                }
            }
        },
    );
}

/// Replaces `scores` by `weights * (scores - rowsum(weights * scores))`, the gradient through the softmax.
pub(super) fn softmax_gradient(scores: &mut [f32], weights: &[f32], width: usize) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (row, weights) in scores.chunks_exact_mut(width).zip(weights.chunks_exact(width)) {
                let along = dot(row, weights);
                for (x, weight) in row.iter_mut().zip(weights) {
                    *x = weight * (*x - along);
                }
            }
        },
    );
}

impl AttentionOptions {
    /// The values that each token attends to, `[tokens, width]`, and the softmax weights before dropout, ordered by sequence
    /// and head.
    pub(super) fn forward(
        &self,
        q: &[f32],
        k: &[f32],
        v: &[f32],
        width: usize,
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        let size = width / self.heads;
        let scale = 1.0 / (size as f32).sqrt();
        let mut out = vec![0f32; q.len()];
        let heads = || heads_of(&self.cu_seqlens, self.heads);
        let total = heads().last().map_or(0, |head| head.weights.end);
        let mut weights = vec![0f32; total];
        let mut dropped = Vec::new();
        let biases = match &self.bias {
            None => None,
            Some(bias) => Some(bias.by_distance()?),
        };
        for head in heads() {
            let (number, length, from) = (head.number, head.length, head.weights.start);
            let start = head.start(width, size);
            let scores = &mut weights[head.weights];
            let part = |x| Matrix::new(x, length, size, width);
            let into = match &biases {
                None => Into::Replace,
                Some(biases) => {
                    biases.write(number, scores, length);
                    Into::Add
                }
            };
            multiply(
                scale,
                part(&q[start..]),
                part(&k[start..]).transposed(),
                scores,
                length,
                into,
            );
            softmax_rows(scores, length);
            let used: &[f32] = match self.mask {
                Some(mask) => {
                    dropped.clear();
                    dropped.extend_from_slice(scores);
                    mask.multiply(&mut dropped, from);
                    &dropped
                }
                None => scores,
            };
            let used = Matrix::new(used, length, length, length);
            multiply(
                1.0,
                used,
                part(&v[start..]),
                &mut out[start..],
                width,
                Into::Replace,
            );
        }
        Ok((out, weights))
    }

    /// The gradients of queries, keys and values for the gradient `dout`; that of the position biases is added to its
    /// destination.
    pub(super) fn backward(
        &self,
        dout: &[f32],
        [q, k, v]: [&[f32]; 3],
        weights: &[f32],
        width: usize,
    ) -> Result<[Vec<f32>; 3]> {
        let size = width / self.heads;
        let scale = 1.0 / (size as f32).sqrt();
        let mut dq = vec![0f32; q.len()];
        let mut dk = vec![0f32; q.len()];
        let mut dv = vec![0f32; q.len()];
        let (mut dropped, mut scores) = (Vec::new(), Vec::new());
        let learned = self.bias.as_ref().filter(|bias| bias.table.is_variable());
        let mut dbias = learned.map(|_| BiasGradient::new(self.heads));
        for head in heads_of(&self.cu_seqlens, self.heads) {
            let (number, length, from) = (head.number, head.length, head.weights.start);
            let start = head.start(width, size);
            let weights = &weights[head.weights];
            let part = |x| Matrix::new(x, length, size, width);
            let dout = part(&dout[start..]);
            dropped.clear();
            dropped.extend_from_slice(weights);
            scores.resize(length * length, 0.0);
            multiply(
                1.0,
                dout,
                part(&v[start..]).transposed(),
                &mut scores,
                length,
                Into::Replace,
            );
            if let Some(mask) = self.mask {
                mask.multiply(&mut dropped, from);
                mask.multiply(&mut scores, from);
            }
            let used = Matrix::new(&dropped, length, length, length);
            multiply(
                1.0,
                used.transposed(),
                dout,
                &mut dv[start..],
                width,
                Into::Replace,
            );
            softmax_gradient(&mut scores, weights, length);
            if let Some(dbias) = &mut dbias {
                dbias.add(number, &scores, length);
            }
            let slope = Matrix::new(&scores, length, length, length);
            multiply(
                scale,
                slope,
                part(&k[start..]),
                &mut dq[start..],
                width,
                Into::Replace,
            );
            multiply(
                scale,
                slope.transposed(),
                part(&q[start..]),
                &mut dk[start..],
                width,
                Into::Replace,
            );
        }
        if let (Some(bias), Some(dbias)) = (learned, dbias) {
            let dtable = Tensor::from_vec(dbias.into_values(), bias.table.shape(), bias.table.device())?;
            bias.gradients.add(&bias.table, dtable)?;
        }
        Ok([dq, dk, dv])
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, width) = q_layout.shape().dims2()?;
        let (q, k, v) = (slice(q, q_layout)?, slice(k, k_layout)?, slice(v, v_layout)?);
        let (out, weights) = self.options.forward(q, k, v, width)?;
        if self.keep {
            *self.weights.lock().unwrap_or_else(PoisonError::into_inner) = weights;
        }
        Ok((CpuStorage::F32(out), q_layout.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _out: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let shape = q.shape();
        let (_, width) = q.dims2()?;
        let gradient = gradient.contiguous()?;
        let (dout, qkv) = (values(&gradient)?, (values(q)?, values(k)?, values(v)?));
        let weights = self.weights.lock().unwrap_or_else(PoisonError::into_inner);
        let [dq, dk, dv] = self
            .options
            .backward(&dout, [&qkv.0, &qkv.1, &qkv.2], &weights, width)?;
        let tensor = |values| Tensor::from_vec(values, shape, gradient.device()).map(Some);
        Ok((tensor(dq)?, tensor(dk)?, tensor(dv)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{assert_close, assert_gradients, random};
    use crate::ops::dropout::Dropout;

    /// The attention of one sequence, composed of candle's differentiable operators.
    fn plain(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize) -> Result<Tensor> {
        let (tokens, width) = q.dims2()?;
        let split = |x: &Tensor| {
            x.reshape((tokens, heads, width / heads))?
                .transpose(0, 1)?
                .contiguous()
        };
        let (q, k, v) = (split(q)?, split(k)?, split(v)?);
        let scores = (q.matmul(&k.t()?)? / ((width / heads) as f64).sqrt())?;
        let weights = candle_nn::ops::softmax(&scores, 2)?;
        weights
            .matmul(&v)?
            .transpose(0, 1)?
            .contiguous()?
            .reshape((tokens, width))
    }

    #[test]
    fn sequences_attend_to_themselves_alone() {
        let (q, k, v) = (random((9, 6), 1), random((9, 6), 2), random((9, 6), 3));
        let cu_seqlens: Arc<[usize]> = Arc::from([0, 4, 4, 9]);
        let together = attention(&q, &k, &v, &cu_seqlens, 2, None, None).unwrap();
        for (start, length) in [(0, 4), (4, 5)] {
            let part = |x: &Tensor| x.narrow(0, start, length).unwrap();
            let alone = plain(&part(&q), &part(&k), &part(&v), 2).unwrap();
            assert_close(&part(&together), &alone, 1e-6);
        }
    }

    #[test]
    fn gradients_with_and_without_dropout() {
        let inputs = [random((7, 4), 1), random((7, 4), 2), random((7, 4), 3)];
        let cu_seqlens: Arc<[usize]> = Arc::from([0, 3, 7]);
        for p in [0.0, 0.3] {
            assert_gradients(&inputs, |x| {
                attention(
                    &x[0],
                    &x[1],
                    &x[2],
                    &cu_seqlens,
                    2,
                    None,
                    Dropout::seeded(5).next(p),
                )
            });
        }
    }

    #[test]
    fn nan_in_a_query_reaches_that_token_alone() {
        let (q, k, v) = (random((5, 4), 1), random((5, 4), 2), random((5, 4), 3));
        let broken = [1.0, 1.0, 1.0, 1.0, f32::NAN];
        let broken = Tensor::new(&broken, q.device()).unwrap().unsqueeze(1).unwrap();
        let q = q.broadcast_mul(&broken).unwrap();
        let out: Vec<Vec<f32>> = attention(&q, &k, &v, &Arc::from([0, 2, 5]), 2, None, None)
            .unwrap()
            .to_vec2()
            .unwrap();
        assert!(out[4].iter().all(|x| x.is_nan()), "{out:?}");
        assert!(out[..4].iter().flatten().all(|x| x.is_finite()), "{out:?}");
    }

    #[test]
    fn bounds_must_cover_the_tokens() {
        let x = random((5, 4), 1);
        for cu_seqlens in [vec![0, 4], vec![], vec![0, 6, 5]] {
            assert!(attention(&x, &x, &x, &Arc::from(cu_seqlens), 2, None, None).is_err());
        }
    }
}
