//! The rows of an embedding table that have a gradient.

use candle_core::Result;

use crate::model::gradients::Gradients;
use crate::ops::values;

/// The rows of an embedding table that have had a gradient.
pub(super) struct Rows {
    pub(super) width: usize,
    /// The rows with a gradient in this step, each once.
    touched: Vec<usize>,
    /// Whether each row has had a gradient in any step. The moments of all other rows are 0, so only weight decay
    /// updates them.
    ever_touched: Vec<bool>,
}

impl Rows {
    /// A table whose rows have had no gradient.
    pub(super) fn new(rows: usize, width: usize) -> Self {
        Self {
            width,
            touched: Vec::new(),
            ever_touched: vec![false; rows],
        }
    }

    /// Sets the gradient of the previous step's rows to 0.
    pub(super) fn clear(&mut self, gradient: &mut [f32]) {
        for row in self.touched.drain(..) {
            gradient[row * self.width..][..self.width].fill(0.0);
        }
    }

    /// Adds the row gradients of shards, in their order. Returns the sum of the squares of the step's gradient so
    /// far.
    pub(super) fn accumulate(&mut self, gradient: &mut [f32], shards: &[Gradients]) -> Result<f64> {
        for shard in shards {
            let Some(rows) = &shard.word_rows else {
                candle_core::bail!("a shard has no gradient of the word embeddings");
            };
            let rows = values(rows)?;
            for (&id, part) in shard.word_ids.iter().zip(rows.chunks_exact(self.width)) {
                let row = id as usize;
                super::sums::add(&mut gradient[row * self.width..][..self.width], part);
                self.touched.push(row);
                self.ever_touched[row] = true;
            }
        }
        self.touched.sort_unstable();
        self.touched.dedup();
        let rows = self.touched.iter();
        let squares = rows.map(|row| super::sums::squared(&gradient[row * self.width..][..self.width]));
        Ok(squares.sum())
    }

    /// Marks the rows with a nonzero moment as rows that have had a gradient.
    pub(super) fn mark_nonzero(&mut self, moments: &[Vec<f32>]) {
        for (row, ever_touched) in self.ever_touched.iter_mut().enumerate() {
            let of_row = |moment: &Vec<f32>| {
                let row = &moment[row * self.width..][..self.width];
                row.iter().any(|&x| x != 0.0)
            };
            *ever_touched = moments.iter().any(of_row);
        }
    }

    /// Whether each row has had a gradient.
    pub(super) fn ever_touched(&self) -> &[bool] {
        &self.ever_touched
    }
}
