//! The records of a run as JSON lines: `steps.jsonl`, `records.jsonl` and `timings.jsonl`.

use crate::train::error::TrainError;
use crate::train::hook::{StepEvent, TrainingHook};
use crate::train::record::{EvaluationRecord, Timing};
use crate::train::run_dir::RunDir;

/// Appends every record to the files of a run directory.
pub(super) struct JsonLinesLog {
    dir: RunDir,
}

impl JsonLinesLog {
    pub(super) fn new(dir: RunDir) -> Self {
        Self { dir }
    }
}

impl TrainingHook for JsonLinesLog {
    fn on_step(&mut self, step: &StepEvent<'_>) -> Result<(), TrainError> {
        self.dir.add_step(step.record)
    }

    fn on_evaluation(&mut self, record: &EvaluationRecord, timing: &Timing) -> Result<(), TrainError> {
        self.dir.add_record(record, timing)
    }
}
