//! What makes an evaluation on the dev split the best one.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::train::record::EvaluationRecord;
use crate::train::schedule::DevScore;

/// The measure on the dev split that decides which evaluation is the best one. Early stopping and the schedule `plateau`
/// follow it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum SelectBy {
    /// Entity F1 over all entities.
    #[default]
    Micro,
    /// The mean of the entity types' F1, over the types that occur in gold or prediction.
    Macro,
    /// Entity F1 of one type.
    Type(String),
    /// The lowest negative log-likelihood.
    Loss,
}

impl SelectBy {
    /// The measure of an evaluation; for the loss, lower is better. A loss that could not be computed is infinite.
    pub(super) fn value(&self, record: &EvaluationRecord) -> f64 {
        let of_types = || record.dev_types.values().map(|scores| scores.entity.f1);
        match self {
            Self::Micro => record.dev_entity.f1,
            Self::Macro => of_types().sum::<f64>() / record.dev_types.len().max(1) as f64,
            Self::Type(name) => record.dev_types.get(name).map_or(0.0, |scores| scores.entity.f1),
            Self::Loss => record.dev_loss.unwrap_or(f64::INFINITY),
        }
    }

    /// The score of an evaluation: higher is better.
    pub(super) fn score(&self, record: &EvaluationRecord) -> f64 {
        match self {
            Self::Loss => -self.value(record),
            Self::Micro | Self::Macro | Self::Type(_) => self.value(record),
        }
    }

    /// The score and the step of an evaluation.
    pub(super) fn dev_score(&self, record: &EvaluationRecord) -> DevScore {
        DevScore {
            step: record.step,
            score: self.score(record),
        }
    }

    /// Whether the checkpoint of an evaluation is preferred to that of `other`: a better score or, if that is equal, a
    /// lower dev loss.
    pub(super) fn prefers(&self, record: &EvaluationRecord, other: &EvaluationRecord) -> bool {
        let loss = |record| Self::Loss.value(record);
        match self.score(record).total_cmp(&self.score(other)) {
            Ordering::Greater => true,
            Ordering::Equal => loss(record) < loss(other),
            Ordering::Less => false,
        }
    }

    /// The measure in words, such as `dev entity F1`.
    pub fn measure(&self) -> String {
        match self {
            Self::Micro => "dev entity F1".to_owned(),
            Self::Macro => "dev macro F1".to_owned(),
            Self::Type(name) => format!("dev F1 of {name}"),
            Self::Loss => "dev loss".to_owned(),
        }
    }
}

impl From<String> for SelectBy {
    fn from(text: String) -> Self {
        match text.as_str() {
            "micro" => Self::Micro,
            "macro" => Self::Macro,
            "loss" => Self::Loss,
            _ => Self::Type(text),
        }
    }
}

impl From<SelectBy> for String {
    fn from(select_by: SelectBy) -> Self {
        select_by.to_string()
    }
}

impl fmt::Display for SelectBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Micro => "micro",
            Self::Macro => "macro",
            Self::Type(name) => name,
            Self::Loss => "loss",
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use nerve_tagging::{Counts, Prf, TypeScore};

    fn prf(f1: f64) -> Prf {
        Prf { f1, ..Prf::default() }
    }

    fn type_score(f1: f64) -> TypeScore {
        TypeScore {
            counts: Counts::default(),
            entity: prf(f1),
            surface: prf(f1),
        }
    }

    /// An evaluation with this entity F1, F1 of `person` and `place`, and loss.
    fn record(micro: f64, [person, place]: [f64; 2], dev_loss: f64) -> EvaluationRecord {
        EvaluationRecord {
            dev_entity: prf(micro),
            dev_types: [("person", person), ("place", place)]
                .map(|(name, f1)| (name.to_owned(), type_score(f1)))
                .into(),
            dev_loss: Some(dev_loss),
            ..EvaluationRecord::default()
        }
    }

    #[test]
    fn each_measure_prefers_its_own_evaluation() {
        let records = [
            record(0.9, [0.5, 0.5], 0.4),
            record(0.7, [0.4, 0.8], 0.3),
            record(0.6, [0.7, 0.1], 0.2),
            record(0.5, [0.1, 0.1], 0.1),
        ];
        let best = |select_by: &str| {
            let select_by = SelectBy::from(select_by.to_owned());
            let better = |best, at| {
                if select_by.prefers(&records[at], &records[best]) {
                    at
                } else {
                    best
                }
            };
            (1..records.len()).fold(0, better)
        };
        let found = ["micro", "macro", "person", "loss"].map(best);
        assert_eq!(found, [0, 1, 2, 3]);
    }

    #[test]
    fn of_equal_scores_the_lower_loss_is_preferred() {
        let (high, low) = (record(0.5, [0.5; 2], 0.2), record(0.5, [0.5; 2], 0.1));
        for select_by in [SelectBy::Micro, SelectBy::Macro, SelectBy::Type("place".into())] {
            assert!(select_by.prefers(&low, &high) && !select_by.prefers(&high, &low));
        }
        let unknown = EvaluationRecord {
            dev_loss: None,
            ..low.clone()
        };
        assert!(SelectBy::Loss.prefers(&high, &unknown) && !SelectBy::Loss.prefers(&unknown, &high));
    }

    #[test]
    fn a_text_is_read_as_it_is_written() {
        for text in ["micro", "macro", "loss", "creative-work"] {
            assert_eq!(SelectBy::from(text.to_owned()).to_string(), text);
        }
    }
}
