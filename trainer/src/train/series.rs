//! Trains several runs of one configuration, and reports on them together.

use std::fs;
use std::path::Path;

use nerve_corpus::Corpus;
use serde::Serialize;

use crate::evaluate::answers::Answers;
use crate::evaluate::contradictions::{self, Contradiction, contradictions};
use crate::report::run::configuration::configuration_rows;
use crate::report::series::{SeriesKind, SeriesReport, SeriesRun};
use crate::train::config::TrainConfig;
use crate::train::corpora::corpora;
use crate::train::error::TrainError;
use crate::train::files::{failed, replace};
use crate::train::hook::TrainingHook;
use crate::train::options::TrainOptions;
use crate::train::record::{End, EvaluationRecord};
use crate::train::recorded::RecordedRun;
use crate::train::run::{Beginning, train};
use crate::train::run_dir::RunDir;
use crate::train::spread::Spread;
use crate::train::teacher::targets_file::share_targets;

/// The entity F1 of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RunF1 {
    /// On the dev split, at the best evaluation.
    pub(super) dev: f64,
    /// On the test split, if the configuration asks for it.
    pub(super) test: Option<f64>,
}

/// Trains the runs one after another; `None` if one was interrupted.
pub(super) fn train_each(
    configs: &[TrainConfig],
    beginning: Beginning,
    hooks: &mut [&mut dyn TrainingHook],
) -> Result<Option<Vec<RunF1>>, TrainError> {
    let mut found = Vec::with_capacity(configs.len());
    let mut previous: Option<&TrainConfig> = None;
    for config in configs {
        let started = RunDir::new(&config.out).holds_run();
        let beginning = if started { beginning } else { Beginning::New };
        if let (Some(previous), false) = (previous.replace(config), started) {
            share_targets(&previous.out, &config.out)?;
        }
        let report = train(config, beginning, hooks)?;
        if report.end == End::Interrupted {
            return Ok(None);
        }
        found.push(RunF1 {
            dev: report.best_record().map_or(0.0, |record| record.dev_entity.f1),
            test: report.test.as_ref().map(|test| test.evaluation.score.entity.f1),
        });
    }
    Ok(Some(found))
}

/// The spread of F1 on dev, and on test if every run was tested.
pub(super) fn spreads(runs: &[RunF1]) -> (Option<Spread>, Option<Spread>) {
    let dev: Vec<f64> = runs.iter().map(|run| run.dev).collect();
    let test: Option<Vec<f64>> = runs.iter().map(|run| run.test).collect();
    (Spread::of(&dev), test.and_then(|test| Spread::of(&test)))
}

/// Writes `report.html` and the file `name` with the figures of the runs to their common directory, unless they are there.
pub(super) fn write_reports(
    out: &Path,
    (name, figures): (&str, &impl Serialize),
    kind: SeriesKind,
    configs: &[TrainConfig],
    runs: &[RunF1],
) -> Result<(), TrainError> {
    let path = out.join(name);
    let text = serde_json::to_vec_pretty(figures).map_err(std::io::Error::from);
    let text = text.map_err(failed(&path))?;
    let reports = configs.iter().all(|config| config.reports);
    let has_page = out.join("report.html").is_file();
    if fs::read(&path).is_ok_and(|found| found == text) && (has_page || !reports) {
        return Ok(());
    }
    if reports {
        let report = SeriesReport {
            name: out
                .file_name()
                .unwrap_or(out.as_os_str())
                .to_string_lossy()
                .into_owned(),
            kind,
            runs: configs
                .iter()
                .zip(runs)
                .map(|(config, run)| series_run(config, run.test))
                .collect::<Result<_, _>>()?,
            contradictions: contradicted(kind, configs)?,
            configuration: configuration_rows(&common_options(configs)),
        };
        report.write(out)?;
    }
    // Written last: with it the page is complete.
    replace(&path, &text)
}

fn series_run(config: &TrainConfig, test_f1: Option<f64>) -> Result<SeriesRun, TrainError> {
    let run = RecordedRun::open(&config.out)?;
    let curve = |value: fn(&EvaluationRecord) -> Option<f64>| {
        let point = |record: &EvaluationRecord| Some((record.step as f64, value(record)?));
        run.records.iter().filter_map(point).collect()
    };
    let best = run.best();
    let types = best.iter().flat_map(|record| &record.dev_types);
    Ok(SeriesRun {
        name: config
            .out
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        dev: best.map(|record| record.dev_entity).unwrap_or_default(),
        type_f1: types
            .map(|(name, score)| (name.clone(), score.entity.f1))
            .collect(),
        test_f1,
        seconds: run.seconds(),
        f1_curve: curve(|record| Some(record.dev_entity.f1)),
        loss_curve: curve(|record| record.dev_loss),
    })
}

/// The gold labels that every model which was not trained on them contradicts.
fn contradicted(kind: SeriesKind, configs: &[TrainConfig]) -> Result<Vec<Contradiction>, TrainError> {
    let mut found = Vec::new();
    let answers = |config: &TrainConfig, corpus: &Corpus| -> Result<Answers, TrainError> {
        let mut tagger = RecordedRun::open(&config.out)?.best_tagger(config.threads)?;
        Ok(Answers::of(&mut tagger, corpus)?)
    };
    match kind {
        SeriesKind::Seeds => {
            let Some(first) = configs.first() else {
                return Ok(found);
            };
            let dev = corpora(first, &first.splits()?)?.1;
            let all = configs.iter().map(|config| answers(config, &dev));
            found = contradictions(&dev, &all.collect::<Result<Vec<_>, _>>()?);
        }
        SeriesKind::Folds => {
            for config in configs {
                let held_out = corpora(config, &config.splits()?)?.1;
                found.extend(contradictions(&held_out, &[answers(config, &held_out)?]));
            }
            contradictions::sort(&mut found);
        }
    }
    Ok(found)
}

/// The options that all runs have.
fn common_options(configs: &[TrainConfig]) -> TrainOptions {
    let options = configs.first().map(|config| config.options().clone());
    TrainOptions {
        out: None,
        seed: None,
        fold: None,
        ..options.unwrap_or_default()
    }
}
