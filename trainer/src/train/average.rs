//! The average of the trained weights over the steps of a run.

use candle_core::{CpuStorage, Device, InplaceOp2, Layout, Result, Tensor, Var};
use pulp::Arch;

use crate::model::parameters::Parameters;
use crate::threads::for_each_balanced;
use crate::train::config::averaging::Averaging;
use crate::train::optimizer::Moments;

/// The trained weights of a network and their average.
pub(super) struct AveragedWeights {
    averaging: Averaging,
    // The number of steps before the first one that is averaged.
    begins: usize,
    // The number of steps whose weights are in the average.
    count: usize,
    threads: usize,
    slots: Vec<Slot>,
}

struct Slot {
    name: String,
    weights: Var,
    average: Var,
}

impl AveragedWeights {
    /// The average of the trained parameters among these over a run of `total` steps, none of which is made.
    pub(super) fn new(
        averaging: Averaging,
        parameters: &Parameters,
        total: usize,
        threads: usize,
    ) -> Result<Self> {
        let trained = parameters.trained();
        let slot = |(name, weights): (&str, &Var)| {
            Ok(Slot {
                name: name.to_owned(),
                weights: weights.clone(),
                average: Var::from_tensor(&weights.copy()?)?,
            })
        };
        Ok(Self {
            averaging,
            begins: averaging.steps_before(total),
            count: 0,
            threads,
            slots: trained.map(slot).collect::<Result<_>>()?,
        })
    }

    /// The number of steps whose weights are in the average.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether there is an average.
    pub(super) fn has_begun(&self) -> bool {
        self.count > 0
    }

    /// Adds the weights after a step, counted from 1, to the average.
    pub(super) fn add(&mut self, step: usize) -> Result<()> {
        if step <= self.begins || !step.is_multiple_of(self.averaging.every()) {
            return Ok(());
        }
        let kept = match self.averaging {
            Averaging::Exponential { decay } => decay_at(decay, step - 1),
            Averaging::Stochastic { .. } => self.count as f64 / (self.count + 1) as f64,
        };
        self.count += 1;
        let blend = Blend {
            kept: kept as f32,
            added: (1.0 - kept) as f32,
        };
        self.for_each_slot(|slot| blend.apply(slot))
    }

    /// Exchanges the weights of the network and their average.
    pub(super) fn swap(&self) -> Result<()> {
        self.for_each_slot(|slot| {
            let weights = slot.weights.copy()?;
            slot.weights.set(&slot.average)?;
            slot.average.set(&weights)
        })
    }

    /// The average of each parameter, on the CPU, by name.
    pub(super) fn averages(&self) -> Result<Vec<(&str, Tensor)>> {
        let on_cpu = |slot: &Slot| slot.average.to_device(&Device::Cpu);
        self.slots
            .iter()
            .map(|slot| Ok((slot.name.as_str(), on_cpu(slot)?)))
            .collect()
    }

    /// Restores the average of `count` steps after `step` steps. Returns the name of a tensor that is missing or of another
    /// size, if there is one.
    ///
    /// If a later end of the run makes stochastic averaging begin at or after `step`, the average begins anew. Otherwise it keeps
    /// all steps averaged so far, also those before the new beginning.
    pub(super) fn restore(
        &mut self,
        step: usize,
        count: usize,
        mut averages: Moments<'_>,
    ) -> Result<Option<String>> {
        if step <= self.begins {
            return Ok(None);
        }
        for slot in &self.slots {
            let average = averages.remove(&slot.name);
            let Some(average) = average.filter(|average| average.len() == slot.average.elem_count()) else {
                return Ok(Some(slot.name.clone()));
            };
            let (shape, device) = (slot.average.shape(), slot.average.device());
            let average = Tensor::from_vec(average.into_owned(), shape, device)?;
            slot.average.set(&average)?;
        }
        self.count = count;
        Ok(None)
    }

    fn for_each_slot(&self, work: impl Fn(&Slot) -> Result<()> + Sync) -> Result<()> {
        let slots: Vec<&Slot> = self.slots.iter().collect();
        for_each_balanced(slots, self.threads, |slot| slot.average.elem_count(), work).map(drop)
    }
}

/// The factor of the previous average after `steps` earlier steps: low at first, so that the initial weights are soon
/// forgotten, then `decay`.
fn decay_at(decay: f64, steps: usize) -> f64 {
    let steps = steps as f64;
    decay.min((1.0 + steps) / (10.0 + steps))
}

/// The weighted sum of an average and the current weights.
#[derive(Clone, Copy)]
struct Blend {
    kept: f32,
    added: f32,
}

impl Blend {
    fn apply(self, slot: &Slot) -> Result<()> {
        let (average, weights) = (slot.average.as_tensor(), slot.weights.as_tensor());
        if average.device().is_cpu() {
            return average.inplace_op2(weights, &self);
        }
        let kept = (average * f64::from(self.kept))?;
        slot.average.set(&(kept + (weights * f64::from(self.added))?)?)
    }
}

impl InplaceOp2 for Blend {
    fn name(&self) -> &'static str {
        "average"
    }

    fn cpu_fwd(
        &self,
        averages: &mut CpuStorage,
        layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
    ) -> Result<()> {
        let places = (layout.contiguous_offsets(), weights_layout.contiguous_offsets());
        let (CpuStorage::F32(averages), CpuStorage::F32(weights)) = (averages, weights) else {
            candle_core::bail!("weights or their average are not f32");
        };
        let (Some((start, end)), Some((from, to))) = places else {
            candle_core::bail!("weights or their average are not contiguous");
        };
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (average, weight) in averages[start..end].iter_mut().zip(&weights[from..to]) {
                    *average = *average * self.kept + weight * self.added;
                }
            },
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> Parameters {
        let tensors = ["moving", "still"].map(|name| (name.to_owned(), vec![2, 1], vec![1.0, -2.0]));
        let mut parameters = Parameters::new(tensors, &Device::Cpu).unwrap();
        parameters.freeze(|name| name == "still");
        parameters
    }

    fn set(parameters: &Parameters, values: [f32; 2]) {
        let values = Tensor::from_vec(values.to_vec(), (2, 1), &Device::Cpu).unwrap();
        parameters.get("moving").unwrap().set(&values).unwrap();
    }

    fn weights(parameters: &Parameters) -> Vec<f32> {
        let weights = parameters.get("moving").unwrap();
        weights.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// The average after each of some steps, whose weights are the step's number and its negative.
    fn averages(averaging: Averaging, steps: u8) -> Vec<Option<f32>> {
        let parameters = parameters();
        let mut average = AveragedWeights::new(averaging, &parameters, usize::from(steps), 2).unwrap();
        let mut after = |step: u8| {
            let value = f32::from(step);
            set(&parameters, [value, -value]);
            average.add(usize::from(step)).unwrap();
            let averages = average.averages().unwrap();
            let [(name, found)] = &averages[..] else {
                panic!("a frozen parameter is averaged");
            };
            let found: Vec<f32> = found.flatten_all().unwrap().to_vec1().unwrap();
            assert_eq!(*name, "moving");
            average.has_begun().then(|| found[0])
        };
        (1..=steps).map(&mut after).collect()
    }

    #[test]
    fn the_exponential_average_forgets_the_initial_weights_soon_and_then_has_its_decay() {
        let found = averages(Averaging::Exponential { decay: 0.25 }, 4);
        let mut expected = 1.0;
        for (step, decay) in [(1.0, 0.1), (2.0, 2.0 / 11.0), (3.0, 0.25), (4.0, 0.25)] {
            expected = decay * expected + (1.0 - decay) * step;
            let found = found[step as usize - 1].unwrap();
            assert!((found - expected).abs() < 1e-6, "{step}: {found} {expected}");
        }
    }

    #[test]
    fn the_stochastic_average_is_the_mean_over_every_few_of_the_last_steps() {
        let of = |fraction, every| averages(Averaging::Stochastic { fraction, every }, 8);
        let (none, one) = (None, Some);
        assert_eq!(of(0.5, 1)[..6], [none, none, none, none, one(5.0), one(5.5)]);
        assert_eq!(of(0.5, 1)[6..], [one(6.0), one(6.5)]);
        assert_eq!(of(0.5, 3)[4..], [none, one(6.0), one(6.0), one(6.0)]);
        assert_eq!(
            of(1.0, 4)[3..],
            [one(4.0), one(4.0), one(4.0), one(4.0), one(6.0)]
        );
    }

    #[test]
    fn weights_and_average_are_exchanged_and_exchanged_back() {
        let parameters = parameters();
        let averaging = Averaging::Stochastic {
            fraction: 1.0,
            every: 1,
        };
        let mut average = AveragedWeights::new(averaging, &parameters, 2, 1).unwrap();
        set(&parameters, [2.0, 4.0]);
        average.add(1).unwrap();
        set(&parameters, [4.0, 8.0]);
        average.add(2).unwrap();
        average.swap().unwrap();
        assert_eq!(weights(&parameters), [3.0, 6.0]);
        average.swap().unwrap();
        assert_eq!(weights(&parameters), [4.0, 8.0]);
    }

    #[test]
    fn a_restored_average_goes_on_unless_a_later_end_lets_it_begin_later() {
        let parameters = parameters();
        let averaging = Averaging::Stochastic {
            fraction: 0.5,
            every: 1,
        };
        let kept = || Moments::from([("moving".to_owned(), vec![3.0, 6.0].into())]);
        let restored = |total| {
            let mut average = AveragedWeights::new(averaging, &parameters, total, 1).unwrap();
            assert_eq!(average.restore(4, 2, kept()).unwrap(), None);
            average
        };
        let mut same = restored(6);
        set(&parameters, [6.0, 12.0]);
        same.add(5).unwrap();
        same.swap().unwrap();
        assert_eq!((same.count(), weights(&parameters)), (3, vec![4.0, 8.0]));
        assert!(!restored(8).has_begun());
        let lacking = restored(6).restore(4, 2, Moments::new()).unwrap();
        assert_eq!(lacking.as_deref(), Some("moving"));
    }
}
