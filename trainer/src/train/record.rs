//! What a training leaves on record.

use std::path::PathBuf;

use nerve_tagging::Prf;
use serde::Serialize;

use crate::evaluate::Evaluation;

/// One epoch, a line of `records.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EpochRecord {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// Steps made since the beginning.
    pub step: usize,
    /// Mean loss of the epoch's steps.
    pub loss: f64,
    /// Learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// Entity precision, recall and F1 on the dev split.
    pub dev_entity: Prf,
    /// Surface-form F1 on the dev split.
    pub dev_surface_f1: f64,
    /// Share of dev words with the right tag.
    pub dev_token_accuracy: f64,
    /// Seconds of training, evaluation and writing not counted.
    pub seconds: f64,
    /// Tokens trained on a second, special tokens counted; there is no padding.
    pub tokens_per_second: f64,
    /// Whether this is the best dev entity F1 so far.
    pub best: bool,
}

/// What a training came to.
#[derive(Clone, Debug)]
pub struct TrainReport {
    /// Every epoch.
    pub epochs: Vec<EpochRecord>,
    /// The loss of every step.
    pub losses: Vec<f64>,
    /// The checkpoint of the epoch with the best dev entity F1.
    pub best: PathBuf,
    /// The best checkpoint's evaluation on the test split, where it was asked for.
    pub test: Option<Evaluation>,
}
