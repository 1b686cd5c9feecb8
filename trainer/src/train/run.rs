//! A training run from corpus to checkpoints.

use std::time::Instant;

use crate::base::open::open_base;
use crate::evaluate::Tagger;
use crate::model::checkpoint::ModelDir;
use crate::train::config::TrainConfig;
use crate::train::corpora::corpora;
use crate::train::device::open_device;
use crate::train::early_stopping::EarlyStopping;
use crate::train::error::TrainError;
use crate::train::fitting::{Clock, Run};
use crate::train::hook::{Hooks, Plan, TrainingHook};
use crate::train::log::JsonLinesLog;
use crate::train::notice::Notice;
use crate::train::record::{End, TrainReport};
use crate::train::resume::check_options;
use crate::train::run_dir::RunDir;
use crate::train::select_by::SelectBy;
use crate::train::state::TrainingState;
use crate::train::teacher::distill::distill;
use crate::train::tensorboard::TensorBoardLog;
use crate::train::training::{Training, labels, notices};
use crate::train::training_set::{TrainingSet, trained_sentences};
use nerve_corpus::{Corpus, entity_types};

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
/// that was not stopped, with the same number of threads on the same kind of machine. A run that ended at `max_time` and is
/// resumed with a longer one keeps the evaluation made there, which counts for early stopping, for the schedule `plateau` and
/// for the best checkpoint.
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
        true => ModelDir::open(&dir.last())?.with_trained_outside_bias(&dir.last())?,
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
    let examples = training_set.hash();
    if let Some(state) = &state {
        check_state(state, config, &training_set, &examples)?;
        let average = training.average.as_mut();
        state.restore(&dir.last(), &mut training.optimizer, average)?;
        if let Some(loss_scale) = state.loss_scale {
            training.restore_loss_scale(loss_scale);
        }
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
        examples,
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

/// An error unless the steps made are steps of this training set, whose hash is `examples`, and no more than the configured ones.
fn check_state(
    state: &TrainingState,
    config: &TrainConfig,
    training_set: &TrainingSet,
    examples: &str,
) -> Result<(), TrainError> {
    if state.examples != examples {
        return Err(TrainError::OtherExamples {
            path: training_set.path().to_owned(),
        });
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
    Plan {
        sentences: training_set.sentences,
        windows: training_set.examples.len(),
        labels: network.config().id2label.len(),
        parameters: parameters.trained().map(|(_, var)| var.elem_count()).sum(),
        steps: training_set.steps.total,
        done: training.optimizer.steps(),
        threads: training.config.threads,
        select_by: training.config.select_by.clone(),
    }
}

#[cfg(test)]
mod tests;
