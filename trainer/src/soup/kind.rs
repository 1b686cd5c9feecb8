//! Which checkpoints are in a soup, as an option.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Which checkpoints are in a soup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SoupKind {
    /// All of them.
    Uniform,
    /// In the order of their dev entity F1, those with which the soup's is not lower than without.
    Greedy,
}

impl fmt::Display for SoupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uniform => "uniform",
            Self::Greedy => "greedy",
        })
    }
}
