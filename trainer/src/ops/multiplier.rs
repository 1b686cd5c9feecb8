//! The matrix products of linear layers, in the precision of a training.

use candle_core::{DType, Device, Tensor};
use nerve_kernels::{Initial, Matrix, Products};

use crate::ops::matrix::{Into, multiply};
use crate::ops::precision::{Precision, PrecisionError};

/// Multiplies matrices: on the CPU with Nerve's products on the calling thread, whose results depend on the matrices, the precision
/// and the processor alone; elsewhere with candle's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Multiplier {
    products: Option<Products>,
    /// The type that the composed operators round factors to, where it is not f32.
    factors: Option<DType>,
}

impl Default for Multiplier {
    /// In f32.
    fn default() -> Self {
        Self {
            products: Products::f32(),
            factors: None,
        }
    }
}

impl Multiplier {
    /// The products of a precision on the CPU; an error if this processor does not have them.
    pub(crate) fn new(precision: Precision) -> Result<Self, PrecisionError> {
        match precision {
            Precision::F32 => Ok(Self::default()),
            Precision::Bf16 => Ok(Self {
                products: Some(Products::bf16()?),
                factors: None,
            }),
            Precision::Fp16 => Err(PrecisionError::Fp16OnCpu),
        }
    }

    /// The products of a precision on a GPU, where the factors of linear layers and of attention are rounded. With rounded factors
    /// the operators are those composed of candle's on the CPU too.
    pub(crate) fn composed(precision: Precision) -> Self {
        Self {
            factors: match precision {
                Precision::F32 => None,
                Precision::Bf16 => Some(DType::BF16),
                Precision::Fp16 => Some(DType::F16),
            },
            ..Self::default()
        }
    }

    /// Whether operators on tensors of this device are composed of candle's.
    pub(super) fn is_composed(self, device: &Device) -> bool {
        self.factors.is_some() || !device.is_cpu()
    }

    /// A factor of a product of the composed operators: `x`, rounded to the type of the factors.
    pub(crate) fn factor(self, x: &Tensor) -> candle_core::Result<Tensor> {
        match self.factors {
            Some(factors) => x.to_dtype(factors),
            None => Ok(x.clone()),
        }
    }

    /// The product `a * b` with contiguous rows. `initial` must not be the destination, and the inner extents must agree.
    pub(super) fn product(self, a: Matrix<'_>, b: Matrix<'_>, initial: Initial<'_>) -> Vec<f32> {
        if let Some(products) = self.products {
            return products.product(a, b, initial);
        }
        let mut out = match initial {
            Initial::Row(row) => row.repeat(a.rows()),
            Initial::Zero | Initial::Destination => vec![0.0; a.rows() * b.columns()],
        };
        multiply(1.0, a, b, &mut out, b.columns(), Into::Add);
        out
    }

    /// Adds the product `a * b` to a matrix with contiguous rows. The extents must agree.
    pub(super) fn add_product(self, a: Matrix<'_>, b: Matrix<'_>, sum: &mut [f32]) {
        match self.products {
            Some(products) => products.multiply(a, b, sum, b.columns(), Initial::Destination),
            None => multiply(1.0, a, b, sum, b.columns(), Into::Add),
        }
    }
}
