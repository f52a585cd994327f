//! Dropout and the residual connection, with masks that are a hash ([`Dropout`]).

use crate::error::Result;
use crate::kernels::cuda::{self, Arg, Grid};
use crate::kernels::elem::Elem;
use crate::kernels::last_dim;
pub use crate::kernels::mask::{Dropout, mix};
use crate::kernels::precision::cast_like;
use crate::kernels::threads::for_rows;
use crate::kernels::{cpu, dispatch, fused, fused_pair, tensor, with_slices};
use crate::tape::{Tape, Value};
use candle_core::{DType, Tensor};

/// `x ∘ mask`.
///
/// # Errors
/// A candle error.
pub fn dropout(tape: &Tape, x: &Value, drop: Dropout) -> Result<Value> {
    if drop.is_off() {
        return Ok(x.clone());
    }
    let y = masked(&x.tensor, drop)?;
    let slot = x.slot();
    Ok(tape.push(y, &[x], move |g, slots| slots.add(slot, masked(&g, drop)?)))
}

fn masked(x: &Tensor, drop: Dropout) -> Result<Tensor> {
    if cuda::runs(x) {
        return masked_on_card(x, drop, x.dtype());
    }
    if !fused(x) {
        return Ok((x * drop.mask_like(x)?)?);
    }
    dispatch!(x, T => {
        let mut y = cpu(x)?.slice::<T>()?.to_vec();
        drop.thin(&mut y, last_dim(x));
        tensor(y, x.shape())
    })
}

/// [`masked`] with a result of this type.
fn masked_on_card(x: &Tensor, drop: Dropout, dtype: DType) -> Result<Tensor> {
    let x = match (x.dtype(), dtype) {
        (DType::BF16, DType::F32) => x.to_dtype(DType::F32)?,
        _ => x.contiguous()?,
    };
    let (y, width) = (cuda::empty(x.shape(), dtype, x.device())?, last_dim(&x));
    let rows = x.elem_count() / width.max(1);
    let args = [
        Arg::In(&x),
        Arg::Out(&y),
        Arg::U32(rows),
        Arg::U32(width),
        Arg::Dropout(drop),
    ];
    if x.dtype() == dtype {
        cuda::launch(&x, "dropout", Grid::rows(rows), &args)?;
    } else {
        cuda::launch_named(x.device(), "dropout_f32_bf16", Grid::rows(rows), &args)?;
    }
    Ok(y)
}

/// `x + branch ∘ mask` in the type of `x`.
fn residual_on_card(x: &Tensor, branch: &Tensor, drop: Dropout) -> Result<Tensor> {
    let (wide, branch) = (x.to_dtype(DType::F32)?.contiguous()?, branch.contiguous()?);
    let (rows, width) = (x.elem_count() / last_dim(x).max(1), last_dim(x));
    let y = cuda::empty(x.shape(), DType::F32, x.device())?;
    let args = [
        Arg::In(&wide),
        Arg::In(&branch),
        Arg::Out(&y),
        Arg::U32(rows),
        Arg::U32(width),
        Arg::Dropout(drop),
    ];
    cuda::launch(&branch, "residual", Grid::rows(rows), &args)?;
    Ok(y.to_dtype(x.dtype())?)
}

/// `x + drop(branch)`: the residual connection.
///
/// # Errors
/// Shapes that do not fit.
pub fn residual(tape: &Tape, x: &Value, branch: &Value, drop: Dropout) -> Result<Value> {
    let y = if cuda::runs(&x.tensor) && cuda::runs(&branch.tensor) {
        residual_on_card(&x.tensor, &branch.tensor, drop)?
    } else {
        sum_of(&x.tensor, &branch.tensor, drop)?
    };
    let kind = branch.tensor.dtype();
    let (xs, bs) = (x.slot(), branch.slot());
    Ok(tape.push(y, &[x, branch], move |g, slots| {
        if bs.is_some() {
            match (drop.is_off(), kind == g.dtype()) {
                (true, true) => slots.pass(bs, g.clone())?,
                _ if cuda::runs(&g) => slots.add(bs, masked_on_card(&g, drop, kind)?)?,
                (true, false) => slots.add(bs, g.to_dtype(kind)?)?,
                (false, _) => slots.add(bs, masked(&g, drop)?.to_dtype(kind)?)?,
            }
        }
        slots.pass(xs, g)
    }))
}

/// [`residual`]'s sum on the CPU, or in candle's operations.
fn sum_of(x: &Tensor, branch: &Tensor, drop: Dropout) -> Result<Tensor> {
    let branch = match drop.is_off() {
        true => branch.clone(),
        false => masked(branch, drop)?,
    };
    if !fused_pair(x, &branch) {
        return Ok((x + cast_like(&branch, x)?)?);
    }
    dispatch!(x, T => with_slices::<T, _, 2>([x, &branch], |[a, b]| {
        tensor(sum(a, b, last_dim(x)), x.shape())
    }))?
}

fn sum<T: Elem>(a: &[T], b: &[T], width: usize) -> Vec<T> {
    let mut y = vec![T::zero(); a.len()];
    for_rows(
        &mut y,
        width,
        #[inline(always)]
        |i, row| {
            let from = i * width;
            for (j, y) in row.iter_mut().enumerate() {
                *y = a[from + j] + b[from + j];
            }
        },
    );
    y
}
