//! An int8 transformer encoder, compiled for each instruction set, with the same bits on all of them.

#[cfg(test)]
mod accuracy;
mod activation;
mod aligned;
mod arena;
mod attention;
mod chunks;
mod encoder;
mod instructions;
mod linear;
mod math;
mod norm;
mod operator;
mod product;
mod run;
mod simd;
mod threads;

pub use activation::Activation;
pub use arena::Arena;
pub use encoder::{Encoder, EncoderError, Layer, Sequences, Shape};
pub use instructions::{InstructionSet, InstructionSetError};
pub use linear::{Affine, Linear, LinearError};
pub use norm::Norm;
pub use operator::{DOMAIN, OPERATOR, operator_domain};
