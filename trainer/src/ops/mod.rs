//! The operators of the network on rows of tokens: fused and vectorized on the CPU, candle's own on other devices.
//!
//! candle's fused layer normalization and softmax have no backward pass and end the graph silently. Its element-wise
//! operators use neither wide vectors nor several threads. Each operator here is a candle custom operator with its
//! gradient, tested against finite differences and against candle's plain operators.

pub(crate) mod activation;
pub(crate) mod attention;
mod attention_blocks;
pub(crate) mod crf;
pub(crate) mod disentangled;
pub(crate) mod distance_rows;
pub(crate) mod dropout;
pub(crate) mod feed_forward;
pub(crate) mod gated;
mod heads;
pub(crate) mod layer_norm;
pub(crate) mod linear;
mod mask;
mod matrix;
pub(crate) mod multiplier;
mod plain;
pub(crate) mod position_bias;
pub(crate) mod precision;
pub(crate) mod relative_positions;
pub(crate) mod residual;
pub(crate) mod rotary;
pub(crate) mod rotary_attention;
pub(crate) mod self_attention;
pub(crate) mod values;
mod vector;
mod weight_mask;
pub(crate) mod weights;

pub(crate) use activation::activation;
pub(crate) use disentangled::disentangled_attention;
pub(crate) use layer_norm::layer_norm;
pub(crate) use linear::linear;
pub(crate) use values::values;

#[cfg(test)]
pub(crate) mod check;
#[cfg(test)]
mod mask_source_tests;
