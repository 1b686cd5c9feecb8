//! The optimizer state of a variable that is not on the CPU.

use candle_core::{Result, Tensor, Var};

use crate::model::gradients::Gradients;
use crate::model::parameters::WORD_EMBEDDINGS;
use crate::train::optimizer::squared_norm::SquaredNorm;
use crate::train::optimizer::update::Update;

/// The gradient and the moments of a variable that is not on the CPU.
pub(super) struct OnDevice {
    gradient: Option<Tensor>,
    moments: Vec<Tensor>,
}

impl OnDevice {
    /// The state of a variable with `moments` moments, all 0.
    pub(super) fn new(var: &Var, moments: usize) -> Result<Self> {
        let zeros = (0..moments).map(|_| var.zeros_like());
        Ok(Self {
            gradient: None,
            moments: zeros.collect::<Result<_>>()?,
        })
    }

    /// Adds the gradients of shards, in their order; `name` and `index` identify the variable. Returns the sum of the
    /// squares of the step's gradient so far, without waiting for the device.
    pub(super) fn accumulate(
        &mut self,
        name: &str,
        index: usize,
        var: &Var,
        shards: &[Gradients],
    ) -> Result<SquaredNorm> {
        for shard in shards {
            let part = match (&shard.word_rows, shard.dense.get(index)) {
                (Some(rows), _) if name == WORD_EMBEDDINGS => {
                    let ids = Tensor::new(shard.word_ids.as_slice(), var.device())?;
                    var.zeros_like()?.index_add(&ids, rows, 0)?
                }
                (_, Some(Some(part))) => part.clone(),
                _ => candle_core::bail!("a shard has no gradient of {name}"),
            };
            self.gradient = Some(match self.gradient.take() {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        let Some(gradient) = &self.gradient else {
            return Ok(SquaredNorm::OnHost(0.0));
        };
        Ok(SquaredNorm::OnDevice(gradient.sqr()?.sum_all()?))
    }

    /// Updates the variable with the step's gradient and starts the next step.
    pub(super) fn apply(&mut self, var: &Var, update: &dyn Update) -> Result<()> {
        let Some(gradient) = self.gradient.take() else {
            return Ok(());
        };
        let moved = update.apply_tensors(var.as_tensor(), &gradient, &mut self.moments)?;
        var.set(&moved.detach())
    }

    /// Starts the next step without an update.
    pub(super) fn discard_gradient(&mut self) {
        self.gradient = None;
    }

    /// The elements of each moment.
    pub(super) fn moments(&self) -> Result<Vec<Vec<f32>>> {
        let elements = |moment: &Tensor| moment.flatten_all()?.to_vec1();
        self.moments.iter().map(elements).collect()
    }

    /// Replaces the elements of a moment; their number must be that of the variable.
    pub(super) fn restore(&mut self, at: usize, elements: Vec<f32>) -> Result<()> {
        if let Some(moment) = self.moments.get_mut(at) {
            *moment = Tensor::from_vec(elements, moment.shape(), moment.device())?;
        }
        Ok(())
    }
}
