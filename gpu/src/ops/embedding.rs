//! Token, segment and position embeddings.
//!
//! `x_t = E[ids_t] + E[segments_t] + P[positions_t]`, `E` the backbone's matrix followed by the
//! trained rows of the special tokens: GPT-2's token embedding is reused as segment embedding.

use super::driver::{self, Gradient, Op};
use crate::error::Result;
use crate::kernels::elem::Elem;
use crate::kernels::precision::upcast;
use crate::kernels::threads::for_rows;
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
    let (vocabulary, d) = tables.tokens.tensor.dims2()?;
    let op = Embedding {
        ids: ids.to_vec(),
        segments: segments.map(<[u32]>::to_vec),
        positions: positions.to_vec(),
        rows: [
            vocabulary,
            tables.positions.tensor.dim(0)?,
            tables.added.map_or(Ok(0), |a| a.tensor.dim(0))?,
        ],
        d,
    };
    let (tokens, positions) = (tables.tokens, tables.positions);
    let shape = (ids.len(), d);
    match tables.added {
        Some(added) => driver::run(tape, op, [tokens, positions, added], shape),
        None => driver::run(tape, op, [tokens, positions], shape),
    }
}

struct Embedding {
    ids: Vec<u32>,
    segments: Option<Vec<u32>>,
    positions: Vec<u32>,
    /// Rows of the tables: tokens, positions, special tokens.
    rows: [usize; 3],
    d: usize,
}

/// Inputs: the tables of tokens, of positions and, when there is one, of special tokens.
impl<const N: usize> Op<N> for Embedding {
    const READS: [bool; N] = [false; N];

    fn forward<T: Elem>(&self, inputs: [&[T]; N]) -> Vec<T> {
        let (d, vocabulary) = (self.d, self.rows[0]);
        let (tokens, positions) = (inputs[0], inputs[1]);
        let row = |id: u32| {
            let id = id as usize;
            if id < vocabulary {
                &tokens[id * d..(id + 1) * d]
            } else {
                &inputs[2][(id - vocabulary) * d..(id - vocabulary + 1) * d]
            }
        };
        let mut y = vec![T::zero(); self.ids.len() * d];
        for_rows(
            &mut y,
            d,
            #[inline(always)]
            |i, out| {
                let p = self.positions[i] as usize;
                let (token, position) = (row(self.ids[i]), &positions[p * d..(p + 1) * d]);
                for j in 0..d {
                    out[j] = token[j] + position[j];
                }
                if let Some(s) = &self.segments {
                    for (o, s) in out.iter_mut().zip(row(s[i])) {
                        *o += *s;
                    }
                }
            },
        );
        y
    }

    fn backward<T: Elem>(&self, _: [&[T]; N], g: &[T], wanted: [bool; N]) -> [Gradient<Vec<T>>; N] {
        let first_added = self.rows[0] as u32;
        std::array::from_fn(|table| {
            Gradient::when(wanted[table], || match table {
                0 => self.scatter(table, g, self.lookups(), |id| {
                    (id < first_added).then_some(id)
                }),
                1 => self.scatter(table, g, [&self.positions[..]], Some),
                _ => self.scatter(table, g, self.lookups(), |id| id.checked_sub(first_added)),
            })
        })
    }

    fn composed(&self, a: &[Tensor]) -> candle_core::Result<Tensor> {
        let table = match a {
            [tokens, _, added] => Tensor::cat(&[tokens, added], 0)?,
            _ => a[0].clone(),
        };
        let row = |table: &Tensor, ids: &[u32]| {
            let index = Tensor::from_slice(ids, ids.len(), &Device::Cpu)?;
            upcast(&table.index_select(&index.to_device(table.device())?, 0)?)
        };
        let y = (row(&table, &self.ids)? + row(&a[1], &self.positions)?)?;
        match &self.segments {
            Some(s) => y + row(&table, s)?,
            None => Ok(y),
        }
    }
}

impl Embedding {
    /// What is looked up among the tokens.
    fn lookups(&self) -> impl Iterator<Item = &[u32]> {
        std::iter::once(&self.ids[..]).chain(self.segments.as_deref())
    }

    /// The gradient of a table: that of each position added to the row that was looked up there.
    fn scatter<'a, T: Elem>(
        &self,
        table: usize,
        g: &[T],
        lookups: impl IntoIterator<Item = &'a [u32]>,
        row: impl Fn(u32) -> Option<u32>,
    ) -> Vec<T> {
        let d = self.d;
        let mut out = vec![T::zero(); self.rows[table] * d];
        for ids in lookups {
            for (g, id) in g.chunks_exact(d).zip(ids) {
                if let Some(r) = row(*id) {
                    for (o, g) in out[r as usize * d..][..d].iter_mut().zip(g) {
                        *o += *g;
                    }
                }
            }
        }
        out
    }
}
