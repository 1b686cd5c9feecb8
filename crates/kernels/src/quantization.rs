//! The quantization of a linear layer's input.

use crate::linear::Affine;

/// The quantization of a linear layer's input: the value of each dimension is multiplied by its factor, if there are factors, and
/// rounded to steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantization {
    /// The steps.
    pub affine: Affine,
    /// The factors of the dimensions (Xiao et al. 2023, *SmoothQuant*), as many as the input is wide.
    pub factors: Option<Vec<f32>>,
}

impl From<Affine> for Quantization {
    fn from(affine: Affine) -> Self {
        Self {
            affine,
            factors: None,
        }
    }
}
