//! The network's operators over rows of tokens: on the CPU fused and vectorised, elsewhere candle's own.
//!
//! candle's own fused layer normalisation and softmax have no backward and cut the graph without a word, and its
//! element-wise operators use neither wide vectors nor several threads. Each operator here is a candle custom operator
//! with its gradient, checked against finite differences and against candle's plain operators.

mod activation;
mod attention;
mod dropout;
mod layer_norm;
mod linear;
mod matrix;
mod plain;
mod values;
mod vector;
mod weights;

pub(crate) use activation::activation;
pub(crate) use attention::attention;
pub(crate) use dropout::Dropout;
pub(crate) use layer_norm::layer_norm;
pub(crate) use linear::linear;
pub(crate) use values::values;
pub(crate) use weights::WeightGradients;

#[cfg(test)]
pub(crate) mod check;
