//! The optimizer: it accumulates gradients and updates the weights.

mod adamw;
mod on_device;
pub(crate) mod plan;
mod rows;
mod sgd;
mod slot;
mod squared_norm;
mod sums;
mod update;

use std::borrow::Cow;
use std::collections::BTreeMap;

use candle_core::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::model::gradients::Gradients;
use crate::model::parameters::Parameters;
use crate::threads::for_each_balanced;
use slot::Slot;
use squared_norm::total;

pub(crate) use plan::ParameterPlan;

/// The values of the option `optimizer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Adam with decoupled weight decay.
    #[default]
    Adamw,
    /// Stochastic gradient descent.
    Sgd,
}

/// The rule by which a gradient updates the weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UpdateRule {
    /// AdamW (Loshchilov and Hutter 2019) with the constants of the paper.
    AdamW,
    /// Stochastic gradient descent as in PyTorch: weight decay is added to the gradient.
    Sgd {
        /// The factor by which the momentum buffer decays in each step.
        momentum: f64,
        /// Whether Nesterov momentum is used (Nesterov 1983, as in Sutskever et al. 2013).
        nesterov: bool,
    },
}

impl UpdateRule {
    /// The names of the moments that the rule keeps for a parameter.
    fn moments(self) -> &'static [&'static str] {
        match self {
            Self::AdamW => &["mean", "square"],
            Self::Sgd { momentum: 0.0, .. } => &[],
            Self::Sgd { .. } => &["momentum"],
        }
    }
}

/// The state of the optimizer: the gradient and the moments of every trained variable.
pub(crate) struct Optimizer {
    slots: Vec<Slot>,
    rule: UpdateRule,
    threads: usize,
    weight_decay: f64,
    steps: usize,
    // The steps that changed no weight.
    skipped_steps: usize,
}

/// The moments of the parameters, by the names that a checkpoint uses.
pub(crate) type Moments<'m> = BTreeMap<String, Cow<'m, [f32]>>;

impl Optimizer {
    /// An optimizer for the trained parameters among these, with all moments 0.
    pub(crate) fn new(
        parameters: &Parameters,
        plan: impl Fn(&str) -> ParameterPlan,
        rule: UpdateRule,
        weight_decay: f64,
        threads: usize,
    ) -> Result<Self> {
        let trained = parameters.iter().enumerate();
        let trained = trained.filter(|(_, (name, _))| !parameters.is_frozen(name));
        let slots = trained
            .map(|(index, (name, var))| Slot::new(index, name, var, plan(name), rule.moments().len()))
            .collect::<Result<_>>()?;
        Ok(Self {
            slots,
            rule,
            threads,
            weight_decay,
            steps: 0,
            skipped_steps: 0,
        })
    }

    /// Adds the gradients of shards, in their order, to the gradient of the step. Returns the norm of the sum.
    pub(crate) fn accumulate(&mut self, shards: &[Gradients]) -> Result<f64> {
        let squares = self.for_each_slot(|slot| slot.accumulate(shards))?;
        Ok(total(squares)?.sqrt())
    }

    /// Updates every variable with the step's gradient times `scale`, and starts the next step.
    pub(crate) fn step(&mut self, learning_rate: f64, scale: f64) -> Result<()> {
        self.steps += 1;
        let (rule, weight_decay) = (self.rule, self.weight_decay);
        let updates = self.steps.saturating_sub(self.skipped_steps).max(1);
        self.for_each_slot(|slot| {
            let rate = learning_rate * slot.plan.rate_factor;
            let decay = if slot.plan.decays { weight_decay } else { 0.0 };
            match rule {
                UpdateRule::AdamW => slot.apply(&adamw::Update::new(updates, rate, decay, scale)),
                UpdateRule::Sgd { momentum, nesterov } => {
                    let update = sgd::Update::new(rate, decay, scale, momentum, nesterov);
                    slot.apply(&update)
                }
            }
        })?;
        Ok(())
    }

    /// Makes a step that changes neither weights nor moments, and starts the next one.
    pub(crate) fn skip_step(&mut self) {
        self.steps += 1;
        self.skipped_steps += 1;
        self.slots.iter_mut().for_each(Slot::discard_gradient);
    }

    /// Restores the number of skipped steps among the completed ones.
    pub(crate) fn restore_skipped_steps(&mut self, skipped_steps: usize) {
        self.skipped_steps = skipped_steps;
    }

    /// The number of completed steps, skipped ones included.
    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    /// The moments, by the name of the parameter and of the moment.
    pub(crate) fn moments(&self) -> Result<Moments<'_>> {
        let mut all = Moments::new();
        for slot in &self.slots {
            for (name, moment) in self.rule.moments().iter().zip(slot.moments()?) {
                all.insert(format!("{}.{name}", slot.name), moment);
            }
        }
        Ok(all)
    }

    /// Restores the moments after `steps` steps. Returns the name of a moment that is missing or has the wrong size,
    /// if there is one.
    pub(crate) fn restore(&mut self, steps: usize, mut moments: Moments<'_>) -> Result<Option<String>> {
        for slot in &mut self.slots {
            for (at, name) in self.rule.moments().iter().enumerate() {
                let name = format!("{}.{name}", slot.name);
                let restored = match moments.remove(&name) {
                    Some(kept) => slot.restore(at, kept.into_owned())?,
                    None => false,
                };
                if !restored {
                    return Ok(Some(name));
                }
            }
        }
        self.steps = steps;
        Ok(None)
    }

    /// Runs `work` on all slots, on the threads of the optimizer; the results are in name order.
    fn for_each_slot<T: Send>(&mut self, work: impl Fn(&mut Slot) -> Result<T> + Sync) -> Result<Vec<T>> {
        let slots = self.slots.iter_mut().collect();
        for_each_balanced(slots, self.threads, |slot: &&mut Slot| slot.work(), work)
    }
}

#[cfg(test)]
mod tests;
