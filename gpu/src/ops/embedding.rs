//! Token, segment and position embeddings.
//!
//! `x_t = E[ids_t] + E[segments_t] + P[positions_t]`, `E` the backbone's matrix followed by the
//! trained rows of the special tokens: GPT-2's token embedding is reused as segment embedding.

use crate::error::Result;
use crate::kernels::elem::Elem;
use crate::kernels::precision::upcast;
use crate::kernels::threads::for_rows;
use crate::kernels::{cpu, dispatch, fused, tensor};
use crate::tape::{Tape, Value};
use candle_core::{Device, Tensor};

/// The tables that rows are looked up in.
#[derive(Clone, Copy)]
pub struct Tables<'a> {
    /// Token embeddings [vocabulary, d].
    pub tokens: &'a Value,
    /// Rows of the special tokens [count, d], with ids from `vocabulary` on.
    pub added: Option<&'a Value>,
    /// Position embeddings [positions, d].
    pub positions: &'a Value,
}

/// Sum of the embeddings of each position. All ids must be in range (the model checks them).
///
/// # Shapes
/// → [tokens, d]
///
/// # Errors
/// Shapes that do not fit.
pub fn embedding(
    tape: &Tape,
    tables: Tables<'_>,
    ids: &[u32],
    segments: Option<&[u32]>,
    positions: &[u32],
) -> Result<Value> {
    if !fused(&tables.tokens.tensor) {
        return composed(tape, tables, ids, segments, positions);
    }
    let (vocabulary, d) = tables.tokens.tensor.dims2()?;
    let y = dispatch!(tables.tokens.tensor, T => forward::<T>(tables, ids, segments, positions, vocabulary, d))?;
    let mut inputs = vec![tables.tokens, tables.positions];
    inputs.extend(tables.added);
    let (token_slot, position_slot, added_slot) = (
        tables.tokens.slot(),
        tables.positions.slot(),
        tables.added.and_then(Value::slot),
    );
    let added = tables.added.map_or(Ok(0), |a| a.tensor.dim(0))?;
    let length = tables.positions.tensor.dim(0)?;
    let lookups: Vec<Vec<u32>> = std::iter::once(ids)
        .chain(segments)
        .map(<[u32]>::to_vec)
        .collect();
    let positions = positions.to_vec();
    Ok(tape.push(y, &inputs, move |g, slots| {
        let v = vocabulary as u32;
        if token_slot.is_some() {
            slots.add(token_slot, dispatch!(g, T => scatter::<T>(&g, &lookups, |id| (id < v).then_some(id as usize), vocabulary, d))?)?;
        }
        if added_slot.is_some() {
            slots.add(added_slot, dispatch!(g, T => scatter::<T>(&g, &lookups, |id| (id >= v).then(|| (id - v) as usize), added, d))?)?;
        }
        if position_slot.is_some() {
            let rows = [positions];
            slots.add(position_slot, dispatch!(g, T => scatter::<T>(&g, &rows, |p| Some(p as usize), length, d))?)?;
        }
        Ok(())
    }))
}

fn forward<T: Elem>(
    tables: Tables<'_>,
    ids: &[u32],
    segments: Option<&[u32]>,
    positions: &[u32],
    vocabulary: usize,
    d: usize,
) -> Result<Tensor> {
    let (tokens, places) = (cpu(&tables.tokens.tensor)?, cpu(&tables.positions.tensor)?);
    let (tokens, places) = (tokens.slice::<T>()?, places.slice::<T>()?);
    let added = tables.added.map(|a| cpu(&a.tensor)).transpose()?;
    let added = added.as_ref().map_or(Ok(&[] as &[T]), |a| a.slice::<T>())?;
    let row = |id: u32| {
        let id = id as usize;
        if id < vocabulary {
            &tokens[id * d..(id + 1) * d]
        } else {
            &added[(id - vocabulary) * d..(id - vocabulary + 1) * d]
        }
    };
    let mut y = vec![T::zero(); ids.len() * d];
    for_rows(
        &mut y,
        d,
        #[inline(always)]
        |i, out| {
            let p = positions[i] as usize;
            let (token, place) = (row(ids[i]), &places[p * d..(p + 1) * d]);
            for j in 0..d {
                out[j] = token[j] + place[j];
            }
            if let Some(s) = segments {
                for (o, s) in out.iter_mut().zip(row(s[i])) {
                    *o += *s;
                }
            }
        },
    );
    tensor(y, (ids.len(), d))
}

fn scatter<T: Elem>(
    g: &Tensor,
    lookups: &[Vec<u32>],
    place: impl Fn(u32) -> Option<usize>,
    rows: usize,
    d: usize,
) -> Result<Tensor> {
    let g = cpu(g)?;
    let g = g.slice::<T>()?;
    let mut out = vec![T::zero(); rows * d];
    for ids in lookups {
        for (t, id) in ids.iter().enumerate() {
            if let Some(r) = place(*id) {
                for (o, g) in out[r * d..(r + 1) * d]
                    .iter_mut()
                    .zip(&g[t * d..(t + 1) * d])
                {
                    *o += *g;
                }
            }
        }
    }
    tensor(out, (rows, d))
}

/// The same function in plain candle.
///
/// # Errors
/// As [`embedding`].
pub fn composed(
    tape: &Tape,
    tables: Tables<'_>,
    ids: &[u32],
    segments: Option<&[u32]>,
    positions: &[u32],
) -> Result<Value> {
    let device = tables.tokens.tensor.device().clone();
    let index = |ids: &[u32]| Tensor::from_slice(ids, ids.len(), &Device::Cpu)?.to_device(&device);
    let mut inputs = vec![tables.tokens, tables.positions];
    inputs.extend(tables.added);
    let mut out = tape.composed(&inputs, |a| {
        let table = if a.len() > 2 {
            Tensor::cat(&[&a[0], &a[2]], 0)?
        } else {
            a[0].clone()
        };
        let row = |table: &Tensor, ids: &[u32]| upcast(&table.index_select(&index(ids)?, 0)?);
        let mut y = (row(&table, ids)? + row(&a[1], positions)?)?;
        if let Some(s) = segments {
            y = (y + row(&table, s)?)?;
        }
        Ok(vec![y])
    })?;
    Ok(out.remove(0))
}
