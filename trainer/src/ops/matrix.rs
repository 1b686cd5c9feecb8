//! Products of small matrices, and of any where the processor has no kernels of its own.

use gemm::{Parallelism, gemm};
use nerve_kernels::Matrix;

/// How a product is written to its destination.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Into {
    /// The product replaces the destination.
    Replace,
    /// The product is added to the destination.
    Add,
}

/// Writes `scale * a * b` to `out`, whose rows begin `row_stride` elements apart, on the calling thread.
///
/// Panics if the shapes do not match.
pub(super) fn multiply(
    scale: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
    out: &mut [f32],
    row_stride: usize,
    into: Into,
) {
    assert_eq!(a.columns(), b.rows(), "the inner extents of a product differ");
    // A matrix of this shape over the destination proves that the product is inside it.
    Matrix::new(out, a.rows(), b.columns(), row_stride);
    // SAFETY: the assertions keep the product inside `out`, which is mutably borrowed and therefore does not overlap
    // `a` or `b`.
    #[allow(unsafe_code)]
    unsafe {
        gemm_into(scale, a, b, out.as_mut_ptr(), row_stride, into);
    }
}

/// Writes `scale * a * b` to rows that begin `row_stride` elements apart.
///
/// # Safety
///
/// The inner dimensions of `a` and `b` must agree. `out` must be valid for every element of the product, nothing else
/// may read or write these elements during the call, and they must be initialized if the product is added to them.
#[allow(unsafe_code)]
unsafe fn gemm_into(scale: f32, a: Matrix<'_>, b: Matrix<'_>, out: *mut f32, row_stride: usize, into: Into) {
    // SAFETY: `Matrix::new` keeps every element of `a` and `b` inside its slice; the caller guarantees the rest.
    unsafe {
        gemm(
            a.rows(),
            b.columns(),
            a.columns(),
            out,
            1,
            row_stride as isize,
            into == Into::Add,
            a.data().as_ptr(),
            a.column_stride() as isize,
            a.row_stride() as isize,
            b.data().as_ptr(),
            b.column_stride() as isize,
            b.row_stride() as isize,
            1.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strided_and_transposed_products() {
        // Two columns of a table with three columns, multiplied by a row that is viewed as a column.
        let table = [1.0, 2.0, 9.0, 3.0, 4.0, 9.0];
        let a = Matrix::new(&table, 2, 2, 3);
        let b = Matrix::new(&[10.0, 100.0], 1, 2, 2).transposed();
        let mut out = [1.0, 7.0, 1.0];
        multiply(1.0, a, b, &mut out, 2, Into::Add);
        assert_eq!(out, [211.0, 7.0, 431.0]);
        multiply(0.5, a.transposed(), b, &mut out, 2, Into::Replace);
        assert_eq!(out, [155.0, 7.0, 210.0]);
    }
}
