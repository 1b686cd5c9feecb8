//! The loss function, as a configuration.

use crate::train::config::checks::{check, check_absent};
use crate::train::config::error::OptionError;
use crate::train::loss::{ClassWeights, LossFunction, LossKind};
use crate::train::options::TrainOptions;
use crate::train::select_by::SelectBy;
use crate::train::subwords::LabeledSubwords;

/// The loss function and the weights of the labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// The loss of a token.
    pub function: LossFunction,
    /// Weights of the labels; all 1 if absent.
    pub class_weights: Option<ClassWeights>,
}

impl Objective {
    pub(super) fn resolve(options: &mut TrainOptions) -> Result<Self, OptionError> {
        let kind = *options.loss.get_or_insert_default();
        let smooths = options.label_smoothing.is_some() && kind != LossKind::CrossEntropy;
        check_absent(&[("label_smoothing", smooths)], "`loss` is cross-entropy")?;
        let focuses = options.focal_gamma.is_some() && kind != LossKind::Focal;
        check_absent(&[("focal_gamma", focuses)], "`loss` is focal")?;
        let function = match kind {
            LossKind::CrossEntropy => {
                let smoothing = *options.label_smoothing.get_or_insert(0.0);
                check(
                    "label_smoothing",
                    &smoothing,
                    (0.0..1.0).contains(&smoothing),
                    "in [0, 1)",
                )?;
                LossFunction::CrossEntropy { smoothing }
            }
            LossKind::L1 => LossFunction::L1,
            LossKind::Crf => {
                let weighted = [("class_weights", options.class_weights.is_some())];
                check_absent(&weighted, "`loss` is not crf")?;
                check_crf(options)?;
                LossFunction::Crf
            }
            LossKind::Focal => {
                let gamma = *options.focal_gamma.get_or_insert(2.0);
                // Between 0 and 1 the gradient of a token that is certain would be infinite.
                check(
                    "focal_gamma",
                    &gamma,
                    gamma >= 1.0 && gamma.is_finite(),
                    "at least 1",
                )?;
                LossFunction::Focal { gamma }
            }
        };
        Ok(Self {
            function,
            class_weights: options.class_weights.clone(),
        })
    }
}

/// Refuses the options that need a loss of single tokens.
fn check_crf(options: &TrainOptions) -> Result<(), OptionError> {
    let conflicts = [
        (
            "label_subwords",
            options.label_subwords == Some(LabeledSubwords::All),
            "a conditional random field has one label for each word",
        ),
        (
            "teacher",
            options.teacher.is_some(),
            "teachers give probabilities of single labels, and a conditional random field those of sentences",
        ),
        (
            "select_by",
            options.select_by == Some(SelectBy::Loss),
            "the loss on dev is one of single labels",
        ),
    ];
    match conflicts.into_iter().find(|(_, given, _)| *given) {
        Some((option, _, reason)) => Err(OptionError::Conflict {
            options: ["loss", option],
            reason,
        }),
        None => Ok(()),
    }
}
