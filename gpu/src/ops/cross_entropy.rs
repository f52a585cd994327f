//! Cross-entropy of the language-model head, straight from hidden states, over labelled positions
//! only.
//!
//! ```text
//! loss = mean over labelled positions of  (1 − ε) (−log p_y) + ε/V Σ_c (−log p_c),   p = softmax(h Eᵀ)
//! ```
//!
//! `E` is the tied token embedding followed by the special tokens' rows. Logits exist for a chunk
//! of positions at a time and are turned at once into the gradient of the hidden states; the whole
//! [tokens × vocabulary] matrix never exists. Label smoothing and ignored positions follow
//! PyTorch's `CrossEntropyLoss`.

use crate::error::Result;
use crate::kernels::elem::{Elem, max, simd, sum};
use crate::kernels::gemm::{Mat, MatMut, Shared, Threads, gemm, product};
use crate::kernels::precision::{cast_like, master_dtype, upcast};
use crate::kernels::threads::map_tasks;
use crate::kernels::{cpu, dispatch, few_rows, fused_pair, tensor};
use crate::tape::{Tape, Value};
use candle_core::{D, Device, Tensor};
use num_traits::Zero as _;

/// Positions whose logits exist at the same time.
const CHUNK: usize = 128;

/// The same where candle's operations are used: a GPU wants more at a time (206 MB of logits for
/// GPT-2's vocabulary).
const TENSOR_CHUNK: usize = 1024;

/// The head: the tied embedding and the special tokens' rows.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// Token embeddings [vocabulary, d].
    pub tokens: &'a Value,
    /// Rows of the special tokens [count, d].
    pub added: Option<&'a Value>,
}

impl<'a> Head<'a> {
    fn inputs(&self, hidden: &'a Value) -> Vec<&'a Value> {
        let mut inputs = vec![hidden, self.tokens];
        inputs.extend(self.added);
        inputs
    }

    /// Logits [rows, vocabulary + added] of hidden states [rows, d], without a gradient.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        if !fused_pair(hidden, &self.tokens.tensor) {
            let hidden = cast_like(hidden, &self.tokens.tensor)?;
            let mut parts = vec![hidden.matmul(&self.tokens.tensor.t()?)?];
            if let Some(a) = self.added {
                parts.push(hidden.matmul(&a.tensor.t()?)?);
            }
            return Ok(upcast(&Tensor::cat(&parts, 1)?)?);
        }
        dispatch!(hidden, T => {
            let (rows, d) = hidden.dims2()?;
            let (h, t) = (cpu(hidden)?, cpu(&self.tokens.tensor)?);
            let a = self.added.map(|a| cpu(&a.tensor)).transpose()?;
            let a = a.as_ref().map_or(Ok(&[] as &[T]), |a| a.slice::<T>())?;
            let t = t.slice::<T>()?;
            let width = (t.len() + a.len()) / d;
            let mut out = vec![T::zero(); rows * width];
            score(&mut out, h.slice()?, t, a, rows, d);
            tensor(out, (rows, width))
        })
    }
}

fn score<T: Elem>(out: &mut [T], h: &[T], tokens: &[T], added: &[T], rows: usize, d: usize) {
    let (v, s) = (tokens.len() / d, added.len() / d);
    let shared = Shared::new(out);
    if rows <= few_rows::MOST {
        for (table, from) in [(tokens, 0), (added, v)] {
            let (count, w) = (table.len() / d, Mat::new(table, d).t());
            let dst = MatMut::strided(shared, from, v + s);
            few_rows::product_into(rows, count, d, dst, Mat::new(h, d), w, T::one());
        }
        return;
    }
    gemm(
        rows,
        v,
        d,
        MatMut::strided(shared, 0, v + s),
        false,
        Mat::new(h, d),
        Mat::new(tokens, d).t(),
        T::one(),
        Threads::Pool,
    );
    if s > 0 {
        gemm(
            rows,
            s,
            d,
            MatMut::strided(shared, v, v + s),
            false,
            Mat::new(h, d),
            Mat::new(added, d).t(),
            T::one(),
            Threads::Pool,
        );
    }
}

/// Mean loss over `targets`: (position, label) pairs. The scalar is kept in f64 until the end.
///
/// # Shapes
/// `hidden` [tokens, d] → scalar.
///
/// # Errors
/// Shapes that do not fit; no target at all.
pub fn cross_entropy(
    tape: &Tape,
    hidden: &Value,
    head: Head<'_>,
    targets: &[(usize, u32)],
    smoothing: f64,
) -> Result<Value> {
    if targets.is_empty() {
        return Err(crate::Error::Batch(
            "no labelled position: every label is -100".into(),
        ));
    }
    let inputs = head.inputs(hidden);
    let wanted: Vec<bool> = inputs.iter().map(|v| v.tracked()).collect();
    let (loss, grads) = match fused_pair(&hidden.tensor, &head.tokens.tensor) {
        true => {
            dispatch!(hidden.tensor, T => run::<T>(&hidden.tensor, head, targets, smoothing, &wanted))?
        }
        false => run_on_tensors(&hidden.tensor, head, targets, smoothing, &wanted)?,
    };
    let slots_of: Vec<_> = inputs.iter().map(|v| v.slot()).collect();
    Ok(tape.push(loss, &inputs, move |g, slots| {
        let factor = g.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
        for (slot, grad) in slots_of.iter().zip(grads) {
            if let Some(grad) = grad {
                slots.add(
                    *slot,
                    if factor == 1.0 {
                        grad
                    } else {
                        (grad * factor)?
                    },
                )?;
            }
        }
        Ok(())
    }))
}

fn run<T: Elem>(
    hidden: &Tensor,
    head: Head<'_>,
    targets: &[(usize, u32)],
    smoothing: f64,
    wanted: &[bool],
) -> Result<(Tensor, Vec<Option<Tensor>>)> {
    let (tokens, d) = hidden.dims2()?;
    let (h, e) = (cpu(hidden)?, cpu(&head.tokens.tensor)?);
    let (h, e) = (h.slice::<T>()?, e.slice::<T>()?);
    let a = head.added.map(|a| cpu(&a.tensor)).transpose()?;
    let a = a.as_ref().map_or(Ok(&[] as &[T]), |a| a.slice::<T>())?;
    let (v, s) = (e.len() / d, a.len() / d);
    let width = v + s;
    let space = |i: usize, len: usize| {
        if wanted.get(i).copied().unwrap_or(false) {
            vec![T::zero(); len]
        } else {
            Vec::new()
        }
    };
    let (mut dh, mut de, mut da) = (space(0, tokens * d), space(1, v * d), space(2, s * d));
    let mut loss = 0.0;
    let mut logits = vec![T::zero(); CHUNK.min(targets.len()) * width];
    let mut rows = Vec::with_capacity(CHUNK * d);
    for chunk in targets.chunks(CHUNK) {
        rows.clear();
        for (t, _) in chunk {
            rows.extend_from_slice(&h[t * d..(t + 1) * d]);
        }
        let n = chunk.len();
        let z = &mut logits[..n * width];
        score(z, &rows, e, a, n, d);
        let shared = Shared::new(z);
        let losses = map_tasks(n, |i| {
            let (z, label) = (shared.part(i * width, width), chunk[i].1 as usize);
            simd(
                #[inline(always)]
                || row_loss(z, label, smoothing, targets.len()),
            )
        });
        loss += losses.iter().sum::<f64>();
        let z = &*z;
        let z_matrix = |from: usize| Mat::strided(z, from, width);
        if !dh.is_empty() {
            let mut grad = product(
                n,
                d,
                v,
                z_matrix(0),
                Mat::new(e, d),
                T::one(),
                Threads::Pool,
            );
            if s > 0 {
                gemm(
                    n,
                    d,
                    s,
                    MatMut::new(&mut grad, d),
                    true,
                    z_matrix(v),
                    Mat::new(a, d),
                    T::one(),
                    Threads::Pool,
                );
            }
            for ((t, _), g) in chunk.iter().zip(grad.chunks_exact(d)) {
                for (x, g) in dh[t * d..(t + 1) * d].iter_mut().zip(g) {
                    *x += *g;
                }
            }
        }
        if !de.is_empty() {
            gemm(
                v,
                d,
                n,
                MatMut::new(&mut de, d),
                true,
                z_matrix(0).t(),
                Mat::new(&rows, d),
                T::one(),
                Threads::Pool,
            );
        }
        if !da.is_empty() {
            gemm(
                s,
                d,
                n,
                MatMut::new(&mut da, d),
                true,
                z_matrix(v).t(),
                Mat::new(&rows, d),
                T::one(),
                Threads::Pool,
            );
        }
    }
    let loss = tensor(vec![T::of(loss / targets.len() as f64)], ())?;
    let made = |g: Vec<T>, n: usize| {
        if g.is_empty() {
            Ok(None)
        } else {
            tensor(g, (n, d)).map(Some)
        }
    };
    let mut grads = vec![made(dh, tokens)?, made(de, v)?];
    if head.added.is_some() {
        grads.push(made(da, s)?);
    }
    Ok((loss, grads))
}

/// The same in candle's own operations, on any device: loss and gradients chunk by chunk.
fn run_on_tensors(
    hidden: &Tensor,
    head: Head<'_>,
    targets: &[(usize, u32)],
    smoothing: f64,
    wanted: &[bool],
) -> Result<(Tensor, Vec<Option<Tensor>>)> {
    let device = hidden.device();
    let count = targets.len() as f64;
    let tables: Vec<&Tensor> = std::iter::once(head.tokens)
        .chain(head.added)
        .map(|v| &v.tensor)
        .collect();
    let mut inputs = vec![hidden];
    inputs.extend(&tables);
    let mut grads: Vec<Option<Tensor>> = inputs
        .iter()
        .zip(wanted)
        .map(|(t, wanted)| wanted.then(|| upcast(t)?.zeros_like()).transpose())
        .collect::<candle_core::Result<_>>()?;
    let mut loss = 0.0;
    for chunk in targets.chunks(TENSOR_CHUNK) {
        let n = chunk.len();
        let (rows, labels) = apart(chunk, device)?;
        let x = cast_like(&hidden.index_select(&rows, 0)?, tables[0])?;
        let parts = tables.iter().map(|t| x.matmul(&t.t()?));
        let z = upcast(&Tensor::cat(
            &parts.collect::<candle_core::Result<Vec<_>>>()?,
            1,
        )?)?;
        let top = z.max_keepdim(D::Minus1)?;
        let e = z.broadcast_sub(&top)?.exp()?;
        let total = e.sum_keepdim(D::Minus1)?;
        let log = (total.log()? + top)?;
        let nll = (&log - z.gather(&labels, 1)?)?;
        let uniform = (log - z.mean_keepdim(D::Minus1)?)?;
        let each = ((nll * (1.0 - smoothing))? + (uniform * smoothing)?)?;
        loss += each
            .sum_all()?
            .to_dtype(candle_core::DType::F64)?
            .to_scalar::<f64>()?;
        if grads.iter().all(Option::is_none) {
            continue;
        }
        // of the mean: (softmax − ε/V − (1 − ε) at the label) / count
        let width = z.dim(1)? as f64;
        let spread = (e.broadcast_div(&total)? - smoothing / width)?;
        let at_label = cast_like(&Tensor::full(smoothing - 1.0, (n, 1), device)?, &spread)?;
        let dz = cast_like(&(spread.scatter_add(&labels, &at_label, 1)? / count)?, &x)?;
        let mut from = 0;
        for (i, table) in tables.iter().enumerate() {
            let own = dz.narrow(1, from, table.dim(0)?)?.contiguous()?;
            from += table.dim(0)?;
            if let Some(dh) = grads[0].take() {
                let back = upcast(&own.matmul(table)?)?;
                grads[0] = Some(dh.index_add(&rows, &back, 0)?);
            }
            if let Some(sum) = grads[i + 1].take() {
                grads[i + 1] = Some((sum + upcast(&own.t()?.matmul(&x)?)?)?);
            }
        }
    }
    let grads = inputs
        .iter()
        .zip(grads)
        .map(|(t, g)| g.map(|g| cast_like(&g, t)).transpose())
        .collect::<candle_core::Result<_>>()?;
    let loss = Tensor::new(loss / count, &Device::Cpu)?.to_device(device)?;
    Ok((loss.to_dtype(master_dtype(hidden.dtype()))?, grads))
}

/// Positions [n] and labels [n, 1] on a device.
fn apart(targets: &[(usize, u32)], device: &Device) -> candle_core::Result<(Tensor, Tensor)> {
    let (rows, labels): (Vec<u32>, Vec<u32>) = targets.iter().map(|(t, y)| (*t as u32, *y)).unzip();
    let n = targets.len();
    let rows = Tensor::from_vec(rows, n, &Device::Cpu)?.to_device(device)?;
    let labels = Tensor::from_vec(labels, (n, 1), &Device::Cpu)?.to_device(device)?;
    Ok((rows, labels))
}

/// One row's loss; the logits become the gradient of the mean over `count` rows.
#[inline(always)]
fn row_loss<T: Elem>(z: &mut [T], label: usize, smoothing: f64, count: usize) -> f64 {
    let width = z.len() as f64;
    let top = max(z);
    let (label_logit, mean_logit) = (
        z[label],
        if smoothing > 0.0 {
            sum(z) / T::of(width)
        } else {
            T::zero()
        },
    );
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
    (1.0 - smoothing) * f(nll)
        + if smoothing > 0.0 {
            smoothing * f(uniform)
        } else {
            0.0
        }
}

/// The same loss in plain candle.
///
/// # Errors
/// As [`cross_entropy`].
pub fn composed(
    tape: &Tape,
    hidden: &Value,
    head: Head<'_>,
    targets: &[(usize, u32)],
    smoothing: f64,
) -> Result<Value> {
    let (rows, labels) = apart(targets, hidden.tensor.device())?;
    let mut out = tape.composed(&head.inputs(hidden), |a| {
        let table = if a.len() > 2 {
            Tensor::cat(&[&a[1], &a[2]], 0)?
        } else {
            a[1].clone()
        };
        let z = cast_like(&a[0].index_select(&rows, 0)?, &table)?.matmul(&table.t()?)?;
        Ok(vec![mean_loss(&z, &labels, smoothing)?])
    })?;
    Ok(out.remove(0))
}

/// Mean of (1 − ε)(LSE − z_label) + ε(LSE − mean z) over the rows of `z` [rows, classes] with
/// `labels` [rows, 1].
fn mean_loss(z: &Tensor, labels: &Tensor, smoothing: f64) -> candle_core::Result<Tensor> {
    let z = upcast(z)?;
    let top = z.max_keepdim(D::Minus1)?.detach();
    let total = z.broadcast_sub(&top)?.exp()?.sum_keepdim(D::Minus1)?;
    let log = (total.log()? + top)?;
    let nll = (&log - z.gather(labels, 1)?)?.mean_all()?;
    let uniform = (log - z.mean_keepdim(D::Minus1)?)?.mean_all()?;
    (nll * (1.0 - smoothing))? + (uniform * smoothing)?
}

/// Mean cross-entropy of class scores, with label smoothing as [`cross_entropy`].
///
/// # Shapes
/// `scores` [rows, classes], one class a row → scalar.
///
/// # Errors
/// Shapes that do not fit.
pub fn class_loss(tape: &Tape, scores: &Value, classes: &[u32], smoothing: f64) -> Result<Value> {
    let labels = Tensor::from_slice(classes, (classes.len(), 1), &Device::Cpu)?
        .to_device(scores.tensor.device())?;
    let mut out = tape.composed(&[scores], |a| {
        Ok(vec![mean_loss(&a[0], &labels, smoothing)?])
    })?;
    Ok(out.remove(0))
}
