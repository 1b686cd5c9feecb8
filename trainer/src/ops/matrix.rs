//! Products of row-major matrices that are stored in slices.

use gemm::{Parallelism, gemm};
use pulp::Arch;

/// A view of a slice as a matrix with contiguous rows, or as the transpose of such a matrix.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'d> {
    data: &'d [f32],
    rows: usize,
    columns: usize,
    // Invariant: for a matrix with elements, (rows - 1) * row_stride + (columns - 1) * column_stride < data.len().
    row_stride: usize,
    column_stride: usize,
}

impl<'d> Matrix<'d> {
    /// A view whose row `i` begins at `data[i * row_stride]`. Panics if it exceeds the slice.
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

    /// The transposed view.
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
    assert_eq!(a.columns, b.rows, "the inner extents of a product differ");
    assert!(
        inside(out.len(), a.rows, b.columns, row_stride),
        "a product leaves its slice"
    );
    // SAFETY: the assertions keep the product inside `out`, which is mutably borrowed and therefore does not overlap
    // `a` or `b`.
    #[allow(unsafe_code)]
    unsafe {
        gemm_into(scale, a, b, out.as_mut_ptr(), row_stride, into);
    }
}

/// The product `a * b` with contiguous rows, computed on the calling thread.
///
/// Panics if the shapes do not match.
pub(super) fn product(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    assert_eq!(a.columns, b.rows, "the inner extents of a product differ");
    let mut out = Vec::with_capacity(a.rows * b.columns);
    // SAFETY: `Matrix::new` and the assertion above keep every read inside its slice. `out` has the capacity for
    // every element of the product; each element is written, and none is read before it is written.
    #[allow(unsafe_code)]
    unsafe {
        gemm_into(1.0, a, b, out.as_mut_ptr(), b.columns, Into::Replace);
        out.set_len(a.rows * b.columns);
    }
    out
}

/// The edge of the square blocks in which a matrix is transposed: the elements of one vector.
const BLOCK: usize = 16;

/// The transpose, `[columns, rows]`, of a `[rows, columns]` matrix.
///
/// The matrix product packs a transposed operand element by element, so it is faster to transpose the matrix by
/// blocks first.
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
                        transpose_block(data, columns, row, column, &mut out, rows);
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

/// Transposes one whole block.
#[inline(always)]
fn transpose_block(data: &[f32], columns: usize, row: usize, column: usize, out: &mut [f32], rows: usize) {
    let mut block = [[0f32; BLOCK]; BLOCK];
    for (i, line) in block.iter_mut().enumerate() {
        line.copy_from_slice(&data[(row + i) * columns + column..][..BLOCK]);
    }
    for j in 0..BLOCK {
        let line: [f32; BLOCK] = std::array::from_fn(|i| block[i][j]);
        out[(column + j) * rows + row..][..BLOCK].copy_from_slice(&line);
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
