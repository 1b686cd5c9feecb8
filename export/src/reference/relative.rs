//! The terms of DeBERTa's attention scores that depend on the distance between tokens.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, s};
use nerve_repository::{CheckpointError, Family, RelativeAttention};

use crate::reference::Forward;

/// The relative positions of one layer.
pub(super) struct RelativeTerms {
    relative: RelativeAttention,
    /// `[rows, hidden]`, where the term is used.
    keys: Option<Array2<f32>>,
    /// `[rows, hidden]`, where the term is used.
    queries: Option<Array2<f32>>,
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
        query: ArrayView2<f32>,
        key: ArrayView2<f32>,
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

impl Forward<'_> {
    /// How distances enter the attention scores; `None` for a family in which they do not.
    pub(super) fn relative_attention(&self) -> Result<Option<RelativeAttention>, CheckpointError> {
        let config = &self.checkpoint.config;
        match config.family {
            Family::DebertaV2 => Ok(Some(config.relative_attention("config.json".as_ref())?)),
            _ => Ok(None),
        }
    }

    /// The terms of a layer's attention; `None` for a family without them.
    pub(super) fn relative_terms(&self, name: &str) -> Result<Option<RelativeTerms>, CheckpointError> {
        let Some(relative) = self.relative_attention()? else {
            return Ok(None);
        };
        let hidden = self.checkpoint.config.hidden_size;
        let mut rows = self
            .matrix(RelativeAttention::TABLE, relative.rows(), hidden)?
            .to_owned();
        if relative.is_normalized {
            rows = self.layer_norm(RelativeAttention::NORM, rows)?;
        }
        let projected = |is_used: bool, shared: &str, own: &str| match is_used {
            false => Ok(None),
            true => {
                let part = if relative.shares_projections { shared } else { own };
                self.linear(&format!("{name}.{part}"), &rows, hidden).map(Some)
            }
        };
        Ok(Some(RelativeTerms {
            keys: projected(relative.content_to_position, "key", "pos_key_proj")?,
            queries: projected(relative.position_to_content, "query", "pos_query_proj")?,
            relative,
        }))
    }
}
