//! The optimizer state of one variable.

use std::borrow::Cow;
use std::cell::RefCell;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Var};

use crate::model::gradients::Gradients;
use crate::model::parameters::WORD_EMBEDDINGS;
use crate::ops::values;
use crate::train::optimizer::on_device::OnDevice;
use crate::train::optimizer::plan::ParameterPlan;
use crate::train::optimizer::rows::Rows;
use crate::train::optimizer::squared_norm::SquaredNorm;
use crate::train::optimizer::sums::{add, squared};
use crate::train::optimizer::update::Update;

/// A variable with its gradient and its moments.
pub(super) struct Slot {
    /// The index of the parameter in name order.
    index: usize,
    pub(super) name: String,
    pub(super) plan: ParameterPlan,
    moments: Vec<Vec<f32>>,
    var: Var,
    gradient: Vec<f32>,
    /// Whether the gradient contains a part of the current step.
    accumulating: bool,
    rows: Option<Rows>,
    /// Replaces gradient, moments and rows if the variable is not on the CPU.
    on_device: Option<OnDevice>,
}

impl Slot {
    /// The slot of a parameter with `moments` moments, all 0.
    pub(super) fn new(
        index: usize,
        name: &str,
        var: &Var,
        plan: ParameterPlan,
        moments: usize,
    ) -> Result<Self> {
        let on_device = match var.device().is_cpu() {
            true => None,
            false => Some(OnDevice::new(var, moments)?),
        };
        let count = if on_device.is_some() { 0 } else { var.elem_count() };
        let rows = if name == WORD_EMBEDDINGS {
            let (rows, width) = var.dims2()?;
            Some(Rows::new(rows, width))
        } else {
            None
        };
        Ok(Self {
            index,
            name: name.to_owned(),
            plan,
            moments: vec![vec![0.0; count]; moments],
            var: var.clone(),
            gradient: vec![0.0; count],
            accumulating: false,
            rows,
            on_device,
        })
    }

    /// The work of a step, as a number of weights that are all updated. In a table of embeddings most rows have no gradient.
    pub(super) fn work(&self) -> usize {
        const DIVISOR_OF_ROWS: usize = 3;
        match self.rows {
            Some(_) => self.len() / DIVISOR_OF_ROWS,
            None => self.len(),
        }
    }

    /// The number of weights.
    fn len(&self) -> usize {
        self.var.elem_count()
    }

    /// Adds the gradients of shards, in their order. Returns the sum of the squares of the step's gradient so far.
    pub(super) fn accumulate(&mut self, shards: &[Gradients]) -> Result<SquaredNorm> {
        if let Some(on_device) = &mut self.on_device {
            return on_device.accumulate(&self.name, self.index, &self.var, shards);
        }
        let accumulating = std::mem::replace(&mut self.accumulating, true);
        if let Some(rows) = &mut self.rows {
            if !accumulating {
                rows.clear(&mut self.gradient);
            }
            let squares = rows.accumulate(&mut self.gradient, shards)?;
            return Ok(SquaredNorm::OnHost(squares));
        }
        let parts = shards
            .iter()
            .map(|gradients| match gradients.dense.get(self.index) {
                Some(Some(part)) => values(part),
                _ => candle_core::bail!("a shard has no gradient of {}", self.name),
            });
        let parts = parts.collect::<Result<Vec<_>>>()?;
        let mut squares = 0.0;
        // The gradient is summed by blocks, so that a block is still in the cache when its squares are summed.
        for (block, gradient) in self.gradient.chunks_mut(BLOCK).enumerate() {
            let length = gradient.len();
            let parts = parts.iter().map(|part| &part[block * BLOCK..][..length]);
            sum(gradient, parts, accumulating);
            squares += squared(gradient);
        }
        Ok(SquaredNorm::OnHost(squares))
    }

    /// Updates the variable with the step's gradient and starts the next step.
    pub(super) fn apply(&mut self, update: &dyn Update) -> Result<()> {
        if let Some(on_device) = &mut self.on_device {
            return on_device.apply(&self.var, update);
        }
        self.accumulating = false;
        let var = self.var.as_tensor().clone();
        var.inplace_op1(&Apply {
            update,
            slot: RefCell::new(self),
        })
    }

    /// Starts the next step without an update.
    pub(super) fn discard_gradient(&mut self) {
        match &mut self.on_device {
            Some(on_device) => on_device.discard_gradient(),
            None => self.accumulating = false,
        }
    }

    /// The elements of each moment.
    pub(super) fn moments(&self) -> Result<Vec<Cow<'_, [f32]>>> {
        match &self.on_device {
            Some(on_device) => Ok(on_device.moments()?.into_iter().map(Cow::Owned).collect()),
            None => Ok(self
                .moments
                .iter()
                .map(|moment| moment.as_slice().into())
                .collect()),
        }
    }

    /// Replaces the elements of a moment. Returns false if their number is not that of the variable.
    pub(super) fn restore(&mut self, at: usize, elements: Vec<f32>) -> Result<bool> {
        if elements.len() != self.len() {
            return Ok(false);
        }
        if let Some(on_device) = &mut self.on_device {
            on_device.restore(at, elements)?;
        } else if let Some(moment) = self.moments.get_mut(at) {
            *moment = elements;
            if let Some(rows) = &mut self.rows {
                rows.mark_nonzero(&self.moments);
            }
        }
        Ok(true)
    }
}

/// The in-place update of one variable, as a candle operator.
struct Apply<'s> {
    update: &'s dyn Update,
    slot: RefCell<&'s mut Slot>,
}

impl InplaceOp1 for Apply<'_> {
    fn name(&self) -> &'static str {
        "optimizer"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (Some((start, end)), CpuStorage::F32(all)) = (layout.contiguous_offsets(), storage) else {
            candle_core::bail!("a variable is not contiguous f32");
        };
        let weights = &mut all[start..end];
        let slot = &mut **self.slot.borrow_mut();
        let mut moments: Vec<&mut [f32]> = slot.moments.iter_mut().map(Vec::as_mut_slice).collect();
        let Some(rows) = &slot.rows else {
            self.update.apply(weights, &slot.gradient, &mut moments);
            return Ok(());
        };
        for (row, &ever_touched) in rows.ever_touched().iter().enumerate() {
            let at = row * rows.width..(row + 1) * rows.width;
            let weights = &mut weights[at.clone()];
            if !ever_touched && self.update.apply_untouched(weights) {
                continue;
            }
            let mut of_row: Vec<&mut [f32]> = moments.iter_mut().map(|m| &mut m[at.clone()]).collect();
            self.update.apply(weights, &slot.gradient[at], &mut of_row);
        }
        Ok(())
    }
}

/// The number of gradient elements that are summed at a time.
const BLOCK: usize = 8192;

/// Adds the parts to `sum` if `accumulating`; otherwise sets `sum` to the sum of the parts.
fn sum<'p>(sum: &mut [f32], mut parts: impl Iterator<Item = &'p [f32]>, accumulating: bool) {
    if !accumulating {
        match (parts.next(), parts.next()) {
            (Some(first), Some(second)) => {
                let pairs = first.iter().zip(second);
                for (sum, (first, second)) in sum.iter_mut().zip(pairs) {
                    *sum = first + second;
                }
            }
            (Some(first), None) => sum.copy_from_slice(first),
            _ => sum.fill(0.0),
        }
    }
    for part in parts {
        add(sum, part);
    }
}
