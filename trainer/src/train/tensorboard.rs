//! TensorBoard events of a run, written while it trains.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nerve_tagging::Prf;

use crate::report::tensorboard::EventWriter;
use crate::train::error::TrainError;
use crate::train::hook::{Plan, StepEvent, TrainingHook};
use crate::train::record::{EvaluationRecord, Timing};

/// Writes the scalars of every step and evaluation to `tensorboard/` in the run directory.
pub(super) struct TensorBoardLog {
    dir: PathBuf,
    writer: Option<EventWriter>,
}

impl TensorBoardLog {
    pub(super) fn new(run: &Path) -> Self {
        Self {
            dir: run.join("tensorboard"),
            writer: None,
        }
    }

    fn write(&mut self, step: usize, scalars: &[(&str, Option<f64>)]) -> Result<(), TrainError> {
        match &mut self.writer {
            Some(writer) => Ok(writer.scalars(step, now(), scalars)?),
            None => Ok(()),
        }
    }
}

impl TrainingHook for TensorBoardLog {
    fn on_start(&mut self, plan: &Plan, _evaluations: &[EvaluationRecord]) -> Result<(), TrainError> {
        self.writer = Some(EventWriter::open(&self.dir, plan.done, now())?);
        Ok(())
    }

    fn on_step(&mut self, step: &StepEvent<'_>) -> Result<(), TrainError> {
        let record = step.record;
        let scalars = [
            ("train/loss", Some(record.loss)),
            ("train/learning_rate", Some(record.learning_rate)),
            (
                "train/gradient_norm",
                (!record.skipped).then_some(record.gradient_norm),
            ),
            ("train/tokens_per_second", Some(step.tokens_per_second)),
        ];
        self.write(record.step, &scalars)
    }

    fn on_evaluation(&mut self, record: &EvaluationRecord, _timing: &Timing) -> Result<(), TrainError> {
        let by_type: Vec<(String, f64)> = record
            .dev_types
            .iter()
            .flat_map(|(name, score)| {
                let Prf {
                    precision,
                    recall,
                    f1,
                } = score.entity;
                [("f1", f1), ("precision", precision), ("recall", recall)]
                    .map(|(metric, value)| (format!("dev_types/{name}/{metric}"), value))
            })
            .collect();
        let mut scalars = vec![
            ("dev/entity_f1", Some(record.dev_entity.f1)),
            ("dev/precision", Some(record.dev_entity.precision)),
            ("dev/recall", Some(record.dev_entity.recall)),
            ("dev/surface_f1", Some(record.dev_surface_f1)),
            ("dev/token_accuracy", Some(record.dev_token_accuracy)),
            ("dev/loss", record.dev_loss),
        ];
        scalars.extend(by_type.iter().map(|(tag, value)| (tag.as_str(), Some(*value))));
        self.write(record.step, &scalars)
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs_f64()
}
