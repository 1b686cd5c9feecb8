//! The original study's metric of a training run, measured on the predictions made while training.

use std::path::{Path, PathBuf};

use nerve_trainer::{
    EvaluationRecord, Example, ExampleContext, JsonLines, Plan, StepEvent, TrainError, TrainingHook,
};

use crate::positions::{Positions, pad};
use crate::weighted::{MeanFigures, TokenConfusion, WeightedFigures};

/// The figures of each step, a line of `padded.jsonl` in the run directory.
const FILE: &str = "padded.jsonl";

/// Measures the figures of every batch over all positions, and optionally pads the examples before training.
///
/// Every subword must be labeled: others would count as tokens that another window answers for.
pub(crate) struct PaddedMetric {
    path: PathBuf,
    train_on_padding: bool,
    positions: Positions,
    labels: usize,
    outside: usize,
    // The figures of each step's batches.
    steps: Vec<Vec<WeightedFigures>>,
    file: Option<JsonLines>,
}

impl PaddedMetric {
    /// The metric of the run in a directory.
    pub(crate) fn new(run: &Path, train_on_padding: bool) -> Self {
        Self {
            path: run.join(FILE),
            train_on_padding,
            positions: Positions::default(),
            labels: 0,
            outside: 0,
            steps: Vec::new(),
            file: None,
        }
    }

    /// The mean over the batches of the steps after `first` up to `last`.
    pub(crate) fn mean(&self, first: usize, last: usize) -> Option<WeightedFigures> {
        let mut mean = MeanFigures::default();
        for figures in self.steps.get(first..last)?.iter().flatten() {
            mean.add(*figures);
        }
        mean.mean()
    }
}

impl TrainingHook for PaddedMetric {
    fn on_examples(
        &mut self,
        examples: &mut [Example],
        context: &ExampleContext<'_>,
    ) -> Result<(), TrainError> {
        self.labels = context.labels.len();
        self.outside = context.labels.outside().0;
        self.positions = Positions::of(examples, context.specials);
        if self.train_on_padding {
            pad(examples, context.padding_id, self.outside as u32);
            self.positions = std::mem::take(&mut self.positions).without_padding();
        }
        Ok(())
    }

    fn on_start(&mut self, plan: &Plan, _evaluations: &[EvaluationRecord]) -> Result<(), TrainError> {
        let file = JsonLines::open(&self.path, plan.done)?;
        self.steps = file.read()?;
        self.file = Some(file);
        Ok(())
    }

    fn reads_predictions(&self) -> bool {
        true
    }

    fn on_step(&mut self, step: &StepEvent<'_>) -> Result<(), TrainError> {
        let figures = step.batches.iter().map(|batch| {
            let mut confusion = TokenConfusion::new(self.labels);
            for prediction in batch {
                self.positions
                    .count(&mut confusion, prediction.example, &prediction.labels);
            }
            confusion.weighted(self.outside)
        });
        let figures: Vec<WeightedFigures> = figures.collect();
        if let Some(file) = &self.file {
            file.append(&figures)?;
        }
        self.steps.push(figures);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::write_corpus;
    use nerve_trainer::{Beginning, End, TrainConfig, TrainOptions, TrainReport, train};

    fn config(dir: &Path, out: &str, text: &str) -> TrainConfig {
        let common = "init = \"scratch\"\nhidden_size = 32\nbatch_size = 4\nlearning_rate = 5e-3\n\
                      label_subwords = \"all\"\nthreads = 2\nreports = false\n";
        let options: TrainOptions = toml::from_str(&format!("{common}{text}")).unwrap();
        let options = TrainOptions {
            data: Some(dir.to_string_lossy().into_owned()),
            vocab: Some(dir.to_owned()),
            out: Some(dir.join(out)),
            ..options
        };
        TrainConfig::new(options).unwrap()
    }

    #[test]
    fn padding_that_is_trained_on_is_learned_and_in_the_metric() {
        let dir = tempfile::tempdir().unwrap();
        write_corpus(dir.path());
        let config = config(dir.path(), "run", "dropout = 0.0\nepochs = 24");
        let mut metric = PaddedMetric::new(&config.out, true);
        let report = train(&config, Beginning::New, &mut [&mut metric]).unwrap();
        // Every sentence has 6 positions, of which the two special tokens are always wrong.
        let last = report.steps.len();
        let accuracy = metric.mean(last - 5, last).unwrap().accuracy;
        assert!((accuracy - 4.0 / 6.0).abs() < 0.02, "{accuracy}");
        assert_eq!(report.records.last().unwrap().dev_entity.f1, 1.0);
    }

    /// Stops after a step.
    struct Stop {
        after: usize,
        steps: usize,
    }

    impl TrainingHook for Stop {
        fn on_step(&mut self, step: &StepEvent<'_>) -> Result<(), TrainError> {
            self.steps = step.record.step;
            Ok(())
        }

        fn stop(&self) -> Option<End> {
            (self.after == self.steps).then_some(End::Interrupted)
        }
    }

    #[test]
    fn a_run_that_was_stopped_has_the_same_metric_to_the_last_bit() {
        let dir = tempfile::tempdir().unwrap();
        write_corpus(dir.path());
        let options = "epochs = 2\naccumulate = 2\nevaluate_every = 2";
        let means = |report: &TrainReport, metric: &PaddedMetric| {
            let mut last = 0;
            let mut found = Vec::new();
            for record in &report.records {
                found.push(metric.mean(last, record.step).unwrap());
                last = record.step;
            }
            found
        };
        let whole = config(dir.path(), "whole", options);
        let mut metric = PaddedMetric::new(&whole.out, false);
        let report = train(&whole, Beginning::New, &mut [&mut metric]).unwrap();
        let expected = means(&report, &metric);
        assert_eq!((report.steps.len(), expected.len()), (6, 3));
        for after in 1..=5 {
            let stopped = config(dir.path(), &format!("stopped-{after}"), options);
            let mut stop = Stop { after, steps: 0 };
            let mut metric = PaddedMetric::new(&stopped.out, false);
            train(&stopped, Beginning::New, &mut [&mut metric, &mut stop]).unwrap();
            // A killed process may have written steps of which no checkpoint knows.
            let path = stopped.out.join(FILE);
            let lines = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, format!("{lines}{lines}")).unwrap();
            let mut metric = PaddedMetric::new(&stopped.out, false);
            let report = train(&stopped, Beginning::Resumed, &mut [&mut metric]).unwrap();
            assert_eq!(means(&report, &metric), expected, "stopped after {after}");
        }
    }
}
