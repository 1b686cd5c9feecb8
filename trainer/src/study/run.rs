//! Every variant of a study, one after another.

use std::fs;
use std::path::{Path, PathBuf};

use nerve_tagging::{LabelSet, SubwordLabels, WindowLimits};

use super::error::StudyError;
use super::file::{Start, Study, Variant};
use super::outcome::{Outcome, OutsideEverywhere, StudyOutcome, TestOutcome};
use super::scale::Scale;
use super::{report, tables};
use crate::base::open_base;
use crate::corpus::{Corpus, Splits, WNUT17_URL, entity_types};
use crate::evaluate::{
    CheckpointTagger, Evaluation, Positions, TaggerError, TokenConfusion, evaluate_padded,
};
use crate::model::ModelDir;
use crate::train::{
    Beginning, End, Example, Progress, Timing, TrainConfig, TrainError, TrainOptions, examples, train,
};

/// What a study needs to know beside its file.
#[derive(Clone, Debug)]
pub struct StudySettings {
    /// A directory with the splits, or `wnut17`.
    pub data: String,
    /// Where everything is written.
    pub out: PathBuf,
    /// The pre-trained model, whose tokenizer fresh ones use too.
    pub base: String,
    /// What widths and depths are multiplied by.
    pub scale: Scale,
    /// Threads; as many as the machine offers where absent.
    pub threads: Option<usize>,
    /// Variants to run, by id; all where empty.
    pub only: Vec<String>,
}

/// Runs what is left of a study and writes `report.html`, `study.csv` and `study.json`; `None` where it was interrupted.
///
/// Each outcome is kept in `OUT/outcomes/START/VARIANT.json`, and a variant with one is not run again.
pub fn run_study(
    study: &Study,
    settings: &StudySettings,
    progress: &mut dyn Progress,
    mut announce: impl FnMut(&str),
) -> Result<Option<StudyOutcome>, StudyError> {
    let start = crate::train::Start::Base {
        base: settings.base.clone(),
        layers: None,
    };
    let base = open_base(&start, 0).map_err(TrainError::from)?;
    let mut found = StudyOutcome {
        name: study.name.clone(),
        scale: settings.scale,
        outside: outside_everywhere(study, settings, &base)?,
        outcomes: Vec::new(),
    };
    for start in &study.starts {
        for variant in study
            .variants
            .iter()
            .filter(|variant| is_wanted(settings, variant))
        {
            let Some(options) = options(study, settings, base.config.num_hidden_layers, (start, variant))?
            else {
                continue;
            };
            announce(&format!("{} from {}", variant.name, start.name));
            let kept = settings
                .out
                .join("outcomes")
                .join(&start.name)
                .join(format!("{}.json", variant.id));
            let outcome = match Outcome::read(&kept)? {
                Some(outcome) if outcome.options == options => outcome,
                Some(_) => return Err(StudyError::OtherOptions { path: kept }),
                None => match run(variant, start, options, progress)? {
                    Some(outcome) => {
                        write_json(&kept, &outcome)?;
                        outcome
                    }
                    None => return Ok(None),
                },
            };
            found.outcomes.push(outcome);
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

fn is_wanted(settings: &StudySettings, variant: &Variant) -> bool {
    settings.only.is_empty() || settings.only.contains(&variant.id)
}

/// The whole options of a variant from a start, sizes scaled; `None` where it cannot be made from it.
fn options(
    study: &Study,
    settings: &StudySettings,
    base_layers: usize,
    (start, variant): (&Start, &Variant),
) -> Result<Option<TrainOptions>, StudyError> {
    let Some(options) = study.options(variant, start) else {
        return Ok(None);
    };
    let options = TrainOptions {
        data: Some(settings.data.clone()),
        base: Some(settings.base.clone()),
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
    Ok(Some(config.to_options()))
}

/// Trains one variant; `None` where it was interrupted.
fn run(
    variant: &Variant,
    start: &Start,
    options: TrainOptions,
    progress: &mut dyn Progress,
) -> Result<Option<Outcome>, StudyError> {
    let failed = |source: TrainError| StudyError::Train {
        variant: variant.id.clone(),
        start: start.name.clone(),
        source: Box::new(source),
    };
    let config = TrainConfig::new(options.clone()).map_err(|error| failed(error.into()))?;
    let beginning = match config.out.join("steps.jsonl").exists() {
        true => Beginning::Resumed,
        false => Beginning::New,
    };
    let (records, test, stopped) = match train(&config, beginning, progress) {
        Ok(report) if report.end == End::Interrupted => return Ok(None),
        Ok(report) => (report.records, report.test, None),
        // A learning rate at which numbers run away is a finding, not a fault of the study.
        Err(error @ TrainError::NotFinite { .. }) => (
            lines(&config.out.join("records.jsonl"))?,
            None,
            Some(error.to_string()),
        ),
        Err(error) => return Err(failed(error)),
    };
    let timings: Vec<Timing> = lines(&config.out.join("timings.jsonl"))?;
    let test = match test {
        Some(test) => Some(tested(&config, &test)?),
        None => None,
    };
    let checkpoints = config.out.join("checkpoints");
    fs::remove_dir_all(&checkpoints).map_err(|source| StudyError::Write {
        path: checkpoints,
        source,
    })?;
    Ok(Some(Outcome {
        start: start.name.clone(),
        variant: variant.id.clone(),
        options,
        records,
        stopped,
        seconds: timings.iter().map(|timing| timing.seconds).sum(),
        test,
    }))
}

/// The saved weights' figures on test, by the original study's metric too.
fn tested(config: &TrainConfig, test: &Evaluation) -> Result<TestOutcome, StudyError> {
    let tagger = CheckpointTagger::open(&config.out.join("best"), config.max_length, config.threads)?;
    let splits = Splits::find(&config.data, &config.wnut17_url)?;
    let corpus = Corpus::read(splits.test.as_deref().unwrap_or(Path::new("test")))?;
    let padded = evaluate_padded(&tagger, &corpus)?;
    Ok(TestOutcome {
        entity: test.score.entity,
        surface: test.score.surface,
        padded: padded.tagger,
        outside: padded.outside,
    })
}

fn outside_everywhere(
    study: &Study,
    settings: &StudySettings,
    base: &ModelDir,
) -> Result<OutsideEverywhere, StudyError> {
    let splits = Splits::find(&settings.data, WNUT17_URL)?;
    let (corpus, dev) = (splits.read_train()?, splits.read_dev()?);
    let labels = LabelSet::iob2(entity_types([&corpus, &dev])).map_err(TrainError::from)?;
    let (before, after) = base.encoder.specials();
    let longest = study.common.max_length.unwrap_or(128);
    let limits = WindowLimits::for_encoder(longest, before + after).map_err(TaggerError::from)?;
    let examples: Vec<Example> = examples(&corpus, &base.encoder, &labels, limits, SubwordLabels::All)?;
    let outside = labels.parse("O").map_or(0, |label| label.0);
    let mut confusion = TokenConfusion::new(labels.len());
    for (_, label) in examples.iter().flat_map(|example| &example.labelled) {
        confusion.add(*label as usize, outside);
    }
    let positions = Positions::of(&examples);
    let tags = || dev.sentences.iter().flat_map(|sentence| &sentence.tags);
    let right = tags().filter(|tag| tag.as_str() == "O").count();
    Ok(OutsideEverywhere {
        train_padded: confusion.weighted(positions.others, positions.padding, outside),
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

/// Writes a file beside its place and renames it, so that one that is there is whole.
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
