//! Matrices in slices.

#[cfg(target_arch = "x86_64")]
use std::ops::Range;

/// A view of a slice as a matrix with contiguous rows, or as the transpose of such a matrix.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'d> {
    // Invariant: for a matrix with elements, (rows - 1) * row_stride + (columns - 1) * column_stride < data.len(), and one of
    // the strides is 1.
    data: &'d [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'d> Matrix<'d> {
    /// A view whose row `i` begins at `data[i * row_stride]`. Panics if it exceeds the slice.
    pub fn new(data: &'d [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(
            is_inside(data.len(), rows, columns, row_stride),
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
    pub fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    /// Some rows and columns. Panics if the matrix does not have them.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn part(self, rows: Range<usize>, columns: Range<usize>) -> Self {
        assert!(
            rows.end <= self.rows && columns.end <= self.columns,
            "a part leaves its matrix"
        );
        let first = (rows.start.wrapping_mul(self.row_stride))
            .wrapping_add(columns.start.wrapping_mul(self.column_stride));
        Self {
            // The slice can end before the first element of a part without elements.
            data: self.data.get(first..).unwrap_or_default(),
            rows: rows.len(),
            columns: columns.len(),
            ..self
        }
    }

    /// The slice.
    pub fn data(self) -> &'d [f32] {
        self.data
    }

    /// The number of rows.
    pub fn rows(self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn columns(self) -> usize {
        self.columns
    }

    /// The distance in the slice from one row to the next.
    pub fn row_stride(self) -> usize {
        self.row_stride
    }

    /// The distance in the slice from one column to the next.
    pub fn column_stride(self) -> usize {
        self.column_stride
    }
}

/// Whether rows that begin `row_stride` elements apart are inside a slice of this length, and do not overlap.
pub(crate) fn is_inside(length: usize, rows: usize, columns: usize, row_stride: usize) -> bool {
    let end = |row: usize| row.checked_mul(row_stride)?.checked_add(columns);
    rows == 0 || columns == 0 || (columns <= row_stride && end(rows - 1).is_some_and(|end| end <= length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "leaves its slice")]
    fn a_matrix_past_the_end_is_refused() {
        Matrix::new(&[0.0; 5], 2, 3, 3);
    }

    #[test]
    #[should_panic(expected = "leaves its slice")]
    fn a_matrix_of_overflowing_extent_is_refused() {
        Matrix::new(&[0.0; 5], usize::MAX, 3, 3);
    }
}
