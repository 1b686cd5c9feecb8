//! The rotations of rotary positions (Su et al. 2021, *RoFormer*).

use std::sync::Arc;

use nerve_repository::rotary::rotations;

/// The rotations of heads of one size, by position.
pub(crate) struct Rotary {
    // `[positions, pairs]` each.
    pub(super) cosines: Vec<f32>,
    pub(super) sines: Vec<f32>,
    pub(super) pairs: usize,
}

impl Rotary {
    /// The rotations by frequencies of the base `theta`, at this number of positions.
    pub(crate) fn new(theta: f64, size: usize, positions: usize) -> Self {
        let (cosines, sines) = rotations(theta, size, positions);
        Self {
            cosines,
            sines,
            pairs: size / 2,
        }
    }

    /// Writes the numbers of one head at a position, rotated, or rotated back by the sign -1.
    #[inline(always)]
    pub(super) fn rotate(&self, position: usize, sign: f32, head: &[f32], out: &mut [f32]) {
        let (first, second) = head.split_at(self.pairs);
        let (first_out, second_out) = out.split_at_mut(self.pairs);
        let cosines = &self.cosines[position * self.pairs..][..self.pairs];
        let sines = &self.sines[position * self.pairs..][..self.pairs];
        for (((out, x), y), (cosine, sine)) in first_out
            .iter_mut()
            .zip(first)
            .zip(second)
            .zip(cosines.iter().zip(sines))
        {
            *out = x * cosine - y * (sign * sine);
        }
        for (((out, x), y), (cosine, sine)) in second_out
            .iter_mut()
            .zip(first)
            .zip(second)
            .zip(cosines.iter().zip(sines))
        {
            *out = y * cosine + x * (sign * sine);
        }
    }
}

/// How the heads of a layer attend.
#[derive(Clone)]
pub(crate) struct RotaryHeads {
    /// Their number.
    pub(crate) heads: usize,
    /// The rotations of queries and keys.
    pub(crate) rotary: Arc<Rotary>,
    /// The largest distance from a query to a key that it attends to; if absent, it attends to the whole sequence.
    pub(crate) reach: Option<usize>,
}
