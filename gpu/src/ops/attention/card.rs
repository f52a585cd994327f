//! Attention by the kernels of a card (`kernels/cuda/attention.cu`), by tiles.

use super::{Heads, Rows, Visible, both};
use crate::error::Result;
use crate::kernels::cuda::{Arg, Grid, empty, launch, upload};
use crate::ops::driver::hand_back_tensor;
use crate::ops::dropout::Dropout;
use crate::tape::{Tape, Value};
use candle_core::{DType, Tensor};

/// Queries, or keys, of a block (`TILE`), and its threads.
const TILE: usize = 64;
const THREADS: usize = 128;

/// Queries that attend to a prefix as if they were one row: so many blocks share the gradients of
/// its keys.
const CHUNK: usize = 512;

/// Whether there are kernels for heads of this width.
pub(super) fn fits(heads: Heads) -> bool {
    heads.width <= 128
}

pub(super) fn within_rows(
    tape: &Tape,
    qkv: &Value,
    rows: Rows<'_>,
    drop: Dropout,
) -> Result<(Value, Value)> {
    let x = qkv.tensor.contiguous()?;
    let (d, p) = (rows.heads.hidden(), rows.heads.width);
    let job = Job {
        heads: rows.heads,
        causal: rows.visible == Visible::Causal,
        drop,
        offsets: boundaries(rows.offsets, &x)?,
        rows: rows.offsets.len() - 1,
        queries: longest(rows.offsets),
        row: 3 * d,
        keys: None,
        key_head: p,
        key_row: 3 * d,
    };
    let [o, lse] = job.forward(&x, [(&x, d), (&x, 2 * d)])?;
    let (slot, results) = (qkv.slot(), [o.clone(), lse.clone()]);
    let values = tape.push_many(vec![o, lse], &[qkv], move |grads, slots| {
        let known = job.known(grads, results)?;
        let grad = empty(x.shape(), x.dtype(), x.device())?;
        let keys = [(&x, d), (&x, 2 * d)];
        job.query_gradient(&x, keys, &known, &grad, 3 * d)?;
        let tensors = [(&x, 0), keys[0], keys[1]].map(|(t, at)| Arg::InAt(t, at));
        let mut args = tensors.to_vec();
        args.extend(known.args());
        args.extend([Arg::OutAt(&grad, d), Arg::OutAt(&grad, 2 * d)]);
        args.extend([
            Arg::In(&job.offsets),
            Arg::U32(job.heads.count),
            Arg::U32(p),
        ]);
        args.extend([Arg::U32(3 * d), Arg::U32(usize::from(job.causal))]);
        args.extend([Arg::F32(job.heads.scale()), Arg::Dropout(drop)]);
        launch(
            &x,
            &job.kernel("_keys"),
            job.grid(job.queries, Side::Keys, &x),
            &args,
        )?;
        slots.add(slot, grad)
    });
    Ok(both(values))
}

pub(super) fn to_prefix(
    tape: &Tape,
    inputs: [&Value; 3],
    heads: Heads,
    drop: Dropout,
) -> Result<(Value, Value)> {
    let x = inputs[0].tensor.contiguous()?;
    let [k, v] = [inputs[1], inputs[2]].map(|t| t.tensor.to_dtype(x.dtype())?.contiguous());
    let (k, v) = (k?, v?);
    let ((tokens, total), (l, p)) = (x.dims2()?, (k.dim(1)?, heads.width));
    let offsets: Vec<usize> = (0..tokens).step_by(CHUNK).chain([tokens]).collect();
    let rows = offsets.len() - 1;
    let job = Job {
        heads,
        causal: false,
        drop,
        offsets: boundaries(&offsets, &x)?,
        rows,
        queries: longest(&offsets),
        row: total,
        keys: Some(upload(&[0, l as u32].repeat(rows), x.device())?),
        key_head: l * p,
        key_row: p,
    };
    let [o, lse] = job.forward(&x, [(&k, 0), (&v, 0)])?;
    let results = [o.clone(), lse.clone()];
    let places = inputs.map(|t| (t.slot(), t.tensor.dtype(), t.tensor.shape().clone()));
    let values = tape.push_many(vec![o, lse], &inputs, move |grads, slots| {
        let known = job.known(grads, results)?;
        let d = heads.hidden();
        let [of_q, of_k, of_v] = places;
        let mut args = [&x, &k, &v].map(Arg::In).to_vec();
        args.extend(known.args());
        if of_q.0.is_some() {
            let dq = empty((tokens, d), x.dtype(), x.device())?;
            job.query_gradient(&x, [(&k, 0), (&v, 0)], &known, &dq, d)?;
            hand_back_tensor(&dq.to_dtype(of_q.1)?, of_q.0, &of_q.2, slots)?;
        }
        if of_k.0.is_none() && of_v.0.is_none() {
            return Ok(());
        }
        let parts = || empty((rows, heads.count, l, p), DType::F32, x.device());
        let [dk, dv] = [parts()?, parts()?];
        args.extend([Arg::Out(&dk), Arg::Out(&dv), Arg::In(&job.offsets)]);
        args.extend([
            Arg::Maybe(job.keys.as_ref()),
            Arg::U32(heads.count),
            Arg::U32(p),
        ]);
        args.extend([
            Arg::U32(total),
            Arg::U32(l),
            Arg::F32(heads.scale()),
            Arg::Dropout(drop),
        ]);
        launch(
            &x,
            &job.kernel("_prefix"),
            job.grid(l, Side::Keys, &x),
            &args,
        )?;
        for (parts, (slot, dtype, _)) in [(dk, of_k), (dv, of_v)] {
            slots.add(slot, parts.sum(0)?.to_dtype(dtype)?)?;
        }
        Ok(())
    });
    Ok(both(values))
}

/// Keys and values of one layer for rows that are decoded: [slots · capacity, d], where the tokens
/// of a row are one behind the other in its slot.
pub(crate) struct Cache {
    /// Keys and values, none before the first token.
    tensors: Option<[Tensor; 2]>,
    capacity: usize,
    slots: usize,
    /// The slot and the number of tokens of each row.
    rows: Vec<(usize, usize)>,
}

impl Cache {
    /// An empty cache.
    pub(crate) fn new(rows: usize) -> Self {
        Self {
            tensors: None,
            capacity: 0,
            slots: rows,
            rows: (0..rows).map(|slot| (slot, 0)).collect(),
        }
    }

    /// Keeps only the rows at these indices; nothing is moved.
    pub(crate) fn keep(&mut self, rows: &[usize]) {
        self.rows = rows.iter().map(|r| self.rows[*r]).collect();
    }

    /// Adds the keys and values of the new tokens, and attends with their queries to all of their
    /// row's.
    ///
    /// # Shapes
    /// `qkv` [new tokens, 3d] → output [new tokens, d], log-sum-exp [new tokens, H].
    ///
    /// # Errors
    /// Shapes that do not fit; no row at all.
    pub(crate) fn attend(&mut self, qkv: &Tensor, rows: Rows<'_>) -> Result<[Tensor; 2]> {
        if self.rows.is_empty() {
            return Err(crate::Error::Batch("no rows to decode".into()));
        }
        let (x, d, p) = (qkv.contiguous()?, rows.heads.hidden(), rows.heads.width);
        let new: Vec<usize> = rows.offsets.windows(2).map(|w| w[1] - w[0]).collect();
        let most = self
            .rows
            .iter()
            .zip(&new)
            .map(|((_, seen), n)| seen + n)
            .max();
        self.reserve(most.unwrap_or(0), d, &x)?;
        let Some([keys, values]) = &self.tensors else {
            return Err(crate::Error::Batch("no token to decode".into()));
        };
        let (mut places, mut ranges) = (Vec::new(), Vec::new());
        for ((slot, seen), n) in self.rows.iter_mut().zip(new) {
            let first = *slot * self.capacity;
            places.extend((0..n).map(|i| (first + *seen + i) as u32));
            *seen += n;
            ranges.extend([first as u32, *seen as u32]);
        }
        let args = [
            Arg::In(&x),
            Arg::Out(keys),
            Arg::Out(values),
            Arg::In(&upload(&places, x.device())?),
            Arg::U32(d),
        ];
        launch(&x, "cache_append", Grid::blocks(places.len(), 256), &args)?;
        let job = Job {
            heads: rows.heads,
            causal: rows.visible == Visible::Causal,
            drop: Dropout::OFF,
            offsets: boundaries(rows.offsets, &x)?,
            rows: self.rows.len(),
            queries: longest(rows.offsets),
            row: 3 * d,
            keys: Some(upload(&ranges, x.device())?),
            key_head: p,
            key_row: d,
        };
        job.forward(&x, [(keys, 0), (values, 0)])
    }

    /// Makes room for rows of so many tokens: at least as much again as there was.
    fn reserve(&mut self, tokens: usize, d: usize, like: &Tensor) -> Result<()> {
        if tokens <= self.capacity {
            return Ok(());
        }
        let (before, capacity) = (self.capacity, tokens.max(2 * self.capacity).max(64));
        let grown = |old: Option<&Tensor>| match old {
            None => Tensor::zeros((self.slots * capacity, d), like.dtype(), like.device()),
            Some(old) => old
                .reshape((self.slots, before, d))?
                .pad_with_zeros(1, 0, capacity - before)?
                .reshape((self.slots * capacity, d)),
        };
        let [keys, values] = [0, 1].map(|i| grown(self.tensors.as_ref().map(|pair| &pair[i])));
        self.tensors = Some([keys?, values?]);
        self.capacity = capacity;
        Ok(())
    }
}

/// One attention of a batch.
struct Job {
    heads: Heads,
    causal: bool,
    drop: Dropout,
    /// The rows' boundaries among the queries, how many rows, and the queries of the longest.
    offsets: Tensor,
    rows: usize,
    queries: usize,
    /// Elements from a query to the next token's.
    row: usize,
    /// First key and number of keys of each row, where they are not the row's own.
    keys: Option<Tensor>,
    /// Elements from a head's keys to the next head's, and from a key to the next.
    key_head: usize,
    key_row: usize,
}

/// Which side a block keeps while the other goes by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Its queries: the forward pass.
    Queries,
    /// Its queries and the gradients of their outputs.
    QueriesBackward,
    /// Its keys and values.
    Keys,
}

/// What the backward pass knows: dO in the operands' type, LSE, and D − dLSE.
struct Known {
    of_output: Tensor,
    lse: Tensor,
    shift: Tensor,
}

impl Known {
    fn args(&self) -> [Arg<'_>; 3] {
        [
            Arg::In(&self.of_output),
            Arg::In(&self.lse),
            Arg::In(&self.shift),
        ]
    }
}

impl Job {
    /// The widths that there are kernels for.
    fn padded(&self) -> usize {
        self.heads.width.next_power_of_two().max(16)
    }

    fn kernel(&self, part: &str) -> String {
        format!("attention{part}_{}", self.padded())
    }

    /// Blocks for so many queries or keys of the longest row.
    fn grid(&self, longest: usize, side: Side, like: &Tensor) -> Grid {
        let (bytes, padded) = (like.dtype().size_in_bytes(), self.padded());
        let half = bytes == 2;
        let other = match (side, half, padded > 64) {
            (Side::Keys, true, _) | (_, true, true) | (_, false, false) => 32,
            (_, true, false) => 64,
            (_, false, true) => 16,
        };
        let buffers = if half { 2 } else { 1 };
        let kept = if side == Side::Queries {
            TILE
        } else {
            2 * TILE
        };
        let rows = kept + 2 * buffers * other;
        // LSE, D − dLSE and the two halves of dropout's key of each query that goes by
        let known = if side == Side::Keys {
            buffers * other * 16
        } else {
            0
        };
        Grid {
            blocks: [longest.div_ceil(TILE), self.heads.count, self.rows],
            threads: THREADS,
            shared: rows * (padded * bytes + 16) + known,
        }
    }

    /// What follows the tensors in a kernel's parameters.
    fn sizes(&self) -> Vec<Arg<'_>> {
        vec![
            Arg::In(&self.offsets),
            Arg::Maybe(self.keys.as_ref()),
            Arg::U32(self.heads.count),
            Arg::U32(self.heads.width),
            Arg::U32(self.row),
            Arg::U32(self.key_head),
            Arg::U32(self.key_row),
            Arg::U32(usize::from(self.causal)),
            Arg::F32(self.heads.scale()),
            Arg::Dropout(self.drop),
        ]
    }

    /// Output [tokens, d] and log-sum-exp [tokens, H] of the queries in `x` and of keys and values
    /// that begin at these elements.
    fn forward(&self, x: &Tensor, [k, v]: [(&Tensor, usize); 2]) -> Result<[Tensor; 2]> {
        let (tokens, heads) = (x.dim(0)?, self.heads);
        let o = empty((tokens, heads.hidden()), x.dtype(), x.device())?;
        let lse = empty((tokens, heads.count), DType::F32, x.device())?;
        let mut args = vec![Arg::In(x), Arg::InAt(k.0, k.1), Arg::InAt(v.0, v.1)];
        args.extend([Arg::Out(&o), Arg::Out(&lse)]);
        args.extend(self.sizes());
        launch(
            x,
            &self.kernel(""),
            self.grid(self.queries, Side::Queries, x),
            &args,
        )?;
        Ok([o, lse])
    }

    /// What the backward pass needs of the results' gradients.
    fn known(&self, grads: &mut [Option<Tensor>], [o, lse]: [Tensor; 2]) -> Result<Known> {
        let of_output = match grads[0].take() {
            Some(g) => g.to_dtype(o.dtype())?.contiguous()?,
            None => o.zeros_like()?,
        };
        let of_lse = grads[1]
            .take()
            .map(|g| g.to_dtype(DType::F32)?.contiguous());
        let of_lse = of_lse.transpose()?;
        let shift = empty(lse.shape(), DType::F32, o.device())?;
        let n = lse.elem_count();
        let args = [
            Arg::In(&of_output),
            Arg::In(&o),
            Arg::Maybe(of_lse.as_ref()),
            Arg::Out(&shift),
            Arg::U32(n),
            Arg::U32(self.heads.width),
        ];
        launch(&o, "attention_shift", Grid::rows(n), &args)?;
        Ok(Known {
            of_output,
            lse,
            shift,
        })
    }

    /// Writes the queries' gradient to the first columns of rows of `row` elements.
    fn query_gradient(
        &self,
        x: &Tensor,
        [k, v]: [(&Tensor, usize); 2],
        known: &Known,
        out: &Tensor,
        row: usize,
    ) -> Result<()> {
        let mut args = vec![Arg::In(x), Arg::InAt(k.0, k.1), Arg::InAt(v.0, v.1)];
        args.extend(known.args());
        args.push(Arg::Out(out));
        args.extend(self.sizes());
        args.push(Arg::U32(row));
        let grid = self.grid(self.queries, Side::QueriesBackward, x);
        launch(x, &self.kernel("_queries"), grid, &args)
    }
}

fn boundaries(offsets: &[usize], like: &Tensor) -> Result<Tensor> {
    let offsets: Vec<u32> = offsets.iter().map(|s| *s as u32).collect();
    upload(&offsets, like.device())
}

fn longest(offsets: &[usize]) -> usize {
    offsets.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{THREADS, TILE};

    #[test]
    fn blocks_are_those_that_the_kernels_are_written_for() {
        let kernels = include_str!("../../kernels/cuda/attention.cu");
        for (name, size) in [("TILE", TILE), ("THREADS", THREADS)] {
            let line = format!("constexpr int {name} = {size};");
            assert!(kernels.contains(&line), "{line}");
        }
    }
}
