//! The operators composed of candle's differentiable operators, for any device.
//!
//! They are used on devices other than the CPU. The tests compare them with the fused operators. Dropout masks are
//! the same on every device.

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::ops::softmax;
use nerve_repository::Activation;

use crate::ops::mask::Mask;
use crate::ops::multiplier::Multiplier;
use crate::ops::position_bias::PositionBias;
use crate::ops::relative_positions::RelativePositions;
use crate::ops::weight_mask::{QueryWeights, masked_weights};

/// Added to the attention scores of padding, so that its weights become 0. Being finite, it keeps a row of padding
/// alone free of NaN.
pub(super) const MASKED: f32 = -1e9;

/// The product `a * b` in f32. Factors in bf16 or fp16 are multiplied with sums in f32, and the product is rounded to their type.
pub(super) fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    // candle has no products of bf16 on the CPU. Those of the same factors in f32 are rounded as those of a GPU.
    if a.dtype() == DType::BF16 && a.device().is_cpu() {
        let whole = a
            .to_dtype(DType::F32)?
            .broadcast_matmul(&b.to_dtype(DType::F32)?)?;
        return whole.to_dtype(DType::BF16)?.to_dtype(DType::F32);
    }
    a.broadcast_matmul(b)?.to_dtype(DType::F32)
}

/// See [`super::linear`].
pub(super) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor, multiplier: Multiplier) -> Result<Tensor> {
    product(&multiplier.factor(x)?, &multiplier.factor(weight)?.t()?)?.broadcast_add(bias)
}

/// See [`super::layer_norm`].
pub(super) fn layer_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<Tensor> {
    let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
    let normal = centered.broadcast_div(&(variance + eps)?.sqrt()?)?;
    normal.broadcast_mul(gamma)?.broadcast_add(beta)
}

/// See [`super::activation`].
pub(super) fn activation(x: &Tensor, function: Activation) -> Result<Tensor> {
    match function {
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        // candle's `relu` turns NaN into 0.
        Activation::Relu => x.le(0.0)?.where_cond(&x.zeros_like()?, x),
    }
}

/// See [`super::attention`]. The sequences are padded to the longest one; the padding is removed from the output. Products have
/// factors in the type of `q`, `k` and `v`; everything else is f32, the output too.
pub(super) fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    cu_seqlens: &[usize],
    heads: usize,
    bias: Option<&PositionBias>,
    mask: Option<Mask>,
) -> Result<Tensor> {
    let (_, width) = q.dims2()?;
    let size = width / heads;
    let padded = Padded::new(cu_seqlens);
    if padded.lengths.is_empty() {
        return q.zeros_like()?.to_dtype(DType::F32);
    }
    // Queries are scaled, not scores, so that scores in fp16 are within its range.
    let q = (padded.heads(q, heads)? * (1.0 / (size as f64).sqrt()))?;
    let (k, v) = (padded.heads(k, heads)?, padded.heads(v, heads)?);
    let scores = product(&q, &k.t()?)?;
    let scores = match bias {
        None => scores,
        Some(bias) => scores.broadcast_add(&bias.of_positions(padded.longest)?)?,
    };
    let scores = scores.broadcast_add(&padded.bias(q.device())?)?;
    padded.mixed(&scores, &v, mask)
}

/// See [`super::disentangled_attention`]. The sequences are padded as in [`attention`].
pub(super) fn disentangled_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    cu_seqlens: &[usize],
    heads: usize,
    positions: &RelativePositions,
    mask: Option<Mask>,
) -> Result<Tensor> {
    let (tokens, width) = v.dims2()?;
    let size = width / heads;
    let padded = Padded::new(cu_seqlens);
    if padded.lengths.is_empty() {
        return v.zeros_like()?.to_dtype(DType::F32);
    }
    let (count, longest) = (padded.lengths.len(), padded.longest);
    let device = v.device();
    // Queries and the positions' queries are scaled, not scores, so that scores in fp16 are within its range.
    let q = &(q * f64::from(positions.scale(size)))?;
    let (query, key) = (padded.heads(q, heads)?, padded.heads(k, heads)?);
    let rows = positions.rows.count();
    // The relative positions behind the tokens: `[1, heads, rows, size]`.
    let of_positions = |x: &Tensor| -> Result<Tensor> {
        let rows = x.narrow(0, tokens, rows)?.reshape((1, rows, heads, size))?;
        rows.transpose(1, 2)?.contiguous()
    };
    let pairs = (0..longest).flat_map(|query| (0..longest).map(move |key| (query, key)));
    let by_pair: Vec<u32> = pairs
        .map(|(query, key)| positions.rows.of_distance(query as isize - key as isize) as u32)
        .collect();
    let by_pair = Tensor::from_vec(by_pair, (1, 1, longest, longest), device)?
        .broadcast_as((count, heads, longest, longest))?
        .contiguous()?;
    let mut scores = product(&query, &key.t()?)?;
    if positions.content_to_position {
        let products = product(&query, &of_positions(k)?.t()?)?;
        scores = (scores + products.contiguous()?.gather(&by_pair, D::Minus1)?)?;
    }
    if positions.position_to_content {
        let products = product(&of_positions(q)?, &key.t()?)?;
        scores = (scores + products.contiguous()?.gather(&by_pair, D::Minus2)?)?;
    }
    let scores = scores.broadcast_add(&padded.bias(device)?)?;
    padded.mixed(&scores, &padded.heads(v, heads)?, mask)
}

/// The positions of the tokens of sequences that are padded to the longest one.
struct Padded {
    lengths: Vec<usize>,
    longest: usize,
    /// The token at each padded position; any token of the sequence at a position of padding.
    gather: Vec<u32>,
    /// The padded position of each token.
    scatter: Vec<u32>,
}

impl Padded {
    fn new(cu_seqlens: &[usize]) -> Self {
        let sequences = || cu_seqlens.windows(2).filter(|pair| pair[0] < pair[1]);
        let lengths: Vec<usize> = sequences().map(|pair| pair[1] - pair[0]).collect();
        let longest = lengths.iter().copied().max().unwrap_or_default();
        let (mut gather, mut scatter) = (Vec::new(), Vec::new());
        for (at, pair) in sequences().enumerate() {
            gather.extend((0..longest).map(|token| (pair[0] + token.min(pair[1] - pair[0] - 1)) as u32));
            scatter.extend((0..pair[1] - pair[0]).map(|token| (at * longest + token) as u32));
        }
        Self {
            lengths,
            longest,
            gather,
            scatter,
        }
    }

    /// Rows of tokens as `[sequences, heads, longest, size]`.
    fn heads(&self, rows: &Tensor, heads: usize) -> Result<Tensor> {
        let gather = Tensor::new(self.gather.as_slice(), rows.device())?;
        let (count, size) = (self.lengths.len(), rows.dim(1)? / heads);
        rows.index_select(&gather, 0)?
            .reshape((count, self.longest, heads, size))?
            .transpose(1, 2)?
            .contiguous()
    }

    /// The values of the tokens, weighted by the softmax of the masked scores after dropout: `[tokens, heads * size]`.
    fn mixed(&self, scores: &Tensor, v: &Tensor, mask: Option<Mask>) -> Result<Tensor> {
        let (count, heads, longest, size) = v.dims4()?;
        let mut weights = softmax(scores, D::Minus1)?;
        if let Some(mask) = mask {
            weights = masked_weights(&weights, self.queries(heads), mask)?;
        }
        let scatter = Tensor::new(self.scatter.as_slice(), v.device())?;
        let out = product(&weights.to_dtype(v.dtype())?, v)?;
        let out = out.transpose(1, 2)?.contiguous()?;
        out.reshape((count * longest, heads * size))?
            .index_select(&scatter, 0)
    }

    /// The bias that is added to attention scores: `[sequences, 1, 1, longest]`.
    fn bias(&self, device: &Device) -> Result<Tensor> {
        let of_place =
            |length: usize| (0..self.longest).map(move |key| if key < length { 0.0 } else { MASKED });
        let bias: Vec<f32> = self.lengths.iter().flat_map(|&length| of_place(length)).collect();
        Tensor::from_vec(bias, (self.lengths.len(), 1, 1, self.longest), device)
    }

    /// The weights of each padded query.
    fn queries(&self, heads: usize) -> impl Iterator<Item = QueryWeights> {
        let longest = self.longest;
        let mut from = 0;
        self.lengths.iter().flat_map(move |&length| {
            let of_head = length * length;
            let first = from;
            from += heads * of_head;
            (0..longest).map(move |query| match query < length {
                true => QueryWeights {
                    start: 0,
                    end: length,
                    from: first + query * length,
                    of_head,
                },
                false => QueryWeights::default(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{assert_close, assert_gradients, random};
    use crate::ops::dropout::Dropout;
    use crate::ops::weights::WeightGradients;
    use std::sync::Arc;

    /// Asserts that both operators yield the same values, and that the gradients of `plain` equal its finite
    /// differences.
    fn assert_same(
        inputs: &[Tensor],
        fused: impl Fn(&[Tensor]) -> Result<Tensor>,
        plain: impl Fn(&[Tensor]) -> Result<Tensor>,
    ) {
        assert_close(&fused(inputs).unwrap(), &plain(inputs).unwrap(), 2e-5);
        assert_gradients(inputs, plain);
    }

    #[test]
    fn plain_operators_are_the_fused_ones() {
        let (x, weight) = (random((5, 6), 1), random((4, 6), 2));
        let (bias, gamma) = (random(4, 3), random(6, 4));
        assert_same(
            &[x.clone(), weight, bias],
            |t| {
                super::super::linear(
                    &t[0],
                    &t[1],
                    &t[2],
                    Multiplier::default(),
                    &WeightGradients::default(),
                )
            },
            |t| linear(&t[0], &t[1], &t[2], Multiplier::default()),
        );
        assert_same(
            &[x.clone(), gamma, random(6, 5)],
            |t| super::super::layer_norm(&t[0], &t[1], &t[2], 1e-5),
            |t| layer_norm(&t[0], &t[1], &t[2], 1e-5),
        );
        for function in [Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
            assert_same(
                std::slice::from_ref(&x),
                |t| super::super::activation(&t[0], function),
                |t| activation(&t[0], function),
            );
        }
    }

    #[test]
    fn plain_attention_drops_what_the_fused_one_drops() {
        let mask = || Dropout::seeded(5).next(0.4);
        let x = random((7, 6), 1);
        let cu_seqlens: Arc<[usize]> = [0, 3, 3, 4, 7].into();
        for mask in [None, mask()] {
            assert_same(
                &[x.clone(), random((7, 6), 2), random((7, 6), 3)],
                |t| super::super::attention::attention(&t[0], &t[1], &t[2], &cu_seqlens, 2, None, mask),
                |t| attention(&t[0], &t[1], &t[2], &cu_seqlens, 2, None, mask),
            );
        }
    }
}
