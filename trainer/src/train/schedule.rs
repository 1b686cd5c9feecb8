//! The learning rate of a step.

use std::f64::consts::PI;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How a learning rate falls, as an option names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKind {
    /// It does not.
    Constant,
    /// By the same amount each step, to 0.
    #[default]
    Linear,
    /// Along half a cosine, to 0.
    Cosine,
    /// By a factor every few epochs.
    Step,
    /// By a factor when dev entity F1 no longer rises.
    Plateau,
}

/// How the learning rate falls after warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decay {
    /// It does not.
    Constant,
    /// By the same amount each step; the step after the last one would have rate 0.
    Linear,
    /// Along half a cosine (Loshchilov and Hutter 2017, without restarts), to 0.
    Cosine,
    /// By the factor `gamma` every `epochs`.
    Step {
        /// The factor.
        gamma: f64,
        /// Epochs between falls.
        epochs: usize,
    },
    /// By the factor `gamma` after more than `patience` evaluations without a better score.
    Plateau {
        /// The factor.
        gamma: f64,
        /// Evaluations that are waited for.
        patience: usize,
    },
}

/// The learning rate over a training's steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The highest rate.
    pub peak: f64,
    /// Share of the steps, from the first, in which the rate rises from 0 to the peak.
    pub warmup: f64,
    /// How it falls from then on.
    pub decay: Decay,
}

/// How many steps a training has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// Of all epochs.
    pub total: usize,
    /// Of one.
    pub per_epoch: usize,
}

impl Schedule {
    /// The learning rate of a step, counted from 0, after evaluations with these scores.
    pub fn rate(&self, step: usize, steps: Steps, scores: &[f64]) -> f64 {
        let warm = (steps.total as f64 * self.warmup).ceil();
        let at = step as f64;
        if at < warm {
            return self.peak * at / warm;
        }
        let length = (steps.total as f64 - warm).max(1.0);
        let gone = ((at - warm) / length).min(1.0);
        self.peak
            * match self.decay {
                Decay::Constant => 1.0,
                Decay::Linear => 1.0 - gone,
                Decay::Cosine => (1.0 + (PI * gone).cos()) / 2.0,
                Decay::Step { gamma, epochs } => {
                    power(gamma, step / epochs.saturating_mul(steps.per_epoch).max(1))
                }
                Decay::Plateau { gamma, patience } => power(gamma, falls(scores, patience)),
            }
    }
}

fn power(gamma: f64, times: usize) -> f64 {
    gamma.powi(i32::try_from(times).unwrap_or(i32::MAX))
}

/// How often scores have not risen for more than `patience` in a row, each such row counted once.
fn falls(scores: &[f64], patience: usize) -> usize {
    let (mut best, mut waited, mut falls) = (f64::NEG_INFINITY, 0, 0);
    for &score in scores {
        if score > best {
            (best, waited) = (score, 0);
            continue;
        }
        waited += 1;
        if waited > patience {
            (waited, falls) = (0, falls + 1);
        }
    }
    falls
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: Steps = Steps {
        total: 10,
        per_epoch: 5,
    };

    fn rates(decay: Decay, warmup: f64, scores: &[f64]) -> Vec<f64> {
        let schedule = Schedule {
            peak: 8.0,
            warmup,
            decay,
        };
        (0..=10).map(|step| schedule.rate(step, STEPS, scores)).collect()
    }

    #[test]
    fn linear_rises_to_the_peak_and_falls_to_nothing() {
        assert_eq!(
            rates(Decay::Linear, 0.2, &[]),
            [0.0, 4.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]
        );
    }

    #[test]
    fn every_decay_begins_at_the_peak_and_goes_its_way() {
        let step = Decay::Step {
            gamma: 0.5,
            epochs: 1,
        };
        assert_eq!(rates(Decay::Constant, 0.0, &[]), [8.0; 11]);
        let cosine = rates(Decay::Cosine, 0.0, &[]);
        assert!((cosine[0], cosine[5]) == (8.0, 4.0) && cosine[10] < 1e-12);
        assert!(cosine.windows(2).all(|pair| pair[1] < pair[0]));
        let stepped = rates(step, 0.2, &[]);
        assert_eq!(stepped[1..6], [4.0, 8.0, 8.0, 8.0, 4.0]);
        assert_eq!(stepped[10], 2.0);
    }

    #[test]
    fn a_plateau_is_more_evaluations_than_patience_without_a_better_score() {
        let table: [(&[f64], usize, usize); 6] = [
            (&[], 1, 0),
            (&[0.1, 0.2, 0.3], 0, 0),
            (&[0.3, 0.3], 0, 1),
            (&[0.3, 0.2], 1, 0),
            (&[0.3, 0.2, 0.1], 1, 1),
            (&[0.3, 0.2, 0.1, 0.0, 0.3], 1, 2),
        ];
        for (scores, patience, expected) in table {
            assert_eq!(falls(scores, patience), expected, "{scores:?} {patience}");
        }
        let plateau = Decay::Plateau {
            gamma: 0.1,
            patience: 0,
        };
        let fallen = rates(plateau, 0.0, &[0.3, 0.3])[0];
        assert!((fallen - 0.8).abs() < 1e-12);
    }

    #[test]
    fn a_training_of_no_step_or_of_warm_up_alone_has_a_rate() {
        let schedule = |warmup| Schedule {
            peak: 1.0,
            warmup,
            decay: Decay::Linear,
        };
        let of = |total| Steps {
            total,
            per_epoch: total,
        };
        assert_eq!(schedule(1.0).rate(0, of(1), &[]), 0.0);
        assert_eq!(schedule(0.1).rate(0, of(0), &[]), 1.0);
    }
}
