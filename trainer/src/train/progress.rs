//! How a training shows that it moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::record::{EvaluationRecord, Timing};

/// What a training is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Training sentences.
    pub sentences: usize,
    /// Windows they make.
    pub windows: usize,
    /// Labels.
    pub labels: usize,
    /// Trained numbers.
    pub parameters: usize,
    /// Steps of all epochs.
    pub steps: usize,
    /// Those of them that a resumed training has made already.
    pub done: usize,
    /// Threads.
    pub threads: usize,
}

/// Is told what a training does; `()` says nothing of it.
pub trait Progress {
    /// The training begins.
    fn begin(&mut self, plan: &Plan);
    /// A step is done, the loss and the speed since the epoch began.
    fn step(&mut self, loss: f64, tokens_per_second: f64);
    /// An evaluation is done and on record.
    fn evaluation(&mut self, record: &EvaluationRecord, timing: &Timing);
    /// Whether the training is to stop after the step it is at.
    fn is_interrupted(&self) -> bool {
        false
    }
}

impl Progress for () {
    fn begin(&mut self, _plan: &Plan) {}
    fn step(&mut self, _loss: f64, _tokens_per_second: f64) {}
    fn evaluation(&mut self, _record: &EvaluationRecord, _timing: &Timing) {}
}

/// A progress bar on the terminal, with a line an evaluation; only the lines where standard error is no terminal.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    interrupted: Arc<AtomicBool>,
}

impl Bar {
    /// A bar that stops the training once `interrupted` is set.
    pub fn new(interrupted: Arc<AtomicBool>) -> Self {
        let bar = ProgressBar::no_length();
        let template = "{bar:30} {pos}/{len} steps, {elapsed} gone, {eta} left, {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, interrupted }
    }

    fn line(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }
}

impl Progress for Bar {
    fn begin(&mut self, plan: &Plan) {
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
    }

    fn step(&mut self, loss: f64, tokens_per_second: f64) {
        self.bar
            .set_message(format!("loss {loss:.4}, {tokens_per_second:.0} tokens/s"));
        self.bar.inc(1);
    }

    fn evaluation(&mut self, record: &EvaluationRecord, timing: &Timing) {
        self.line(&format!(
            "epoch {}, step {}: loss {:.4}, dev entity F1 {:.4} (P {:.4}, R {:.4}), {:.1} s, {:.0} tokens/s{}",
            record.epoch,
            record.step,
            record.loss,
            record.dev_entity.f1,
            record.dev_entity.precision,
            record.dev_entity.recall,
            timing.seconds,
            timing.tokens_per_second,
            if record.best { ", best" } else { "" }
        ));
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}
