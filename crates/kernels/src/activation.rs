//! The activation between the two products of the feed-forward network.

use crate::math::{gelu, gelu_tanh};
use crate::simd::vector::Simd;

/// The activation between the two products of the feed-forward network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// The Gaussian error linear unit, `x * (1 + erf(x / sqrt 2)) / 2`.
    Gelu,
    /// Its approximation with tanh.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

impl Activation {
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(self, simd: S, x: S::Floats) -> S::Floats {
        match self {
            Self::Gelu => gelu(simd, x),
            Self::GeluTanh => gelu_tanh(simd, x),
            Self::Relu => simd.max(x, simd.splat(0.0)),
        }
    }
}
