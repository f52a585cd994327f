//! Attention in plain candle, row by row: the witness of the other forms.

use super::{Heads, Visible, both, keep_mask};
use crate::error::Result;
use crate::kernels::precision::{cast_like, upcast};
use crate::ops::dropout::Dropout;
use crate::tape::{Tape, Value};
use candle_core::{D, Device, Tensor};

/// [`attention`](super::attention()) in plain candle: rows one by one.
///
/// # Errors
/// As [`attention`](super::attention()).
pub fn composed(
    tape: &Tape,
    qkv: &Value,
    heads: Heads,
    starts: &[usize],
    visible: Visible,
    drop: Dropout,
) -> Result<(Value, Value)> {
    let results = tape.composed_many(&[qkv], |a| {
        let (mut outputs, mut sums) = (Vec::new(), Vec::new());
        for w in starts.windows(2) {
            let n = w[1] - w[0];
            let row = a[0].narrow(0, w[0], n)?;
            let part = |c: usize| heads.split(&row, c * heads.hidden());
            let (q, k, v) = (upcast(&part(0)?)?, upcast(&part(1)?)?, part(2)?);
            let mut scores = (q.matmul(&k.t()?.contiguous()?)? * heads.scale())?;
            if visible == Visible::Causal {
                let hidden = |x: usize| {
                    if x % n > x / n {
                        f32::NEG_INFINITY
                    } else {
                        0.0
                    }
                };
                let hidden: Vec<f32> = (0..n * n).map(hidden).collect();
                let hidden = Tensor::from_vec(hidden, (1, n, n), &Device::Cpu)?
                    .to_device(a[0].device())?
                    .to_dtype(scores.dtype())?;
                scores = scores.broadcast_add(&hidden)?;
            }
            let (o, lse) = weigh(&scores, &v, w[0], heads, drop)?;
            outputs.push(o);
            sums.push(lse);
        }
        Ok(vec![Tensor::cat(&outputs, 0)?, Tensor::cat(&sums, 0)?])
    })?;
    Ok(both(results))
}

/// Weighted values [n, d] and log-sum-exp [n, H] of scores [H, n, m] and values [H, m, p].
fn weigh(
    scores: &Tensor,
    v: &Tensor,
    first: usize,
    heads: Heads,
    drop: Dropout,
) -> candle_core::Result<(Tensor, Tensor)> {
    let (_, n, m) = scores.dims3()?;
    let top = scores.max_keepdim(D::Minus1)?.detach();
    let e = scores.broadcast_sub(&top)?.exp()?;
    let total = e.sum_keepdim(D::Minus1)?;
    let mut weights = e.broadcast_div(&total)?;
    if let Some(mask) = keep_mask(drop, &[first], [n, m], heads.count, scores)? {
        weights = (weights * mask.squeeze(0)?)?;
    }
    let o = cast_like(&weights, v)?
        .matmul(v)?
        .transpose(0, 1)?
        .reshape((n, heads.hidden()))?;
    let lse = (total.log()? + top)?.squeeze(2)?.t()?.contiguous()?;
    Ok((o, lse))
}

/// [`attention_to`](super::attention_to) in plain candle.
///
/// # Errors
/// As [`attention_to`](super::attention_to).
pub fn composed_to(
    tape: &Tape,
    qkv: &Value,
    keys: &Value,
    values: &Value,
    heads: Heads,
    drop: Dropout,
) -> Result<(Value, Value)> {
    let results = tape.composed_many(&[qkv, keys, values], |a| {
        let q = heads.split(&a[0], 0)?;
        let keys = upcast(&a[1])?.t()?.contiguous()?;
        let scores = (upcast(&q)?.matmul(&keys)? * heads.scale())?;
        let (o, lse) = weigh(&scores, &a[2], 0, heads, drop)?;
        Ok(vec![o, lse])
    })?;
    Ok(both(results))
}
