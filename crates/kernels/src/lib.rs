//! An int8 transformer encoder, compiled for each instruction set, with the same bits on all of them.
//!
//! A multiplication with an addition is rounded once everywhere, since that is what the fast instruction sets do. Portable Rust calls
//! `f32::mul_add` for it, which on x86-64 is a function of the C library: exact, but tens of times as slow as an instruction. It serves
//! as the reference of the tests and as the last resort, not for speed.

#[cfg(test)]
mod accuracy;
mod activation;
mod aligned;
mod arena;
mod attention;
mod buffer;
mod chunks;
mod dense;
mod encoder;
mod instructions;
mod linear;
mod math;
mod norm;
mod operator;
mod position_bias;
mod product;
mod quantization;
mod run;
mod simd;
mod threads;

pub use activation::Activation;
pub use arena::Arena;
pub use dense::{Bf16Error, Initial, Matrix, Products};
pub use encoder::{Encoder, EncoderError, Layer, Sequences, Shape};
pub use instructions::{InstructionSet, InstructionSetError};
pub use linear::{Affine, Linear, LinearError, PackedWeights};
pub use norm::Norm;
pub use operator::{DOMAIN, OPERATOR, operator_domain};
pub use position_bias::{PositionBias, PositionBiasError};
pub use quantization::Quantization;
