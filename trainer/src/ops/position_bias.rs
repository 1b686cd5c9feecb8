//! Biases of attention scores by the distance from query to key (Raffel et al. 2020), and their gradient.

use candle_core::{Result, Tensor};
use nerve_repository::relative_position::{BUCKETS, LONGEST_DISTANCE, bucket};
use pulp::Arch;

use crate::ops::values::values;
use crate::ops::weights::WeightGradients;

/// The number of distances with a bias of their own, in both directions.
const DISTANCES: usize = 2 * LONGEST_DISTANCE + 1;

/// A bias for each bucket of distances and each head.
#[derive(Clone, Debug)]
pub(crate) struct PositionBias {
    /// `[buckets, heads]`. On the CPU it must be a variable or outside the graph.
    pub(crate) table: Tensor,
    /// Where its gradient is added on the CPU.
    pub(crate) gradients: WeightGradients,
}

impl PositionBias {
    /// An error unless the table has this number of heads, and its gradient a destination.
    pub(super) fn check(&self, heads: usize) -> Result<()> {
        if self.table.dims2()? != (BUCKETS, heads) {
            candle_core::bail!(
                "{heads} heads cannot take position biases of {:?}",
                self.table.shape()
            );
        }
        if self.table.device().is_cpu() && self.table.track_op() && !self.table.is_variable() {
            candle_core::bail!("the table of position biases must be a variable or outside the graph");
        }
        Ok(())
    }

    /// The biases by distance, on the CPU.
    pub(super) fn by_distance(&self) -> Result<Biases> {
        let table = values(&self.table)?;
        let heads = table.len() / BUCKETS;
        let rows = (0..heads).flat_map(|head| distances().map(move |distance| (head, bucket(distance))));
        let rows = rows.map(|(head, bucket)| table[bucket * heads + head]);
        Ok(Biases(rows.collect()))
    }

    /// The biases of all pairs of positions below `length`, `[1, heads, length, length]`, on any device and inside the graph.
    pub(super) fn of_positions(&self, length: usize) -> Result<Tensor> {
        let (_, heads) = self.table.dims2()?;
        let pairs = (0..length).flat_map(|query| (0..length).map(move |key| (query, key)));
        let buckets: Vec<u32> = pairs
            .map(|(query, key)| bucket(key as isize - query as isize) as u32)
            .collect();
        let buckets = Tensor::new(buckets, self.table.device())?;
        // The gradients of each layer are summed before they are added to those of the others. With gradient checkpointing the sums
        // have the same order.
        self.table
            .affine(1.0, 0.0)?
            .index_select(&buckets, 0)?
            .reshape((1, length, length, heads))?
            .permute((0, 3, 1, 2))
    }
}

fn distances() -> impl Iterator<Item = isize> {
    let longest = LONGEST_DISTANCE as isize;
    -longest..=longest
}

/// Biases of each head by distance, `[heads, DISTANCES]`.
pub(super) struct Biases(Vec<f32>);

impl Biases {
    /// Writes the biases of a head to the scores of a sequence, `[length, length]`.
    pub(super) fn write(&self, head: usize, scores: &mut [f32], length: usize) {
        let own = &self.0[head * DISTANCES..][..DISTANCES];
        for (query, row) in scores.chunks_exact_mut(length).enumerate() {
            let (far_before, near, far_behind) = parts(query, length);
            row[..far_before].fill(own[0]);
            let first = LONGEST_DISTANCE + far_before - query;
            row[far_before..near].copy_from_slice(&own[first..][..near - far_before]);
            row[near..far_behind].fill(own[DISTANCES - 1]);
        }
    }
}

/// The ends of three ranges of keys: farther before the query than [`LONGEST_DISTANCE`], near it, and farther behind it.
fn parts(query: usize, length: usize) -> (usize, usize, usize) {
    let far_before = query.saturating_sub(LONGEST_DISTANCE);
    (far_before, length.min(query + LONGEST_DISTANCE + 1), length)
}

/// The sums of the scores' gradients by head and distance, `[heads, DISTANCES]`.
pub(super) struct BiasGradient(Vec<f32>);

impl BiasGradient {
    pub(super) fn new(heads: usize) -> Self {
        Self(vec![0.0; heads * DISTANCES])
    }

    /// Adds the gradients of the scores of one head of a sequence, `[length, length]`.
    pub(super) fn add(&mut self, head: usize, dscores: &[f32], length: usize) {
        let own = &mut self.0[head * DISTANCES..][..DISTANCES];
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (query, row) in dscores.chunks_exact(length).enumerate() {
                    let (far_before, near, far_behind) = parts(query, length);
                    own[0] += row[..far_before].iter().sum::<f32>();
                    let first = LONGEST_DISTANCE + far_before - query;
                    for (sum, dscore) in own[first..].iter_mut().zip(&row[far_before..near]) {
                        *sum += dscore;
                    }
                    own[DISTANCES - 1] += row[near..far_behind].iter().sum::<f32>();
                }
            },
        );
    }

    /// The gradient of the table, `[buckets, heads]`.
    pub(super) fn into_values(self) -> Vec<f32> {
        let heads = self.0.len() / DISTANCES;
        let mut table = vec![0.0; BUCKETS * heads];
        for (head, sums) in self.0.chunks_exact(DISTANCES).enumerate() {
            for (distance, sum) in distances().zip(sums) {
                table[bucket(distance) * heads + head] += sum;
            }
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::{Result, Tensor, Var};

    use super::*;
    use crate::ops::attention::attention;
    use crate::ops::check::{assert_close, assert_gradients_in, random};
    use crate::ops::dropout::Dropout;
    use crate::ops::plain;

    fn biased(
        x: &[Tensor],
        cu_seqlens: &Arc<[usize]>,
        gradients: &WeightGradients,
        p: f64,
    ) -> Result<Tensor> {
        let bias = PositionBias {
            table: x[3].clone(),
            gradients: gradients.clone(),
        };
        let mask = Dropout::seeded(5).next(p);
        attention(&x[0], &x[1], &x[2], cu_seqlens, 2, Some(&bias), mask)
    }

    fn inputs(tokens: usize) -> [Tensor; 4] {
        [
            random((tokens, 4), 1),
            random((tokens, 4), 2),
            random((tokens, 4), 3),
            random((BUCKETS, 2), 4),
        ]
    }

    #[test]
    fn gradients_are_finite_differences_and_those_of_plain_operators() {
        for p in [0.0, 0.3] {
            let cu_seqlens: Arc<[usize]> = [0, 3, 3, 4, 18].into();
            let weights = WeightGradients::default();
            assert_gradients_in(&weights, &inputs(18), |x| biased(x, &cu_seqlens, &weights, p));
            let none = WeightGradients::default();
            assert_gradients_in(&none, &inputs(18), |x| plainly(x, &cu_seqlens, p));
        }
    }

    fn plainly(x: &[Tensor], cu_seqlens: &Arc<[usize]>, p: f64) -> Result<Tensor> {
        let bias = PositionBias {
            table: x[3].clone(),
            gradients: WeightGradients::default(),
        };
        let mask = Dropout::seeded(5).next(p);
        plain::attention(&x[0], &x[1], &x[2], cu_seqlens, 2, Some(&bias), mask)
    }

    #[test]
    fn long_sequences_have_the_values_and_gradients_of_plain_operators() {
        let cu_seqlens: Arc<[usize]> = [0, 150, 450].into();
        let inputs = inputs(450);
        let output_weights = random((450, 4), 9);
        let run = |is_plain: bool| {
            let vars = inputs.clone().map(|x| Var::from_tensor(&x).unwrap());
            let x = vars.clone().map(|var| var.as_tensor().clone());
            let weights = WeightGradients::default();
            let y = match is_plain {
                true => plainly(&x, &cu_seqlens, 0.0).unwrap(),
                false => biased(&x, &cu_seqlens, &weights, 0.0).unwrap(),
            };
            let loss = (&y * &output_weights).unwrap().sum_all().unwrap();
            let store = loss.backward().unwrap();
            let gradients = vars.map(|var| {
                let own = weights.take(&var);
                own.unwrap_or_else(|| store.get(&var).unwrap().clone())
            });
            (y, gradients)
        };
        let (found, expected) = (run(false), run(true));
        assert_close(&found.0, &expected.0, 1e-5);
        for (found, expected) in found.1.iter().zip(&expected.1) {
            assert_close(found, expected, 2e-4);
        }
    }

    #[test]
    fn a_table_learns_where_nothing_else_does() {
        let [q, k, v, table] = inputs(6);
        let table = Var::from_tensor(&table).unwrap();
        let weights = WeightGradients::default();
        let x = [q, k, v, table.as_tensor().clone()];
        let y = biased(&x, &[0, 6].into(), &weights, 0.0).unwrap();
        y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let found: Vec<f32> = weights
            .take(&table)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap();
        assert!(found.iter().any(|x| *x != 0.0), "{found:?}");
        let scaled = (table.as_tensor() * 2.0).unwrap();
        let x = [x[0].clone(), x[1].clone(), x[2].clone(), scaled];
        assert!(biased(&x, &[0, 6].into(), &weights, 0.0).is_err());
    }
}
