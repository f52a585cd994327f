//! Writes into tensors that nobody else can see: sums of gradients and the optimiser's state. A
//! block of a matrix's columns is added here, and by a card's kernels also padded with zeros and
//! taken out of the matrix.

use super::cuda::{self, Arg, Grid};
use super::elem::Elem;
use super::threads::for_rows;
use super::{dispatch, fused, last_dim};
use crate::error::Result;
use candle_core::backend::BackendStorage as _;
use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Tensor};

/// An update of a slice from N others.
trait Update<const N: usize> {
    const NAME: &'static str;

    fn run<T: Elem>(&self, target: &mut [T], sources: [&[T]; N]);
}

/// An [`Update`] as candle runs it.
struct InPlace<'a, U>(&'a U);

impl<U: Update<1>> InplaceOp2 for InPlace<'_, U> {
    fn name(&self) -> &'static str {
        U::NAME
    }

    fn cpu_fwd(
        &self,
        target: &mut CpuStorage,
        layout: &Layout,
        s1: &CpuStorage,
        l1: &Layout,
    ) -> candle_core::Result<()> {
        dispatch!(target, T => {
            let sources = [source::<T>(s1, l1)?];
            self.0.run(elements::<T>(target, layout)?, sources);
        });
        Ok(())
    }
}

impl<U: Update<2>> InplaceOp3 for InPlace<'_, U> {
    fn name(&self) -> &'static str {
        U::NAME
    }

    fn cpu_fwd(
        &self,
        target: &mut CpuStorage,
        layout: &Layout,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> candle_core::Result<()> {
        dispatch!(target, T => {
            let sources = [source::<T>(s1, l1)?, source(s2, l2)?];
            self.0.run(elements::<T>(target, layout)?, sources);
        });
        Ok(())
    }
}

/// The mutable elements of contiguous CPU storage.
fn elements<'a, T: Elem>(
    storage: &'a mut CpuStorage,
    layout: &Layout,
) -> candle_core::Result<&'a mut [T]> {
    let Some((from, to)) = layout.contiguous_offsets() else {
        candle_core::bail!("an in-place kernel needs a contiguous tensor, found {layout:?}")
    };
    let any: &mut dyn std::any::Any = match storage {
        CpuStorage::F32(v) => v,
        CpuStorage::F64(v) => v,
        _ => candle_core::bail!("in-place kernels are for f32 and f64"),
    };
    match any.downcast_mut::<Vec<T>>() {
        Some(v) => Ok(&mut v[from..to]),
        None => candle_core::bail!("in-place kernel: operands of different types"),
    }
}

fn source<'a, T: Elem>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [T]> {
    let Some((from, to)) = layout.contiguous_offsets() else {
        candle_core::bail!("an in-place kernel needs a contiguous tensor, found {layout:?}")
    };
    Ok(&storage.as_slice::<T>()?[from..to])
}

/// Adds a block [rows, width] to the columns from `column` on of a matrix [rows, total].
struct AddBlock {
    column: usize,
    width: usize,
    total: usize,
}

impl Update<1> for AddBlock {
    const NAME: &'static str = "add-block";

    fn run<T: Elem>(&self, target: &mut [T], [block]: [&[T]; 1]) {
        let (columns, width) = (self.column..self.column + self.width, self.width);
        for_rows(
            target,
            self.total,
            #[inline(always)]
            |i, row| {
                let block = &block[i * width..(i + 1) * width];
                for (a, b) in row[columns.clone()].iter_mut().zip(block) {
                    *a += *b;
                }
            },
        );
    }
}

/// `into[:, column .. column + width] += block`, in place where the device has a kernel; returns
/// the sum.
///
/// `into` must not be visible to anybody else.
///
/// # Errors
/// Shapes that do not fit.
pub fn add_block(into: Tensor, block: &Tensor, column: usize) -> Result<Tensor> {
    let (total, width) = (last_dim(&into), last_dim(block));
    if fused(&into) {
        let op = AddBlock {
            column,
            width,
            total,
        };
        into.inplace_op2(block, &InPlace(&op))?;
        Ok(into)
    } else if cuda::runs(&into) && cuda::runs(block) {
        let (into, block) = (into.contiguous()?, block.contiguous()?);
        let name = format!(
            "add_block_{}_{}",
            cuda::suffix(into.dtype()),
            cuda::suffix(block.dtype())
        );
        let tensors = [Arg::Out(&into), Arg::In(&block)];
        run_on_columns(&name, tensors, &block, column, total)?;
        Ok(into)
    } else {
        Ok((&into + pad_columns(block, column, total)?)?)
    }
}

/// A matrix of zeros [rows, total] with `block` in its columns from `column` on.
///
/// # Errors
/// Shapes that do not fit.
pub fn pad_columns(block: &Tensor, column: usize, total: usize) -> Result<Tensor> {
    let width = last_dim(block);
    if width == total {
        return Ok(block.clone());
    }
    let axis = block.rank() - 1;
    if cuda::runs(block) {
        let block = block.contiguous()?;
        let mut shape = block.dims().to_vec();
        shape[axis] = total;
        let y = cuda::empty(shape, block.dtype(), block.device())?;
        let name = format!("pad_columns_{}", cuda::suffix(block.dtype()));
        run_on_columns(
            &name,
            [Arg::In(&block), Arg::Out(&y)],
            &block,
            column,
            total,
        )?;
        return Ok(y);
    }
    Ok(block
        .pad_with_zeros(axis, column, total - column - width)?
        .contiguous()?)
}

/// The columns `from .. from + width` of a matrix as a contiguous one of their own.
///
/// # Errors
/// Columns that the matrix does not have.
pub fn take_columns(x: &Tensor, from: usize, width: usize) -> Result<Tensor> {
    let total = last_dim(x);
    if !cuda::runs(x) || from + width > total {
        return Ok(x.narrow(1, from, width)?.force_contiguous()?);
    }
    let x = x.contiguous()?;
    let y = cuda::empty((x.dim(0)?, width), x.dtype(), x.device())?;
    let name = format!("take_columns_{}", cuda::suffix(x.dtype()));
    run_on_columns(&name, [Arg::In(&x), Arg::Out(&y)], &y, from, total)?;
    Ok(y)
}

/// Runs a card's kernel over the columns of `total` that a block has from `column` on.
fn run_on_columns(
    name: &str,
    tensors: [Arg<'_>; 2],
    block: &Tensor,
    column: usize,
    total: usize,
) -> Result<()> {
    let width = last_dim(block);
    let rows = block.elem_count() / width.max(1);
    let sizes = [rows, column, width, total].map(Arg::U32);
    let args = [&tensors[..], &sizes].concat();
    cuda::launch_named(block.device(), name, Grid::rows(rows), &args)
}

/// One AdamW moment: `m ← β m + (1 − β) gᵏ`, k = 1 or 2, with the gradient scaled by `scale`
/// (clipping) first.
pub struct Moment {
    /// β.
    pub beta: f64,
    /// Factor on the gradient.
    pub scale: f64,
    /// Whether the gradient is squared.
    pub squared: bool,
}

impl Update<1> for Moment {
    const NAME: &'static str = "moment";

    fn run<T: Elem>(&self, moment: &mut [T], [g]: [&[T]; 1]) {
        let (beta, rest, scale) = (T::of(self.beta), T::of(1.0 - self.beta), T::of(self.scale));
        for_rows(
            moment,
            4096,
            #[inline(always)]
            |i, row| {
                let n = row.len();
                for (m, g) in row.iter_mut().zip(&g[i * 4096..i * 4096 + n]) {
                    let g = *g * scale;
                    *m = beta * *m + rest * if self.squared { g * g } else { g };
                }
            },
        );
    }
}

impl Moment {
    /// Applies the update to `moment` in place; returns it.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn apply(&self, moment: Tensor, gradient: &Tensor) -> Result<Tensor> {
        if fused(&moment) {
            moment.inplace_op2(gradient, &InPlace(self))?;
            return Ok(moment);
        }
        let g = (gradient * self.scale)?;
        let g = if self.squared { g.sqr()? } else { g };
        Ok(((moment * self.beta)? + (g * (1.0 - self.beta))?)?)
    }
}

/// AdamW's step: `w ← w (1 − lr · decay) − lr · (m / c₁) / (√(v / c₂) + ε)`, c the bias
/// corrections.
pub struct AdamStep {
    /// Learning rate.
    pub lr: f64,
    /// Decoupled weight decay.
    pub decay: f64,
    /// ε.
    pub eps: f64,
    /// 1 − β₁ᵗ.
    pub c1: f64,
    /// 1 − β₂ᵗ.
    pub c2: f64,
}

impl Update<2> for AdamStep {
    const NAME: &'static str = "adam-step";

    fn run<T: Elem>(&self, weight: &mut [T], [m, v]: [&[T]; 2]) {
        let (shrink, rate) = (T::of(1.0 - self.lr * self.decay), T::of(self.lr / self.c1));
        let (c2, eps) = (T::of(self.c2), T::of(self.eps));
        for_rows(
            weight,
            4096,
            #[inline(always)]
            |i, row| {
                let from = i * 4096;
                for (j, w) in row.iter_mut().enumerate() {
                    *w = *w * shrink - rate * m[from + j] / ((v[from + j] / c2).sqrt() + eps);
                }
            },
        );
    }
}

impl AdamStep {
    /// Applies the step to `weight` in place; returns it.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn apply(&self, weight: Tensor, m: &Tensor, v: &Tensor) -> Result<Tensor> {
        if fused(&weight) {
            weight.inplace_op3(m, v, &InPlace(self))?;
            return Ok(weight);
        }
        let update = ((m * (self.lr / self.c1))? / ((v / self.c2)?.sqrt()? + self.eps)?)?;
        Ok(((weight * (1.0 - self.lr * self.decay))? - update)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::without_cpu_kernels;
    use super::*;
    use crate::ops::testing::{distance, parameters};
    use approx::assert_abs_diff_eq;
    use candle_core::DType;

    fn tensors(shapes: &[&[usize]], dtype: DType) -> Vec<Tensor> {
        let of = |p: crate::tape::Parameter| p.tensor;
        parameters(2, shapes, dtype).into_iter().map(of).collect()
    }

    /// In place and as new tensors: the same to rounding. Longer than one piece of the parallel
    /// loop.
    fn agree(shapes: &[&[usize]], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
        for (dtype, bound) in [(DType::F64, 1e-15), (DType::F32, 1e-6)] {
            let in_place = f(&tensors(shapes, dtype)).unwrap();
            let anew = without_cpu_kernels(|| f(&tensors(shapes, dtype))).unwrap();
            assert_eq!(in_place.dtype(), dtype);
            assert!(distance(&in_place, &anew) < bound);
        }
    }

    #[test]
    fn a_block_is_added_to_its_columns() {
        agree(&[&[5, 7], &[5, 3]], |t| add_block(t[0].clone(), &t[1], 2));
        agree(&[&[5, 7], &[5, 7]], |t| add_block(t[0].clone(), &t[1], 0));
        let into = Tensor::new(
            &[[1.0_f64, 2.0, 3.0], [4.0, 5.0, 6.0]],
            &candle_core::Device::Cpu,
        );
        let block = Tensor::new(&[[10.0_f64], [20.0]], &candle_core::Device::Cpu).unwrap();
        let sum = add_block(into.unwrap(), &block, 1).unwrap();
        let expected = [[1.0, 12.0, 3.0], [4.0, 25.0, 6.0]];
        assert_eq!(sum.to_vec2::<f64>().unwrap(), expected);
    }

    #[test]
    fn moments_are_those_of_their_formula() {
        let moment = |squared| Moment {
            beta: 0.9,
            scale: 0.5,
            squared,
        };
        for squared in [false, true] {
            agree(&[&[9_000], &[9_000]], |t| {
                moment(squared).apply(t[0].clone(), &t[1])
            });
            let t = tensors(&[&[2], &[2]], DType::F64);
            let [m, g] = [0, 1].map(|i| t[i].to_vec1::<f64>().unwrap()[1]);
            let g = if squared { 0.25 * g * g } else { 0.5 * g };
            let found = moment(squared).apply(t[0].clone(), &t[1]).unwrap();
            let found = found.to_vec1::<f64>().unwrap()[1];
            assert_abs_diff_eq!(found, 0.9 * m + 0.1 * g, epsilon = 1e-15);
        }
    }

    #[test]
    fn an_adam_step_is_that_of_its_formula() {
        let step = AdamStep {
            lr: 0.1,
            decay: 0.3,
            eps: 1e-2,
            c1: 0.19,
            c2: 0.002,
        };
        let apply = |t: &[Tensor]| step.apply(t[0].clone(), &t[1], &t[2].sqr()?);
        agree(&[&[9_000], &[9_000], &[9_000]], apply);
        let t = tensors(&[&[2], &[2], &[2]], DType::F64);
        let [w, m, v] = [0, 1, 2].map(|i| t[i].to_vec1::<f64>().unwrap()[1]);
        let expected = w * (1.0 - 0.1 * 0.3) - 0.1 * (m / 0.19) / ((v * v / 0.002).sqrt() + 1e-2);
        let found = apply(&t).unwrap().to_vec1::<f64>().unwrap()[1];
        assert_abs_diff_eq!(found, expected, epsilon = 1e-14);
    }

    #[test]
    fn operations_have_the_names_that_errors_of_candle_show() {
        let block = AddBlock {
            column: 0,
            width: 1,
            total: 1,
        };
        let moment = Moment {
            beta: 0.9,
            scale: 1.0,
            squared: false,
        };
        let step = AdamStep {
            lr: 0.1,
            decay: 0.0,
            eps: 1e-8,
            c1: 1.0,
            c2: 1.0,
        };
        assert_eq!(InplaceOp2::name(&InPlace(&block)), "add-block");
        assert_eq!(InplaceOp2::name(&InPlace(&moment)), "moment");
        assert_eq!(InplaceOp3::name(&InPlace(&step)), "adam-step");
    }

    #[test]
    fn what_cannot_be_written_in_place_is_refused() {
        let t = tensors(&[&[3, 4]], DType::F32).remove(0);
        let op = AddBlock {
            column: 0,
            width: 3,
            total: 3,
        };
        let apply = |into: &Tensor, block: &Tensor| {
            into.inplace_op2(block, &InPlace(&op))
                .unwrap_err()
                .to_string()
        };
        let cases = [
            (
                t.t().unwrap(),
                t.copy().unwrap(),
                "needs a contiguous tensor",
            ),
            (
                t.copy().unwrap(),
                t.t().unwrap(),
                "needs a contiguous tensor",
            ),
            (t.clone(), t.to_dtype(DType::F64).unwrap(), "dtype"),
        ];
        for (into, block, expected) in cases {
            let message = apply(&into, &block);
            assert!(message.contains(expected), "{message}");
        }
        let halves =
            [t.to_dtype(DType::BF16), t.to_dtype(DType::BF16)].map(std::result::Result::unwrap);
        let message = apply(&halves[0], &halves[1]);
        assert!(message.contains("BF16"), "{message}");
    }
}
