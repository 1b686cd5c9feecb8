//! What is added to the loss of a step against overfitting, as a configuration.

use crate::train::config::checks::check;
use crate::train::config::error::OptionError;
use crate::train::options::TrainOptions;

/// R-Drop and adversarial training.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Regularization {
    /// The weight of the divergence between two passes with different dropout masks (R-Drop, Wu et al. 2021); one pass if
    /// absent.
    pub r_drop: Option<f64>,
    /// The norm by which the word embeddings of a window are moved for a second pass (FGM, Miyato et al. 2017); none if
    /// absent.
    pub adversarial: Option<f64>,
}

impl Regularization {
    pub(super) fn resolve(options: &TrainOptions) -> Result<Self, OptionError> {
        for (option, value) in [("r_drop", options.r_drop), ("adversarial", options.adversarial)] {
            let value = value.unwrap_or(1.0);
            check(option, &value, value > 0.0 && value.is_finite(), "above 0")?;
        }
        Ok(Self {
            r_drop: options.r_drop,
            adversarial: options.adversarial,
        })
    }
}
