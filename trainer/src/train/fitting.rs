//! The steps, evaluations and checkpoints of a run, and what it leaves behind at its end.

use std::path::Path;
use std::time::Instant;

use candle_core::Device;

use crate::evaluate::checkpoint::CheckpointTagger;
use crate::evaluate::evaluate;
use crate::evaluate::evaluation::evaluate_with_loss;
use crate::model::checkpoint::write_checkpoint;
use crate::train::average::AveragedWeights;
use crate::train::error::TrainError;
use crate::train::example::Example;
use crate::train::finish::Finished;
use crate::train::hook::{Hooks, StepEvent, TrainingHook};
use crate::train::lock::RunLock;
use crate::train::notice::Notice;
use crate::train::order;
use crate::train::record::{End, EvaluationRecord, StepRecord, Tested, TestedCheckpoint, Timing, best_of};
use crate::train::run_dir::{Reported, RunDir};
use crate::train::state::TrainingState;
use crate::train::training::Training;
use crate::train::training_set::TrainingSet;
use nerve_corpus::{Corpus, Splits};

/// A training run with its files.
pub(super) struct Run<'r> {
    pub(super) dir: RunDir,
    pub(super) dev: Corpus,
    pub(super) set: &'r TrainingSet,
    // The hash of the training examples.
    pub(super) examples: String,
    pub(super) training: Training<'r>,
    pub(super) records: Vec<EvaluationRecord>,
    pub(super) steps: Vec<StepRecord>,
    pub(super) device: Device,
    pub(super) since: Clock,
    pub(super) began: Instant,
    // The seconds that earlier parts of the run have taken.
    pub(super) seconds_before: f64,
    // The numbers of steps and of evaluations in the last checkpoint.
    pub(super) saved: (usize, usize),
    pub(super) notices: Vec<Notice>,
    pub(super) _lock: RunLock,
}

/// The work of this process since the last evaluation.
#[derive(Default)]
pub(super) struct Clock {
    seconds: f64,
    tokens: usize,
}

impl Clock {
    fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }
}

impl Run<'_> {
    /// Makes the remaining steps.
    pub(super) fn fit(&mut self, hooks: &mut Hooks<'_, '_>) -> Result<End, TrainError> {
        let (config, set) = (self.training.config, self.set);
        let done = self.training.optimizer.steps();
        // A run that begins makes at least one step.
        let time_is_over = done > 0 && self.is_out_of_time(self.seconds_before);
        let end = hooks.stop().or(time_is_over.then_some(End::OutOfTime));
        if let Some(end) = end.filter(|_| done < set.steps.total) {
            let notice = match (end, config.patience, config.max_time) {
                (End::OutOfPatience, Some(patience), _) => Some(Notice::OutOfPatience {
                    patience,
                    measure: config.select_by.measure(),
                }),
                (End::OutOfTime, _, Some(max_time)) => Some(Notice::OutOfTime { max_time }),
                _ => None,
            };
            if let Some(notice) = notice {
                hooks.on_notice(&notice)?;
                self.notices.push(notice);
            }
            if end == End::OutOfTime {
                self.evaluate_once(hooks)?;
            }
            return Ok(end);
        }
        let (first, skipped) = (done / set.steps.per_epoch, done % set.steps.per_epoch);
        for epoch in first..config.epochs {
            let batches = order::batches(
                &set.examples,
                config.batch_size,
                config.group_by_length,
                config.seed,
                epoch,
            );
            let augmented = set.augmented(epoch, &self.training.tagger)?;
            let batches = augmented.replace(&set.examples, batches);
            let skipped = if epoch == first { skipped } else { 0 };
            for batches in batches.chunks(config.accumulate).skip(skipped) {
                self.step(batches, hooks)?;
                if self.evaluates_after(self.steps.len()) {
                    self.evaluate(hooks)?;
                }
                if let Some(end) = hooks.stop() {
                    self.save()?;
                    self.commit()?;
                    return Ok(end);
                }
                if self.steps.len() < set.steps.total && self.is_out_of_time(self.seconds()) {
                    self.evaluate_once(hooks)?;
                    return Ok(End::OutOfTime);
                }
            }
        }
        Ok(End::Finished)
    }

    /// Makes the step of these batches.
    fn step(&mut self, batches: &[Vec<&Example>], hooks: &mut Hooks<'_, '_>) -> Result<(), TrainError> {
        let began = Instant::now();
        let reads_predictions = hooks.reads_predictions();
        let (record, predictions) =
            self.training
                .step(self.set, batches, &self.records, reads_predictions)?;
        self.since.seconds += began.elapsed().as_secs_f64();
        self.since.tokens += batches.iter().flatten().map(|e| e.ids.len()).sum::<usize>();
        hooks.on_step(&StepEvent {
            record: &record,
            tokens_per_second: self.since.tokens_per_second(),
            batches: &predictions,
        })?;
        if let (true, Some(loss_scale)) = (record.skipped, self.training.loss_scale) {
            let notice = Notice::SkippedStep {
                step: record.step,
                scale: loss_scale.scale,
            };
            hooks.on_notice(&notice)?;
            self.notices.push(notice);
        }
        self.steps.push(record);
        Ok(())
    }

    /// The seconds that the run has taken, with its earlier parts.
    fn seconds(&self) -> f64 {
        self.seconds_before + self.began.elapsed().as_secs_f64()
    }

    /// Whether the run has taken as long as it may after so many seconds.
    fn is_out_of_time(&self, seconds: f64) -> bool {
        let limit = self.training.config.max_time;
        limit.is_some_and(|limit| seconds >= limit.seconds())
    }

    /// Evaluates the dev split and makes a checkpoint, unless the last step is evaluated.
    fn evaluate_once(&mut self, hooks: &mut Hooks<'_, '_>) -> Result<(), TrainError> {
        let evaluated = self.records.last().map(|record| record.step);
        match evaluated == Some(self.training.optimizer.steps()) {
            true => Ok(()),
            false => self.evaluate(hooks),
        }
    }

    /// Evaluates the dev split and makes a checkpoint.
    fn evaluate(&mut self, hooks: &mut Hooks<'_, '_>) -> Result<(), TrainError> {
        let since = std::mem::take(&mut self.since);
        let (record, timing) = match self.training.average.as_ref().map(AveragedWeights::has_begun) {
            Some(true) => self.evaluated_average(&since)?,
            _ => self.evaluated(&since)?,
        };
        self.records.push(record);
        // The state of a checkpoint that is already the last one must not count a record that is not in its file yet.
        if self.saved.0 != self.training.optimizer.steps() {
            self.save()?;
        }
        if let Some(record) = self.records.last() {
            hooks.on_evaluation(record, &timing)?;
        }
        self.save()?;
        self.commit()
    }

    /// The record of [`Self::evaluated`] for the average of the weights, whose checkpoint is written if it is the best one.
    fn evaluated_average(&mut self, clock: &Clock) -> Result<(EvaluationRecord, Timing), TrainError> {
        self.swap_average()?;
        let (mut record, timing) = self.evaluated(clock)?;
        record.averaged = true;
        if record.best {
            self.write_weights(&self.dir.average(record.step))?;
        }
        self.swap_average()?;
        Ok((record, timing))
    }

    /// Exchanges the weights and their average, where there is one.
    fn swap_average(&self) -> Result<(), TrainError> {
        match &self.training.average {
            Some(average) => Ok(average.swap()?),
            None => Ok(()),
        }
    }

    /// Writes the network as a checkpoint.
    fn write_weights(&self, path: &Path) -> Result<(), TrainError> {
        let tagger = &self.training.tagger;
        let max_length = self.training.config.max_length;
        Ok(write_checkpoint(
            path,
            tagger.network(),
            tagger.tokenizer(),
            max_length,
        )?)
    }

    fn evaluates_after(&self, step: usize) -> bool {
        let every = self.training.config.evaluate_every;
        step.is_multiple_of(every.unwrap_or(self.set.steps.per_epoch)) || step == self.set.steps.total
    }

    /// The record of the steps since the last evaluation, with the score on dev.
    fn evaluated(&mut self, clock: &Clock) -> Result<(EvaluationRecord, Timing), TrainError> {
        let (found, dev_loss) = evaluate_with_loss(&mut self.training.tagger, &self.dev)?;
        let last = self.records.last().map_or(0, |record| record.step);
        let since = &self.steps[last.min(self.steps.len())..];
        let step = self.training.optimizer.steps();
        let best = best_of(&self.records);
        let mut record = EvaluationRecord {
            epoch: step.div_ceil(self.set.steps.per_epoch),
            step,
            loss: since.iter().map(|step| step.loss).sum::<f64>() / since.len().max(1) as f64,
            learning_rate: since.last().map_or(0.0, |step| step.learning_rate),
            dev_entity: found.score.entity,
            dev_surface_f1: found.score.surface.f1,
            dev_token_accuracy: found.score.token_accuracy,
            dev_loss,
            dev_types: found.score.types,
            averaged: false,
            best: false,
        };
        let select_by = &self.training.config.select_by;
        record.best = best.is_none_or(|best| select_by.prefers(&record, best));
        let timing = Timing {
            step,
            seconds: clock.seconds,
            tokens_per_second: clock.tokens_per_second(),
        };
        Ok((record, timing))
    }

    /// Writes the checkpoint of the steps and evaluations made, with the state that a resumed run needs, unless it is there.
    fn save(&mut self) -> Result<(), TrainError> {
        let average = self.training.average.as_ref();
        let state = TrainingState {
            step: self.training.optimizer.steps(),
            records: self.records.len(),
            examples: self.examples.clone(),
            seconds: self.seconds(),
            averaged: average.map_or(0, AveragedWeights::count),
            loss_scale: self.training.loss_scale,
        };
        let made = (state.step, state.records);
        let path = self.dir.checkpoint(state.step);
        match self.saved {
            saved if saved == made => return Ok(()),
            (step, _) if step == state.step => state.replace(&path)?,
            _ => {
                self.write_weights(&path)?;
                state.write(&path, &self.training.optimizer, average)?;
            }
        }
        self.saved = made;
        Ok(())
    }

    /// Makes the last checkpoint the one that a resumed run continues from.
    fn commit(&self) -> Result<(), TrainError> {
        let best = best_of(&self.records);
        self.dir.commit(self.saved.0, best)
    }

    /// The evaluation on the test split that the configuration asks for. It is made once.
    pub(super) fn test(&self, splits: &Splits) -> Result<Tested, TrainError> {
        let checkpoint = self.training.config.test_checkpoint;
        let (dir, step) = match checkpoint {
            TestedCheckpoint::Best => (self.dir.best(), self.best_step()),
            TestedCheckpoint::Last => (self.dir.last(), self.training.optimizer.steps()),
        };
        if let Some(found) = self.dir.tested(checkpoint, step) {
            return Ok(found);
        }
        let test = splits.read_test()?.ok_or_else(|| TrainError::NoTest {
            data: self.training.config.data.name(),
        })?;
        let evaluation = evaluate(&mut self.open(&dir)?, &test.sentences)?;
        let found = Tested {
            checkpoint,
            step,
            evaluation,
        };
        self.dir.write_tested(&found)?;
        Ok(found)
    }

    /// Writes the reports, once. The notice says why the best checkpoint has no temperature.
    pub(super) fn report(&self, end: End, test: Option<&Tested>) -> Result<Option<Notice>, TrainError> {
        let reported = Reported {
            steps: self.steps.len(),
            best: self.best_step(),
            tested: test.map(|test| test.step),
        };
        if self.dir.has_reported(&reported) {
            return Ok(None);
        }
        let best = self.dir.best();
        let finished = Finished {
            steps: &self.steps,
            per_epoch: self.set.steps.per_epoch,
            records: &self.records,
            timings: &self.dir.timings()?,
            end,
            test,
            notices: &self.notices,
        };
        let notice = finished.write(self.training.config, &best, self.open(&best)?, &self.dev)?;
        self.dir.write_reported(&reported)?;
        Ok(notice)
    }

    /// The tagger of a checkpoint of this run, on its device.
    fn open(&self, checkpoint: &Path) -> Result<CheckpointTagger, TrainError> {
        let config = self.training.config;
        let device = self.device.clone();
        Ok(CheckpointTagger::open_on(
            checkpoint,
            config.max_length,
            config.threads,
            device,
        )?)
    }

    fn best_step(&self) -> usize {
        let best = best_of(&self.records);
        best.map_or(0, |record| record.step)
    }
}
