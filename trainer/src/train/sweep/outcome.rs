//! What a sweep finds.

use std::collections::BTreeMap;

use nerve_tagging::Prf;
use serde::{Deserialize, Serialize};

use crate::train::options::TrainOptions;
use crate::train::spread::Spread;

/// The outcome of one run, `outcome.json` in its directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunOutcome {
    /// The options that it was trained with, as the file of the sweep gives them.
    pub options: TrainOptions,
    /// The directory of the run, in that of the sweep.
    pub run: String,
    /// Entity precision, recall and F1 on dev at the best evaluation; absent if the run failed.
    pub dev: Option<Prf>,
    /// Entity F1 of each type at the best evaluation.
    pub type_f1: BTreeMap<String, f64>,
    /// Seconds of training.
    pub seconds: f64,
    /// Why the run failed, such as a loss that is not finite.
    pub failed: Option<String>,
}

/// The outcome of all runs of a combination.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CombinationOutcome {
    /// The name of the combination and of its directory.
    pub name: String,
    /// The options that are tried, and their values here.
    pub values: toml::Table,
    /// Entity F1 on dev; absent if a run failed.
    pub dev_f1: Option<Spread>,
    /// Seconds of training of all runs.
    pub seconds: f64,
    /// The runs.
    pub runs: Vec<RunOutcome>,
    /// Why a run failed, if one did.
    pub failed: Option<String>,
    /// The command that trains with these options.
    pub command: String,
}

impl CombinationOutcome {
    /// The outcome of the runs of a combination.
    pub(super) fn new(name: String, values: toml::Table, command: String, runs: Vec<RunOutcome>) -> Self {
        let f1: Option<Vec<f64>> = runs.iter().map(|run| Some(run.dev?.f1)).collect();
        Self {
            name,
            values,
            dev_f1: f1.and_then(|f1| Spread::of(&f1)),
            seconds: runs.iter().fold(0.0, |sum, run| sum + run.seconds),
            failed: runs.iter().find_map(|run| run.failed.clone()),
            runs,
            command,
        }
    }

    /// The mean of a score on dev over the runs; `None` if a run failed.
    pub(crate) fn mean(&self, part: fn(&Prf) -> f64) -> Option<f64> {
        let values: Option<Vec<f64>> = self.runs.iter().map(|run| run.dev.as_ref().map(part)).collect();
        Some(Spread::of(&values?)?.mean)
    }
}

/// The content of `sweep.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweepReport {
    /// The options that are tried.
    pub tried: Vec<String>,
    /// The number of combinations that the sweep is to have.
    pub combinations: usize,
    /// The combinations that are complete: the best mean dev F1 first, those that failed last.
    pub outcomes: Vec<CombinationOutcome>,
}

impl SweepReport {
    /// The report on these outcomes.
    pub(super) fn new(
        tried: Vec<String>,
        combinations: usize,
        mut outcomes: Vec<CombinationOutcome>,
    ) -> Self {
        let mean = |of: &CombinationOutcome| of.dev_f1.map_or(f64::NEG_INFINITY, |spread| spread.mean);
        outcomes.sort_by(|one, other| mean(other).total_cmp(&mean(one)));
        Self {
            tried,
            combinations,
            outcomes,
        }
    }

    /// The combination with the highest mean dev F1; `None` if none has one.
    pub fn best(&self) -> Option<&CombinationOutcome> {
        self.outcomes.first().filter(|outcome| outcome.dev_f1.is_some())
    }
}
