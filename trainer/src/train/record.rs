//! The records of a training run.

use std::cmp::Ordering;
use std::fmt;
use std::path::PathBuf;

use clap::ValueEnum;
use nerve_tagging::Prf;
use serde::{Deserialize, Serialize};

use crate::evaluate::Evaluation;
use crate::train::notice::Notice;
use crate::train::schedule::DevScore;

/// One step, a line of `steps.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The step, counted from 1.
    pub step: usize,
    /// Mean loss of its labelled tokens.
    pub loss: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// For each window of its batches, the line of the training file at which the window's sentence begins.
    #[serde(default)]
    pub lines: Vec<usize>,
}

/// One evaluation, a line of `records.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// The epoch at whose end or within which it is made, counted from 1.
    pub epoch: usize,
    /// Steps made since the start of the run.
    pub step: usize,
    /// Mean loss of the steps since the last evaluation.
    pub loss: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Entity precision, recall and F1 on the dev split.
    pub dev_entity: Prf,
    /// Surface-form F1 on the dev split.
    pub dev_surface_f1: f64,
    /// Fraction of dev words with the correct tag.
    pub dev_token_accuracy: f64,
    /// Mean negative log-likelihood of the dev words' labels, read at their first subwords, for every loss function.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dev_loss: Option<f64>,
    /// Whether this is the best evaluation so far: the highest dev entity F1, and of those the lowest dev loss.
    pub best: bool,
}

impl EvaluationRecord {
    /// Its score, and when it was made.
    pub(super) fn dev_score(&self) -> DevScore {
        DevScore {
            step: self.step,
            f1: self.dev_entity.f1,
        }
    }

    /// Whether its checkpoint is preferred to that of another evaluation: by dev entity F1, and of equal ones by the lower
    /// dev loss.
    pub(super) fn is_better_than(&self, other: &Self) -> bool {
        let loss = |record: &Self| record.dev_loss.unwrap_or(f64::INFINITY);
        match self.dev_entity.f1.total_cmp(&other.dev_entity.f1) {
            Ordering::Greater => true,
            Ordering::Equal => loss(self) < loss(other),
            Ordering::Less => false,
        }
    }
}

/// The speed of the steps before an evaluation, a line of `timings.jsonl`.
///
/// It is not part of the records, which are the same to the last bit whenever a run is repeated or resumed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Steps made since the start of the run.
    pub step: usize,
    /// Seconds of training, without evaluation and writing.
    pub seconds: f64,
    /// Tokens per second, special tokens included.
    pub tokens_per_second: f64,
}

/// Why a training run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// All epochs are done.
    Finished,
    /// There was no better score in as many evaluations as the configured patience.
    OutOfPatience,
    /// It was interrupted and can be resumed.
    Interrupted,
}

/// Which of a run's checkpoints is evaluated on test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum TestedCheckpoint {
    /// The checkpoint with the best dev entity F1, and of equal ones with the lowest dev loss.
    #[default]
    Best,
    /// The checkpoint after the last step.
    Last,
}

impl fmt::Display for TestedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Best => "best",
            Self::Last => "last",
        })
    }
}

/// A checkpoint's evaluation on the test split, as `test.json` keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tested {
    /// Which checkpoint.
    pub checkpoint: TestedCheckpoint,
    /// Steps made before it.
    pub step: usize,
    /// Its scores.
    #[serde(flatten)]
    pub evaluation: Evaluation,
}

/// The result of a training run.
#[derive(Clone, Debug)]
pub struct TrainReport {
    /// Every evaluation.
    pub records: Vec<EvaluationRecord>,
    /// Every step.
    pub steps: Vec<StepRecord>,
    /// The checkpoint with the best dev entity F1, and of equal ones with the lowest dev loss.
    pub best: PathBuf,
    /// Why it ended.
    pub end: End,
    /// The evaluation on the test split, if the configuration asks for it.
    pub test: Option<Tested>,
    /// What the user was told.
    pub notices: Vec<Notice>,
}

impl TrainReport {
    /// The evaluation of the best checkpoint.
    pub fn best_record(&self) -> Option<&EvaluationRecord> {
        self.records.iter().rev().find(|record| record.best)
    }
}
