//! How a training shows that it moves.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::record::EpochRecord;

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
    /// Threads.
    pub threads: usize,
}

/// Is told what a training does; `()` says nothing of it.
pub trait Progress {
    /// The training begins.
    fn begin(&mut self, plan: &Plan);
    /// A step is done, the loss and the speed since the epoch began.
    fn step(&mut self, loss: f64, tokens_per_second: f64);
    /// An epoch is done and evaluated.
    fn epoch(&mut self, record: &EpochRecord);
}

impl Progress for () {
    fn begin(&mut self, _plan: &Plan) {}
    fn step(&mut self, _loss: f64, _tokens_per_second: f64) {}
    fn epoch(&mut self, _record: &EpochRecord) {}
}

/// A progress bar on the terminal, with a line an epoch; only the lines where standard error is no terminal.
#[derive(Debug)]
pub struct Bar(ProgressBar);

impl Default for Bar {
    fn default() -> Self {
        let bar = ProgressBar::no_length();
        let template = "{bar:30} {pos}/{len} steps, {elapsed} gone, {eta} left, {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar)
    }
}

impl Bar {
    fn line(&self, text: &str) {
        self.0.suspend(|| eprintln!("{text}"));
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
        self.0.set_length(plan.steps as u64);
        self.0.enable_steady_tick(Duration::from_secs(1));
    }

    fn step(&mut self, loss: f64, tokens_per_second: f64) {
        self.0
            .set_message(format!("loss {loss:.4}, {tokens_per_second:.0} tokens/s"));
        self.0.inc(1);
    }

    fn epoch(&mut self, record: &EpochRecord) {
        self.line(&format!(
            "epoch {}: loss {:.4}, dev entity F1 {:.4} (P {:.4}, R {:.4}), {:.1} s, {:.0} tokens/s{}",
            record.epoch,
            record.loss,
            record.dev_entity.f1,
            record.dev_entity.precision,
            record.dev_entity.recall,
            record.seconds,
            record.tokens_per_second,
            if record.best { ", best" } else { "" }
        ));
    }
}
