//! The records of a training run.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use clap::ValueEnum;
use nerve_tagging::{Prf, TypeScore};
use serde::{Deserialize, Serialize};

use crate::evaluate::Evaluation;
use crate::train::notice::Notice;

/// The record of one step, a line of `steps.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The step, counted from 1.
    pub step: usize,
    /// The mean loss of its labeled tokens, without what regularizes it.
    pub loss: f64,
    /// The learning rate.
    pub learning_rate: f64,
    /// The norm of the gradient before clipping; 0 in a skipped step, whose gradient is not finite.
    pub gradient_norm: f64,
    /// Whether the step changed no weight, because its gradient in fp16 was not finite at the scale of the loss.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
    /// For each window of its batches, the line of the training file at which the sentence of the window begins.
    #[serde(default)]
    pub lines: Vec<usize>,
}

/// The record of the best evaluation; `None` before the first one.
pub(crate) fn best_of(records: &[EvaluationRecord]) -> Option<&EvaluationRecord> {
    records.iter().rev().find(|record| record.best)
}

/// The record of one evaluation, a line of `records.jsonl`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// The current epoch, counted from 1.
    pub epoch: usize,
    /// The number of steps since the start of the run.
    pub step: usize,
    /// The mean loss of the steps since the previous evaluation.
    pub loss: f64,
    /// The learning rate of the last step.
    pub learning_rate: f64,
    /// Entity precision, recall and F1 on the dev split.
    pub dev_entity: Prf,
    /// Surface-form F1 on the dev split.
    pub dev_surface_f1: f64,
    /// The fraction of dev words with the correct tag.
    pub dev_token_accuracy: f64,
    /// The mean negative log-likelihood of the dev labels in nats per word, whatever the loss function; absent if it
    /// cannot be computed. The logits of a word are those of its first subword.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dev_loss: Option<f64>,
    /// The scores on dev of each entity type that occurs in gold or prediction; empty in records of earlier versions.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub dev_types: BTreeMap<String, TypeScore>,
    /// Whether the weights that were evaluated are an average over steps.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub averaged: bool,
    /// Whether this is the best evaluation so far by the configured measure; among equals, the one with the lowest dev
    /// loss.
    pub best: bool,
}

/// The speed of the steps since the previous evaluation, a line of `timings.jsonl`.
///
/// It is not part of the evaluation records, which are bit-identical when a run is repeated or resumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// The number of steps since the start of the run.
    pub step: usize,
    /// The seconds of training, without evaluations and without writing files.
    pub seconds: f64,
    /// The number of tokens per second, special tokens included.
    pub tokens_per_second: f64,
}

/// Why a training run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// All epochs are complete.
    Finished,
    /// The number of evaluations without a better score reached the configured patience.
    OutOfPatience,
    /// The configured time is over.
    OutOfTime,
    /// The run was interrupted and can be resumed.
    Interrupted,
}

/// The checkpoint of a run that is evaluated on the test split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum TestedCheckpoint {
    /// The checkpoint of the best evaluation.
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

/// The evaluation of a checkpoint on the test split, the content of `test.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tested {
    /// The checkpoint that is evaluated.
    pub checkpoint: TestedCheckpoint,
    /// The number of steps before it.
    pub step: usize,
    /// Its scores.
    #[serde(flatten)]
    pub evaluation: Evaluation,
}

/// The result of a training run.
#[derive(Clone, Debug)]
pub struct TrainReport {
    /// All evaluations.
    pub records: Vec<EvaluationRecord>,
    /// All steps.
    pub steps: Vec<StepRecord>,
    /// The checkpoint of the best evaluation.
    pub best: PathBuf,
    /// Why the run ended.
    pub end: End,
    /// The evaluation on the test split, if the configuration asks for it.
    pub test: Option<Tested>,
    /// The notices shown to the user.
    pub notices: Vec<Notice>,
}

impl TrainReport {
    /// The record of the best evaluation.
    pub fn best_record(&self) -> Option<&EvaluationRecord> {
        best_of(&self.records)
    }
}
