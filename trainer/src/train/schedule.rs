//! The learning rate of each step.

use std::f64::consts::PI;
use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The values of the option `schedule`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKind {
    /// The rate stays constant.
    Constant,
    /// The rate falls linearly to 0.
    #[default]
    Linear,
    /// The rate falls to 0 along half a cosine.
    Cosine,
    /// The rate is multiplied by a factor every few epochs.
    Step,
    /// The rate is multiplied by a factor when evaluations stop improving.
    Plateau,
}

impl fmt::Display for ScheduleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Constant => "constant",
            Self::Linear => "linear",
            Self::Cosine => "cosine",
            Self::Step => "step",
            Self::Plateau => "plateau",
        })
    }
}

/// How the learning rate falls after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decay {
    /// The rate stays constant.
    Constant,
    /// The rate falls linearly; it would be 0 in the step after the last one.
    Linear,
    /// The rate falls to 0 along half a cosine (Loshchilov and Hutter 2017, without restarts).
    Cosine,
    /// The rate is multiplied by `gamma` every `epochs` epochs.
    Step {
        /// The factor.
        gamma: f64,
        /// The number of epochs between two reductions.
        epochs: usize,
    },
    /// The rate is multiplied by `gamma` after more than `patience` evaluations without a better score. Evaluations
    /// during the warm-up and those with score 0 do not count, because the model has not yet begun to learn.
    Plateau {
        /// The factor.
        gamma: f64,
        /// The number of evaluations without a better score before the rate falls.
        patience: usize,
    },
}

impl Decay {
    /// The schedule that the rate falls by.
    pub(super) fn kind(self) -> ScheduleKind {
        match self {
            Self::Constant => ScheduleKind::Constant,
            Self::Linear => ScheduleKind::Linear,
            Self::Cosine => ScheduleKind::Cosine,
            Self::Step { .. } => ScheduleKind::Step,
            Self::Plateau { .. } => ScheduleKind::Plateau,
        }
    }
}

/// The learning rate as a function of the step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The fraction of all steps in which the rate rises linearly from 0 to its peak.
    pub warmup: f64,
    /// How the rate falls after the warm-up.
    pub decay: Decay,
}

/// The numbers of steps of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// The number of steps of all epochs.
    pub total: usize,
    /// The number of steps of one epoch.
    pub per_epoch: usize,
}

/// The score of an evaluation on the dev split, by which evaluations are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DevScore {
    /// The number of steps before the evaluation.
    pub step: usize,
    /// The configured measure; higher is better.
    pub score: f64,
}

impl Schedule {
    /// The learning rate of a step, counted from 0, given all earlier evaluations; `peak` is the highest rate.
    pub fn rate(&self, peak: f64, step: usize, steps: Steps, evaluations: &[DevScore]) -> f64 {
        let warm = (steps.total as f64 * self.warmup).ceil();
        let at = step as f64;
        if at < warm {
            return peak * at / warm;
        }
        let length = (steps.total as f64 - warm).max(1.0);
        let progress = ((at - warm) / length).min(1.0);
        peak * match self.decay {
            Decay::Constant => 1.0,
            Decay::Linear => 1.0 - progress,
            Decay::Cosine => (1.0 + (PI * progress).cos()) / 2.0,
            Decay::Step { gamma, epochs } => {
                power(gamma, step / epochs.saturating_mul(steps.per_epoch).max(1))
            }
            Decay::Plateau { gamma, patience } => power(gamma, falls(evaluations, warm, patience)),
        }
    }
}

fn power(gamma: f64, times: usize) -> f64 {
    gamma.powi(i32::try_from(times).unwrap_or(i32::MAX))
}

/// The number of times that more than `patience` evaluations in a row had no better score.
///
/// Evaluations in the first `warm` steps, and those with score 0, can set the best score but do not count as waiting.
fn falls(evaluations: &[DevScore], warm: f64, patience: usize) -> usize {
    let (mut best, mut waited, mut falls) = (f64::NEG_INFINITY, 0, 0);
    for &DevScore { step, score } in evaluations {
        if score > best {
            (best, waited) = (score, 0);
            continue;
        }
        if step as f64 <= warm || score == 0.0 {
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

    /// Evaluations with these scores, one after each step, from step 1.
    fn evaluations(scores: &[f64]) -> Vec<DevScore> {
        let score = |(step, &score)| DevScore { step, score };
        (1..).zip(scores).map(score).collect()
    }

    fn rates(decay: Decay, warmup: f64, scores: &[f64]) -> Vec<f64> {
        let schedule = Schedule { warmup, decay };
        let scores = evaluations(scores);
        (0..=10)
            .map(|step| schedule.rate(8.0, step, STEPS, &scores))
            .collect()
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
            (&[0.3, 0.2, 0.1, 0.05, 0.3], 1, 2),
        ];
        for (scores, patience, expected) in table {
            assert_eq!(
                falls(&evaluations(scores), 0.0, patience),
                expected,
                "{scores:?} {patience}"
            );
        }
        let plateau = Decay::Plateau {
            gamma: 0.1,
            patience: 0,
        };
        let fallen = rates(plateau, 0.0, &[0.3, 0.3])[0];
        assert!((fallen - 0.8).abs() < 1e-12);
    }

    #[test]
    fn a_plateau_begins_neither_in_warm_up_nor_before_anything_is_found() {
        let zeros = evaluations(&[0.0, 0.0, 0.0, 0.0]);
        assert_eq!(falls(&zeros, 0.0, 0), 0);
        let begun = evaluations(&[0.0, 0.0, 0.0, 0.2, 0.1]);
        assert_eq!((falls(&begun, 0.0, 0), falls(&begun, 0.0, 1)), (1, 0));
        let warming = evaluations(&[0.3, 0.2, 0.1, 0.1]);
        assert_eq!((falls(&warming, 3.0, 0), falls(&warming, 4.0, 0)), (1, 0));
        let plateau = Decay::Plateau {
            gamma: 0.5,
            patience: 0,
        };
        // The warm-up takes 4 of the 10 steps. It ends at the peak rate, whatever the evaluations in it.
        assert_eq!(rates(plateau, 0.4, &[0.1, 0.1, 0.1, 0.1])[4], 8.0);
    }

    #[test]
    fn a_training_of_no_step_or_of_warm_up_alone_has_a_rate() {
        let schedule = |warmup| Schedule {
            warmup,
            decay: Decay::Linear,
        };
        let of = |total| Steps {
            total,
            per_epoch: total,
        };
        assert_eq!(schedule(1.0).rate(1.0, 0, of(1), &[]), 0.0);
        assert_eq!(schedule(0.1).rate(1.0, 0, of(0), &[]), 1.0);
    }
}
