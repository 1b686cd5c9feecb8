//! Which rows of an embedding table have a gradient.

use candle_core::Result;

use crate::model::gradients::Gradients;
use crate::ops::values;

/// The rows of an embedding table that gradients have reached.
pub(super) struct Rows {
    pub(super) width: usize,
    /// Those of this step, each once.
    touched: Vec<usize>,
    /// Those of any step: the moments of all others are 0, and so is their update but for the decay.
    ever: Vec<bool>,
}

impl Rows {
    /// None of a table's rows.
    pub(super) fn new(rows: usize, width: usize) -> Self {
        Self {
            width,
            touched: Vec::new(),
            ever: vec![false; rows],
        }
    }

    /// Sets the gradient of the last step's rows to 0.
    pub(super) fn clear(&mut self, gradient: &mut [f32]) {
        for row in self.touched.drain(..) {
            gradient[row * self.width..][..self.width].fill(0.0);
        }
    }

    /// Adds the shards' row gradients, in their order; the sum of the squares of the step's gradient so far.
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
                self.ever[row] = true;
            }
        }
        self.touched.sort_unstable();
        self.touched.dedup();
        let rows = self.touched.iter();
        let squares = rows.map(|row| super::sums::squared(&gradient[row * self.width..][..self.width]));
        Ok(squares.sum())
    }

    /// Counts as reached the rows in which a moment is not 0.
    pub(super) fn find(&mut self, moments: &[Vec<f32>]) {
        for (row, ever) in self.ever.iter_mut().enumerate() {
            let of_row = |moment: &Vec<f32>| {
                let row = &moment[row * self.width..][..self.width];
                row.iter().any(|&x| x != 0.0)
            };
            *ever = moments.iter().any(of_row);
        }
    }

    /// Whether each row has been reached.
    pub(super) fn ever(&self) -> &[bool] {
        &self.ever
    }
}
