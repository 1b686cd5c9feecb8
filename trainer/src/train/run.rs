//! A training run from corpus to checkpoints.

use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::Device;

use crate::base::open::open_base;
use crate::evaluate::checkpoint::CheckpointTagger;
use crate::evaluate::evaluation::evaluate_with_loss;
use crate::evaluate::{Tagger, evaluate};
use crate::model::checkpoint::{ModelDir, write_checkpoint};
use crate::train::average::AveragedWeights;
use crate::train::config::TrainConfig;
use crate::train::corpora::corpora;
use crate::train::device::open_device;
use crate::train::early_stopping::EarlyStopping;
use crate::train::error::TrainError;
use crate::train::example::Example;
use crate::train::finish::Finished;
use crate::train::hook::{Hooks, Plan, StepEvent, TrainingHook};
use crate::train::lock::RunLock;
use crate::train::log::JsonLinesLog;
use crate::train::notice::Notice;
use crate::train::order;
use crate::train::record::{
    End, EvaluationRecord, StepRecord, Tested, TestedCheckpoint, Timing, TrainReport,
};
use crate::train::resume::check_options;
use crate::train::run_dir::{Reported, RunDir};
use crate::train::select_by::SelectBy;
use crate::train::state::TrainingState;
use crate::train::teacher::distill::distill;
use crate::train::tensorboard::TensorBoardLog;
use crate::train::training::{Training, labels, notices};
use crate::train::training_set::{TrainingSet, trained_sentences};
use nerve_corpus::{Corpus, Splits, entity_types};

/// Where a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// At its first step, in a directory that holds no run.
    New,
    /// At the last checkpoint of the run in its directory, or at its first step if it has no checkpoint.
    Resumed,
}

/// Fine-tunes as configured and writes the run: `config.toml`, `steps.jsonl`, `records.jsonl`, `timings.jsonl`, the
/// checkpoints `last/` and `best/`, `test.json` if the test split is evaluated, and the reports `report.html` and
/// `tensorboard/`.
///
/// A run that was stopped at any moment and is resumed has the same steps, records and weights, to the last bit, as one
/// that was not stopped, with the same number of threads on the same kind of machine.
pub fn train(
    config: &TrainConfig,
    beginning: Beginning,
    hooks: &mut [&mut dyn TrainingHook],
) -> Result<TrainReport, TrainError> {
    let splits = config.splits()?;
    if config.evaluate_test && splits.test.is_empty() {
        return Err(TrainError::NoTest {
            data: config.data.name(),
        });
    }
    let (corpus, dev) = corpora(config, &splits)?;
    check_select_by(&config.select_by, &dev)?;
    let dir = RunDir::new(&config.out);
    let lock = match beginning {
        Beginning::New => None,
        Beginning::Resumed => Some(dir.lock()?),
    };
    let base = match lock.is_some() && dir.has_last()? {
        true => ModelDir::open(&dir.last())?,
        false => open_base(&config.start, config.max_length)?,
    };
    let given = config;
    let config = &given.with_learning_rate(base.config.hidden_size);
    let (state, recorded) = match beginning {
        Beginning::New => (None, None),
        Beginning::Resumed => {
            let recorded = dir.config()?.with_learning_rate(base.config.hidden_size);
            check_options(&config.out, recorded.options(), config.options())?;
            (dir.resume()?, Some(recorded))
        }
    };
    let device = open_device(config.device).map_err(|source| TrainError::Device {
        device: config.device,
        source,
    })?;
    let base = base.on(device.clone());
    let labels = labels(&base, [&corpus, &dev])?;
    let head = base.head_labels();
    let tagger = Training::tagger(config, base, labels)?;
    let mut hooks = Hooks::new(own_hooks(config, &dir), hooks);
    let trained = trained_sentences(config, &corpus);
    if config.distillation.is_some() && lock.is_none() {
        // Before teachers work for minutes.
        dir.check_free()?;
    }
    let is_begun = state.is_some();
    let labels = tagger.labels();
    let distilled = distill(config, &corpus, &trained, labels, &device, is_begun, &mut hooks)?;
    let training_set = TrainingSet::new(config, corpus, &trained, distilled, &tagger, &mut hooks)?;
    let mut notices = match &state {
        Some(_) => dir.notices(),
        None => {
            let drawn = splits
                .draw
                .filter(|_| config.fold.is_none())
                .map(|draw| Notice::DrawnDev {
                    dev: dev.sentences.len(),
                    train: training_set.corpus().sentences.len(),
                    seed: draw.seed,
                    path: dir.dev(),
                });
            let mut notices = notices(given, head.as_ref(), &tagger, &training_set, &dev)?;
            notices.extend(drawn);
            notices.extend(training_set.teachers(tagger.labels()));
            notices
        }
    };
    if let (Some(state), Some(recorded)) = (&state, &recorded) {
        let new_end = new_end(recorded.epochs, config, &training_set, state.step);
        notices.extend(new_end.filter(|notice| !notices.contains(notice)));
    }
    let mut training = Training::new(config, tagger, &training_set)?;
    if let Some(state) = &state {
        check_state(state, config, &training_set, training_set.path().to_owned())?;
        let average = training.average.as_mut();
        state.restore(&dir.last(), &mut training.optimizer, average)?;
    }
    let lock = match lock {
        Some(lock) => {
            // Before the options, which tell the next process that the end of the run is not new any more.
            dir.write_notices(&notices)?;
            dir.write_options(config.options())?;
            lock
        }
        None => {
            let lock = dir.create(config.options())?;
            dir.write_notices(&notices)?;
            lock
        }
    };
    training_set.keep_targets()?;
    if splits.draw.is_some() && config.fold.is_none() {
        dir.keep_dev(&dev)?;
    }
    let mut run = Run {
        records: dir.records()?,
        steps: dir.steps()?,
        dir,
        dev,
        set: &training_set,
        saved: state.as_ref().map_or((0, 0), |state| (state.step, state.records)),
        training,
        device,
        since: Clock::default(),
        began: Instant::now(),
        seconds_before: state.map_or(0.0, |state| state.seconds),
        notices,
        _lock: lock,
    };
    hooks.on_start(&plan(&run.training, &training_set), &run.records)?;
    run.notices
        .iter()
        .try_for_each(|notice| hooks.on_notice(notice))?;
    let end = run.fit(&mut hooks)?;
    let best = run.dir.best();
    let found = match config.evaluate_test && end != End::Interrupted {
        true => Some(run.test(&splits)?),
        false => None,
    };
    if config.reports && end != End::Interrupted {
        let notice = run.report(end, found.as_ref())?;
        notice.iter().try_for_each(|notice| hooks.on_notice(notice))?;
        run.notices.extend(notice);
    }
    Ok(TrainReport {
        records: run.records,
        steps: run.steps,
        best,
        end,
        test: found,
        notices: run.notices,
    })
}

/// An error unless the steps made are steps of this training set and no more than the configured ones.
fn check_state(
    state: &TrainingState,
    config: &TrainConfig,
    training_set: &TrainingSet,
    path: PathBuf,
) -> Result<(), TrainError> {
    if state.examples != training_set.hash() {
        return Err(TrainError::OtherExamples { path });
    }
    let steps = &training_set.steps;
    if state.step > steps.total {
        return Err(TrainError::FewerEpochs {
            dir: config.out.clone(),
            epochs: config.epochs,
            begun: state.step.div_ceil(steps.per_epoch),
        });
    }
    Ok(())
}

/// An error if evaluations are compared by an entity type that the dev split does not have.
fn check_select_by(select_by: &SelectBy, dev: &Corpus) -> Result<(), TrainError> {
    let types = entity_types([dev]);
    match select_by {
        SelectBy::Type(name) if !types.contains(name) => Err(TrainError::SelectByType {
            name: name.clone(),
            path: dev.path.clone(),
            types: types.into_iter().collect(),
        }),
        _ => Ok(()),
    }
}

/// A notice that a run which was to have `epochs`, and has made `done` steps, has another end now.
fn new_end(epochs: usize, config: &TrainConfig, set: &TrainingSet, done: usize) -> Option<Notice> {
    (epochs != config.epochs && done > 0).then(|| Notice::NewEnd {
        schedule: config.optimization.schedule.decay.kind(),
        epochs: [epochs, config.epochs],
        steps: [epochs, config.epochs].map(|epochs| set.steps.per_epoch.saturating_mul(epochs)),
        done,
    })
}

/// The hooks that every run of this configuration has.
fn own_hooks(config: &TrainConfig, dir: &RunDir) -> Vec<Box<dyn TrainingHook>> {
    let mut hooks: Vec<Box<dyn TrainingHook>> = vec![Box::new(JsonLinesLog::new(dir.clone()))];
    if let Some(patience) = config.patience {
        let select_by = config.select_by.clone();
        hooks.push(Box::new(EarlyStopping::new(patience, select_by)));
    }
    if config.reports {
        hooks.push(Box::new(TensorBoardLog::new(&config.out)));
    }
    hooks
}

fn plan(training: &Training<'_>, training_set: &TrainingSet) -> Plan {
    let network = training.tagger.network();
    let parameters = network.parameters();
    let trained = parameters.iter().filter(|(name, _)| !parameters.is_frozen(name));
    Plan {
        sentences: training_set.sentences,
        windows: training_set.examples.len(),
        labels: network.config().id2label.len(),
        parameters: trained.map(|(_, var)| var.elem_count()).sum(),
        steps: training_set.steps.total,
        done: training.optimizer.steps(),
        threads: training.config.threads,
        select_by: training.config.select_by.clone(),
    }
}

/// A training run with its files.
struct Run<'r> {
    dir: RunDir,
    dev: Corpus,
    set: &'r TrainingSet,
    training: Training<'r>,
    records: Vec<EvaluationRecord>,
    steps: Vec<StepRecord>,
    device: Device,
    since: Clock,
    began: Instant,
    // The seconds that earlier parts of the run have taken.
    seconds_before: f64,
    // The numbers of steps and of evaluations in the last checkpoint.
    saved: (usize, usize),
    notices: Vec<Notice>,
    _lock: RunLock,
}

/// The work of this process since the last evaluation.
#[derive(Default)]
struct Clock {
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
    fn fit(&mut self, hooks: &mut Hooks<'_, '_>) -> Result<End, TrainError> {
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
        let (record, predictions) = self.training.step(self.set, batches, &self.records)?;
        self.since.seconds += began.elapsed().as_secs_f64();
        self.since.tokens += batches.iter().flatten().map(|e| e.ids.len()).sum::<usize>();
        hooks.on_step(&StepEvent {
            record: &record,
            tokens_per_second: self.since.tokens_per_second(),
            batches: &predictions,
        })?;
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
        self.save()?;
        if let Some(record) = self.records.last() {
            hooks.on_evaluation(record, &timing)?;
        }
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
        let best = self.records.iter().rev().find(|record| record.best);
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
            examples: self.set.hash(),
            seconds: self.seconds(),
            averaged: average.map_or(0, AveragedWeights::count),
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
        let best = self.records.iter().rev().find(|record| record.best);
        self.dir.commit(self.saved.0, best)
    }

    /// The evaluation on the test split that the configuration asks for. It is made once.
    fn test(&self, splits: &Splits) -> Result<Tested, TrainError> {
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
    fn report(&self, end: End, test: Option<&Tested>) -> Result<Option<Notice>, TrainError> {
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
        let best = self.records.iter().rev().find(|record| record.best);
        best.map_or(0, |record| record.step)
    }
}

#[cfg(test)]
mod tests;
