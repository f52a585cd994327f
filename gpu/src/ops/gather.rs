//! Moving rows and columns: lookup of rows, matrices side by side.

use crate::error::Result;
use crate::kernels::cuda::{self, rows};
use crate::kernels::inplace::take_columns;
use crate::tape::{Tape, Value};
use candle_core::{Device, Tensor};

/// The rows of `x` at these indices.
///
/// # Shapes
/// `x` [n, d], m indices → [m, d].
///
/// # Errors
/// An index that is out of range.
pub fn gather_rows(tape: &Tape, x: &Value, indices: &[u32]) -> Result<Value> {
    let index = Tensor::from_slice(indices, indices.len(), &Device::Cpu)?;
    let index = index.to_device(x.tensor.device())?;
    let y = x.tensor.index_select(&index, 0)?;
    let (slot, like) = (x.slot(), x.tensor.clone());
    let pairs = slot.map(|_| indices.iter().copied().zip(0_u32..).collect());
    Ok(tape.push(y, &[x], move |g, slots| {
        slots.add_with(slot, || {
            if let (Some(pairs), true) = (pairs, cuda::runs(&g)) {
                return rows::scatter(&g.contiguous()?, pairs, like.dim(0)?, like.dtype());
            }
            let zeros = like.zeros_like()?;
            Ok(zeros.index_add(&index, &g.contiguous()?, 0)?)
        })
    }))
}

/// Matrices with the same number of rows side by side.
///
/// # Shapes
/// [n, d_1], [n, d_2], … → [n, d_1 + d_2 + …].
///
/// # Errors
/// Numbers of rows that differ.
pub fn concatenate(tape: &Tape, parts: &[Value]) -> Result<Value> {
    let tensors: Vec<&Tensor> = parts.iter().map(|p| &p.tensor).collect();
    let y = Tensor::cat(&tensors, 1)?;
    let inputs: Vec<&Value> = parts.iter().collect();
    let mut slots_of = Vec::new();
    let mut from = 0;
    for p in parts {
        let width = p.tensor.dim(1)?;
        slots_of.push((p.slot(), from, width));
        from += width;
    }
    Ok(tape.push(y, &inputs, move |g, slots| {
        for (slot, from, width) in slots_of {
            slots.add_with(slot, || take_columns(&g, from, width))?;
        }
        Ok(())
    }))
}
