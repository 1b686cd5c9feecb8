//! Trains the runs of a sweep one after another.

use std::fs;
use std::path::{Path, PathBuf};

use crate::report::sweep;
use crate::train::config::TrainConfig;
use crate::train::error::TrainError;
use crate::train::files::failed;
use crate::train::hook::TrainingHook;
use crate::train::lock::RunLock;
use crate::train::options::TrainOptions;
use crate::train::record::End;
use crate::train::recorded::RecordedRun;
use crate::train::resume::resumed_config;
use crate::train::run::{Beginning, train};
use crate::train::sweep::command_line::command_line;
use crate::train::sweep::error::SweepError;
use crate::train::sweep::file::{Combination, Sweep};
use crate::train::sweep::outcome::{CombinationOutcome, RunOutcome, SweepReport};
use crate::train::sweep::storage::{
    deciding_options, keep_file, read_outcome, remove_checkpoints, write_json, write_outcome,
};
use crate::train::teacher::targets_file::share_targets;

/// Trains the runs of a sweep that are not finished, each in its own directory below `out`, and writes `sweep.json` and
/// `sweep.html` after each combination; `None` if it was interrupted.
///
/// A run that was stopped in any way continues where it was, to the last bit. A run whose options make it fail, such as a
/// learning rate at which the loss becomes infinite, is recorded as failed; any other error ends the sweep. `announce` is told of
/// each run before it is trained.
pub fn run_sweep(
    sweep: &Sweep,
    out: &Path,
    hooks: &mut [&mut dyn TrainingHook],
    mut announce: impl FnMut(&str),
) -> Result<Option<SweepReport>, SweepError> {
    fs::create_dir_all(out).map_err(failed(out))?;
    let _lock = RunLock::acquire(out)?;
    if RecordedRun::is_in(out) {
        return Err(TrainError::HoldsRun { dir: out.to_owned() }.into());
    }
    keep_file(sweep, out)?;
    let count = sweep.combinations.len();
    let mut outcomes = Vec::with_capacity(count);
    let mut report = SweepReport::new(sweep.tried.clone(), count, Vec::new());
    let mut previous: Option<PathBuf> = None;
    for (at, combination) in sweep.combinations.iter().enumerate() {
        let dir = out.join(&combination.name);
        let mut runs = Vec::new();
        let of_combination = combination.runs(&dir).map_err(TrainError::from)?;
        for options in of_combination {
            let path = options.out.clone().unwrap_or_else(|| dir.clone());
            let name = path.strip_prefix(out).unwrap_or(&path).display().to_string();
            let outcome = match read_outcome(&path, &options) {
                Some(outcome) => outcome,
                None => {
                    announce(&format!("combination {} of {count}: {name}", at + 1));
                    if let (Some(previous), false) = (&previous, RecordedRun::is_in(&path)) {
                        share_targets(previous, &path)?;
                    }
                    match train_one(&name, &path, options, hooks)? {
                        Some(outcome) => outcome,
                        None => return Ok(None),
                    }
                }
            };
            // After the outcome is on disk: a process that is killed at any moment loses nothing.
            remove_checkpoints(&path, sweep.checkpoints)?;
            runs.push(outcome);
            previous = Some(path);
        }
        outcomes.push(outcome_of(combination, runs));
        report = SweepReport::new(sweep.tried.clone(), count, outcomes.clone());
        write_json(&out.join("sweep.json"), &report)?;
        sweep::write(out, &report)?;
    }
    Ok(Some(report))
}

fn outcome_of(combination: &Combination, runs: Vec<RunOutcome>) -> CombinationOutcome {
    let command = command_line(&TrainOptions {
        out: Some("RUN".into()),
        ..combination.options.clone()
    });
    CombinationOutcome::new(
        combination.name.clone(),
        combination.values.clone(),
        command,
        runs,
    )
}

/// Trains a run and writes its outcome; `None` if it was interrupted.
fn train_one(
    name: &str,
    dir: &Path,
    options: TrainOptions,
    hooks: &mut [&mut dyn TrainingHook],
) -> Result<Option<RunOutcome>, SweepError> {
    let stopped = |source: TrainError| SweepError::Run {
        run: name.to_owned(),
        source: Box::new(source),
    };
    let recorded = deciding_options(&options);
    let trained = match RecordedRun::is_in(dir) {
        true => resumed_config(options).and_then(|config| train(&config, Beginning::Resumed, hooks)),
        false => TrainConfig::new(options)
            .map_err(TrainError::from)
            .and_then(|config| train(&config, Beginning::New, hooks)),
    };
    let mut outcome = RunOutcome {
        options: recorded,
        run: name.to_owned(),
        dev: None,
        type_f1: Default::default(),
        seconds: 0.0,
        failed: None,
    };
    match trained {
        Ok(report) if report.end == End::Interrupted => return Ok(None),
        Ok(_) => {
            let run = RecordedRun::open(dir).map_err(stopped)?;
            if let Some(best) = run.best() {
                outcome.dev = Some(best.dev_entity);
                let types = best.dev_types.iter();
                outcome.type_f1 = types
                    .map(|(name, score)| (name.clone(), score.entity.f1))
                    .collect();
            }
            outcome.seconds = run.seconds();
        }
        Err(error) if error.is_of_options() => {
            outcome.failed = Some(error.to_string());
            if RecordedRun::is_in(dir) {
                outcome.seconds = RecordedRun::open(dir).map_err(stopped)?.seconds();
            }
            fs::create_dir_all(dir).map_err(failed(dir))?;
        }
        Err(error) => return Err(stopped(error)),
    }
    write_outcome(dir, &outcome)?;
    Ok(Some(outcome))
}
