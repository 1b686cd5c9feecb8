//! Disentangled attention (He et al. 2021, *DeBERTa*) over sequences of different lengths, without padding.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor};
use nerve_kernels::Matrix;

use crate::ops::attention::{softmax_gradient, softmax_rows};
use crate::ops::distance_rows::Order;
use crate::ops::heads::heads_of;
use crate::ops::mask::Mask;
use crate::ops::matrix::{Into, multiply};
use crate::ops::plain;
use crate::ops::relative_positions::RelativePositions;
use crate::ops::values::{slice, values};

/// Multi-head self-attention within each sequence: `[tokens, heads * size]`.
///
/// `v` is `[tokens, heads * size]`; sequence `i` consists of the tokens `cu_seqlens[i]..cu_seqlens[i + 1]`. `q` and `k` have a
/// row for each token too; behind them `q` has the position queries and `k` the position keys, one for each of the
/// positions' rows, if their term is used. `mask` is the dropout mask of the attention weights.
///
/// The backward pass computes the attention weights again: besides its inputs and outputs, each pass needs memory for the
/// scores of one head of one sequence and their products with the rows.
pub(crate) fn disentangled_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    cu_seqlens: &Arc<[usize]>,
    heads: usize,
    positions: &RelativePositions,
    mask: Option<Mask>,
) -> Result<Tensor> {
    let (tokens, width) = v.dims2()?;
    let rows = |is_used: bool| tokens + if is_used { positions.rows.count() } else { 0 };
    if q.dims2()? != (rows(positions.position_to_content), width)
        || k.dims2()? != (rows(positions.content_to_position), width)
        || heads == 0
        || !width.is_multiple_of(heads)
    {
        candle_core::bail!(
            "disentangled attention of {heads} heads and {} relative positions cannot take {:?}, {:?} and {:?}",
            positions.rows.count(),
            q.shape(),
            k.shape(),
            v.shape()
        );
    }
    if cu_seqlens.last().is_none_or(|&end| end != tokens) || !cu_seqlens.is_sorted() {
        candle_core::bail!("the sequences do not cover {tokens} tokens");
    }
    let longest = cu_seqlens.windows(2).map(|pair| pair[1] - pair[0]).max();
    if longest > Some(positions.rows.longest_sequence()) {
        candle_core::bail!("the relative positions are of shorter sequences");
    }
    if !v.device().is_cpu() || v.dtype() != DType::F32 {
        return plain::disentangled_attention(q, k, v, cu_seqlens, heads, positions, mask);
    }
    let operator = DisentangledAttention {
        cu_seqlens: cu_seqlens.clone(),
        heads,
        positions: positions.clone(),
        mask,
    };
    q.apply_op3(k, v, operator)
}

struct DisentangledAttention {
    cu_seqlens: Arc<[usize]>,
    heads: usize,
    positions: RelativePositions,
    mask: Option<Mask>,
}

/// One attention head of one sequence, and where its parts of the inputs begin.
struct PositionedHead {
    /// The part of the first token.
    tokens: usize,
    /// The number of tokens.
    length: usize,
    /// The part of the first relative position that the sequence reaches.
    positions: usize,
    /// The number of relative positions that the sequence reaches.
    reached: usize,
    /// The number of attention weights of the heads before.
    weights: usize,
}

/// The elements of the inputs.
struct Inputs<'d> {
    q: &'d [f32],
    k: &'d [f32],
    v: &'d [f32],
    width: usize,
    size: usize,
    scale: f32,
}

impl<'d> Inputs<'d> {
    /// A head's part of the tokens' rows.
    fn of_tokens(&self, rows: &'d [f32], head: &PositionedHead) -> Matrix<'d> {
        Matrix::new(&rows[head.tokens..], head.length, self.size, self.width)
    }

    /// A head's part of the rows of relative positions.
    fn of_positions(&self, rows: &'d [f32], head: &PositionedHead) -> Matrix<'d> {
        Matrix::new(&rows[head.positions..], head.reached, self.size, self.width)
    }
}

/// Memory of one head's computation.
#[derive(Default)]
struct Buffers {
    /// `[length, reached]`.
    products: Vec<f32>,
    /// `[length, length]`.
    turned: Vec<f32>,
}

impl DisentangledAttention {
    fn heads(&self, width: usize) -> impl Iterator<Item = PositionedHead> + '_ {
        let size = width / self.heads;
        let tokens = self.cu_seqlens.last().copied().unwrap_or_default();
        heads_of(&self.cu_seqlens, self.heads).map(move |head| {
            let reached = self.positions.rows.of_length(head.length);
            PositionedHead {
                tokens: head.start(width, size),
                length: head.length,
                positions: (tokens + reached.start) * width + head.number * size,
                reached: reached.len(),
                weights: head.weights.start,
            }
        })
    }

    /// Writes the attention weights of a head before dropout, `[length, length]`.
    fn weights(&self, inputs: &Inputs, head: &PositionedHead, weights: &mut Vec<f32>, buffers: &mut Buffers) {
        let PositionedHead { length, reached, .. } = *head;
        let (q, k) = (inputs.of_tokens(inputs.q, head), inputs.of_tokens(inputs.k, head));
        let square = length * length;
        let products = &mut buffers.products;
        products.resize(length * reached, 0.0);
        weights.clear();
        weights.resize(square, 0.0);
        let mut products_of = |tokens: Matrix, positions: Matrix, order: Order, scores: &mut [f32]| {
            multiply(
                inputs.scale,
                tokens,
                positions.transposed(),
                products,
                reached,
                Into::Replace,
            );
            self.positions.rows.gather(order, products, scores, length);
        };
        if self.positions.position_to_content {
            let turned = &mut buffers.turned;
            turned.clear();
            turned.resize(square, 0.0);
            let positions = inputs.of_positions(inputs.q, head);
            products_of(k, positions, Order::KeysByQueries, turned);
            transpose(turned, weights, length);
        }
        if self.positions.content_to_position {
            let positions = inputs.of_positions(inputs.k, head);
            products_of(q, positions, Order::QueriesByKeys, weights);
        }
        multiply(inputs.scale, q, k.transposed(), weights, length, Into::Add);
        softmax_rows(weights, length);
    }
}

impl CustomOp3 for DisentangledAttention {
    fn name(&self) -> &'static str {
        "disentangled-attention"
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
        let (_, width) = v_layout.shape().dims2()?;
        let size = width / self.heads;
        let inputs = Inputs {
            q: slice(q, q_layout)?,
            k: slice(k, k_layout)?,
            v: slice(v, v_layout)?,
            width,
            size,
            scale: self.positions.scale(size),
        };
        let mut out = vec![0f32; inputs.v.len()];
        let (mut weights, mut buffers) = (Vec::new(), Buffers::default());
        for head in self.heads(width) {
            self.weights(&inputs, &head, &mut weights, &mut buffers);
            if let Some(mask) = self.mask {
                mask.multiply(&mut weights, head.weights);
            }
            multiply(
                1.0,
                Matrix::new(&weights, head.length, head.length, head.length),
                inputs.of_tokens(inputs.v, &head),
                &mut out[head.tokens..],
                width,
                Into::Replace,
            );
        }
        Ok((CpuStorage::F32(out), v_layout.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _out: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (_, width) = v.dims2()?;
        let size = width / self.heads;
        let gradient = gradient.contiguous()?;
        let (dout, q_values, k_values, v_values) = (values(&gradient)?, values(q)?, values(k)?, values(v)?);
        let inputs = Inputs {
            q: &q_values,
            k: &k_values,
            v: &v_values,
            width,
            size,
            scale: self.positions.scale(size),
        };
        let mut dq = vec![0f32; inputs.q.len()];
        let mut dk = vec![0f32; inputs.k.len()];
        let mut dv = vec![0f32; inputs.v.len()];
        let (mut weights, mut dropped, mut dscores) = (Vec::new(), Vec::new(), Vec::new());
        let mut buffers = Buffers::default();
        for head in self.heads(width) {
            let length = head.length;
            self.weights(&inputs, &head, &mut weights, &mut buffers);
            let dout = inputs.of_tokens(&dout, &head);
            dropped.clear();
            dropped.extend_from_slice(&weights);
            dscores.resize(length * length, 0.0);
            multiply(
                1.0,
                dout,
                inputs.of_tokens(inputs.v, &head).transposed(),
                &mut dscores,
                length,
                Into::Replace,
            );
            if let Some(mask) = self.mask {
                mask.multiply(&mut dropped, head.weights);
                mask.multiply(&mut dscores, head.weights);
            }
            let used = Matrix::new(&dropped, length, length, length);
            multiply(
                1.0,
                used.transposed(),
                dout,
                &mut dv[head.tokens..],
                width,
                Into::Replace,
            );
            softmax_gradient(&mut dscores, &weights, length);
            self.add_score_gradients(&inputs, &head, &dscores, &mut buffers, &mut dq, &mut dk);
        }
        let tensor =
            |values, like: &Tensor| Tensor::from_vec(values, like.shape(), gradient.device()).map(Some);
        Ok((tensor(dq, q)?, tensor(dk, k)?, tensor(dv, v)?))
    }
}

impl DisentangledAttention {
    /// Adds the gradients of a head's queries, keys and relative positions, from those of its scores.
    fn add_score_gradients(
        &self,
        inputs: &Inputs,
        head: &PositionedHead,
        dscores: &[f32],
        buffers: &mut Buffers,
        dq: &mut [f32],
        dk: &mut [f32],
    ) {
        let length = head.length;
        let (q, k) = (inputs.of_tokens(inputs.q, head), inputs.of_tokens(inputs.k, head));
        let add = |a: Matrix, b: Matrix, to: &mut [f32]| {
            multiply(inputs.scale, a, b, to, inputs.width, Into::Add);
        };
        let slope = Matrix::new(dscores, length, length, length);
        add(slope, k, &mut dq[head.tokens..]);
        add(slope.transposed(), q, &mut dk[head.tokens..]);
        let rows = &self.positions.rows;
        if self.positions.content_to_position {
            rows.scatter(Order::QueriesByKeys, dscores, &mut buffers.products, length);
            let slope = Matrix::new(&buffers.products, length, head.reached, head.reached);
            add(slope, inputs.of_positions(inputs.k, head), &mut dq[head.tokens..]);
            add(slope.transposed(), q, &mut dk[head.positions..]);
        }
        if self.positions.position_to_content {
            let mut turned = vec![0.0; dscores.len()];
            transpose(dscores, &mut turned, length);
            rows.scatter(Order::KeysByQueries, &turned, &mut buffers.products, length);
            let slope = Matrix::new(&buffers.products, length, head.reached, head.reached);
            add(slope, inputs.of_positions(inputs.q, head), &mut dk[head.tokens..]);
            add(slope.transposed(), k, &mut dq[head.positions..]);
        }
    }
}

/// Writes the transpose of a square matrix with rows of this length, by blocks that fit the nearest cache.
fn transpose(matrix: &[f32], to: &mut [f32], length: usize) {
    const BLOCK: usize = 16;
    for top in (0..length).step_by(BLOCK) {
        for left in (0..length).step_by(BLOCK) {
            for row in top..length.min(top + BLOCK) {
                for column in left..length.min(left + BLOCK) {
                    to[column * length + row] = matrix[row * length + column];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;
    use crate::ops::check::{assert_close, assert_gradients, random};
    use crate::ops::distance_rows::DistanceRows;
    use crate::ops::distance_rows::tests::row;
    use crate::ops::dropout::Dropout;

    const TERMS: [(bool, bool); 3] = [(true, true), (true, false), (false, true)];

    fn positions(
        longest: usize,
        (content_to_position, position_to_content): (bool, bool),
    ) -> RelativePositions {
        RelativePositions {
            rows: DistanceRows::new(longest, row),
            content_to_position,
            position_to_content,
        }
    }

    fn inputs(tokens: usize, width: usize, positions: &RelativePositions) -> [Tensor; 3] {
        let rows = |is_used: bool| tokens + if is_used { positions.rows.count() } else { 0 };
        [
            random((rows(positions.position_to_content), width), 1),
            random((rows(positions.content_to_position), width), 2),
            random((tokens, width), 3),
        ]
    }

    /// The definition, score by score, without dropout.
    fn by_definition(
        x: &[Tensor],
        cu_seqlens: &[usize],
        heads: usize,
        positions: &RelativePositions,
    ) -> Tensor {
        let [q, k, v] = [&x[0], &x[1], &x[2]].map(|x| x.to_vec2::<f32>().unwrap());
        let (tokens, width) = x[2].dims2().unwrap();
        let size = width / heads;
        let terms =
            1 + usize::from(positions.content_to_position) + usize::from(positions.position_to_content);
        let mut out = vec![0f32; tokens * width];
        for (pair, head) in cu_seqlens
            .windows(2)
            .flat_map(|pair| (0..heads).map(move |head| (pair, head)))
        {
            let part = head * size..(head + 1) * size;
            let dot = |a: &[f32], b: &[f32]| -> f32 {
                let products = a[part.clone()].iter().zip(&b[part.clone()]).map(|(a, b)| a * b);
                products.sum()
            };
            for query in pair[0]..pair[1] {
                let score = |key: usize| {
                    let row = tokens + positions.rows.of_distance(query as isize - key as isize);
                    let mut score = dot(&q[query], &k[key]);
                    if positions.content_to_position {
                        score += dot(&q[query], &k[row]);
                    }
                    if positions.position_to_content {
                        score += dot(&k[key], &q[row]);
                    }
                    (score / ((size * terms) as f32).sqrt()).exp()
                };
                let weights: Vec<f32> = (pair[0]..pair[1]).map(score).collect();
                let total: f32 = weights.iter().sum();
                for (key, weight) in (pair[0]..pair[1]).zip(weights) {
                    for at in part.clone() {
                        out[query * width + at] += weight / total * v[key][at];
                    }
                }
            }
        }
        Tensor::from_vec(out, (tokens, width), x[2].device()).unwrap()
    }

    #[test]
    fn sequences_attend_to_themselves_by_content_and_distance() {
        let cu_seqlens: Arc<[usize]> = [0, 14, 14, 15, 18].into();
        for terms in TERMS {
            let positions = positions(16, terms);
            let x = inputs(18, 6, &positions);
            let expected = by_definition(&x, &cu_seqlens, 2, &positions);
            let found = disentangled_attention(&x[0], &x[1], &x[2], &cu_seqlens, 2, &positions, None);
            assert_close(&found.unwrap(), &expected, 1e-5);
            let found = plain::disentangled_attention(&x[0], &x[1], &x[2], &cu_seqlens, 2, &positions, None);
            assert_close(&found.unwrap(), &expected, 1e-5);
        }
    }

    #[test]
    fn gradients_are_finite_differences_and_those_of_plain_operators() {
        let cu_seqlens: Arc<[usize]> = [0, 3, 3, 12].into();
        for (terms, p) in TERMS.into_iter().flat_map(|terms| [(terms, 0.0), (terms, 0.3)]) {
            let positions = positions(8, terms);
            let x = inputs(12, 4, &positions);
            let mask = || Dropout::seeded(5).next(p);
            let fused = |x: &[Tensor]| {
                disentangled_attention(&x[0], &x[1], &x[2], &cu_seqlens, 2, &positions, mask())
            };
            let composed = |x: &[Tensor]| {
                plain::disentangled_attention(&x[0], &x[1], &x[2], &cu_seqlens, 2, &positions, mask())
            };
            assert_close(&fused(&x).unwrap(), &composed(&x).unwrap(), 1e-5);
            assert_gradients(&x, fused);
            assert_gradients(&x, composed);
        }
    }

    #[test]
    fn long_sequences_have_the_values_and_gradients_of_plain_operators() {
        let cu_seqlens: Arc<[usize]> = [0, 90, 300].into();
        let positions = positions(209, (true, true));
        let x = inputs(300, 8, &positions);
        let output_weights = random((300, 8), 9);
        let run = |is_plain: bool| {
            let vars = x.clone().map(|x| Var::from_tensor(&x).unwrap());
            let operator = if is_plain {
                plain::disentangled_attention
            } else {
                |q: &Tensor, k: &Tensor, v: &Tensor, cu: &[usize], heads, positions: &_, mask| {
                    disentangled_attention(q, k, v, &cu.into(), heads, positions, mask)
                }
            };
            let y = operator(&vars[0], &vars[1], &vars[2], &cu_seqlens, 2, &positions, None).unwrap();
            let store = (&y * &output_weights)
                .unwrap()
                .sum_all()
                .unwrap()
                .backward()
                .unwrap();
            (y, vars.map(|var| store.get(&var).unwrap().clone()))
        };
        let (found, expected) = (run(false), run(true));
        assert_close(&found.0, &expected.0, 1e-5);
        for (found, expected) in found.1.iter().zip(&expected.1) {
            assert_close(found, expected, 2e-4);
        }
    }

    #[test]
    fn nan_in_a_query_reaches_that_token_alone() {
        let positions = positions(4, (true, true));
        let [q, k, v] = inputs(5, 4, &positions);
        let mut broken: Vec<Vec<f32>> = q.to_vec2().unwrap();
        broken[4][0] = f32::NAN;
        let q = Tensor::new(broken, q.device()).unwrap();
        let out = disentangled_attention(&q, &k, &v, &[0, 2, 5].into(), 2, &positions, None);
        let out: Vec<Vec<f32>> = out.unwrap().to_vec2().unwrap();
        assert!(out[4][..2].iter().all(|x| x.is_nan()), "{out:?}");
        assert!(out[..4].iter().flatten().all(|x| x.is_finite()), "{out:?}");
    }

    #[test]
    fn shapes_and_sequences_must_agree() {
        let positions = positions(4, (true, true));
        let [q, k, v] = inputs(5, 4, &positions);
        let run = |q: &Tensor, k: &Tensor, cu_seqlens: &[usize], heads: usize| {
            disentangled_attention(q, k, &v, &cu_seqlens.into(), heads, &positions, None).is_ok()
        };
        assert!(run(&q, &k, &[0, 5], 2));
        assert!(!run(&v, &k, &[0, 5], 2) && !run(&q, &v, &[0, 5], 2));
        assert!(!run(&q, &k, &[0, 5], 3) && !run(&q, &k, &[0, 5], 0));
        for cu_seqlens in [&[0, 4][..], &[], &[0, 6, 5]] {
            assert!(!run(&q, &k, cu_seqlens, 2));
        }
        let [q, k, v] = inputs(6, 4, &positions);
        assert!(disentangled_attention(&q, &k, &v, &[0, 6].into(), 2, &positions, None).is_err());
    }
}
