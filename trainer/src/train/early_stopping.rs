//! Ends a run whose dev score no longer rises.

use crate::train::error::TrainError;
use crate::train::hook::{Plan, TrainingHook};
use crate::train::record::{End, EvaluationRecord, Timing};
use crate::train::select_by::SelectBy;

/// Stops a run after `patience` evaluations without a better score.
pub(super) struct EarlyStopping {
    patience: usize,
    select_by: SelectBy,
    scores: Vec<f64>,
    // Whether all steps were made: a run that is complete has not ended early.
    is_complete: bool,
    steps: usize,
}

impl EarlyStopping {
    pub(super) fn new(patience: usize, select_by: SelectBy) -> Self {
        Self {
            patience,
            select_by,
            scores: Vec::new(),
            is_complete: false,
            steps: 0,
        }
    }
}

impl TrainingHook for EarlyStopping {
    fn on_start(&mut self, plan: &Plan, evaluations: &[EvaluationRecord]) -> Result<(), TrainError> {
        self.scores = evaluations
            .iter()
            .map(|record| self.select_by.score(record))
            .collect();
        self.steps = plan.steps;
        self.is_complete = plan.done >= plan.steps;
        Ok(())
    }

    fn on_evaluation(&mut self, record: &EvaluationRecord, _timing: &Timing) -> Result<(), TrainError> {
        self.scores.push(self.select_by.score(record));
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
    use nerve_tagging::Prf;

    #[test]
    fn evaluations_are_compared_by_the_configured_measure() {
        let record = |step, f1, dev_loss| EvaluationRecord {
            step,
            dev_entity: Prf { f1, ..Prf::default() },
            dev_loss: Some(dev_loss),
            ..EvaluationRecord::default()
        };
        let (first, second) = (record(1, 0.5, 0.2), record(2, 0.6, 0.3));
        for (select_by, end) in [
            (SelectBy::Micro, None),
            (SelectBy::Loss, Some(End::OutOfPatience)),
        ] {
            let mut stopping = EarlyStopping::new(1, select_by);
            stopping.steps = 9;
            stopping.on_evaluation(&first, &Timing::default()).unwrap();
            stopping.on_evaluation(&second, &Timing::default()).unwrap();
            assert_eq!(stopping.stop(), end);
        }
    }

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
