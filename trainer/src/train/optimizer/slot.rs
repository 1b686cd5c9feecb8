//! One variable with its gradient and its moments.

use std::borrow::Cow;
use std::cell::RefCell;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Var};

use crate::model::gradients::Gradients;
use crate::model::parameters::WORD_EMBEDDINGS;
use crate::ops::values;
use crate::train::optimizer::on_device::OnDevice;
use crate::train::optimizer::plan::ParameterPlan;
use crate::train::optimizer::rows::Rows;
use crate::train::optimizer::sums::{add, squared};
use crate::train::optimizer::update::Update;

/// One variable with its gradient and its moments.
pub(super) struct Slot {
    /// The parameter's place in the order of the names.
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) plan: ParameterPlan,
    moments: Vec<Vec<f32>>,
    var: Var,
    gradient: Vec<f32>,
    /// Whether the gradient has a part of this step.
    begun: bool,
    rows: Option<Rows>,
    /// In place of gradient, moments and rows where the variable is not on the CPU.
    on_device: Option<OnDevice>,
}

impl Slot {
    /// The slot of a parameter with so many moments, all 0.
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
            begun: false,
            rows,
            on_device,
        })
    }

    /// How many weights it has.
    pub(super) fn len(&self) -> usize {
        self.var.elem_count()
    }

    /// Adds the shards' gradients of this variable, in their order; the sum of the squares of the step's gradient so far.
    pub(super) fn accumulate(&mut self, shards: &[Gradients]) -> Result<f64> {
        if let Some(on_device) = &mut self.on_device {
            return on_device.accumulate(&self.name, self.index, &self.var, shards);
        }
        let begun = std::mem::replace(&mut self.begun, true);
        if let Some(rows) = &mut self.rows {
            if !begun {
                rows.clear(&mut self.gradient);
            }
            return rows.accumulate(&mut self.gradient, shards);
        }
        let parts = shards
            .iter()
            .map(|gradients| match gradients.dense.get(self.index) {
                Some(Some(part)) => values(part),
                _ => candle_core::bail!("a shard has no gradient of {}", self.name),
            });
        let parts = parts.collect::<Result<Vec<_>>>()?;
        let mut squares = 0.0;
        // Block by block, so that a block is in the cache until its squares are added up.
        for (block, gradient) in self.gradient.chunks_mut(BLOCK).enumerate() {
            let length = gradient.len();
            let parts = parts.iter().map(|part| &part[block * BLOCK..][..length]);
            sum(gradient, parts, begun);
            squares += squared(gradient);
        }
        Ok(squares)
    }

    /// Moves the variable by the step's gradient and begins another.
    pub(super) fn apply(&mut self, update: &dyn Update) -> Result<()> {
        if let Some(on_device) = &mut self.on_device {
            return on_device.apply(&self.var, update);
        }
        self.begun = false;
        let var = self.var.as_tensor().clone();
        var.inplace_op1(&Apply {
            update,
            slot: RefCell::new(self),
        })
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

    /// Replaces a moment's elements; false where they are not as many as the variable's.
    pub(super) fn restore(&mut self, at: usize, elements: Vec<f32>) -> Result<bool> {
        if elements.len() != self.len() {
            return Ok(false);
        }
        if let Some(on_device) = &mut self.on_device {
            on_device.restore(at, elements)?;
        } else if let Some(moment) = self.moments.get_mut(at) {
            *moment = elements;
            if let Some(rows) = &mut self.rows {
                rows.find(&self.moments);
            }
        }
        Ok(true)
    }
}

/// The update of one variable, in place.
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
        for (row, &ever) in rows.ever().iter().enumerate() {
            let at = row * rows.width..(row + 1) * rows.width;
            let weights = &mut weights[at.clone()];
            if !ever && self.update.apply_untouched(weights) {
                continue;
            }
            let mut of_row: Vec<&mut [f32]> = moments.iter_mut().map(|m| &mut m[at.clone()]).collect();
            self.update.apply(weights, &slot.gradient[at], &mut of_row);
        }
        Ok(())
    }
}

/// Elements of a gradient that are added up at a time.
const BLOCK: usize = 8192;

/// Adds the parts to a sum that has `begun`, or makes it theirs.
fn sum<'p>(sum: &mut [f32], mut parts: impl Iterator<Item = &'p [f32]>, begun: bool) {
    if !begun {
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
