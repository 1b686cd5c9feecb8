//! What is minimised, as a configuration.

use super::error::{ConfigError, check, check_absent};
use crate::train::TrainOptions;
use crate::train::loss::{ClassWeights, LossFunction, LossKind};

/// What is minimised.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// The loss of a token.
    pub function: LossFunction,
    /// The labels' weights; all 1 where absent.
    pub class_weights: Option<ClassWeights>,
}

impl Objective {
    pub(super) fn of(options: &TrainOptions) -> Result<Self, ConfigError> {
        let kind = options.loss.unwrap_or_default();
        let smooths = options.label_smoothing.is_some() && kind != LossKind::CrossEntropy;
        check_absent(&[("label_smoothing", smooths)], "`loss` is cross-entropy")?;
        let focuses = options.focal_gamma.is_some() && kind != LossKind::Focal;
        check_absent(&[("focal_gamma", focuses)], "`loss` is focal")?;
        let smoothing = options.label_smoothing.unwrap_or(0.0);
        check(
            "label_smoothing",
            &smoothing,
            (0.0..1.0).contains(&smoothing),
            "in [0, 1)",
        )?;
        let gamma = options.focal_gamma.unwrap_or(2.0);
        // Between 0 and 1 the gradient of a token that is certain would be infinite.
        check(
            "focal_gamma",
            &gamma,
            gamma >= 1.0 && gamma.is_finite(),
            "at least 1",
        )?;
        Ok(Self {
            function: match kind {
                LossKind::CrossEntropy => LossFunction::CrossEntropy { smoothing },
                LossKind::L1 => LossFunction::L1,
                LossKind::Focal => LossFunction::Focal { gamma },
            },
            class_weights: options.class_weights.clone(),
        })
    }

    pub(super) fn put(&self, options: &mut TrainOptions) {
        options.class_weights = self.class_weights.clone();
        options.loss = Some(match self.function {
            LossFunction::CrossEntropy { smoothing } => {
                options.label_smoothing = Some(smoothing);
                LossKind::CrossEntropy
            }
            LossFunction::Focal { gamma } => {
                options.focal_gamma = Some(gamma);
                LossKind::Focal
            }
            LossFunction::L1 => LossKind::L1,
        });
    }
}
