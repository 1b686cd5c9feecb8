//! What is measured while a run goes on.

use serde::{Deserialize, Serialize};

/// One step of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepPoint {
    /// The step, counted from 1.
    pub step: usize,
    /// Its loss.
    pub loss: f64,
    /// Its learning rate.
    pub learning_rate: f64,
    /// Its gradient's norm before clipping.
    pub gradient_norm: f64,
}

/// One evaluation of a run on the dev split; all scores are fractions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EvaluationPoint {
    /// Steps made before it.
    pub step: usize,
    /// Passes over the corpus made before it.
    pub epoch: f64,
    /// Mean training loss since the evaluation before.
    pub loss: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Entity precision.
    pub precision: f64,
    /// Entity recall.
    pub recall: f64,
    /// Entity F1.
    pub f1: f64,
    /// Surface-form F1.
    pub surface_f1: f64,
    /// Share of words with the right tag.
    pub token_accuracy: f64,
    /// Mean loss on the dev split, where it was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev_loss: Option<f64>,
}
