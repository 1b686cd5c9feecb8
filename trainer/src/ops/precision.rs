//! The values of the option `precision`.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The format of the factors in the matrix products of linear layers. Sums, weights, moments and everything else are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// f32.
    #[default]
    F32,
    /// f32 rounded to bf16, on processors with AVX-512 BF16.
    Bf16,
}
