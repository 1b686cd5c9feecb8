//! Trains the variants of a study one after another.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nerve_tagging::{LabelSet, SubwordLabels, WindowLimits};

use super::error::StudyError;
use super::file::{Start, Study, Variant};
use super::metric::PaddedMetric;
use super::outcome::{EpochRecord, Outcome, OutsideEverywhere, StudyOutcome, TestOutcome};
use super::padded::{evaluate_padded, outside_everywhere};
use super::positions::Positions;
use super::settings::StudySettings;
use super::weighted::MeanFigures;
use super::{report, tables};
use nerve_corpus::entity_types;
use nerve_trainer::evaluate::{CheckpointTagger, TaggerError};
use nerve_trainer::model::ModelDir;
use nerve_trainer::{
    BaseError, Beginning, End, EvaluationRecord, Example, Tested, Timing, TrainConfig, TrainError,
    TrainOptions, TrainingHook, base_dir, batches, examples, open_device, train,
};

/// Trains the variants that have no outcome yet and writes `report.html`, `study.csv` and `study.json`; `None` if it was
/// interrupted.
///
/// Each outcome is written to `OUT/outcomes/START/VARIANT.json`, and a variant that has one is not trained again. The report
/// contains every variant that has an outcome, also those that the settings exclude.
pub fn run_study(
    study: &Study,
    settings: &StudySettings,
    hooks: &mut [&mut dyn TrainingHook],
    mut announce: impl FnMut(&str),
) -> Result<Option<StudyOutcome>, StudyError> {
    let ids = || study.variants.iter().map(|variant| variant.id.as_str());
    if let Some(unknown) = settings.only.iter().find(|only| ids().all(|id| id != *only)) {
        return Err(StudyError::NoVariant {
            id: unknown.clone(),
            known: ids().collect::<Vec<_>>().join(", "),
        });
    }
    let names = || study.starts.iter().map(|start| start.name.as_str());
    if let Some(unknown) = settings
        .starts
        .iter()
        .find(|start| names().all(|name| name != *start))
    {
        return Err(StudyError::NoStart {
            name: unknown.clone(),
            known: names().collect::<Vec<_>>().join(", "),
        });
    }
    let dir = base_dir(&settings.base)?;
    let base = ModelDir::open(&dir).map_err(BaseError::from)?;
    let mut found = StudyOutcome {
        name: study.name.clone(),
        scale: settings.scale,
        outside: outside(study, settings, &base)?,
        outcomes: Vec::new(),
    };
    for start in &study.starts {
        for variant in &study.variants {
            let layers = base.config.num_hidden_layers;
            let Some(options) = options(study, settings, (&dir, layers), (start, variant))? else {
                continue;
            };
            let kept = settings
                .out
                .join("outcomes")
                .join(&start.name)
                .join(format!("{}.json", variant.id));
            let is_wanted = is_wanted(settings, start, variant);
            if is_wanted {
                announce(&format!("{} from {}", variant.name, start.name));
            }
            let run_dir = settings.out.join("runs").join(&start.name).join(&variant.id);
            let outcome = match Outcome::read(&kept)? {
                Some(outcome) => match outcome.first_difference(start, &options) {
                    None => outcome,
                    Some(option) => return Err(StudyError::OtherOptions { path: kept, option }),
                },
                None if !is_wanted => continue,
                None => match run(settings, variant, start, options, hooks)? {
                    Some(outcome) => {
                        write_json(&kept, &outcome)?;
                        outcome
                    }
                    None => return Ok(None),
                },
            };
            // After the outcome is on disk, and whenever there is one: a process that is killed at any moment loses nothing.
            remove_checkpoints(&run_dir)?;
            found.outcomes.push(outcome.portable());
        }
    }
    write_json(&settings.out.join("study.json"), &found)?;
    write(
        &settings.out.join("study.csv"),
        tables::csv(study, &found).as_bytes(),
    )?;
    write(
        &settings.out.join("report.html"),
        report::html(study, settings, &found).as_bytes(),
    )?;
    Ok(Some(found))
}

fn is_wanted(settings: &StudySettings, start: &Start, variant: &Variant) -> bool {
    let names = |wanted: &[String], name| wanted.is_empty() || wanted.contains(name);
    names(&settings.only, &variant.id) && names(&settings.starts, &start.name)
}

/// Removes the checkpoints of a run, if it has any.
fn remove_checkpoints(run: &Path) -> Result<(), StudyError> {
    let path = run.join("checkpoints");
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(StudyError::Write { path, source }),
        Ok(()) => Ok(()),
    }
}

/// All options of a variant from a start, with scaled sizes; `None` if it cannot be trained from it.
fn options(
    study: &Study,
    settings: &StudySettings,
    (base, base_layers): (&Path, usize),
    (start, variant): (&Start, &Variant),
) -> Result<Option<TrainOptions>, StudyError> {
    let Some(options) = study.options(variant, start) else {
        return Ok(None);
    };
    let options = TrainOptions {
        data: Some(settings.data.clone()),
        base: Some(base.to_string_lossy().into_owned()),
        wnut17_url: settings.wnut17_url.clone(),
        out: Some(settings.out.join("runs").join(&start.name).join(&variant.id)),
        threads: settings.threads,
        ..options
    };
    let scaled = settings.scale.apply(options, study.layers, base_layers);
    let config = TrainConfig::new(scaled).map_err(|source| StudyError::Config {
        variant: variant.id.clone(),
        start: start.name.clone(),
        source: Box::new(source),
    })?;
    Ok(Some(config.options().clone()))
}

/// Trains one variant; `None` if it was interrupted.
fn run(
    settings: &StudySettings,
    variant: &Variant,
    start: &Start,
    mut options: TrainOptions,
    hooks: &mut [&mut dyn TrainingHook],
) -> Result<Option<Outcome>, StudyError> {
    let failed = |source: TrainError| StudyError::Train {
        variant: variant.id.clone(),
        start: start.name.clone(),
        source: Box::new(source),
    };
    let mut beginning = Beginning::New;
    if let Some(out) = options
        .out
        .as_ref()
        .filter(|out| out.join("steps.jsonl").exists())
    {
        beginning = Beginning::Resumed;
        // The last bits of the results depend on the number of threads: unless it is given, the run keeps its own.
        if settings.threads.is_none() {
            let begun = TrainOptions::read(&out.join("config.toml"));
            options.threads = begun.map_err(|error| failed(error.into()))?.threads;
        }
    }
    let config = TrainConfig::new(options).map_err(|error| failed(error.into()))?;
    let mut metric = PaddedMetric::new(&config.out, start.train_on_padding);
    let mut all: Vec<&mut dyn TrainingHook> = vec![&mut metric];
    all.extend(hooks.iter_mut().map(|hook| &mut **hook as &mut dyn TrainingHook));
    let (records, test, stopped) = match train(&config, beginning, &mut all) {
        Ok(report) if report.end == End::Interrupted => return Ok(None),
        Ok(report) => (report.records, report.test, None),
        // A learning rate at which training diverges is a result of the study, not an error.
        Err(error @ TrainError::NotFinite { .. }) => (
            lines(&config.out.join("records.jsonl"))?,
            None,
            Some(without_paths(&error.to_string(), &settings.splits()?.train)),
        ),
        Err(error) => return Err(failed(error)),
    };
    let timings: Vec<Timing> = lines(&config.out.join("timings.jsonl"))?;
    let test = match test {
        Some(test) => Some(tested(settings, &config, &test)?),
        None => None,
    };
    Ok(Some(Outcome {
        start: start.name.clone(),
        variant: variant.id.clone(),
        train_on_padding: start.train_on_padding,
        options: config.options().clone(),
        records: with_metric(records, &metric),
        stopped,
        seconds: timings.iter().map(|timing| timing.seconds).sum(),
        test,
    }))
}

/// The records with the metric of the steps since the record before.
fn with_metric(records: Vec<EvaluationRecord>, metric: &PaddedMetric) -> Vec<EpochRecord> {
    let mut last = 0;
    let record = |evaluation: EvaluationRecord| {
        let first = std::mem::replace(&mut last, evaluation.step);
        EpochRecord {
            train_padded: metric.mean(first, evaluation.step),
            evaluation,
        }
    };
    records.into_iter().map(record).collect()
}

/// The text with the paths of files replaced by their names.
fn without_paths(text: &str, paths: &[PathBuf]) -> String {
    paths.iter().fold(text.to_owned(), |text, path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        text.replace(&path.display().to_string(), &name)
    })
}

/// The scores of the tested checkpoint, with the original study's metric.
fn tested(settings: &StudySettings, config: &TrainConfig, test: &Tested) -> Result<TestOutcome, StudyError> {
    let checkpoint = config.out.join(test.checkpoint.to_string());
    let device = open_device(config.device).map_err(TaggerError::from)?;
    let tagger = CheckpointTagger::open_on(&checkpoint, config.max_length, config.threads, device)?;
    let splits = settings.splits()?;
    let corpus = splits.read_test()?.ok_or_else(|| TrainError::NoTest {
        data: settings.data.clone(),
    })?;
    let padded = evaluate_padded(&tagger, &corpus)?;
    Ok(TestOutcome {
        checkpoint: test.checkpoint,
        step: test.step,
        entity: test.evaluation.score.entity,
        surface: test.evaluation.score.surface,
        padded: padded.tagger,
        outside: padded.outside,
    })
}

fn outside(
    study: &Study,
    settings: &StudySettings,
    base: &ModelDir,
) -> Result<OutsideEverywhere, StudyError> {
    let splits = settings.splits()?;
    let (corpus, dev) = splits.read_train_and_dev()?;
    let labels = LabelSet::iob2(entity_types([&corpus, &dev])).map_err(TrainError::from)?;
    let (before, after) = base.tokenizer.specials();
    let longest = study.common.max_length.unwrap_or(128);
    let limits = WindowLimits::for_encoder(longest, before + after).map_err(TaggerError::from)?;
    let examples = examples(&corpus, &base.tokenizer, &labels, limits, SubwordLabels::All)?;
    let positions = Positions::of(&examples, (before, after));
    let figures = |examples: &[&Example]| {
        let everywhere = outside_everywhere(examples, &positions, &labels);
        everywhere.weighted(labels.outside().0)
    };
    let batch_size = study.common.batch_size.unwrap_or(16).max(1);
    let mut mean = MeanFigures::default();
    for batch in batches(&examples, batch_size, false, study.common.seed.unwrap_or(42), 0) {
        mean.add(figures(&batch));
    }
    let pooled = figures(&examples.iter().collect::<Vec<_>>());
    let tags = || dev.sentences.iter().flat_map(|sentence| &sentence.tags);
    let right = tags().filter(|tag| tag.as_str() == "O").count();
    Ok(OutsideEverywhere {
        train_padded: pooled,
        train_padded_batches: mean.mean().unwrap_or(pooled),
        dev_token_accuracy: right as f64 / tags().count().max(1) as f64,
    })
}

fn lines<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Vec<T>, StudyError> {
    let text = fs::read(path).map_err(|source| StudyError::Read {
        path: path.to_owned(),
        source,
    })?;
    let records = serde_json::Deserializer::from_slice(&text).into_iter();
    records
        .collect::<Result<_, _>>()
        .map_err(|source| StudyError::Outcome {
            path: path.to_owned(),
            source,
        })
}

fn write_json(path: &Path, figures: &impl serde::Serialize) -> Result<(), StudyError> {
    let text = serde_json::to_vec_pretty(figures).map_err(|source| StudyError::Write {
        path: path.to_owned(),
        source: source.into(),
    })?;
    write(path, &text)
}

/// Writes a file under another name and renames it, so that a file that exists is complete.
fn write(path: &Path, content: &[u8]) -> Result<(), StudyError> {
    let failed = |source| StudyError::Write {
        path: path.to_owned(),
        source,
    };
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(failed)?;
    let made = path.with_extension("part");
    fs::write(&made, content).map_err(failed)?;
    fs::rename(&made, path).map_err(failed)
}
