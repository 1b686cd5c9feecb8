//! The activation functions of feed-forward layers.

use serde::{Deserialize, Serialize};

/// The feed-forward activation functions that Nerve trains and exports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// `x * Phi(x)`, exact, with the error function (Hendrycks and Gimpel 2016).
    #[default]
    #[serde(rename = "gelu")]
    Gelu,
    /// The tanh approximation of GELU.
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh")]
    GeluTanh,
    /// `max(x, 0)`.
    #[serde(rename = "relu")]
    Relu,
}
