//! A training from corpus to checkpoints.

use std::path::Path;
use std::time::Instant;

use candle_core::Device;

use super::config::TrainConfig;
use super::error::TrainError;
use super::finish::Finished;
use super::order;
use super::progress::{Plan, Progress};
use super::record::{End, EvaluationRecord, StepRecord, Tested, TestedCheckpoint, Timing, TrainReport};
use super::run_dir::{Reported, RunDir};
use super::schedule::is_exhausted;
use super::state::TrainingState;
use super::training::{Fitted, Training, labels};
use crate::base::open_base;
use crate::corpus::{Corpus, Splits};
use crate::evaluate::{CheckpointTagger, evaluate, evaluate_with_loss};
use crate::model::{ModelDir, write_checkpoint};

/// Where a training begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// At its first step, in a directory that holds no run.
    New,
    /// Where the run in its directory was stopped, by whatever; at its first step where that was before any checkpoint.
    Resumed,
}

/// Fine-tunes as configured and writes the run: `config.toml`, `steps.jsonl`, `records.jsonl`, `timings.jsonl`, the
/// checkpoints `last/` and `best/`, perhaps `test.json`, and what a person looks at: `report.html`, `tensorboard/`.
///
/// A training that was stopped at any moment and is resumed leaves the same steps, records and weights, to the last bit,
/// as one that was not, on as many threads of one kind of machine.
pub fn train(
    config: &TrainConfig,
    beginning: Beginning,
    progress: &mut dyn Progress,
) -> Result<TrainReport, TrainError> {
    let splits = Splits::find(&config.data, &config.wnut17_url)?;
    let test = splits.test.as_ref().filter(|_| config.evaluate_test);
    if config.evaluate_test && test.is_none() {
        return Err(TrainError::NoTest {
            data: config.data.clone(),
        });
    }
    let (corpus, dev) = (splits.read_train()?, splits.read_dev()?);
    let dir = RunDir::new(&config.out);
    let state = match beginning {
        Beginning::New => None,
        Beginning::Resumed => dir.resume(config.options())?,
    };
    let base = match &state {
        Some(_) => ModelDir::open(&dir.last())?,
        None => open_base(&config.start, config.max_length)?,
    };
    let device = config.device.open().map_err(|source| TrainError::Device {
        device: config.device,
        source,
    })?;
    let base = base.on(device.clone());
    let labels = labels(&base, [&corpus, &dev])?;
    let tagger = Training::tagger(config, base, labels)?;
    let fitted = Fitted::new(config, corpus, &tagger)?;
    let mut training = Training::new(config, tagger, &fitted)?;
    if let Some(state) = &state {
        if state.examples != fitted.hash() {
            return Err(TrainError::OtherExamples { path: splits.train });
        }
        state.restore(&dir.last(), &mut training.optimiser)?;
        training.padded = state.padded;
    } else if beginning == Beginning::New {
        dir.create(config.options())?;
    }
    progress.begin(&plan(&training, &fitted));
    let mut run = Run {
        records: dir.records()?,
        steps: dir.steps()?,
        dir,
        dev,
        fitted,
        training,
        device,
        since: Clock::default(),
    };
    let end = run.fit(progress)?;
    let best = run.dir.best();
    let found = match test {
        Some(path) if end != End::Interrupted => Some(run.test(path)?),
        _ => None,
    };
    if config.reports && end != End::Interrupted {
        run.report(end, found.as_ref())?;
    }
    Ok(TrainReport {
        records: run.records,
        steps: run.steps,
        best,
        end,
        test: found,
    })
}

fn plan(training: &Training<'_>, fitted: &Fitted) -> Plan {
    let network = training.tagger.network();
    let parameters = network.parameters();
    let trained = parameters.iter().filter(|(name, _)| !parameters.is_frozen(name));
    Plan {
        sentences: fitted.sentences,
        windows: fitted.examples.len(),
        labels: network.config().id2label.len(),
        parameters: trained.map(|(_, var)| var.elem_count()).sum(),
        steps: fitted.steps.total,
        done: training.optimiser.steps(),
        threads: training.config.threads,
    }
}

/// A training with its files.
struct Run<'c> {
    dir: RunDir,
    dev: Corpus,
    fitted: Fitted,
    training: Training<'c>,
    records: Vec<EvaluationRecord>,
    steps: Vec<StepRecord>,
    device: Device,
    since: Clock,
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
    /// Makes the steps that are left.
    fn fit(&mut self, progress: &mut dyn Progress) -> Result<End, TrainError> {
        let config = self.training.config;
        loop {
            let done = self.training.optimiser.steps();
            // Before patience: one that runs out with the last step has ended nothing early.
            if done >= self.fitted.steps.total {
                return Ok(End::Finished);
            }
            if self.is_out_of_patience() {
                return Ok(End::OutOfPatience);
            }
            let per_epoch = self.fitted.steps.per_epoch;
            let (epoch, of_epoch) = (done / per_epoch, done % per_epoch);
            let batches = order::batches(
                &self.fitted.examples,
                config.batch_size,
                config.group_by_length,
                config.seed,
                epoch,
            );
            for batches in batches.chunks(config.accumulate).skip(of_epoch) {
                let began = Instant::now();
                let scores: Vec<f64> = self.records.iter().map(|record| record.dev_entity.f1).collect();
                let record = self.training.step(&self.fitted, batches, &scores)?;
                self.since.seconds += began.elapsed().as_secs_f64();
                self.since.tokens += batches.iter().flatten().map(|e| e.ids.len()).sum::<usize>();
                self.dir.add_step(&record)?;
                progress.step(record.loss, self.since.tokens_per_second());
                let step = record.step;
                let evaluates = self.evaluates_after(step);
                self.steps.push(record);
                if evaluates {
                    let (record, timing) = evaluated(
                        &mut self.training,
                        &self.fitted,
                        &self.dev,
                        &self.records,
                        &self.steps,
                        &std::mem::take(&mut self.since),
                    )?;
                    self.records.push(record);
                    let (dir, training) = (&self.dir, &self.training);
                    save(dir, training, &self.fitted, self.records.len())?;
                    dir.add_record(&record, &timing)?;
                    self.commit(step)?;
                    progress.evaluation(&record, &timing);
                    if self.is_out_of_patience() {
                        break;
                    }
                }
                if progress.is_interrupted() {
                    if !evaluates {
                        save(&self.dir, &self.training, &self.fitted, self.records.len())?;
                        self.commit(step)?;
                    }
                    return Ok(End::Interrupted);
                }
            }
        }
    }

    fn evaluates_after(&self, step: usize) -> bool {
        let every = self.training.config.evaluate_every;
        step.is_multiple_of(every.unwrap_or(self.fitted.steps.per_epoch)) || step == self.fitted.steps.total
    }

    fn is_out_of_patience(&self) -> bool {
        let scores: Vec<f64> = self.records.iter().map(|record| record.dev_entity.f1).collect();
        let patience = self.training.config.patience;
        patience.is_some_and(|patience| is_exhausted(&scores, patience))
    }

    /// Makes the checkpoint of a step the one that a resumed training goes on from.
    fn commit(&self, step: usize) -> Result<(), TrainError> {
        let best = self.records.iter().rev().find(|record| record.best);
        self.dir.commit(step, best.map(|record| record.step))
    }

    /// The evaluation on test that the configuration asks for; made once.
    fn test(&self, path: &Path) -> Result<Tested, TrainError> {
        let checkpoint = self.training.config.test_checkpoint;
        let (dir, step) = match checkpoint {
            TestedCheckpoint::Best => (self.dir.best(), self.best_step()),
            TestedCheckpoint::Last => (self.dir.last(), self.training.optimiser.steps()),
        };
        if let Some(found) = self.dir.tested(checkpoint, step) {
            return Ok(found);
        }
        let evaluation = evaluate(&mut self.open(&dir)?, &Corpus::read(path)?)?;
        let found = Tested {
            checkpoint,
            step,
            evaluation,
        };
        self.dir.write_tested(&found)?;
        Ok(found)
    }

    /// Writes what a person looks at; made once.
    fn report(&self, end: End, test: Option<&Tested>) -> Result<(), TrainError> {
        let reported = Reported {
            steps: self.steps.len(),
            best: self.best_step(),
            tested: test.map(|test| test.step),
        };
        if self.dir.has_reported(&reported) {
            return Ok(());
        }
        let best = self.dir.best();
        let finished = Finished {
            steps: &self.steps,
            per_epoch: self.fitted.steps.per_epoch,
            records: &self.records,
            timings: &self.dir.timings()?,
            end,
            test,
        };
        finished.write(self.training.config, &best, self.open(&best)?, &self.dev)?;
        self.dir.write_reported(&reported)
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

/// The record of the steps since the evaluation before, with the score on dev.
fn evaluated(
    training: &mut Training<'_>,
    fitted: &Fitted,
    dev: &Corpus,
    records: &[EvaluationRecord],
    steps: &[StepRecord],
    clock: &Clock,
) -> Result<(EvaluationRecord, Timing), TrainError> {
    let (found, dev_loss) = evaluate_with_loss(&mut training.tagger, dev)?;
    let before = records.last().map_or(0, |record| record.step);
    let since = &steps[before.min(steps.len())..];
    let step = training.optimiser.steps();
    let f1 = found.score.entity.f1;
    let record = EvaluationRecord {
        epoch: step.div_ceil(fitted.steps.per_epoch),
        step,
        loss: since.iter().map(|step| step.loss).sum::<f64>() / since.len().max(1) as f64,
        learning_rate: since.last().map_or(0.0, |step| step.learning_rate),
        dev_entity: found.score.entity,
        dev_surface_f1: found.score.surface.f1,
        dev_token_accuracy: found.score.token_accuracy,
        dev_loss,
        train_padded: std::mem::take(&mut training.padded).mean(),
        best: records.iter().all(|record| record.dev_entity.f1 < f1),
    };
    let timing = Timing {
        step,
        seconds: clock.seconds,
        tokens_per_second: clock.tokens_per_second(),
    };
    Ok((record, timing))
}

/// Writes the checkpoint of the steps made, with what a training needs to go on from it.
fn save(dir: &RunDir, training: &Training<'_>, fitted: &Fitted, records: usize) -> Result<(), TrainError> {
    let step = training.optimiser.steps();
    let path = dir.checkpoint(step);
    write_checkpoint(&path, training.tagger.network(), training.tagger.encoder())?;
    let state = TrainingState {
        step,
        records,
        examples: fitted.hash(),
        padded: training.padded,
    };
    state.write(&path, &training.optimiser)
}

#[cfg(test)]
mod tests;
