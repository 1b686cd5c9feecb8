//! The matrix products of linear layers, in the precision of a training.

use nerve_kernels::{Bf16Error, Initial, Matrix, Products};

use crate::ops::matrix::{Into, multiply};
use crate::ops::precision::Precision;

/// Multiplies matrices on the calling thread. The result depends on the matrices, the precision and the processor alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Multiplier(Option<Products>);

impl Default for Multiplier {
    /// In f32.
    fn default() -> Self {
        Self(Products::f32())
    }
}

impl Multiplier {
    /// The products of a precision; an error if this processor does not have them.
    pub(crate) fn new(precision: Precision) -> Result<Self, Bf16Error> {
        match precision {
            Precision::F32 => Ok(Self::default()),
            Precision::Bf16 => Products::bf16().map(|products| Self(Some(products))),
        }
    }

    /// The product `a * b` with contiguous rows. `initial` must not be the destination, and the inner extents must agree.
    pub(super) fn product(self, a: Matrix<'_>, b: Matrix<'_>, initial: Initial<'_>) -> Vec<f32> {
        if let Some(products) = self.0 {
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
        match self.0 {
            Some(products) => products.multiply(a, b, sum, b.columns(), Initial::Destination),
            None => multiply(1.0, a, b, sum, b.columns(), Into::Add),
        }
    }
}
