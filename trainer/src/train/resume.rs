//! The configuration of a run that is resumed.

use std::fs;
use std::path::Path;

use crate::train::config::error::OptionError;
use crate::train::config::fold::fold_options;
use crate::train::config::{TrainConfig, seed_options};
use crate::train::error::TrainError;
use crate::train::options::TrainOptions;
use crate::train::run_dir::RunDir;

/// The configuration of the run in `options.out`: the options given, and for the others the values that it was started
/// with. An error names every option that was given another value and must not change.
pub fn resumed_config(options: TrainOptions) -> Result<TrainConfig, TrainError> {
    let out = options.out.clone().ok_or(OptionError::Missing("out"))?;
    let mut recorded = RunDir::new(&out).config()?.options().clone();
    if options.evaluate_test == Some(false) {
        // It has no effect then.
        recorded.test_checkpoint = None;
    }
    let completed = options.over(recorded.clone());
    check_options(&out, &recorded, &completed)?;
    Ok(TrainConfig::new(completed)?)
}

/// One configuration for each of the options' `seeds`, as [`resumed_config`] yields it. A seed that has not begun gets the
/// options of the first one that has.
pub fn resumed_seed_configs(options: &TrainOptions) -> Result<Vec<TrainConfig>, TrainError> {
    resumed_configs(seed_options(options)?)
}

/// One configuration for each of the options' `folds`, as [`resumed_config`] yields it. A fold that has not begun gets the
/// options of the first one that has.
pub fn resumed_fold_configs(options: &TrainOptions) -> Result<Vec<TrainConfig>, TrainError> {
    resumed_configs(fold_options(options)?)
}

fn resumed_configs(runs: Vec<TrainOptions>) -> Result<Vec<TrainConfig>, TrainError> {
    let has_begun = |of_run: &TrainOptions| {
        let out = of_run.out.as_deref();
        out.is_some_and(|out| RunDir::new(out).holds_run())
    };
    let Some(first) = runs.iter().find(|of_run| has_begun(of_run)) else {
        return Ok(runs.into_iter().map(TrainConfig::new).collect::<Result<_, _>>()?);
    };
    let first = resumed_config(first.clone())?;
    let config = |of_run: TrainOptions| match has_begun(&of_run) {
        true => resumed_config(of_run),
        false => Ok(TrainConfig::new(of_run.over(first.options().clone()))?),
    };
    runs.into_iter().map(config).collect()
}

/// An error unless a run that was started with `recorded` can be resumed with `options`. A path may be spelled in another
/// way.
pub(super) fn check_options(
    dir: &Path,
    recorded: &TrainOptions,
    options: &TrainOptions,
) -> Result<(), TrainError> {
    let (mut recorded, options) = (recorded.fixed(), options.fixed());
    respell(&mut recorded.data, &options.data);
    respell(&mut recorded.base, &options.base);
    respell(&mut recorded.vocab, &options.vocab);
    respell_each(&mut recorded.teacher, &options.teacher);
    respell_each(&mut recorded.unlabelled, &options.unlabelled);
    respell(&mut recorded.map_labels, &options.map_labels);
    let differences = recorded.differences(&options);
    match differences.is_empty() {
        true => Ok(()),
        false => Err(TrainError::OtherOptions {
            dir: dir.to_owned(),
            differences,
        }),
    }
}

/// Spells a path as `given` is spelled if both lead to the same file or directory.
fn respell<P: AsRef<Path> + Clone>(path: &mut Option<P>, given: &Option<P>) {
    let canonical = |path: &Option<P>| fs::canonicalize(path.as_ref()?).ok();
    if canonical(path).is_some_and(|found| canonical(given) == Some(found)) {
        path.clone_from(given);
    }
}

fn respell_each<P: AsRef<Path> + Clone>(paths: &mut Option<Vec<P>>, given: &Option<Vec<P>>) {
    for (path, given) in paths.iter_mut().flatten().zip(given.iter().flatten()) {
        let mut recorded = Some(path.clone());
        respell(&mut recorded, &Some(given.clone()));
        if let Some(recorded) = recorded {
            *path = recorded;
        }
    }
}
