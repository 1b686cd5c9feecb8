//! The comparison of runs on the same sentences.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nerve_corpus::{Corpus, ReadOptions};
use nerve_tagging::{Counts, Evaluation, Prf};

use crate::compare::bootstrap::Bootstrap;
use crate::compare::contender::{Model, models};
use crate::compare::error::CompareRunsError;
use crate::evaluate::answers::Answers;
use crate::report::comparison::{ComparedPair, ComparedRun, Comparison, Curves, Setting};
use crate::report::run::configuration::configuration_rows;
use crate::train::options::TrainOptions;
use crate::train::record::EvaluationRecord;
use crate::train::recorded::RecordedRun;
use crate::train::spread::Spread;

/// What the runs are compared on.
#[derive(Clone, Debug)]
pub struct CompareOptions<'o> {
    /// The sentences; those of the runs' own dev split if absent.
    pub data: Option<(&'o Path, &'o ReadOptions)>,
    /// How differences are resampled.
    pub bootstrap: Bootstrap,
    /// Threads.
    pub threads: usize,
}

/// Evaluates the best checkpoints of the runs on the same sentences, and compares each run with the first one.
pub fn compare(paths: &[PathBuf], options: &CompareOptions<'_>) -> Result<Comparison, CompareRunsError> {
    let contenders: Vec<Vec<Model>> = paths.iter().map(|path| models(path)).collect::<Result<_, _>>()?;
    let corpus = match options.data {
        Some((path, read)) => Corpus::read_with(path, read)?,
        None => common_dev(&contenders)?,
    };
    let mut runs = Vec::new();
    let mut counts: Vec<Vec<Vec<Counts>>> = Vec::new();
    for (path, models) in paths.iter().zip(&contenders) {
        let mut evaluations = Vec::new();
        let mut of_models = Vec::new();
        for model in models {
            let answers = Answers::of(&mut *model.tagger(options.threads)?, &corpus)?;
            evaluations.push(answers.evaluation(&corpus));
            of_models.push(answers.counts(&corpus));
        }
        counts.push(of_models);
        runs.push(compared_run(path, models, &evaluations));
    }
    let pairs = (1..runs.len()).map(|other| ComparedPair {
        one: 0,
        other,
        difference: options.bootstrap.difference(&counts[0], &counts[other]),
    });
    Ok(Comparison {
        warnings: options.data.map_or_else(Vec::new, |_| corpus.warnings()),
        split: corpus.split_name(),
        path: corpus.path.clone(),
        sentences: corpus.sentences.len(),
        bootstrap: options.bootstrap,
        pairs: pairs.collect(),
        settings: settings(&contenders),
        runs,
    })
}

/// The dev sentences of all runs; an error if they differ.
fn common_dev(contenders: &[Vec<Model>]) -> Result<Corpus, CompareRunsError> {
    let mut first: Option<(&Model, Corpus)> = None;
    for model in contenders.iter().flatten() {
        let dev = model.dev()?;
        match &first {
            None => first = Some((model, dev)),
            Some((_, common)) if common.sentences == dev.sentences => {}
            Some((one, _)) => {
                return Err(CompareRunsError::OtherDev {
                    one: one.dir().to_owned(),
                    other: model.dir().to_owned(),
                });
            }
        }
    }
    let common = first.map(|(_, corpus)| corpus);
    common.ok_or_else(|| CompareRunsError::NoRun { path: PathBuf::new() })
}

/// The mean scores of the models of a run.
fn compared_run(path: &Path, models: &[Model], evaluations: &[Evaluation]) -> ComparedRun {
    let spread = |part: fn(&Prf) -> f64| {
        let values: Vec<f64> = evaluations.iter().map(|of| part(&of.score.entity)).collect();
        Spread::of(&values)
    };
    let mean = |part| spread(part).map_or(f64::NAN, |spread| spread.mean);
    let names: BTreeSet<&String> = evaluations.iter().flat_map(|of| of.score.types.keys()).collect();
    let mean_of_type = |name: &String| {
        let f1 = evaluations
            .iter()
            .filter_map(|of| Some(of.score.types.get(name)?.entity.f1));
        Spread::of(&f1.collect::<Vec<f64>>()).map_or(f64::NAN, |spread| spread.mean)
    };
    let types: BTreeMap<String, f64> = names
        .into_iter()
        .map(|name| (name.clone(), mean_of_type(name)))
        .collect();
    let runs = || models.iter().filter_map(Model::run);
    let curves = |value: fn(&EvaluationRecord) -> Option<f64>| -> Vec<Vec<(f64, f64)>> {
        let point = |record: &EvaluationRecord| Some((record.step as f64, value(record)?));
        runs()
            .map(|run| run.records.iter().filter_map(point).collect())
            .collect()
    };
    ComparedRun {
        name: path.display().to_string(),
        models: models.len(),
        entity: Prf {
            precision: mean(|prf| prf.precision),
            recall: mean(|prf| prf.recall),
            f1: mean(|prf| prf.f1),
        },
        deviation: spread(|prf| prf.f1).and_then(|spread| spread.deviation),
        types,
        seconds: runs()
            .map(RecordedRun::seconds)
            .fold(0.0, |sum, seconds| sum + seconds),
        curves: Curves {
            loss: curves(|record| Some(record.loss)),
            dev_loss: curves(|record| record.dev_loss),
            dev_f1: curves(|record| Some(record.dev_entity.f1)),
        },
    }
}

/// The options in which the runs differ, with the value of each; the directory is left out.
fn settings(contenders: &[Vec<Model>]) -> Vec<Setting> {
    let of_contender = |models: &Vec<Model>| -> BTreeMap<String, String> {
        let runs: Vec<_> = models.iter().filter_map(Model::run).collect();
        let Some(first) = runs.first() else {
            return BTreeMap::new();
        };
        let options = TrainOptions {
            out: None,
            seed: None,
            fold: None,
            ..first.config.options().clone()
        };
        let mut rows: BTreeMap<String, String> = configuration_rows(&options).into_iter().collect();
        let seeds: Vec<String> = runs.iter().map(|run| run.config.seed.to_string()).collect();
        rows.insert("seed".to_owned(), seeds.join(", "));
        rows
    };
    let all: Vec<BTreeMap<String, String>> = contenders.iter().map(of_contender).collect();
    let options: BTreeSet<&String> = all.iter().flat_map(BTreeMap::keys).collect();
    let setting = |option: &String| Setting {
        option: option.clone(),
        values: all.iter().map(|of| of.get(option).cloned()).collect(),
    };
    let differ = |setting: &Setting| setting.values.windows(2).any(|pair| pair[0] != pair[1]);
    options.into_iter().map(setting).filter(differ).collect()
}
