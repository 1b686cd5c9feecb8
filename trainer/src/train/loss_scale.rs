//! The dynamic scale of the loss with gradients in fp16, as `torch.amp.GradScaler` has it (Micikevicius et al. 2018).

use serde::{Deserialize, Serialize};

/// The scale of the first step.
const INITIAL: f64 = 65536.0;
/// The factor of the scale after [`GROWTH_INTERVAL`] steps with finite gradients.
const GROWTH: f64 = 2.0;
/// The factor of the scale after a step whose gradient is not finite.
const BACKOFF: f64 = 0.5;
/// The number of steps in a row with finite gradients after which the scale grows.
const GROWTH_INTERVAL: usize = 2000;

/// The scale of the loss of the next step, a part of the state from which a run is resumed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LossScale {
    /// The factor of the loss, and so of all gradients.
    pub(super) scale: f64,
    /// The number of steps with finite gradients since the scale last changed.
    pub(super) finite_steps: usize,
    /// The number of steps of the run that were skipped.
    pub(super) skipped_steps: usize,
}

impl Default for LossScale {
    /// The scale of the first step.
    fn default() -> Self {
        Self {
            scale: INITIAL,
            finite_steps: 0,
            skipped_steps: 0,
        }
    }
}

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepOutcome {
    /// The gradient is finite and changes the weights.
    Applied,
    /// The gradient is not finite. The step is skipped, and the scale of the next one is lower.
    Skipped,
    /// The gradient is not finite although the scale does not enlarge it.
    Diverged,
}

impl LossScale {
    /// Decides on a step by the norm of its gradient, and changes the scale of the next step.
    pub(super) fn update(&mut self, norm: f64) -> StepOutcome {
        if norm.is_finite() {
            self.finite_steps += 1;
            if self.finite_steps == GROWTH_INTERVAL {
                (self.scale, self.finite_steps) = (self.scale * GROWTH, 0);
            }
            return StepOutcome::Applied;
        }
        if self.scale <= 1.0 {
            return StepOutcome::Diverged;
        }
        (self.scale, self.finite_steps) = (self.scale * BACKOFF, 0);
        self.skipped_steps += 1;
        StepOutcome::Skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinite_gradients_halve_the_scale_and_2000_finite_ones_in_a_row_double_it() {
        let mut scale = LossScale::default();
        assert_eq!(scale.update(f64::INFINITY), StepOutcome::Skipped);
        assert_eq!((scale.scale, scale.skipped_steps), (32768.0, 1));
        for _ in 0..1999 {
            assert_eq!(scale.update(3.0), StepOutcome::Applied);
        }
        assert_eq!(scale.update(f64::NAN), StepOutcome::Skipped);
        assert_eq!((scale.scale, scale.finite_steps), (16384.0, 0));
        for _ in 0..1999 {
            scale.update(3.0);
            assert_eq!(scale.scale, 16384.0);
        }
        assert_eq!(scale.update(3.0), StepOutcome::Applied);
        assert_eq!(
            (scale.scale, scale.finite_steps, scale.skipped_steps),
            (32768.0, 0, 2)
        );
    }

    #[test]
    fn gradients_that_are_infinite_without_a_scale_have_diverged() {
        let mut scale = LossScale::default();
        for _ in 0..16 {
            assert_eq!(scale.update(f64::INFINITY), StepOutcome::Skipped);
        }
        assert_eq!(scale.scale, 1.0);
        assert_eq!(scale.update(f64::INFINITY), StepOutcome::Diverged);
    }

    #[test]
    fn a_resumed_run_has_the_same_scale() {
        let mut scale = LossScale::default();
        scale.update(f64::INFINITY);
        scale.update(1.0);
        let text = serde_json::to_string(&scale).unwrap();
        assert_eq!(serde_json::from_str::<LossScale>(&text).unwrap(), scale);
    }
}
