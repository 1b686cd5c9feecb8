//! The values of the option `precision`.

use clap::ValueEnum;
use nerve_kernels::Bf16Error;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The format of the factors of matrix products in training steps: of linear layers, and on a GPU of attention too. Sums, weights,
/// moments and everything else are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// f32.
    #[default]
    F32,
    /// f32 rounded to bf16, on a GPU or on processors with AVX-512 BF16.
    Bf16,
    /// f32 rounded to fp16, with a dynamic scale of the loss, on a GPU.
    Fp16,
}

/// Why the CPU does not have the products of a precision.
#[derive(Debug, Error)]
pub enum PrecisionError {
    /// This processor has no products in bf16.
    #[error("{0}; train with f32, or on another processor")]
    Bf16(#[from] Bf16Error),
    /// The CPU has no products in fp16.
    #[error(
        "fp16 needs a GPU (`device` cuda); on the CPU, train with f32, or with bf16 where the processor has AVX-512 BF16"
    )]
    Fp16OnCpu,
}
