//! Products of row-major matrices inside slices.

use gemm::{Parallelism, gemm};
use pulp::Arch;

/// A matrix inside a slice: rows of elements next to one another, or the transpose of such.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'d> {
    data: &'d [f32],
    rows: usize,
    columns: usize,
    // Invariant: (rows - 1) * row_stride + (columns - 1) * column_stride < data.len(), for a matrix of any element.
    row_stride: usize,
    column_stride: usize,
}

impl<'d> Matrix<'d> {
    /// The matrix whose row `i` begins at `data[i * row_stride]`. Panics where it leaves the slice.
    pub(super) fn new(data: &'d [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(
            inside(data.len(), rows, columns, row_stride),
            "a matrix leaves its slice"
        );
        Self {
            data,
            rows,
            columns,
            row_stride,
            column_stride: 1,
        }
    }

    /// The matrix with rows and columns exchanged.
    pub(super) fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

fn inside(length: usize, rows: usize, columns: usize, row_stride: usize) -> bool {
    rows == 0 || columns == 0 || (columns <= row_stride && (rows - 1) * row_stride + columns <= length)
}

/// What becomes of a product's destination.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Into {
    /// The product replaces it.
    Replace,
    /// The product is added to it.
    Add,
}

/// `scale * a * b` into the rows of `out` that begin `row_stride` apart, on this thread alone.
///
/// Panics where the matrices do not fit one another.
pub(super) fn multiply(
    scale: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
    out: &mut [f32],
    row_stride: usize,
    into: Into,
) {
    assert_eq!(a.columns, b.rows, "the inner extents of a product differ");
    assert!(
        inside(out.len(), a.rows, b.columns, row_stride),
        "a product leaves its slice"
    );
    // SAFETY: the assertions hold the product inside `out`, which is borrowed mutably and so apart from `a` and `b`.
    #[allow(unsafe_code)]
    unsafe {
        gemm_into(scale, a, b, out.as_mut_ptr(), row_stride, into);
    }
}

/// `a * b`, its rows next to one another, on this thread alone.
///
/// Panics where the matrices do not fit one another.
pub(super) fn product(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    assert_eq!(a.columns, b.rows, "the inner extents of a product differ");
    let mut out = Vec::with_capacity(a.rows * b.columns);
    // SAFETY: `Matrix::new` and the assertion above hold every element that is read inside its slice; `out` has room for
    // every element of the product, and each of them is written and none read before.
    #[allow(unsafe_code)]
    unsafe {
        gemm_into(1.0, a, b, out.as_mut_ptr(), b.columns, Into::Replace);
        out.set_len(a.rows * b.columns);
    }
    out
}

/// Edge of the square blocks in which a matrix is transposed: a vector's elements.
const BLOCK: usize = 16;

/// The transpose, `[columns, rows]`, of the elements of a matrix `[rows, columns]`.
///
/// A product packs a matrix that lies across its vectors element by element; it is faster to turn it over by blocks first.
pub(super) fn transposed(data: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    assert_eq!(data.len(), rows * columns, "a matrix is not its slice");
    let mut out = vec![0f32; data.len()];
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for row in (0..rows).step_by(BLOCK) {
                let height = BLOCK.min(rows - row);
                for column in (0..columns).step_by(BLOCK) {
                    let width = BLOCK.min(columns - column);
                    if height == BLOCK && width == BLOCK {
                        turn(data, columns, row, column, &mut out, rows);
                        continue;
                    }
                    for i in row..row + height {
                        for j in column..column + width {
                            out[j * rows + i] = data[i * columns + j];
                        }
                    }
                }
            }
        },
    );
    out
}

/// One whole block of a transpose.
#[inline(always)]
fn turn(data: &[f32], columns: usize, row: usize, column: usize, out: &mut [f32], rows: usize) {
    let mut block = [[0f32; BLOCK]; BLOCK];
    for (i, line) in block.iter_mut().enumerate() {
        line.copy_from_slice(&data[(row + i) * columns + column..][..BLOCK]);
    }
    for j in 0..BLOCK {
        let line: [f32; BLOCK] = std::array::from_fn(|i| block[i][j]);
        out[(column + j) * rows + row..][..BLOCK].copy_from_slice(&line);
    }
}

/// `scale * a * b` into rows that begin `row_stride` apart.
///
/// # Safety
/// The inner extents of `a` and `b` agree, and every element of the product has its place behind `out`, which nobody else
/// reads or writes meanwhile and which is initialised where it is added to.
#[allow(unsafe_code)]
unsafe fn gemm_into(scale: f32, a: Matrix<'_>, b: Matrix<'_>, out: *mut f32, row_stride: usize, into: Into) {
    // SAFETY: `Matrix::new` holds every element of `a` and `b` inside its slice; the caller answers for the rest.
    unsafe {
        gemm(
            a.rows,
            b.columns,
            a.columns,
            out,
            1,
            row_stride as isize,
            into == Into::Add,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
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
        // Two columns of a three-column table, times a row of numbers standing as a column.
        let table = [1.0, 2.0, 9.0, 3.0, 4.0, 9.0];
        let a = Matrix::new(&table, 2, 2, 3);
        let b = Matrix::new(&[10.0, 100.0], 1, 2, 2).transposed();
        let mut out = [1.0, 7.0, 1.0];
        multiply(1.0, a, b, &mut out, 2, Into::Add);
        assert_eq!(out, [211.0, 7.0, 431.0]);
        multiply(0.5, a.transposed(), b, &mut out, 2, Into::Replace);
        assert_eq!(out, [155.0, 7.0, 210.0]);
    }

    #[test]
    fn a_matrix_turned_over() {
        for (rows, columns) in [(16, 32), (19, 35), (3, 40), (0, 4)] {
            let data: Vec<f32> = (0..rows * columns).map(|at| at as f32).collect();
            let turned = transposed(&data, rows, columns);
            for (at, &value) in turned.iter().enumerate() {
                assert_eq!(value, data[at % rows * columns + at / rows], "{rows} x {columns}");
            }
        }
    }

    #[test]
    fn a_product_of_its_own() {
        let table = [1.0, 2.0, 3.0, 4.0];
        let a = Matrix::new(&table, 2, 2, 2);
        assert_eq!(product(a, a.transposed()), [5.0, 11.0, 11.0, 25.0]);
        let nothing = Matrix::new(&[], 2, 0, 0);
        assert_eq!(product(nothing, nothing.transposed()), [0.0; 4]);
    }

    #[test]
    #[should_panic(expected = "leaves its slice")]
    fn a_matrix_past_the_end_is_refused() {
        Matrix::new(&[0.0; 5], 2, 3, 3);
    }
}
