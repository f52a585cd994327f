//! The operations that have a form on tensors of their own, in plain differentiable candle: the
//! witness of the other forms.

use crate::error::Result;
use crate::kernels::precision::{cast_like, upcast};
use crate::ops::attention::{Heads, Rows, Visible, both, keep_mask};
use crate::ops::cross_entropy::{Head, apart, mean_loss};
use crate::ops::dropout::Dropout;
use crate::ops::linear::{self, Linear};
use crate::tape::{Tape, Value};
use candle_core::{D, Device, Tensor};

/// [`Linear::apply`].
pub fn linear(map: Linear<'_>, tape: &Tape, x: &Value) -> Result<Value> {
    let (has_bias, column) = (map.bias.is_some(), map.onto.map(|(_, c)| c));
    tape.composed(&map.inputs(x), |a| {
        let bias = has_bias.then(|| &a[2]);
        let onto = column.map(|c| (&a[a.len() - 1], c));
        linear::map(&a[0], &a[1], bias, onto, map.layout, map.scale)
    })
}

/// [`cross_entropy`](crate::ops::cross_entropy::cross_entropy()).
pub fn cross_entropy(
    tape: &Tape,
    hidden: &Value,
    head: &Head,
    targets: &[(usize, u32)],
    smoothing: f64,
) -> Result<Value> {
    let (rows, labels) = apart(targets, hidden.tensor.device())?;
    tape.composed(&head.inputs(hidden), |a| {
        let table = if a.len() > 2 {
            Tensor::cat(&[&a[1], &a[2]], 0)?
        } else {
            a[1].clone()
        };
        let z = cast_like(&a[0].index_select(&rows, 0)?, &table)?.matmul(&table.t()?)?;
        mean_loss(&z, &labels, smoothing)
    })
}

/// [`attention`](crate::ops::attention::attention()), rows one by one.
pub fn attention(
    tape: &Tape,
    qkv: &Value,
    rows: Rows<'_>,
    drop: Dropout,
) -> Result<(Value, Value)> {
    let heads = rows.heads;
    let results = tape.composed_many(&[qkv], |a| {
        let (mut outputs, mut sums) = (Vec::new(), Vec::new());
        for w in rows.offsets.windows(2) {
            let n = w[1] - w[0];
            let row = a[0].narrow(0, w[0], n)?;
            let part = |c: usize| heads.split(&row, c * heads.hidden());
            let (q, k, v) = (upcast(&part(0)?)?, upcast(&part(1)?)?, part(2)?);
            let mut scores = (q.matmul(&k.t()?.contiguous()?)? * heads.scale())?;
            if rows.visible == Visible::Causal {
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

/// [`attention_to`](crate::ops::attention::attention_to).
pub fn attention_to(
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
