//! A training run from corpus to checkpoints.

use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::Device;

use crate::base::open::open_base;
use crate::evaluate::checkpoint::CheckpointTagger;
use crate::evaluate::evaluate;
use crate::evaluate::evaluation::evaluate_with_loss;
use crate::model::checkpoint::{ModelDir, write_checkpoint};
use crate::train::config::TrainConfig;
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
use crate::train::state::TrainingState;
use crate::train::tensorboard::TensorBoardLog;
use crate::train::training::{Training, labels, notices};
use crate::train::training_set::TrainingSet;
use nerve_corpus::{Corpus, Splits};

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
    let (corpus, dev) = splits.read_train_and_dev()?;
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
    let state = match beginning {
        Beginning::New => None,
        Beginning::Resumed => {
            let recorded = dir.config()?.with_learning_rate(base.config.hidden_size);
            check_options(&config.out, recorded.options(), config.options())?;
            dir.resume()?
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
    let training_set = TrainingSet::new(config, corpus, &tagger, &mut hooks)?;
    let notices = match &state {
        Some(_) => dir.notices(),
        None => {
            let drawn = splits.draw.map(|draw| Notice::DrawnDev {
                dev: dev.sentences.len(),
                train: training_set.corpus().sentences.len(),
                seed: draw.seed,
                path: dir.dev(),
            });
            let mut notices = notices(given, head.as_ref(), &tagger, &training_set, &dev)?;
            notices.extend(drawn);
            notices
        }
    };
    let mut training = Training::new(config, tagger, &training_set)?;
    if let Some(state) = &state {
        check_state(state, config, &training_set, training_set.path().to_owned())?;
        state.restore(&dir.last(), &mut training.optimizer)?;
    }
    let lock = match lock {
        Some(lock) => {
            dir.write_options(config.options())?;
            lock
        }
        None => dir.create(config.options())?,
    };
    if splits.draw.is_some() {
        dir.keep_dev(&dev)?;
    }
    if state.is_none() {
        dir.write_notices(&notices)?;
    }
    let mut run = Run {
        records: dir.records()?,
        steps: dir.steps()?,
        dir,
        dev,
        set: &training_set,
        saved: training.optimizer.steps(),
        training,
        device,
        since: Clock::default(),
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

/// The hooks that every run of this configuration has.
fn own_hooks(config: &TrainConfig, dir: &RunDir) -> Vec<Box<dyn TrainingHook>> {
    let mut hooks: Vec<Box<dyn TrainingHook>> = vec![Box::new(JsonLinesLog::new(dir.clone()))];
    if let Some(patience) = config.patience {
        hooks.push(Box::new(EarlyStopping::new(patience)));
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
    // The step of the last checkpoint.
    saved: usize,
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
        if let Some(end) = hooks.stop().filter(|_| done < set.steps.total) {
            if let (End::OutOfPatience, Some(patience)) = (end, config.patience) {
                let notice = Notice::OutOfPatience { patience };
                hooks.on_notice(&notice)?;
                self.notices.push(notice);
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

    /// Evaluates the dev split and makes a checkpoint.
    fn evaluate(&mut self, hooks: &mut Hooks<'_, '_>) -> Result<(), TrainError> {
        let since = std::mem::take(&mut self.since);
        let (record, timing) = self.evaluated(&since)?;
        self.records.push(record);
        self.save()?;
        hooks.on_evaluation(&record, &timing)?;
        self.commit()
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
            best: false,
        };
        record.best = best.is_none_or(|best| record.is_better_than(best));
        let timing = Timing {
            step,
            seconds: clock.seconds,
            tokens_per_second: clock.tokens_per_second(),
        };
        Ok((record, timing))
    }

    /// Writes the checkpoint of the steps made, with the state that a resumed run needs, unless it is there.
    fn save(&mut self) -> Result<(), TrainError> {
        let step = self.training.optimizer.steps();
        if self.saved == step {
            return Ok(());
        }
        let path = self.dir.checkpoint(step);
        let tagger = &self.training.tagger;
        let max_length = self.training.config.max_length;
        write_checkpoint(&path, tagger.network(), tagger.tokenizer(), max_length)?;
        let state = TrainingState {
            step,
            records: self.records.len(),
            examples: self.set.hash(),
        };
        state.write(&path, &self.training.optimizer)?;
        self.saved = step;
        Ok(())
    }

    /// Makes the last checkpoint the one that a resumed run continues from.
    fn commit(&self) -> Result<(), TrainError> {
        let best = self.records.iter().rev().find(|record| record.best);
        self.dir.commit(self.saved, best.map(|record| record.step))
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
