//! (IA)³'s operation: `l ⊙ x` for every token, in some columns of x.

use super::driver::{self, Gradient, Op};
use crate::error::Result;
use crate::kernels::cuda::{self, Arg, Grid, rows};
use crate::kernels::elem::{Elem, simd};
use crate::kernels::precision::{cast_like, upcast};
use crate::kernels::threads::for_rows;
use crate::tape::{Tape, Value};
use candle_core::Tensor;
use std::ops::Range;

/// `l ⊙ x` in as many columns of x as l has entries, from `column` on; the others stay as they are.
///
/// # Shapes
/// `x` is [tokens, total] and `l` has `width` entries; the result is [tokens, total].
///
/// # Errors
/// Shapes that do not fit.
pub fn rescale(tape: &Tape, x: &Value, l: &Value, column: usize) -> Result<Value> {
    let ((tokens, total), width) = (x.tensor.dims2()?, l.tensor.dims1()?);
    let columns = column..column + width;
    if columns.end > total {
        let message = format!("rescale: columns {columns:?} of x [{tokens}, {total}]");
        return Err(candle_core::Error::Msg(message).into());
    }
    driver::run(tape, Rescale { total, columns }, [x, l], (tokens, total))
}

struct Rescale {
    total: usize,
    columns: Range<usize>,
}

impl Rescale {
    fn times<T: Elem>(&self, rows: &[T], l: &[T]) -> Vec<T> {
        let mut y = rows.to_vec();
        for_rows(
            &mut y,
            self.total,
            #[inline(always)]
            |_, row| {
                let row = &mut row[self.columns.clone()];
                row.iter_mut().zip(l).for_each(|(y, l)| *y *= *l);
            },
        );
        y
    }

    fn times_on_card(&self, rows: &Tensor, l: &Tensor) -> Result<Tensor> {
        let (tokens, l) = (rows.dim(0)?, l.to_dtype(rows.dtype())?);
        let y = cuda::empty(rows.shape(), rows.dtype(), rows.device())?;
        let args = [
            Arg::In(rows),
            Arg::In(&l),
            Arg::Out(&y),
            Arg::U32(tokens),
            Arg::U32(self.columns.start),
            Arg::U32(self.columns.len()),
            Arg::U32(self.total),
        ];
        cuda::launch(rows, "rescale", Grid::rows(tokens), &args)?;
        Ok(y)
    }

    /// Σ over tokens of g ∘ x.
    fn factor_gradient<T: Elem>(&self, x: &[T], g: &[T]) -> Vec<T> {
        let mut dl = vec![T::zero(); self.columns.len()];
        simd(
            #[inline(always)]
            || {
                for (x, g) in x.chunks_exact(self.total).zip(g.chunks_exact(self.total)) {
                    let (x, g) = (&x[self.columns.clone()], &g[self.columns.clone()]);
                    for j in 0..dl.len() {
                        dl[j] += g[j] * x[j];
                    }
                }
            },
        );
        dl
    }
}

impl Op<2> for Rescale {
    fn forward<T: Elem>(&self, [x, l]: [&[T]; 2]) -> Vec<T> {
        self.times(x, l)
    }

    fn backward<T: Elem>(
        &self,
        [x, l]: [&[T]; 2],
        g: &[T],
        [of_x, of_l]: [bool; 2],
    ) -> [Gradient<Vec<T>>; 2] {
        [
            Gradient::when(of_x, || self.times(g, l)),
            Gradient::when(of_l, || self.factor_gradient(x, g)),
        ]
    }

    fn forward_on_card(&self, [x, l]: [&Tensor; 2]) -> Result<Tensor> {
        self.times_on_card(x, l)
    }

    fn backward_on_card(
        &self,
        [x, l]: [Option<&Tensor>; 2],
        g: &Tensor,
        [of_x, of_l]: [bool; 2],
    ) -> Result<[Gradient<Tensor>; 2]> {
        let (Some(x), Some(l)) = (x, l) else {
            unreachable!("the driver saves both")
        };
        let g = g.to_dtype(x.dtype())?;
        let columns = self.columns.clone();
        Ok([
            Gradient::try_when(of_x, || self.times_on_card(&g, l))?,
            Gradient::try_when(of_l, || rows::sum_rows(&g, Some(x), columns))?,
        ])
    }

    fn composed(&self, a: &[Tensor]) -> candle_core::Result<Tensor> {
        let (x, l, Range { start, end }) = (upcast(&a[0])?, upcast(&a[1])?, self.columns.clone());
        let mut blocks = vec![x.narrow(1, start, end - start)?.broadcast_mul(&l)?];
        if start > 0 {
            blocks.insert(0, x.narrow(1, 0, start)?);
        }
        if end < self.total {
            blocks.push(x.narrow(1, end, self.total - end)?);
        }
        cast_like(&Tensor::cat(&blocks, 1)?, &a[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::agree;

    #[test]
    fn every_form_multiplies_the_columns_and_passes_the_rest() {
        for column in [0, 2, 5] {
            agree(
                &[&[7, 9], &[4]],
                |tape, v| Ok(vec![rescale(tape, &v[0], &v[1], column)?]),
                |tape, v| {
                    Ok(vec![tape.composed(&[&v[0], &v[1]], |a| {
                        let change = (&a[1] - 1.0)?.pad_with_zeros(0, column, 5 - column)?;
                        a[0].broadcast_mul(&(change + 1.0)?)
                    })?])
                },
            );
        }
    }

    #[test]
    fn more_factors_than_columns_are_an_error() {
        let tape = Tape::off();
        let ones = |shape: &[usize]| {
            let device = candle_core::Device::Cpu;
            Value::constant(Tensor::ones(shape, candle_core::DType::F64, &device).unwrap())
        };
        let message = rescale(&tape, &ones(&[2, 3]), &ones(&[3]), 1).unwrap_err();
        assert!(
            message.to_string().contains("columns 1..4 of x [2, 3]"),
            "{message}"
        );
    }
}
