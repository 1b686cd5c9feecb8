//! How relative positions enter the scores of disentangled attention.

use crate::ops::distance_rows::DistanceRows;

/// The terms of the scores of disentangled attention (He et al. 2021) that depend on the distance.
#[derive(Clone, Debug)]
pub(crate) struct RelativePositions {
    /// The row of each distance, of the distances in the longest sequence at least.
    pub(crate) rows: DistanceRows,
    /// Whether a score has the product of the query with the position key of the distance.
    pub(crate) content_to_position: bool,
    /// Whether a score has the product of the key with the position query of the distance.
    pub(crate) position_to_content: bool,
}

impl RelativePositions {
    /// The factor of the scores: 1 over the square root of the head's size times the number of terms.
    pub(super) fn scale(&self, size: usize) -> f32 {
        let terms = 1 + usize::from(self.content_to_position) + usize::from(self.position_to_content);
        1.0 / ((size * terms) as f32).sqrt()
    }
}
