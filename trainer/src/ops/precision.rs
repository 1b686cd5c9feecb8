//! The values of the option `precision`.

use clap::ValueEnum;
use nerve_kernels::Bf16Error;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The format of the factors of matrix products in training steps: of linear layers, and on a GPU of attention too. Sums are f32; on a
/// GPU the products and the gradients of their factors are rounded to the same format. Weights, moments and everything else are f32.
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
        "fp16 needs a GPU (`device` cuda); on the CPU, begin a run in f32, or in bf16 where the processor has AVX-512 BF16"
    )]
    Fp16OnCpu,
    /// Pre-training, which runs on the CPU, has no products in fp16.
    #[error(
        "pre-training runs on the CPU, which has no products in fp16; use f32, or bf16 where the processor has AVX-512 BF16"
    )]
    Fp16InPretraining,
}
