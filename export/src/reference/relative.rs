//! The terms of DeBERTa's attention scores that depend on the distance between tokens.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, s};
use nerve_repository::RelativeAttention;

/// The relative positions of one layer.
pub(super) struct RelativeTerms {
    pub(super) relative: RelativeAttention,
    /// `[rows, hidden]`, where the term is used.
    pub(super) keys: Option<Array2<f32>>,
    /// `[rows, hidden]`, where the term is used.
    pub(super) queries: Option<Array2<f32>>,
}

impl RelativeTerms {
    /// The number of terms of a score.
    pub(super) fn count(&self) -> usize {
        self.relative.terms()
    }

    /// Adds the terms to the unscaled scores `[length, length]` of the head with these columns.
    pub(super) fn add(
        &self,
        columns: Range<usize>,
        query: &ArrayView2<f32>,
        key: &ArrayView2<f32>,
        scores: &mut Array2<f32>,
    ) {
        for ((of_query, of_key), score) in scores.indexed_iter_mut() {
            let row = self.relative.row(of_query as isize - of_key as isize);
            let part = s![row, columns.clone()];
            if let Some(keys) = &self.keys {
                *score += query.row(of_query).dot(&keys.slice(part));
            }
            if let Some(queries) = &self.queries {
                *score += key.row(of_key).dot(&queries.slice(part));
            }
        }
    }
}
