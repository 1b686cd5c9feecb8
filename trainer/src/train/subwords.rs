//! Which subwords carry a word's label in training, as an option.

use clap::ValueEnum;
use nerve_tagging::SubwordLabels;
use serde::{Deserialize, Serialize};

/// Which subwords of a word carry its label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LabeledSubwords {
    /// The first, which serving reads.
    #[default]
    First,
    /// Every one.
    All,
}

impl From<LabeledSubwords> for SubwordLabels {
    fn from(of: LabeledSubwords) -> Self {
        match of {
            LabeledSubwords::First => Self::First,
            LabeledSubwords::All => Self::All,
        }
    }
}
