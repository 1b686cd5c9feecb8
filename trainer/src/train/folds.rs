//! Cross-validation: trains one configuration once for each fold of the train split (Stone 1974; Kohavi 1995).

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::report::series::SeriesKind;
use crate::train::config::TrainConfig;
use crate::train::config::error::OptionError;
use crate::train::error::TrainError;
use crate::train::files::failed;
use crate::train::hook::TrainingHook;
use crate::train::lock::RunLock;
use crate::train::run::Beginning;
use crate::train::series::{spreads, train_each, write_reports};
use crate::train::spread::Spread;

/// The entity F1 of the training that held out one fold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FoldResult {
    /// The fold, counted from 1.
    pub fold: usize,
    /// Entity F1 on the fold at the best evaluation.
    pub dev_f1: f64,
    /// Entity F1 on the test split, if the configuration asks for it.
    pub test_f1: Option<f64>,
}

/// The results of all folds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FoldsReport {
    /// The result of each fold.
    pub folds: Vec<FoldResult>,
    /// Entity F1 on the folds.
    pub dev_f1: Spread,
    /// Entity F1 on the test split, if the configuration asks for it.
    pub test_f1: Option<Spread>,
}

/// Trains every configuration, each of which holds out a fold, and writes `folds.json` and `report.html` to `out`; `None` if a
/// training was interrupted.
///
/// An error if there is no configuration. `out` is locked until all are trained. On resume, a fold that is finished is not
/// trained, tested or reported again, and a fold that has not started is started.
pub fn train_folds(
    configs: &[TrainConfig],
    out: &Path,
    beginning: Beginning,
    hooks: &mut [&mut dyn TrainingHook],
) -> Result<Option<FoldsReport>, TrainError> {
    fs::create_dir_all(out).map_err(failed(out))?;
    let _lock = RunLock::acquire(out)?;
    let Some(runs) = train_each(configs, beginning, hooks)? else {
        return Ok(None);
    };
    let results = configs.iter().zip(&runs).map(|(config, run)| FoldResult {
        fold: config.fold.map_or(0, |fold| fold.number),
        dev_f1: run.dev,
        test_f1: run.test,
    });
    let (dev, test) = spreads(&runs);
    let report = FoldsReport {
        folds: results.collect(),
        dev_f1: dev.ok_or(OptionError::Missing("folds"))?,
        test_f1: test,
    };
    write_reports(out, ("folds.json", &report), SeriesKind::Folds, configs, &runs)?;
    Ok(Some(report))
}
