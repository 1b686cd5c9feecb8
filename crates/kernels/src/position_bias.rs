//! The bias by distance from query to key that is added to attention scores.

use thiserror::Error;

/// The largest bias. Larger ones could exceed the score by which positions behind a sequence's end are hidden.
const LARGEST: f32 = 1e30;

/// Why numbers are no position biases.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PositionBiasError {
    /// The table has another size.
    #[error("{found} position biases are no table of an odd number of distances and {heads} heads")]
    Table {
        /// Its numbers.
        found: usize,
        /// The heads.
        heads: usize,
    },
    /// A bias is not finite, or too large.
    #[error("the position bias {value} is not between -1e30 and 1e30")]
    Value {
        /// The bias.
        value: f32,
    },
}

/// A bias of attention scores for each head and distance (Raffel et al. 2020), the same in all layers.
#[derive(Clone, Debug, PartialEq)]
pub struct PositionBias {
    /// `[heads, 2 longest + 1]`: the biases of a head, that of the distance 0 in the middle.
    rows: Vec<f32>,
    heads: usize,
    /// The longest distance with a bias of its own. All longer ones share that of the longest.
    longest: usize,
}

impl PositionBias {
    /// The biases of a table `[2 longest + 1, heads]`, whose first row is of keys that are `longest` tokens before the query.
    pub fn new(table: &[f32], heads: usize) -> Result<Self, PositionBiasError> {
        let width = table.len() / heads.max(1);
        if heads == 0 || width * heads != table.len() || width.is_multiple_of(2) {
            let found = table.len();
            return Err(PositionBiasError::Table { found, heads });
        }
        if let Some(&value) = table.iter().find(|value| !(-LARGEST..=LARGEST).contains(*value)) {
            return Err(PositionBiasError::Value { value });
        }
        let rows = (0..heads).flat_map(|head| table.iter().skip(head).step_by(heads));
        Ok(Self {
            rows: rows.copied().collect(),
            heads,
            longest: width / 2,
        })
    }

    /// The number of heads.
    pub(crate) fn heads(&self) -> usize {
        self.heads
    }

    /// Writes the biases of a head, one for each element of `to`, for the distances from `-farthest` on, where the key is
    /// `farthest` tokens before the query.
    pub(crate) fn write(&self, head: usize, farthest: usize, to: &mut [f32]) {
        let width = 2 * self.longest + 1;
        let row = &self.rows[head * width..][..width];
        let (far_before, to) = to.split_at_mut(farthest.saturating_sub(self.longest).min(to.len()));
        far_before.fill(row[0]);
        let row = &row[self.longest.saturating_sub(farthest)..];
        let (near, far_behind) = to.split_at_mut(row.len().min(to.len()));
        near.copy_from_slice(&row[..near.len()]);
        far_behind.fill(row[row.len() - 1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_are_those_of_distances() {
        // Of two heads and distances up to 2.
        let table: Vec<f32> = (0..5).flat_map(|row| [row as f32, 10.0 + row as f32]).collect();
        let bias = PositionBias::new(&table, 2).unwrap();
        for farthest in 0..6 {
            for length in 0..12 {
                for head in 0..2 {
                    let mut found = vec![f32::NAN; length];
                    bias.write(head, farthest, &mut found);
                    let of = |at: usize| (at as isize - farthest as isize).clamp(-2, 2) + 2;
                    let expected: Vec<f32> =
                        (0..length).map(|at| (10 * head) as f32 + of(at) as f32).collect();
                    assert_eq!(found, expected, "{farthest} {length}");
                }
            }
        }
    }

    #[test]
    fn other_tables_are_refused() {
        for (found, heads) in [(8, 2), (5, 2), (0, 2), (3, 0)] {
            let error = PositionBias::new(&vec![0.5; found], heads).unwrap_err();
            assert_eq!(error, PositionBiasError::Table { found, heads });
        }
        for value in [f32::NAN, f32::INFINITY, -1e31] {
            assert!(PositionBias::new(&[0.0, value, 1.0], 1).is_err());
        }
    }
}
