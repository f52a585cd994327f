//! The loss by the kernels of a card (`loss.cu`): products by candle, one pass over the logits of a
//! chunk makes losses of rows and the gradient of the logits.
//!
//! The tables are laid one below the other and padded with zeros to a multiple of [`PAD`] rows, so
//! that rows of logits begin where the matrix units want them (50 257 is odd). Nothing is read
//! back: the loss is a scalar on the device, and so is the factor of the backward pass.

use super::{Head, Job};
use crate::error::{Error, Result};
use crate::kernels::cuda::{self, Arg, Grid};
use crate::kernels::precision::cast_like;
use crate::tape::{Slots, Tape, Value};
use candle_core::{DType, Tensor};

/// Bytes of the logits that exist at the same time, at most.
pub(super) const CHUNK: usize = 512 << 20;

/// What the number of logits of a row is a multiple of.
const PAD: usize = 64;

/// The targets on the device.
struct Targets {
    /// Positions and labels [n], in the order of the targets.
    positions: Tensor,
    labels: Tensor,
    /// The targets by position: those of position t are `order[starts[t] .. starts[t + 1]]`.
    starts: Tensor,
    order: Tensor,
}

impl Targets {
    fn new(targets: &[(usize, u32)], tokens: usize, like: &Tensor) -> Result<Self> {
        let n = targets.len();
        let mut starts = vec![0_u32; tokens + 1];
        for (t, _) in targets {
            starts[t + 1] += 1;
        }
        for t in 0..tokens {
            starts[t + 1] += starts[t];
        }
        let (mut next, mut order) = (starts.clone(), vec![0; n]);
        for (i, (t, _)) in targets.iter().enumerate() {
            order[next[*t] as usize] = i as u32;
            next[*t] += 1;
        }
        let positions = targets.iter().map(|(t, _)| *t as u32);
        let mut all: Vec<u32> = positions.chain(targets.iter().map(|(_, y)| *y)).collect();
        all.extend(starts);
        all.extend(order);
        let all = cuda::upload(&all, like.device())?; // one transfer
        Ok(Self {
            positions: all.narrow(0, 0, n)?,
            labels: all.narrow(0, n, n)?,
            starts: all.narrow(0, 2 * n, tokens + 1)?,
            order: all.narrow(0, 2 * n + tokens + 1, n)?,
        })
    }
}

/// What the backward pass multiplies by the loss's gradient.
#[derive(Default)]
struct Gradients {
    /// That of the hidden states of each target [n, d].
    rows: Option<Tensor>,
    /// Those of the tables, one below the other from this row on.
    tables: Option<(Tensor, usize)>,
}

/// [`super::cross_entropy`] with at most so many bytes of logits at a time.
pub(super) fn run(
    tape: &Tape,
    hidden: &Value,
    head: &Head,
    job: &Job<'_>,
    bytes: usize,
) -> Result<Value> {
    let inputs = head.inputs(hidden);
    let (tokens, d) = hidden.tensor.dims2()?;
    let sizes: Vec<usize> = head
        .tables()
        .iter()
        .map(|t| t.dim(0))
        .collect::<candle_core::Result<_>>()?;
    let width: usize = sizes.iter().sum();
    check(job.targets, tokens, width)?;
    let table = stacked(head)?;
    let x = hidden.tensor.contiguous()?;
    let targets = Targets::new(job.targets, tokens, &x)?;
    let wanted: Vec<bool> = inputs.iter().map(|v| v.tracked()).collect();
    let pass = Pass {
        hidden: &x,
        table: &table,
        targets: &targets,
        job,
        width,
        of_hidden: wanted[0],
        // of the rows from here on: of the special tokens alone where the others are frozen
        from: match (wanted[1], wanted.get(2).is_some_and(|w| *w)) {
            (true, _) => Some(0),
            (false, true) => Some(sizes[0]),
            (false, false) => None,
        },
    };
    let (loss, gradients) = pass.run(bytes)?;
    let slots_of: Vec<_> = inputs.iter().map(|v| v.slot()).collect();
    let types: Vec<DType> = inputs.iter().map(|v| v.tensor.dtype()).collect();
    Ok(tape.push(loss, &inputs, move |g, slots| {
        let g = g.to_dtype(DType::F32)?.reshape(1)?;
        if let Some(rows) = gradients.rows {
            let dh = targets.scatter(&rows, &g, (tokens, d), types[0])?;
            slots.add(slots_of[0], dh)?;
        }
        let Some((sum, mut at)) = gradients.tables else {
            return Ok(());
        };
        at = sizes[0] - at.min(sizes[0]); // rows of the first table in the sum
        let first = sum.narrow(0, 0, at)?;
        scaled(&first, &g, types[1], slots_of[1], slots)?;
        if let (Some(count), Some(slot)) = (sizes.get(1), slots_of.get(2)) {
            scaled(&sum.narrow(0, at, *count)?, &g, types[2], *slot, slots)?;
        }
        Ok(())
    }))
}

/// The kernels read what targets point at.
fn check(targets: &[(usize, u32)], tokens: usize, width: usize) -> Result<()> {
    let outside = |(t, y): &&(usize, u32)| *t >= tokens || *y as usize >= width;
    match targets.iter().find(outside) {
        Some((t, y)) => Err(Error::Batch(format!(
            "labels: {y} at position {t}; there are {tokens} positions and {width} ids"
        ))),
        None => Ok(()),
    }
}

/// The tables one below the other, and zeros.
fn stacked(head: &Head) -> Result<Tensor> {
    let first = &head.tokens.tensor;
    let mut parts = Vec::new();
    for table in head.tables() {
        parts.push(cast_like(table, first)?.contiguous()?);
    }
    let rows: usize = parts.iter().map(|t| t.dims()[0]).sum();
    let more = rows.next_multiple_of(PAD) - rows;
    if more > 0 {
        parts.push(Tensor::zeros(
            (more, first.dim(1)?),
            first.dtype(),
            first.device(),
        )?);
    }
    Ok(Tensor::cat(&parts, 0)?)
}

/// Hands a table's gradient, times a factor, to its slot.
fn scaled(
    sum: &Tensor,
    factor: &Tensor,
    dtype: DType,
    slot: Option<usize>,
    slots: &mut Slots,
) -> Result<()> {
    if slot.is_none() {
        return Ok(());
    }
    let (out, n) = (
        cuda::empty(sum.shape(), dtype, sum.device())?,
        sum.elem_count(),
    );
    let args = [Arg::In(sum), Arg::In(factor), Arg::Out(&out), Arg::U32(n)];
    cuda::launch_pair([sum, &out], "loss_scaled", Grid::over(n.div_ceil(4)), &args)?;
    slots.add(slot, out)
}

/// The forward pass and what it keeps of the gradients.
struct Pass<'a> {
    hidden: &'a Tensor,
    table: &'a Tensor,
    targets: &'a Targets,
    job: &'a Job<'a>,
    /// Logits of a row.
    width: usize,
    /// Whether the hidden states want a gradient.
    of_hidden: bool,
    /// From which row on the tables want one.
    from: Option<usize>,
}

impl Pass<'_> {
    fn run(&self, bytes: usize) -> Result<(Tensor, Gradients)> {
        let (device, n) = (self.hidden.device(), self.job.targets.len());
        let (pitch, d) = self.table.dims2()?;
        let losses = cuda::empty(n, DType::F32, device)?;
        let most = (bytes / (pitch * self.table.dtype().size_in_bytes())).max(1);
        let size = n.div_ceil(n.div_ceil(most)); // chunks of one size
        let (mut rows, mut tables) = (Vec::new(), None);
        for from in (0..n).step_by(size) {
            let count = size.min(n - from);
            let x = self.gather(from, count, d)?;
            let z = x.matmul(&self.table.t()?)?;
            self.losses(&z, from, &losses.narrow(0, from, count)?)?;
            if self.of_hidden {
                rows.push(z.matmul(self.table)?);
            }
            if let Some(first) = self.from {
                let dz = match first {
                    0 => z,
                    _ => z.narrow(1, first, self.width - first)?.contiguous()?,
                };
                let part = dz.t()?.matmul(&x)?;
                tables = Some(add(tables, part, count == n)?);
            }
        }
        let loss = cuda::empty((), DType::F32, device)?;
        let args = [Arg::In(&losses), Arg::Out(&loss), Arg::U32(n)];
        let grid = Grid::row_a_block(1, n, 1);
        cuda::launch_named(device, "loss_mean", grid, &args)?;
        let gradients = Gradients {
            rows: match rows.len() {
                0 => None,
                _ => Some(Tensor::cat(&rows, 0)?),
            },
            tables: tables.zip(self.from),
        };
        Ok((loss, gradients))
    }

    /// The hidden states of some targets [count, d] in the tables' type.
    fn gather(&self, from: usize, count: usize, d: usize) -> Result<Tensor> {
        let x = cuda::empty((count, d), self.table.dtype(), self.hidden.device())?;
        let positions = self.targets.positions.narrow(0, from, count)?;
        let (grid, lanes) = Grid::lanes_a_row(count, d, 4);
        let args = [
            Arg::In(self.hidden),
            Arg::In(&positions),
            Arg::Out(&x),
            Arg::U32(count),
            Arg::U32(d),
            Arg::U32(lanes),
        ];
        cuda::launch_pair([self.hidden, &x], "loss_gather", grid, &args)?;
        Ok(x)
    }

    /// Writes the losses of rows of logits, which become their gradients.
    fn losses(&self, z: &Tensor, from: usize, losses: &Tensor) -> Result<()> {
        let (count, pitch) = z.dims2()?;
        let labels = self.targets.labels.narrow(0, from, count)?;
        let args = [
            Arg::Out(z),
            Arg::In(&labels),
            Arg::Out(losses),
            Arg::U32(self.width),
            Arg::U32(pitch),
            Arg::F32(self.job.smoothing),
            Arg::F32(self.job.targets.len() as f64),
            Arg::U32(usize::from(self.of_hidden || self.from.is_some())),
        ];
        let each = 16 / z.dtype().size_in_bytes();
        cuda::launch(z, "loss_rows", Grid::row_a_block(count, pitch, each), &args)
    }
}

/// The sum of the chunks' gradients of the tables: in f32, but as the product left it where there
/// is one chunk.
fn add(sum: Option<Tensor>, part: Tensor, only: bool) -> Result<Tensor> {
    let Some(sum) = sum else {
        return Ok(match only || part.dtype() == DType::F32 {
            true => part,
            false => part.to_dtype(DType::F32)?,
        });
    };
    let n = part.elem_count();
    let args = [Arg::In(&part), Arg::Out(&sum), Arg::U32(n)];
    cuda::launch(&part, "loss_add", Grid::over(n.div_ceil(4)), &args)?;
    Ok(sum)
}

impl Targets {
    /// The sum of the targets' rows [n, d] at each position, times a factor.
    fn scatter(
        &self,
        rows: &Tensor,
        factor: &Tensor,
        (tokens, d): (usize, usize),
        dtype: DType,
    ) -> Result<Tensor> {
        let out = cuda::empty((tokens, d), dtype, rows.device())?;
        let (grid, lanes) = Grid::lanes_a_row(tokens, d, 4);
        let args = [
            Arg::In(rows),
            Arg::In(&self.starts),
            Arg::In(&self.order),
            Arg::In(factor),
            Arg::Out(&out),
            Arg::U32(tokens),
            Arg::U32(d),
            Arg::U32(lanes),
        ];
        cuda::launch_pair([rows, &out], "loss_scatter", grid, &args)?;
        Ok(out)
    }
}
