//! Products on a card with what is around them: a factor, what the product is added to, a bias, an
//! activation or its slope.
//!
//! In bf16 cuBLASLt does all of it in one pass wherever it can ([`cuda::product`]); else candle's
//! product is followed by kernels of ours, in f32 and emulated always.

use super::cuda::product::{Matrix, Then, by_library};
use super::cuda::{self, Arg, Grid};
use super::inplace::take_columns;
use crate::error::Result;
use candle_core::{DType, Tensor};

/// The name of the activation's kernel that cuBLASLt has as well.
pub(crate) const GELU_TANH: &str = "gelu_tanh";

/// The fewest elements that a thread of a card takes.
const VECTOR: usize = 4;

/// `onto + scale · (a b + bias)`.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    /// The factors, of one type.
    pub(crate) factors: [Matrix<'a>; 2],
    /// The factor.
    pub(crate) scale: f64,
    /// The bias, of their type.
    pub(crate) bias: Option<&'a Tensor>,
    /// What it is added to, from which column on.
    pub(crate) onto: Option<(&'a Tensor, usize)>,
}

impl<'a> Product<'a> {
    /// `a b`.
    pub(crate) fn new(a: Matrix<'a>, b: Matrix<'a>) -> Self {
        Self {
            factors: [a, b],
            scale: 1.0,
            bias: None,
            onto: None,
        }
    }

    /// The same, scaled.
    pub(crate) fn scaled(self, scale: f64) -> Self {
        Self { scale, ..self }
    }

    /// The same, added to a matrix of the same shape.
    pub(crate) fn onto(self, other: Option<&'a Tensor>) -> Self {
        Self {
            onto: other.map(|t| (t, 0)),
            ..self
        }
    }

    fn shape(&self) -> (usize, usize) {
        let [a, b] = self.factors.map(|m| m.dims());
        (a[0], b[1])
    }

    /// Whether the library may be asked.
    fn suits_library(&self) -> bool {
        let first = self.factors[0].tensor;
        first.device().is_cuda() && first.dtype() == DType::BF16
    }

    fn new_result(&self) -> Result<Tensor> {
        let first = self.factors[0].tensor;
        cuda::empty(self.shape(), first.dtype(), first.device())
    }

    /// Whether candle's product is all of it.
    fn is_plain(&self) -> bool {
        let whole = |m: &Matrix<'_>| m.width == m.pitch();
        let alone = self.bias.is_none() && self.onto.is_none() && self.scale == 1.0;
        alone && self.factors.iter().all(whole)
    }

    /// The sum, in the type of `onto`, else in that of the factors.
    ///
    /// # Errors
    /// Shapes that do not fit; no memory.
    pub(crate) fn run(&self) -> Result<Tensor> {
        if !self.is_plain()
            && (self.bias.is_none() || self.scale == 1.0)
            && let Some(y) = self.by_library()?
        {
            return Ok(y);
        }
        self.by_kernels()
    }

    fn by_library(&self) -> Result<Option<Tensor>> {
        let (rows, columns) = self.shape();
        let whole = self.onto.is_none_or(|(t, _)| t.dims() == [rows, columns]);
        if !whole || !self.suits_library() {
            return Ok(None);
        }
        let y = self.new_result()?;
        let onto = self.onto.map(|(t, _)| Matrix::new(t));
        let then = self.bias.map_or(Then::Nothing, Then::Bias);
        let done = by_library(self.factors, self.scale, onto, Matrix::new(&y), then)?;
        Ok(done.then_some(y))
    }

    /// Candle's product.
    fn alone(&self) -> Result<Tensor> {
        let [a, b] = self.factors.map(by_itself);
        Ok(a?.matmul(&b?)?)
    }

    fn by_kernels(&self) -> Result<Tensor> {
        let product = self.alone()?;
        if self.bias.is_none() && self.onto.is_none() && self.scale == 1.0 {
            return Ok(product);
        }
        let (rows, width) = self.shape();
        let (onto, column) = self.onto.unzip();
        let total = onto.map_or(width, super::last_dim);
        let y = match onto {
            Some(onto) => cuda::empty((rows, total), onto.dtype(), onto.device())?,
            None => product.clone(),
        };
        let (grid, lanes) = Grid::lanes_a_row(rows, total, 16 / y.dtype().size_in_bytes());
        let args = [
            Arg::In(&product),
            Arg::Maybe(self.bias),
            Arg::Maybe(onto),
            Arg::Out(&y),
            Arg::U32(rows),
            Arg::U32(width),
            Arg::U32(column.unwrap_or(0)),
            Arg::U32(total),
            Arg::F32(self.scale),
            Arg::U32(lanes),
        ];
        cuda::launch_pair([&product, &y], "linear_finish", grid, &args)?;
        Ok(y)
    }

    /// The activation of this kernel's name of `a b + bias`, and what it was applied to, if that is
    /// to be kept.
    ///
    /// # Errors
    /// As [`Product::run`].
    pub(crate) fn activated(&self, kernel: &str, keep: bool) -> Result<(Tensor, Option<Tensor>)> {
        let may = kernel == GELU_TANH && self.scale == 1.0 && self.suits_library();
        if let (true, Some(bias)) = (may, self.bias) {
            let y = self.new_result()?;
            let before = keep.then(|| self.new_result()).transpose()?;
            let then = Then::Gelu(bias, before.as_ref());
            if by_library(self.factors, 1.0, None, Matrix::new(&y), then)? {
                return Ok((y, before));
            }
        }
        let before = self.run()?;
        Ok((activate(kernel, &before)?, keep.then_some(before)))
    }

    /// `scale · a b` times the slope of the activation of this kernel's name at `before`.
    ///
    /// # Errors
    /// As [`Product::run`].
    pub(crate) fn times_slope(&self, kernel: &str, before: &Tensor) -> Result<Tensor> {
        if kernel == GELU_TANH && self.suits_library() {
            let y = self.new_result()?;
            let then = Then::GeluSlope(before);
            if by_library(self.factors, self.scale, None, Matrix::new(&y), then)? {
                return Ok(y);
            }
        }
        times_slope(kernel, before, &self.run()?)
    }
}

/// A matrix as candle multiplies it.
fn by_itself(m: Matrix<'_>) -> Result<Tensor> {
    let t = match m.width == m.pitch() {
        true => m.tensor.clone(),
        false => take_columns(m.tensor, m.column, m.width)?,
    };
    Ok(if m.transposed { t.t()? } else { t })
}

/// The activation of this kernel's name, of every element.
///
/// # Errors
/// No memory.
pub(crate) fn activate(kernel: &str, x: &Tensor) -> Result<Tensor> {
    let y = cuda::empty(x.shape(), x.dtype(), x.device())?;
    let n = x.elem_count();
    let args = [Arg::In(x), Arg::Out(&y), Arg::U32(n)];
    cuda::launch(x, kernel, Grid::over(n.div_ceil(VECTOR)), &args)?;
    Ok(y)
}

/// A gradient times the activation's slope at `x`, in the type of `x`.
///
/// # Errors
/// No memory.
pub(crate) fn times_slope(kernel: &str, x: &Tensor, g: &Tensor) -> Result<Tensor> {
    let g = g.to_dtype(x.dtype())?;
    let dx = cuda::empty(x.shape(), x.dtype(), x.device())?;
    let n = x.elem_count();
    let args = [Arg::In(x), Arg::In(&g), Arg::Out(&dx), Arg::U32(n)];
    let name = format!("{kernel}_back");
    cuda::launch(x, &name, Grid::over(n.div_ceil(VECTOR)), &args)?;
    Ok(dx)
}
