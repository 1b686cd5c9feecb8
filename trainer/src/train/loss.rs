//! Loss functions on the labeled tokens.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use candle_core::{D, Device, Result, Tensor};
use candle_nn::ops::log_softmax;
use clap::ValueEnum;
use nerve_tagging::LabelSet;
use serde::{Deserialize, Serialize};
use thiserror::Error;

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
}

impl Loss {
    /// The sum of the weights of these labels, by which the loss of a step is divided.
    pub(crate) fn weight(&self, labels: impl Iterator<Item = u32>) -> f64 {
        match &self.weights {
            None => labels.count() as f64,
            Some(weights) => labels.map(|label| f64::from(weights[label as usize])).sum(),
        }
    }

    /// The weighted sum of the token losses, a differentiable scalar; `logits` is `[tokens, labels]`.
    pub(crate) fn sum(&self, logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
        let targets = Tensor::new(labels, logits.device())?;
        let each = match self.function {
            LossFunction::CrossEntropy { smoothing } => {
                return self.cross_entropy(logits, &targets, smoothing);
            }
            LossFunction::Focal { gamma } => {
                let likelihoods = log_softmax(logits, D::Minus1)?
                    .gather(&targets.unsqueeze(1)?, 1)?
                    .squeeze(1)?;
                // Rounding can yield a probability above 1; the power of the negative difference would be NaN.
                let doubt = (1.0 - likelihoods.exp()?)?.relu()?;
                (doubt.powf(gamma)? * likelihoods.neg()?)?
            }
            LossFunction::L1 => {
                let index = targets.to_dtype(logits.dtype())?.unsqueeze(1)?;
                logits.broadcast_sub(&index)?.abs()?.sum(D::Minus1)?
            }
        };
        match self.token_weights(labels, logits.device())? {
            None => each.sum_all(),
            Some(weights) => (each * weights)?.sum_all(),
        }
    }

    /// As in PyTorch with weights and smoothing: the share of each label in the smoothed target is multiplied by that
    /// label's weight.
    fn cross_entropy(&self, logits: &Tensor, targets: &Tensor, smoothing: f64) -> Result<Tensor> {
        let mut losses = log_softmax(logits, D::Minus1)?.neg()?;
        if let Some(weights) = &self.weights {
            losses = losses.broadcast_mul(&Tensor::new(weights.as_slice(), logits.device())?)?;
        }
        let right = losses.gather(&targets.unsqueeze(1)?, 1)?.sum_all()?;
        if smoothing == 0.0 {
            return Ok(right);
        }
        let spread = (losses.sum_all()? * (smoothing / logits.dim(D::Minus1)? as f64))?;
        (right * (1.0 - smoothing))? + spread
    }

    fn token_weights(&self, labels: &[u32], device: &Device) -> Result<Option<Tensor>> {
        let Some(weights) = &self.weights else {
            return Ok(None);
        };
        let of_tokens: Vec<f32> = labels.iter().map(|&label| weights[label as usize]).collect();
        Tensor::new(of_tokens, device).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;

    const LABELS: [u32; 3] = [0, 2, 1];
    const WEIGHTS: [f32; 3] = [0.5, 2.0, 3.0];
    const CROSS_ENTROPY: f64 = 1.0669905;
    const WEIGHTED: f64 = 1.07569729;
    const SMOOTH: f64 = 1.12532383;
    const SMOOTH_WEIGHTED: f64 = 1.09528115;

    fn logits() -> Var {
        let rows = [[1.0f32, -0.5, 0.25], [0.0, 0.5, 2.0], [-1.0, 0.75, 3.0]];
        Var::from_tensor(&Tensor::new(&rows, &Device::Cpu).unwrap()).unwrap()
    }

    fn value(function: LossFunction, weights: Option<Vec<f32>>) -> f64 {
        let loss = Loss { function, weights };
        let sum = loss.sum(logits().as_tensor(), &LABELS).unwrap();
        f64::from(sum.to_scalar::<f32>().unwrap()) / loss.weight(LABELS.into_iter())
    }

    /// The expected values are from PyTorch: `torch.nn.functional.cross_entropy(logits, labels, weight=,
    /// label_smoothing=)`.
    #[test]
    fn cross_entropy_is_pytorchs() {
        let plain = LossFunction::CrossEntropy { smoothing: 0.0 };
        let smooth = LossFunction::CrossEntropy { smoothing: 0.1 };
        for (function, weights, expected) in [
            (plain, None, CROSS_ENTROPY),
            (plain, Some(WEIGHTS.to_vec()), WEIGHTED),
            (smooth, None, SMOOTH),
            (smooth, Some(WEIGHTS.to_vec()), SMOOTH_WEIGHTED),
        ] {
            let found = value(function, weights);
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn focal_without_exponent_is_cross_entropy_and_with_one_is_less() {
        let focal = |gamma| value(LossFunction::Focal { gamma }, Some(WEIGHTS.to_vec()));
        assert!((focal(0.0) - WEIGHTED).abs() < 1e-6);
        assert!(focal(2.0) < focal(1.0) && focal(1.0) < focal(0.0));
    }

    #[test]
    fn l1_is_the_distance_of_every_logit_from_the_index() {
        let rows = [1.0 + 0.5 + 0.25, 2.0 + 1.5 + 0.0, 2.0 + 0.25 + 2.0];
        let expected = rows.iter().sum::<f64>() / 3.0;
        assert!((value(LossFunction::L1, None) - expected).abs() < 1e-6);
    }

    #[test]
    fn a_logit_that_is_nan_makes_the_loss_nan() {
        for function in [
            LossFunction::CrossEntropy { smoothing: 0.0 },
            LossFunction::CrossEntropy { smoothing: 0.1 },
            LossFunction::Focal { gamma: 2.0 },
            LossFunction::L1,
        ] {
            let loss = Loss {
                function,
                weights: None,
            };
            let logits = Tensor::new(&[[0.5f32, f32::NAN, 0.0]], &Device::Cpu).unwrap();
            let sum: f32 = loss.sum(&logits, &[0]).unwrap().to_scalar().unwrap();
            assert!(sum.is_nan(), "{function:?}: {sum}");
        }
    }

    #[test]
    fn every_loss_has_the_gradient_of_its_finite_differences() {
        for function in [
            LossFunction::CrossEntropy { smoothing: 0.2 },
            LossFunction::Focal { gamma: 2.0 },
            LossFunction::L1,
        ] {
            let loss = Loss {
                function,
                weights: Some(WEIGHTS.to_vec()),
            };
            let var = logits();
            let sum = |logits: &Tensor| loss.sum(logits, &LABELS).unwrap();
            let store = sum(var.as_tensor()).backward().unwrap();
            let gradient: Vec<f32> = store.get(&var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let elements: Vec<f32> = var.flatten_all().unwrap().to_vec1().unwrap();
            for at in 0..elements.len() {
                let moved = |by: f32| {
                    let mut elements = elements.clone();
                    elements[at] += by;
                    let moved = Tensor::from_vec(elements, (3, 3), &Device::Cpu).unwrap();
                    f64::from(sum(&moved).to_scalar::<f32>().unwrap())
                };
                // L1 is not differentiable at whole numbers. With this step size, only an element that is itself a whole
                // number reaches one.
                let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                let on_kink = function == LossFunction::L1 && elements[at] == LABELS[at / 3] as f32;
                assert!(
                    on_kink || (slope - f64::from(gradient[at])).abs() < 2e-3,
                    "{function:?} {at}: {slope} {}",
                    gradient[at]
                );
            }
        }
    }

    #[test]
    fn weights_are_read_written_and_resolved() {
        let labels = LabelSet::iob2(["x"]).unwrap();
        let named: ClassWeights = "O=0.5, I-x=2".parse().unwrap();
        assert_eq!(named.to_string().parse::<ClassWeights>().unwrap(), named);
        assert_eq!(named.resolve(&labels, &[]).unwrap(), [0.5, 1.0, 2.0]);
        let unknown: ClassWeights = "B-y=1".parse().unwrap();
        assert_eq!(unknown.resolve(&labels, &[]).unwrap_err(), "B-y");
        for wrong in ["", "O", "O=x", "O=-1", "O=inf", "O=NaN"] {
            assert!(wrong.parse::<ClassWeights>().is_err(), "{wrong}");
        }
        let twice = "O=1,I-x=2,O=3".parse::<ClassWeights>();
        assert_eq!(twice, Err(ClassWeightsError::Repeated("O".to_owned())));
        let balanced = ClassWeights::Balanced.resolve(&labels, &[6, 2, 0]).unwrap();
        assert_eq!(balanced, [8.0 / 12.0, 2.0, 1.0]);
    }
}
