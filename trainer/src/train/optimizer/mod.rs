//! Gradients in, moved weights out.

mod adamw;
mod on_device;
pub(crate) mod plan;
mod rows;
mod sgd;
mod slot;
mod sums;
mod update;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::thread;

use candle_core::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::model::gradients::Gradients;
use crate::model::parameters::Parameters;
use crate::threads::joined;
use slot::Slot;

pub(crate) use plan::ParameterPlan;

/// An optimizer, as an option names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Adam with decoupled weight decay.
    #[default]
    Adamw,
    /// Stochastic gradient descent.
    Sgd,
}

/// How a gradient becomes a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UpdateRule {
    /// AdamW (Loshchilov and Hutter 2019) with the paper's constants.
    AdamW,
    /// Stochastic gradient descent, its weight decay part of the gradient, as PyTorch has it.
    Sgd {
        /// Share of the last step that is made again.
        momentum: f64,
        /// Whether the gradient is taken further along the momentum (Nesterov 1983, as in Sutskever et al. 2013).
        nesterov: bool,
    },
}

impl UpdateRule {
    /// What the state of a parameter consists of, by name.
    fn moments(self) -> &'static [&'static str] {
        match self {
            Self::AdamW => &["mean", "square"],
            Self::Sgd { momentum: 0.0, .. } => &[],
            Self::Sgd { .. } => &["momentum"],
        }
    }
}

/// The optimizer's state: the gradient and the moments of every trained variable.
pub(crate) struct Optimizer {
    slots: Vec<Slot>,
    rule: UpdateRule,
    threads: usize,
    weight_decay: f64,
    steps: usize,
}

/// The parameters' moments under the names they are kept by.
pub(crate) type Moments<'m> = BTreeMap<String, Cow<'m, [f32]>>;

impl Optimizer {
    /// Moments of 0 for the trained ones of these parameters.
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
        })
    }

    /// Adds the gradients of shards, in their order, to those of the step; the norm of the step's gradient so far.
    pub(crate) fn accumulate(&mut self, shards: &[Gradients]) -> Result<f64> {
        let squares = self.each(|slot| slot.accumulate(shards))?;
        Ok(squares.iter().sum::<f64>().sqrt())
    }

    /// Moves every variable by the step's gradient times `scale`, and begins another step.
    pub(crate) fn step(&mut self, learning_rate: f64, scale: f64) -> Result<()> {
        self.steps += 1;
        let (rule, steps, weight_decay) = (self.rule, self.steps, self.weight_decay);
        self.each(|slot| {
            let rate = learning_rate * slot.plan.rate_factor;
            let decay = if slot.plan.decays { weight_decay } else { 0.0 };
            match rule {
                UpdateRule::AdamW => slot.apply(&adamw::Update::new(steps, rate, decay, scale)),
                UpdateRule::Sgd { momentum, nesterov } => {
                    let update = sgd::Update::new(rate, decay, scale, momentum, nesterov);
                    slot.apply(&update)
                }
            }
        })?;
        Ok(())
    }

    /// Steps made.
    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    /// The moments, by the name of the parameter and their own.
    pub(crate) fn moments(&self) -> Result<Moments<'_>> {
        let mut all = Moments::new();
        for slot in &self.slots {
            for (name, moment) in self.rule.moments().iter().zip(slot.moments()?) {
                all.insert(format!("{}.{name}", slot.name), moment);
            }
        }
        Ok(all)
    }

    /// Takes up these moments after so many steps; the name of one that is missing or of another size where one is.
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

    /// Runs over all slots on the optimizer's threads; the results come in the order of the names.
    fn each<T: Send>(&mut self, work: impl Fn(&mut Slot) -> Result<T> + Sync) -> Result<Vec<T>> {
        let mut bins: Vec<(usize, Vec<&mut Slot>)> = Vec::new();
        bins.resize_with(self.threads.clamp(1, self.slots.len().max(1)), Default::default);
        let mut slots: Vec<&mut Slot> = self.slots.iter_mut().collect();
        slots.sort_by_key(|slot| std::cmp::Reverse(slot.len()));
        for slot in slots {
            if let Some((load, bin)) = bins.iter_mut().min_by_key(|(load, _)| *load) {
                *load += slot.len();
                bin.push(slot);
            }
        }
        let run = |bin: Vec<&mut Slot>| -> Result<Vec<(usize, T)>> {
            bin.into_iter()
                .map(|slot| Ok((slot.index, work(slot)?)))
                .collect()
        };
        let parts = thread::scope(|scope| {
            let handles: Vec<_> = bins
                .into_iter()
                .filter(|(_, bin)| !bin.is_empty())
                .map(|(_, bin)| scope.spawn(|| run(bin)))
                .collect();
            handles
                .into_iter()
                .map(joined)
                .collect::<Vec<Result<Vec<(usize, T)>>>>()
        });
        let mut results = Vec::new();
        for part in parts {
            results.extend(part?);
        }
        results.sort_by_key(|(index, _)| *index);
        Ok(results.into_iter().map(|(_, result)| result).collect())
    }
}

#[cfg(test)]
mod tests;
