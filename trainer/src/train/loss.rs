//! Loss functions on the labeled tokens.

mod soft;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use candle_core::{D, Result, Tensor};
use candle_nn::ops::log_softmax;
use clap::ValueEnum;
use nerve_tagging::LabelSet;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ops::crf::crf;
use crate::train::targets::Targets;

pub(crate) use soft::SoftLoss;

/// The values of the option `loss`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// Negative log-likelihood of the gold label.
    #[default]
    CrossEntropy,
    /// Distances of all logits from the index of the gold label, as in the original study.
    L1,
    /// Cross-entropy with a lower weight for easy tokens.
    Focal,
    /// Negative log-likelihood of all labels of a sentence together, with learned scores of transitions between labels, which
    /// decoding uses: a conditional random field.
    Crf,
}

/// The loss function of one token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LossFunction {
    /// Cross-entropy with the target probability `1 - smoothing` for the gold label; the rest is spread evenly over
    /// all labels (Szegedy et al. 2016).
    CrossEntropy {
        /// The probability that is spread over all labels.
        smoothing: f64,
    },
    /// Cross-entropy multiplied by `(1 - p)^gamma`, where `p` is the probability of the gold label (Lin et al. 2017).
    Focal {
        /// The exponent.
        gamma: f64,
    },
    /// The sum over all labels of the distance of their logit from the index of the gold label.
    L1,
    /// The negative log-likelihood of the labels of a sentence in a linear-chain conditional random field (Lafferty et al.
    /// 2001), whose scores are the logits and the scores of transitions.
    Crf,
}

/// The weights of the labels in the loss, as given by an option.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ClassWeights {
    /// Inversely proportional to the frequency of each label, with mean 1 over the tokens.
    Balanced,
    /// Weights by label name; the other labels have weight 1.
    Named(BTreeMap<String, f32>),
}

/// Why a text is not a list of class weights.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClassWeightsError {
    /// A part is not of the form LABEL=WEIGHT.
    #[error("`{0}` is neither `balanced` nor LABEL=WEIGHT with a weight of at least 0")]
    Part(String),
    /// A label has two weights.
    #[error("the label `{0}` has two weights; give it one")]
    Repeated(String),
}

impl FromStr for ClassWeights {
    type Err = ClassWeightsError;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        if text == "balanced" {
            return Ok(Self::Balanced);
        }
        let weight = |part: &str| {
            let (label, weight) = part.split_once('=')?;
            let weight: f32 = weight.trim().parse().ok()?;
            (weight >= 0.0 && weight.is_finite()).then(|| (label.trim().to_owned(), weight))
        };
        let mut named = BTreeMap::new();
        for part in text.split(',') {
            let (label, weight) = weight(part).ok_or_else(|| ClassWeightsError::Part(part.to_owned()))?;
            if named.insert(label.clone(), weight).is_some() {
                return Err(ClassWeightsError::Repeated(label));
            }
        }
        Ok(Self::Named(named))
    }
}

impl TryFrom<String> for ClassWeights {
    type Error = ClassWeightsError;

    fn try_from(text: String) -> std::result::Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for ClassWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Balanced => f.write_str("balanced"),
            Self::Named(named) => {
                let parts: Vec<String> = named.iter().map(|(label, w)| format!("{label}={w}")).collect();
                f.write_str(&parts.join(","))
            }
        }
    }
}

impl From<ClassWeights> for String {
    fn from(weights: ClassWeights) -> Self {
        weights.to_string()
    }
}

impl ClassWeights {
    /// The weight of each label, given the number of its occurrences. An error is the name of a label that is not in
    /// the set.
    pub(super) fn resolve(&self, labels: &LabelSet, counts: &[u64]) -> std::result::Result<Vec<f32>, String> {
        match self {
            Self::Balanced => {
                let seen = counts.iter().filter(|&&count| count > 0).count();
                let total: u64 = counts.iter().sum();
                let weight = |&count: &u64| match count {
                    0 => 1.0,
                    count => (total as f64 / (seen as f64 * count as f64)) as f32,
                };
                Ok(counts.iter().map(weight).collect())
            }
            Self::Named(named) => {
                let mut weights = vec![1.0; labels.len()];
                for (name, &weight) in named {
                    let place = labels.parse(name).and_then(|label| weights.get_mut(label.0));
                    *place.ok_or_else(|| name.clone())? = weight;
                }
                Ok(weights)
            }
        }
    }
}

/// The loss of labeled tokens, with optional label weights.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Loss {
    /// The loss function of one token.
    pub(crate) function: LossFunction,
    /// The weight of each label; 1 for all labels if absent.
    pub(crate) weights: Option<Vec<f32>>,
    /// The part against teachers; absent without them.
    pub(crate) soft: Option<SoftLoss>,
}

impl Loss {
    /// The sum of the weights of these labels, by which the loss of a step is divided.
    pub(crate) fn weight(&self, labels: impl Iterator<Item = u32>) -> f64 {
        match &self.weights {
            None => labels.count() as f64,
            Some(weights) => labels.map(|label| f64::from(weights[label as usize])).sum(),
        }
    }

    /// The weighted sum of the token losses, a differentiable scalar; `logits` is `[tokens, labels]`. The conditional random
    /// field takes `transitions`, `[labels + 1, labels + 1]`.
    ///
    /// With teachers, the loss of a token is `(1 - weight)` times the loss of its gold label plus the [`SoftLoss`]. A token
    /// without a teacher's distribution has the loss of its gold label alone; a token without a gold label has the soft loss
    /// alone. The weight of its label, for a token without a gold label of the teachers' most probable one, multiplies both.
    pub(crate) fn sum(
        &self,
        logits: &Tensor,
        targets: &Targets,
        transitions: Option<&Tensor>,
    ) -> Result<Tensor> {
        if self.function == LossFunction::Crf {
            let Some(transitions) = transitions else {
                candle_core::bail!("the network has no scores of transitions");
            };
            return crf(logits, transitions, targets);
        }
        let Some(soft) = self.soft.as_ref().filter(|_| !targets.soft.is_empty()) else {
            return self.gold(logits, &targets.labels, None);
        };
        let rows = targets.soft.chunks(logits.dim(D::Minus1)?);
        let factor = |(row, &is_gold): (&[f32], &bool)| match is_gold {
            false => 0.0,
            true if row.iter().all(|&probability| probability == 0.0) => 1.0,
            true => (1.0 - soft.weight) as f32,
        };
        let factors: Vec<f32> = rows.zip(&targets.is_gold).map(factor).collect();
        let weights = self.token_weights(&targets.labels);
        let gold = self.gold(logits, &targets.labels, Some(&factors))?;
        gold + soft.sum(logits, &targets.soft, weights.as_deref())?
    }

    /// The weighted sum of the losses of gold labels, each multiplied by its token's factor.
    fn gold(&self, logits: &Tensor, labels: &[u32], factors: Option<&[f32]>) -> Result<Tensor> {
        let targets = Tensor::new(labels, logits.device())?;
        let each = match self.function {
            LossFunction::CrossEntropy { smoothing } => {
                return self.cross_entropy(logits, &targets, smoothing, factors);
            }
            LossFunction::Focal { gamma } => {
                let likelihoods = log_softmax(logits, D::Minus1)?
                    .gather(&targets.unsqueeze(1)?, 1)?
                    .squeeze(1)?;
                // Rounding can yield a probability above 1; the power of the negative difference would be NaN.
                let doubt = (1.0 - likelihoods.exp()?)?.relu()?;
                (doubt.powf(gamma)? * likelihoods.neg()?)?
            }
            // `sum` computes it.
            LossFunction::Crf => {
                candle_core::bail!("a conditional random field has no loss of single tokens")
            }
            LossFunction::L1 => {
                let index = targets.to_dtype(logits.dtype())?.unsqueeze(1)?;
                logits.broadcast_sub(&index)?.abs()?.sum(D::Minus1)?
            }
        };
        let weights = match (self.token_weights(labels), factors) {
            (None, None) => return each.sum_all(),
            (Some(weights), None) => weights,
            (None, Some(factors)) => factors.to_vec(),
            (Some(weights), Some(factors)) => weights.iter().zip(factors).map(|(w, f)| w * f).collect(),
        };
        (each * Tensor::new(weights, logits.device())?)?.sum_all()
    }

    /// As in PyTorch with weights and smoothing: the share of each label in the smoothed target is multiplied by that
    /// label's weight.
    fn cross_entropy(
        &self,
        logits: &Tensor,
        targets: &Tensor,
        smoothing: f64,
        factors: Option<&[f32]>,
    ) -> Result<Tensor> {
        let mut losses = log_softmax(logits, D::Minus1)?.neg()?;
        if let Some(weights) = &self.weights {
            losses = losses.broadcast_mul(&Tensor::new(weights.as_slice(), logits.device())?)?;
        }
        if let Some(factors) = factors {
            losses = losses.broadcast_mul(&Tensor::new(factors, logits.device())?.unsqueeze(1)?)?;
        }
        let right = losses.gather(&targets.unsqueeze(1)?, 1)?.sum_all()?;
        if smoothing == 0.0 {
            return Ok(right);
        }
        let spread = (losses.sum_all()? * (smoothing / logits.dim(D::Minus1)? as f64))?;
        (right * (1.0 - smoothing))? + spread
    }

    /// The weight of each token's label.
    fn token_weights(&self, labels: &[u32]) -> Option<Vec<f32>> {
        let weights = self.weights.as_ref()?;
        Some(labels.iter().map(|&label| weights[label as usize]).collect())
    }
}

#[cfg(test)]
mod tests;
