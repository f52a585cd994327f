//! What cuBLASLt is asked for, where it can be.

use super::address;
use crate::error::Result;
use crate::kernels::last_dim;
use candle_core::{DType, Tensor};

/// A contiguous matrix or some of its columns, or the transpose of either.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) tensor: &'a Tensor,
    /// Its first column.
    pub(crate) column: usize,
    /// How many columns there are.
    pub(crate) width: usize,
    pub(crate) transposed: bool,
}

impl<'a> Matrix<'a> {
    /// All of it.
    pub(crate) fn new(tensor: &'a Tensor) -> Self {
        Self::columns(tensor, 0, last_dim(tensor))
    }

    /// The columns from this one on.
    pub(crate) fn columns(tensor: &'a Tensor, column: usize, width: usize) -> Self {
        Self {
            tensor,
            column,
            width,
            transposed: false,
        }
    }

    /// Its transpose.
    pub(crate) fn t(self) -> Self {
        Self {
            transposed: !self.transposed,
            ..self
        }
    }

    /// Rows and columns.
    pub(crate) fn dims(&self) -> [usize; 2] {
        let rows = self.tensor.elem_count() / self.pitch().max(1);
        match self.transposed {
            true => [self.width, rows],
            false => [rows, self.width],
        }
    }

    /// Elements from row to row of the tensor.
    pub(crate) fn pitch(&self) -> usize {
        last_dim(self.tensor)
    }

    /// Bytes of the tensor before the first element.
    pub(crate) fn skipped(&self) -> u64 {
        (self.column * self.tensor.dtype().size_in_bytes()) as u64
    }

    /// Whether its rows begin where the library wants them.
    fn fits(&self) -> Result<bool> {
        let first = address(self.tensor)? + self.skipped();
        Ok(self.tensor.elem_count() > 0
            && first.is_multiple_of(16)
            && fits(self.tensor, self.pitch()))
    }
}

fn fits(t: &Tensor, pitch: usize) -> bool {
    t.dtype() == DType::BF16 && pitch.is_multiple_of(8)
}

/// What follows a product in the same pass.
#[derive(Clone, Copy)]
pub(crate) enum Then<'a> {
    /// Nothing.
    Nothing,
    /// A bias is added to every row.
    Bias(&'a Tensor),
    /// A bias is added, and GELU in its tanh form applied. The other tensor gets what it was
    /// applied to.
    Gelu(&'a Tensor, Option<&'a Tensor>),
    /// The slope of that GELU at these places multiplies the product.
    GeluSlope(&'a Tensor),
}

impl Then<'_> {
    fn fits(&self) -> Result<bool> {
        let [vector, matrix] = match self {
            Self::Nothing => [None, None],
            Self::Bias(bias) => [Some(bias), None],
            Self::Gelu(bias, before) => [Some(bias), before.as_ref()],
            Self::GeluSlope(before) => [None, Some(before)],
        };
        let vector = vector.map_or(Ok(true), |v| {
            Ok::<_, crate::error::Error>(v.dtype() == DType::BF16 && address(v)? % 16 == 0)
        });
        let matrix = matrix.map_or(Ok(true), |m| Matrix::new(m).fits());
        Ok(vector? && matrix?)
    }
}

/// Writes `then(scale · a b + onto)` to `out`, where the tensors are on a card, in bf16, and begin
/// and have rows where cuBLASLt wants them; else nothing is done and the answer is no. `out` may be
/// `onto`; nobody else sees it.
///
/// # Errors
/// The device refuses.
pub(crate) fn by_library(
    factors: [Matrix<'_>; 2],
    scale: f64,
    onto: Option<Matrix<'_>>,
    out: Matrix<'_>,
    then: Then<'_>,
) -> Result<bool> {
    if !out.tensor.device().is_cuda() || !then.fits()? {
        return Ok(false);
    }
    for matrix in factors.iter().chain(&onto).chain([&out]) {
        if !matrix.fits()? {
            return Ok(false);
        }
    }
    match out.tensor.device() {
        #[cfg(feature = "cuda")]
        candle_core::Device::Cuda(device) => {
            super::cublaslt::product(device, factors, scale, onto, out, then)
        }
        _ => {
            let _ = scale;
            Ok(false)
        }
    }
}
