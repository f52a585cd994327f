//! A matrix inside a slice, and where a product is written.

use super::elem::Elem;

/// A matrix inside a slice: element (i, j) is `data[offset + i * row + j * column]`.
#[derive(Clone, Copy)]
pub struct Mat<'a, T> {
    pub(super) data: &'a [T],
    pub(super) offset: usize,
    /// Rows and columns.
    pub(super) shape: [usize; 2],
    /// Distance between rows.
    pub(super) row: usize,
    /// Distance between columns.
    pub(super) column: usize,
}

impl<'a, T> Mat<'a, T> {
    /// A contiguous matrix.
    pub fn new(data: &'a [T], [rows, columns]: [usize; 2]) -> Self {
        Self::strided(data, [rows, columns], 0, columns)
    }

    /// A contiguous matrix that lies column by column.
    pub fn by_columns(data: &'a [T], [rows, columns]: [usize; 2]) -> Self {
        Self::new(data, [columns, rows]).t()
    }

    /// Rows that begin at `offset`, `offset + stride`, ….
    pub fn strided(data: &'a [T], shape: [usize; 2], offset: usize, stride: usize) -> Self {
        Self {
            data,
            offset,
            shape,
            row: stride,
            column: 1,
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.shape[0]
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.shape[1]
    }

    /// The transpose, without a copy.
    pub fn t(self) -> Self {
        let [rows, columns] = self.shape;
        Self {
            shape: [columns, rows],
            row: self.column,
            column: self.row,
            ..self
        }
    }

    /// The block of this shape whose first element is (i, j).
    pub(super) fn block(self, [i, j]: [usize; 2], shape: [usize; 2]) -> Self {
        Self {
            offset: self.offset + i * self.row + j * self.column,
            shape,
            ..self
        }
    }

    /// Whether the last element, and so each, is inside the slice.
    pub(super) fn fits(&self) -> bool {
        let [rows, columns] = self.shape;
        self.offset + (rows - 1) * self.row + (columns - 1) * self.column < self.data.len()
    }
}

impl<'a, T: Elem> Mat<'a, T> {
    /// The same matrix, if its elements are of f32.
    pub(super) fn singles(self) -> Option<Mat<'a, f32>> {
        Some(Mat {
            data: T::singles(self.data)?,
            offset: self.offset,
            shape: self.shape,
            row: self.row,
            column: self.column,
        })
    }
}

/// Where a product is written: element (i, j) at `at + i · row + j`.
#[derive(Clone, Copy)]
pub(super) struct Destination<T> {
    pub(super) at: *mut T,
    pub(super) row: usize,
    /// Whether the product is added to what is there.
    pub(super) add: bool,
}
