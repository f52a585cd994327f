//! Token, segment and position embeddings.
//!
//! `x_t = E[ids_t] + E[segments_t] + P[positions_t]`, `E` the backbone's matrix followed by the
//! trained rows of the special tokens: GPT-2's token embedding is reused as segment embedding.

use super::driver::{self, Gradient, Op};
use crate::error::Result;
use crate::kernels::cuda::{self, Arg, Grid, rows};
use crate::kernels::elem::Elem;
use crate::kernels::precision::upcast;
use crate::kernels::threads::for_rows;
use crate::tape::{Tape, Value};
use candle_core::{DType, Device, Tensor};

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
        dtype: tables.tokens.tensor.dtype(),
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
    /// The type of the tables, and of their gradients on a card.
    dtype: DType,
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

    fn forward_on_card(&self, inputs: [&Tensor; N]) -> Result<Tensor> {
        // tables of one type; mixed ones in f32
        let dtype = match inputs.iter().all(|t| t.dtype() == self.dtype) {
            true => self.dtype,
            false => DType::F32,
        };
        let mut tables = Vec::with_capacity(N);
        for table in inputs {
            tables.push(table.to_dtype(dtype)?);
        }
        let (count, device) = (self.ids.len(), inputs[0].device());
        let segments = self.segments.as_deref().unwrap_or_default();
        let lists = [&self.ids[..], &self.positions, segments];
        let [ids, positions, segments] = rows::upload_all(lists, device)?;
        let y = cuda::empty((count, self.d), DType::F32, device)?;
        let args = [
            Arg::In(&tables[0]),
            Arg::In(&tables[1]),
            Arg::Maybe(tables.get(2)),
            Arg::In(&ids),
            Arg::In(&positions),
            Arg::Maybe(self.segments.as_ref().map(|_| &segments)),
            Arg::Out(&y),
            Arg::U32(count),
            Arg::U32(self.d),
            Arg::U32(self.rows[0]),
        ];
        cuda::launch(&tables[0], "embedding", Grid::rows(count), &args)?;
        Ok(y)
    }

    fn backward_on_card(
        &self,
        _: [Option<&Tensor>; N],
        g: &Tensor,
        wanted: [bool; N],
    ) -> Result<[Gradient<Tensor>; N]> {
        let first_added = self.rows[0] as u32;
        let mut gradients = [const { Gradient::Unwanted }; N];
        for (table, gradient) in gradients.iter_mut().enumerate() {
            *gradient = Gradient::try_when(wanted[table], || {
                let pairs = match table {
                    0 => pairs(self.lookups(), |id| (id < first_added).then_some(id)),
                    1 => pairs([&self.positions[..]], Some),
                    _ => pairs(self.lookups(), |id| id.checked_sub(first_added)),
                };
                rows::scatter(g, pairs, self.rows[table], self.dtype)
            })?;
        }
        Ok(gradients)
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

/// Rows of a table, each with the position that it was looked up at.
fn pairs<'a>(
    lookups: impl IntoIterator<Item = &'a [u32]>,
    row: impl Fn(u32) -> Option<u32>,
) -> Vec<(u32, u32)> {
    let lookups = lookups.into_iter();
    let positions = lookups.flat_map(|ids| ids.iter().zip(0_u32..));
    positions
        .filter_map(|(id, at)| Some((row(*id)?, at)))
        .collect()
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
