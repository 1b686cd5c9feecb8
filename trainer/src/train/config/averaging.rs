//! Which average of a run's weights is evaluated, as a configuration.

use crate::train::config::checks::{check, check_absent, check_count};
use crate::train::config::error::OptionError;
use crate::train::options::TrainOptions;

/// An average of the weights of a run's steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Averaging {
    /// The exponential moving average over all steps.
    Exponential {
        /// The factor of the previous average in each step, once enough steps are made.
        decay: f64,
    },
    /// The mean over the last part of the steps: stochastic weight averaging (Izmailov et al. 2018).
    Stochastic {
        /// The fraction of the steps in which weights are averaged.
        fraction: f64,
        /// The number of steps from one averaged step to the next.
        every: usize,
    },
}

impl Averaging {
    pub(super) fn resolve(options: &mut TrainOptions) -> Result<Option<Self>, OptionError> {
        let given = options.swa_every.is_some() && options.swa.is_none();
        check_absent(&[("swa_every", given)], "`swa` is given")?;
        match (options.ema, options.swa) {
            (Some(_), Some(_)) => Err(OptionError::Conflict {
                options: ["ema", "swa"],
                reason: "the evaluated weights are one average or the other",
            }),
            (Some(decay), None) => {
                check("ema", &decay, decay > 0.0 && decay < 1.0, "above 0 and below 1")?;
                Ok(Some(Self::Exponential { decay }))
            }
            (None, Some(fraction)) => {
                check(
                    "swa",
                    &fraction,
                    fraction > 0.0 && fraction <= 1.0,
                    "above 0, at most 1",
                )?;
                let every = *options.swa_every.get_or_insert(1);
                check_count("swa_every", every, usize::MAX)?;
                Ok(Some(Self::Stochastic { fraction, every }))
            }
            (None, None) => Ok(None),
        }
    }
}

impl Averaging {
    /// The number of a run's `total` steps before the first one that may be averaged.
    pub(crate) fn steps_before(self, total: usize) -> usize {
        match self {
            Self::Exponential { .. } => 0,
            Self::Stochastic { fraction, .. } => {
                let averaged = (total as f64 * fraction).round() as usize;
                total.saturating_sub(averaged.max(1))
            }
        }
    }

    /// The number of steps from one averaged step to the next.
    pub(crate) fn every(self) -> usize {
        match self {
            Self::Exponential { .. } => 1,
            Self::Stochastic { every, .. } => every,
        }
    }

    /// Whether any of a run's `total` steps is averaged.
    pub(crate) fn has_effect(self, total: usize) -> bool {
        total / self.every() > self.steps_before(total) / self.every()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stochastic_averaging_begins_with_the_last_part_of_the_steps() {
        let of = |fraction, every| Averaging::Stochastic { fraction, every };
        for (fraction, before) in [(1.0, 0), (0.9, 1), (0.5, 5), (0.3, 7), (0.01, 9)] {
            assert_eq!(of(fraction, 1).steps_before(10), before, "{fraction}");
        }
        assert!(of(0.3, 5).has_effect(10) && of(0.3, 3).has_effect(10));
        assert!(!of(0.2, 4).has_effect(11));
    }
}
