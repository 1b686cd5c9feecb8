//! The rows of relative embeddings that belong to the distances between the tokens of a sequence.

use std::ops::Range;
use std::sync::Arc;

use pulp::Arch;

/// The row of the relative embeddings for each distance, a query's position less the key's. Rows are counted from the first
/// one that a distance has.
#[derive(Clone, Debug)]
pub(crate) struct DistanceRows {
    /// The rows of the distances `-longest..=longest`.
    // Invariant: ascending from 0.
    by_distance: Arc<[u32]>,
    longest: usize,
    /// Up to this distance in both directions, each distance has a row of its own.
    near: usize,
}

/// What the rows and the columns of a square of scores stand for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    QueriesByKeys,
    KeysByQueries,
}

impl DistanceRows {
    /// The rows of all distances up to `longest` in both directions. `row` must not descend with the distance.
    pub(crate) fn new(longest: usize, row: impl Fn(isize) -> usize) -> Self {
        let far = longest as isize;
        let first = row(-far);
        let by_distance: Arc<[u32]> = (-far..=far)
            .map(|distance| row(distance).saturating_sub(first) as u32)
            .collect();
        let center = by_distance[longest] as usize;
        let has_own_rows = |&distance: &usize| {
            by_distance[longest + distance] as usize == center + distance
                && by_distance[longest - distance] as usize + distance == center
        };
        Self {
            near: (1..=longest).take_while(has_own_rows).count(),
            by_distance,
            longest,
        }
    }

    /// The number of rows.
    pub(crate) fn count(&self) -> usize {
        self.by_distance.last().map_or(0, |&last| last as usize + 1)
    }

    /// The longest sequence all of whose distances have a row.
    pub(super) fn longest_sequence(&self) -> usize {
        self.longest + 1
    }

    /// The row of a distance.
    pub(super) fn of_distance(&self, distance: isize) -> usize {
        self.by_distance[self.longest.strict_add_signed(distance)] as usize
    }

    /// The rows of all distances in a sequence of this length.
    pub(super) fn of_length(&self, length: usize) -> Range<usize> {
        let far = length.saturating_sub(1) as isize;
        self.of_distance(-far)..self.of_distance(far) + 1
    }

    /// The rows of the distances from one token to all tokens of its sequence, by ascending distance, and the part of them
    /// in which each distance has a row of its own.
    fn of_token(&self, order: Order, token: usize, length: usize) -> (&[u32], Range<usize>) {
        let before = match order {
            Order::QueriesByKeys => length - 1 - token,
            Order::KeysByQueries => token,
        };
        let first = self.longest - before;
        let near = before.saturating_sub(self.near)..length.min(before + self.near + 1);
        (&self.by_distance[first..first + length], near)
    }

    /// Adds to the scores of a sequence, `[length, length]`, the products of their rows' tokens with the relative embeddings of
    /// their distances. `products` are those of each token with the rows of [`Self::of_length`], `[length, rows]`.
    pub(super) fn gather(&self, order: Order, products: &[f32], scores: &mut [f32], length: usize) {
        let reached = self.of_length(length);
        let column = |row: u32| row as usize - reached.start;
        let mut found = vec![0f32; length];
        Arch::new().dispatch(
            #[inline(always)]
            || {
                let tokens = scores
                    .chunks_exact_mut(length)
                    .zip(products.chunks_exact(reached.len()));
                for (token, (scores, products)) in tokens.enumerate() {
                    let (rows, near) = self.of_token(order, token, length);
                    for far in [0..near.start, near.end..length] {
                        for (found, &row) in found[far.clone()].iter_mut().zip(&rows[far]) {
                            *found = products[column(row)];
                        }
                    }
                    let own = column(rows[near.start]);
                    found[near.clone()].copy_from_slice(&products[own..][..near.len()]);
                    match order {
                        Order::QueriesByKeys => {
                            let ascending = scores.iter_mut().zip(found.iter().rev());
                            ascending.for_each(|(score, found)| *score += found);
                        }
                        Order::KeysByQueries => {
                            let ascending = scores.iter_mut().zip(&found);
                            ascending.for_each(|(score, found)| *score += found);
                        }
                    }
                }
            },
        );
    }

    /// The gradient of the products that [`Self::gather`] adds to scores with these gradients: `[length, rows]`, written to
    /// `dproducts`.
    pub(super) fn scatter(&self, order: Order, dscores: &[f32], dproducts: &mut Vec<f32>, length: usize) {
        let reached = self.of_length(length);
        let column = |row: u32| row as usize - reached.start;
        dproducts.clear();
        dproducts.resize(length * reached.len(), 0.0);
        let mut ascending = vec![0f32; length];
        Arch::new().dispatch(
            #[inline(always)]
            || {
                let tokens = dscores
                    .chunks_exact(length)
                    .zip(dproducts.chunks_exact_mut(reached.len()));
                for (token, (dscores, dproducts)) in tokens.enumerate() {
                    let (rows, near) = self.of_token(order, token, length);
                    ascending.copy_from_slice(dscores);
                    if order == Order::QueriesByKeys {
                        ascending.reverse();
                    }
                    for far in [0..near.start, near.end..length] {
                        for (dscore, &row) in ascending[far.clone()].iter().zip(&rows[far]) {
                            dproducts[column(row)] += dscore;
                        }
                    }
                    let own = &mut dproducts[column(rows[near.start])..];
                    for (dproduct, dscore) in own.iter_mut().zip(&ascending[near]) {
                        *dproduct += dscore;
                    }
                }
            },
        );
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Rows as of logarithmic buckets: up to 3 tokens, each distance has its own row, then pairs of distances share one; the last
    /// row on each side has all distances beyond.
    pub(in crate::ops) fn row(distance: isize) -> usize {
        let length = distance.unsigned_abs() as isize;
        let bucket = if length <= 2 { length } else { 2 + (length - 1) / 2 };
        (5 + bucket * distance.signum()).clamp(0, 9) as usize
    }

    #[test]
    fn rows_ascend_from_the_first_that_is_reached() {
        let rows = DistanceRows::new(4, row);
        assert_eq!(*rows.by_distance, [0, 0, 1, 2, 3, 4, 5, 6, 6]);
        assert_eq!((rows.near, rows.count(), rows.longest_sequence()), (3, 7, 5));
        assert_eq!((rows.of_length(1), rows.of_length(3)), (3..4, 1..6));
        let rows = DistanceRows::new(0, row);
        assert_eq!((rows.near, rows.count(), rows.of_length(1)), (0, 1, 0..1));
    }

    #[test]
    fn scores_have_the_products_of_their_distances() {
        const LENGTH: usize = 13;
        let rows = DistanceRows::new(15, row);
        let reached = rows.of_length(LENGTH);
        let products: Vec<f32> = (0..LENGTH * reached.len()).map(|at| at as f32).collect();
        for order in [Order::QueriesByKeys, Order::KeysByQueries] {
            let mut scores = vec![0.5; LENGTH * LENGTH];
            rows.gather(order, &products, &mut scores, LENGTH);
            let mut dproducts = Vec::new();
            rows.scatter(order, &scores, &mut dproducts, LENGTH);
            let mut expected = vec![0f32; products.len()];
            for (at, score) in scores.iter().enumerate() {
                let (token, other) = ((at / LENGTH) as isize, (at % LENGTH) as isize);
                let distance = match order {
                    Order::QueriesByKeys => token - other,
                    Order::KeysByQueries => other - token,
                };
                let column = rows.of_distance(distance) - reached.start;
                let from = token as usize * reached.len() + column;
                assert_eq!(*score, 0.5 + products[from], "{token} {other}");
                expected[from] += score;
            }
            assert_eq!(dproducts, expected);
        }
    }
}
