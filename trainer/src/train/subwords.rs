//! Which subwords carry a word's label in training, as an option.

use clap::ValueEnum;
use nerve_tagging::SubwordLabels;
use serde::{Deserialize, Serialize};

/// Which subwords of a word carry its label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LabelledSubwords {
    /// The first, which serving reads.
    #[default]
    First,
    /// Every one.
    All,
}

impl From<LabelledSubwords> for SubwordLabels {
    fn from(of: LabelledSubwords) -> Self {
        match of {
            LabelledSubwords::First => Self::First,
            LabelledSubwords::All => Self::All,
        }
    }
}
