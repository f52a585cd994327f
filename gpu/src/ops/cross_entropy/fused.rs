//! The loss over slices: the logits of a chunk of positions become their gradient in place.

use super::{Head, Job, LossAndGradients};
use crate::error::Result;
use crate::kernels::elem::{Elem, max, simd, sum};
use crate::kernels::gemm::{Mat, MatMut, Product, Shared};
use crate::kernels::threads::map_tasks;
use crate::kernels::{few_rows, tensor, with_some_slices};
use candle_core::Tensor;

/// Positions whose logits exist at the same time.
const CHUNK: usize = 128;

/// One of the head's tables, [rows, d], whose logits begin at column `from`.
struct Table<'a, T> {
    rows: Mat<'a, T>,
    from: usize,
    /// Whether operands are rounded to bf16.
    in_bf16: bool,
}

impl<T: Elem> Table<'_, T> {
    /// A product with the table, or with the gradient of its logits.
    fn product<'b>(&self, left: Mat<'b, T>, right: Mat<'b, T>) -> Product<'b, T> {
        left.times(right).in_bf16(self.in_bf16).in_parallel()
    }
}

/// The tables that have rows, and the number of all logits.
fn tables<'a, T>(data: [&'a [T]; 2], d: usize, in_bf16: bool) -> (Vec<Table<'a, T>>, usize) {
    let (mut tables, mut from) = (Vec::new(), 0);
    for data in data {
        let count = data.len() / d;
        if count > 0 {
            let rows = Mat::new(data, [count, d]);
            tables.push(Table {
                rows,
                from,
                in_bf16,
            });
        }
        from += count;
    }
    (tables, from)
}

fn slices_of<'a>(hidden: &'a Tensor, head: &'a Head) -> [Option<&'a Tensor>; 3] {
    let added = head.added.as_ref().map(|a| &a.tensor);
    [Some(hidden), Some(&head.tokens.tensor), added]
}

pub(super) fn logits<T: Elem>(hidden: &Tensor, head: &Head) -> Result<Tensor> {
    let (rows, d) = hidden.dims2()?;
    with_some_slices::<T, _, 3>(slices_of(hidden, head), |[h, e, a]| {
        let (tables, width) = tables([e, a], d, head.in_bf16);
        let mut out = vec![T::zero(); rows * width];
        score(&mut out, width, Mat::new(h, [rows, d]), &tables);
        tensor(out, (rows, width))
    })?
}

/// Writes the logits of hidden states.
fn score<T: Elem>(out: &mut [T], width: usize, hidden: Mat<'_, T>, tables: &[Table<'_, T>]) {
    let shared = Shared::new(out);
    for table in tables {
        let (dst, w) = (MatMut::strided(shared, table.from, width), table.rows.t());
        match few_rows::serves(hidden.rows(), table.in_bf16) {
            true => few_rows::product_into(dst, hidden, w, T::one()),
            false => table.product(hidden, w).write(dst),
        }
    }
}

pub(super) fn run<T: Elem>(
    hidden: &Tensor,
    head: &Head,
    job: &Job<'_>,
    wanted: &[bool],
) -> Result<LossAndGradients> {
    let (tokens, d) = hidden.dims2()?;
    with_some_slices::<T, _, 3>(slices_of(hidden, head), |[h, e, a]| {
        let (tables, width) = tables([e, a], d, head.in_bf16);
        let lengths = [tokens * d, e.len(), a.len()];
        let mut grads: Vec<Vec<T>> = lengths
            .iter()
            .zip(wanted)
            .map(|(length, wanted)| vec![T::zero(); if *wanted { *length } else { 0 }])
            .collect();
        let mut loss = 0.0;
        let mut logits = vec![T::zero(); CHUNK.min(job.targets.len()) * width];
        let mut rows = Vec::with_capacity(CHUNK * d);
        for chunk in job.targets.chunks(CHUNK) {
            rows.clear();
            for (t, _) in chunk {
                rows.extend_from_slice(&h[t * d..(t + 1) * d]);
            }
            let n = chunk.len();
            let (z, rows) = (&mut logits[..n * width], Mat::new(&rows, [n, d]));
            score(z, width, rows, &tables);
            loss += job.losses(z, width, chunk).iter().sum::<f64>();
            add_gradients(&mut grads, z, width, rows, chunk, &tables);
        }
        let loss = tensor(vec![T::of(loss / job.targets.len() as f64)], ())?;
        let made = |g: Vec<T>| {
            let rows = g.len() / d;
            (rows > 0).then(|| tensor(g, (rows, d))).transpose()
        };
        Ok((loss, grads.into_iter().map(made).collect::<Result<_>>()?))
    })?
}

/// Adds a chunk's gradients, of which there are none where none is wanted, from those of its
/// logits.
fn add_gradients<T: Elem>(
    grads: &mut [Vec<T>],
    dz: &[T],
    width: usize,
    hidden: Mat<'_, T>,
    chunk: &[(usize, u32)],
    tables: &[Table<'_, T>],
) {
    let (of_hidden, of_tables) = grads.split_at_mut(1);
    let d = hidden.columns();
    let of_table = |t: &Table<'_, T>| Mat::strided(dz, [chunk.len(), t.rows.rows()], t.from, width);
    if let ([dh], [first, rest @ ..]) = (of_hidden, tables)
        && !dh.is_empty()
    {
        let mut grad = first.product(of_table(first), first.rows).to_vec();
        for table in rest {
            let product = table.product(of_table(table), table.rows);
            product.add_to(MatMut::new(&mut grad, d));
        }
        for ((t, _), g) in chunk.iter().zip(grad.chunks_exact(d)) {
            for (x, g) in dh[t * d..(t + 1) * d].iter_mut().zip(g) {
                *x += *g;
            }
        }
    }
    for (table, sum) in tables.iter().zip(of_tables) {
        if !sum.is_empty() {
            let product = table.product(of_table(table).t(), hidden);
            product.add_to(MatMut::new(sum, d));
        }
    }
}

impl Job<'_> {
    /// The losses of a chunk; its logits become their gradients.
    fn losses<T: Elem>(&self, z: &mut [T], width: usize, chunk: &[(usize, u32)]) -> Vec<f64> {
        let shared = Shared::new(z);
        map_tasks(chunk.len(), |i| {
            let (z, label) = (shared.part(i * width, width), chunk[i].1 as usize);
            simd(
                #[inline(always)]
                || row_loss(z, label, self.smoothing, self.targets.len()),
            )
        })
    }
}

/// One row's loss; the logits become the gradient of the mean over `count` rows.
#[inline(always)]
fn row_loss<T: Elem>(z: &mut [T], label: usize, smoothing: f64, count: usize) -> f64 {
    let width = z.len() as f64;
    let top = max(z);
    let label_logit = z[label];
    let mean_logit = match smoothing > 0.0 {
        true => sum(z) / T::of(width),
        false => T::zero(),
    };
    for x in z.iter_mut() {
        *x = (*x - top).fexp();
    }
    let total = sum(z);
    let log = top + total.ln();
    let n = T::of(count as f64);
    let (scale, spread) = (T::one() / (total * n), T::of(smoothing / width) / n);
    for x in z.iter_mut() {
        *x = *x * scale - spread;
    }
    z[label] -= T::of(1.0 - smoothing) / n;
    let nll = log - label_logit;
    let uniform = log - mean_logit;
    let f = |x: T| num_traits::ToPrimitive::to_f64(&x).unwrap_or(f64::NAN);
    let smooth = match smoothing > 0.0 {
        true => smoothing * f(uniform),
        false => 0.0,
    };
    (1.0 - smoothing) * f(nll) + smooth
}
