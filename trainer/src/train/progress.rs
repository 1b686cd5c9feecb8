//! The progress of a run on the terminal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::train::error::TrainError;
use crate::train::hook::{Plan, StepEvent, TeacherProgress, TrainingHook};
use crate::train::notice::Notice;
use crate::train::record::{End, EvaluationRecord, Timing};
use crate::train::select_by::SelectBy;

/// A progress bar and a line per evaluation on standard error; only the lines if that is not a terminal.
#[derive(Debug)]
pub struct TerminalProgress {
    bar: ProgressBar,
    teacher: ProgressBar,
    interrupted: Arc<AtomicBool>,
    select_by: SelectBy,
}

impl TerminalProgress {
    /// Shows progress, and stops the run once `interrupted` is set.
    pub fn new(interrupted: Arc<AtomicBool>) -> Self {
        let bar = ProgressBar::no_length();
        let template = "{bar:30} {pos}/{len} steps, {elapsed} elapsed, {eta} left, {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let teacher = ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} sentences, {eta} left, {msg}") {
            teacher.set_style(style);
        }
        Self {
            bar,
            teacher,
            interrupted,
            select_by: SelectBy::default(),
        }
    }

    fn line(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }
}

impl TrainingHook for TerminalProgress {
    fn on_teacher(&mut self, progress: &TeacherProgress<'_>) -> Result<(), TrainError> {
        self.teacher.set_length(progress.sentences as u64);
        self.teacher.set_position(progress.labeled as u64);
        self.teacher.set_message(format!("teacher {}", progress.teacher));
        if progress.labeled == progress.sentences {
            self.teacher.finish_and_clear();
            eprintln!(
                "the teacher {} has labeled {} sentences",
                progress.teacher, progress.sentences
            );
            self.teacher.reset();
        }
        Ok(())
    }

    fn on_start(&mut self, plan: &Plan, _evaluations: &[EvaluationRecord]) -> Result<(), TrainError> {
        self.select_by = plan.select_by.clone();
        self.line(&format!(
            "{} sentences in {} windows, {} labels, {:.1} M parameters, {} steps on {} threads",
            plan.sentences,
            plan.windows,
            plan.labels,
            plan.parameters as f64 / 1e6,
            plan.steps,
            plan.threads
        ));
        self.bar.set_length(plan.steps as u64);
        self.bar.set_position(plan.done as u64);
        self.bar.enable_steady_tick(Duration::from_secs(1));
        Ok(())
    }

    fn on_notice(&mut self, notice: &Notice) -> Result<(), TrainError> {
        let prefix = if notice.is_warning() { "warning: " } else { "" };
        self.line(&format!("{prefix}{notice}"));
        Ok(())
    }

    fn on_step(&mut self, step: &StepEvent<'_>) -> Result<(), TrainError> {
        self.bar.set_message(format!(
            "loss {:.4}, {:.0} tokens/s",
            step.record.loss, step.tokens_per_second
        ));
        self.bar.inc(1);
        Ok(())
    }

    fn on_evaluation(&mut self, record: &EvaluationRecord, timing: &Timing) -> Result<(), TrainError> {
        let selected = match &self.select_by {
            SelectBy::Micro => String::new(),
            other => format!(", {} {:.4}", other.measure(), other.value(record)),
        };
        self.line(&format!(
            "epoch {}, step {}: loss {:.4}, dev entity F1 {:.4} (P {:.4}, R {:.4}){}, {:.1} s, {:.0} tokens/s{}",
            record.epoch,
            record.step,
            record.loss,
            record.dev_entity.f1,
            record.dev_entity.precision,
            record.dev_entity.recall,
            selected,
            timing.seconds,
            timing.tokens_per_second,
            if record.best { ", best" } else { "" }
        ));
        Ok(())
    }

    fn stop(&self) -> Option<End> {
        let interrupted = self.interrupted.load(Ordering::Relaxed);
        interrupted.then_some(End::Interrupted)
    }
}
