//! The measurements of a training run that its reports show.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The measurements of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepPoint {
    /// Number of the step, counted from 1.
    pub step: usize,
    /// Training loss.
    pub loss: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Norm of the gradient before clipping; `None` if the step was skipped.
    pub gradient_norm: Option<f64>,
}

/// The measurements of one evaluation on the dev split. All scores are fractions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EvaluationPoint {
    /// Number of steps before the evaluation.
    pub step: usize,
    /// Number of passes over the corpus before the evaluation.
    pub epoch: f64,
    /// Mean training loss since the previous evaluation.
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
    /// Fraction of words with the correct tag.
    pub token_accuracy: f64,
    /// Mean loss on the dev split; `None` if it was not computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev_loss: Option<f64>,
    /// Entity F1 of each type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub type_f1: BTreeMap<String, f64>,
}
