//! The outcomes of a study.

use std::path::{Path, PathBuf};

use nerve_tagging::Prf;
use serde::{Deserialize, Serialize};

use super::error::StudyError;
use super::file::Start;
use super::scale::Scale;
use super::weighted::WeightedFigures;
use nerve_trainer::report::last_parts;
use nerve_trainer::{EvaluationRecord, TestedCheckpoint, TrainOptions};

/// The outcome of one variant from one start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The start's name.
    pub start: String,
    /// The variant's id.
    pub variant: String,
    /// Whether padding was trained on.
    #[serde(default)]
    pub train_on_padding: bool,
    /// Its options.
    pub options: TrainOptions,
    /// Every epoch.
    pub records: Vec<EpochRecord>,
    /// Why training stopped before the last epoch, if it did.
    pub stopped: Option<String>,
    /// Seconds of training.
    pub seconds: f64,
    /// The scores of a checkpoint on the test split, if the variant asks for them.
    pub test: Option<TestOutcome>,
}

/// One epoch of a variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// What the trainer recorded.
    #[serde(flatten)]
    pub evaluation: EvaluationRecord,
    /// The original study's metric of the epoch's batches, as they were predicted, averaged over them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub train_padded: Option<WeightedFigures>,
}

/// The scores of a checkpoint on the test split.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestOutcome {
    /// Which checkpoint.
    pub checkpoint: TestedCheckpoint,
    /// Steps made before it.
    pub step: usize,
    /// Entity precision, recall and F1.
    pub entity: Prf,
    /// Surface-form precision, recall and F1.
    pub surface: Prf,
    /// The original study's figures.
    pub padded: WeightedFigures,
    /// Those of answering `O` everywhere.
    pub outside: WeightedFigures,
}

impl Outcome {
    /// The first option in which it differs from what a variant from this start is to be trained with, except
    /// directory and number of threads.
    pub(super) fn first_difference(&self, start: &Start, options: &TrainOptions) -> Option<&'static str> {
        if self.train_on_padding != start.train_on_padding {
            return Some("train_on_padding");
        }
        let options = TrainOptions {
            out: self.options.out.clone(),
            threads: self.options.threads,
            ..options.clone()
        };
        Some(self.options.first_difference(&options)?.option)
    }

    /// The outcome without paths of the machine, as a report shows it.
    pub(super) fn portable(&self) -> Self {
        let name = |path: Option<PathBuf>| path.map(|path| last_parts(&path.to_string_lossy()).into());
        let named = |of: Option<String>| of.map(|of| if of.starts_with('/') { last_parts(&of) } else { of });
        Self {
            options: TrainOptions {
                data: named(self.options.data.clone()),
                base: named(self.options.base.clone()),
                vocab: name(self.options.vocab.clone()),
                out: None,
                ..self.options.clone()
            },
            ..self.clone()
        }
    }

    /// The record of an epoch, counted from 1; that of the last epoch without one.
    pub fn record(&self, epoch: Option<usize>) -> Option<&EpochRecord> {
        match epoch {
            Some(epoch) => self
                .records
                .iter()
                .find(|record| record.evaluation.epoch == epoch),
            None => self.records.last(),
        }
    }

    /// The outcome in a file; `None` if there is no file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, StudyError> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(StudyError::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let outcome = serde_json::from_slice(&text).map_err(|source| StudyError::Outcome {
            path: path.to_owned(),
            source,
        })?;
        Ok(Some(outcome))
    }
}

/// The scores of answering `O` everywhere; the entity scores are 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutsideEverywhere {
    /// The original study's figures on train, all positions at once.
    pub train_padded: WeightedFigures,
    /// The original study's figures averaged over the batches of an epoch, like those of a training run.
    pub train_padded_batches: WeightedFigures,
    /// Fraction of dev words with the correct tag.
    pub dev_token_accuracy: f64,
}

/// The outcomes of a study, as `study.json` contains them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StudyOutcome {
    /// The study's name.
    pub name: String,
    /// Factor for widths and depths.
    pub scale: Scale,
    /// The scores of answering `O` everywhere.
    pub outside: OutsideEverywhere,
    /// Every variant from every start, in the order of the study's file.
    pub outcomes: Vec<Outcome>,
}

impl StudyOutcome {
    /// The outcome of a variant from a start.
    pub fn outcome(&self, start: &str, variant: &str) -> Option<&Outcome> {
        let mut outcomes = self.outcomes.iter();
        outcomes.find(|outcome| outcome.start == start && outcome.variant == variant)
    }
}
