//! Ends a run whose dev score no longer rises.

use crate::train::error::TrainError;
use crate::train::hook::{Plan, TrainingHook};
use crate::train::record::{End, EvaluationRecord, Timing};

/// Stops a run after `patience` evaluations without a better dev entity F1.
pub(super) struct EarlyStopping {
    patience: usize,
    scores: Vec<f64>,
    // Whether all steps were made: a run that is complete has not ended early.
    is_complete: bool,
    steps: usize,
}

impl EarlyStopping {
    pub(super) fn new(patience: usize) -> Self {
        Self {
            patience,
            scores: Vec::new(),
            is_complete: false,
            steps: 0,
        }
    }
}

impl TrainingHook for EarlyStopping {
    fn on_start(&mut self, plan: &Plan, evaluations: &[EvaluationRecord]) -> Result<(), TrainError> {
        self.scores = evaluations.iter().map(|record| record.dev_entity.f1).collect();
        self.steps = plan.steps;
        self.is_complete = plan.done >= plan.steps;
        Ok(())
    }

    fn on_evaluation(&mut self, record: &EvaluationRecord, _timing: &Timing) -> Result<(), TrainError> {
        self.scores.push(record.dev_entity.f1);
        self.is_complete = record.step >= self.steps;
        Ok(())
    }

    fn stop(&self) -> Option<End> {
        let stops = !self.is_complete && is_exhausted(&self.scores, self.patience);
        stops.then_some(End::OutOfPatience)
    }
}

/// Whether the last `patience` scores, or more, are not above the best score before them.
fn is_exhausted(scores: &[f64], patience: usize) -> bool {
    let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let reached = scores.iter().position(|&score| score == best);
    reached.is_some_and(|at| scores.len() - 1 - at >= patience)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_counts_the_evaluations_since_the_first_best() {
        let table: [(&[f64], usize, bool); 6] = [
            (&[], 1, false),
            (&[0.1], 1, false),
            (&[0.2, 0.1], 1, true),
            (&[0.2, 0.2], 1, true),
            (&[0.2, 0.1, 0.3], 1, false),
            (&[0.2, 0.1, 0.1], 3, false),
        ];
        for (scores, patience, expected) in table {
            assert_eq!(is_exhausted(scores, patience), expected, "{scores:?} {patience}");
        }
    }
}
