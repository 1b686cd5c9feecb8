//! Distillation, as a configuration.

use std::path::PathBuf;

use nerve_repository::ModelAddress;

use crate::train::config::checks::{check, check_absent, check_count};
use crate::train::config::error::OptionError;
use crate::train::options::TrainOptions;

/// Teachers whose probabilities the student learns (Hinton et al. 2015), and the text that they label.
#[derive(Clone, Debug, PartialEq)]
pub struct Distillation {
    /// The teachers; at least one.
    pub teachers: Vec<ModelAddress>,
    /// The temperature at which the probabilities of teachers and student are compared.
    pub temperature: f64,
    /// The weight of the teachers in the loss, above 0 and at most 1.
    pub weight: f64,
    /// Files of text without labels.
    pub unlabeled: Vec<PathBuf>,
    /// Number of sentences drawn from these files; all if absent.
    pub unlabeled_sentences: Option<usize>,
}

impl Distillation {
    pub(super) fn resolve(options: &mut TrainOptions) -> Result<Option<Self>, OptionError> {
        let unlabeled = options.unlabelled.clone().unwrap_or_default();
        let drawn = options.unlabelled_sentences;
        let teachers = options.teacher.clone().unwrap_or_default();
        if teachers.is_empty() {
            let given = [
                ("distill_temperature", options.distill_temperature.is_some()),
                ("distill_weight", options.distill_weight.is_some()),
                ("unlabelled", !unlabeled.is_empty()),
                ("unlabelled_sentences", drawn.is_some()),
            ];
            check_absent(&given, "a `teacher` is given")?;
            return Ok(None);
        }
        let idle = drawn.is_some() && unlabeled.is_empty();
        check_absent(&[("unlabelled_sentences", idle)], "`unlabelled` is given")?;
        check_count("unlabelled_sentences", drawn.unwrap_or(1), usize::MAX)?;
        let temperature = *options.distill_temperature.get_or_insert(2.0);
        check(
            "distill_temperature",
            &temperature,
            (0.01..=1000.0).contains(&temperature),
            "from 0.01 to 1000",
        )?;
        let weight = *options.distill_weight.get_or_insert(0.7);
        check(
            "distill_weight",
            &weight,
            weight > 0.0 && weight <= 1.0,
            "above 0, at most 1",
        )?;
        let address = |teacher: &String| teacher.parse().map_err(OptionError::Teacher);
        Ok(Some(Self {
            teachers: teachers.iter().map(address).collect::<Result<_, _>>()?,
            temperature,
            weight,
            unlabeled,
            unlabeled_sentences: drawn,
        }))
    }
}
