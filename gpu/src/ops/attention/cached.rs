//! Attention for decoding: the queries of the newest tokens of each row against all keys so far.

use super::fused::softmax;
use super::tensors::{Operands, by_head, unseen};
use super::{Rows, Visible};
use crate::error::Result;
use crate::kernels::elem::{Elem, dot, simd};
use crate::kernels::gemm::Shared;
use crate::kernels::threads::for_tasks;
use crate::kernels::{cpu, tensor};
use candle_core::Tensor;

/// Attention for decoding: the queries of the newest tokens of each row against all that a cache
/// holds. No gradient.
///
/// # Shapes
/// `qkv` [new tokens, 3d] (only the queries are read); `cache[r]` holds row r's keys and values,
/// [seen, d] flat each, the new tokens included; `rows` are those of the new tokens → output
/// [new tokens, d], log-sum-exp [new tokens, H].
///
/// # Errors
/// Shapes that do not fit.
pub fn attention_cached<T: Elem>(
    qkv: &Tensor,
    cache: &[[Vec<T>; 2]],
    rows: Rows<'_>,
) -> Result<(Tensor, Tensor)> {
    let (offsets, heads) = (rows.offsets, rows.heads);
    let (tokens, total) = qkv.dims2()?;
    let (d, count, p) = (heads.hidden(), heads.count, heads.width);
    let x = cpu(qkv)?;
    let x = x.slice::<T>()?;
    let (mut o, mut lse) = (vec![T::zero(); tokens * d], vec![T::zero(); tokens * count]);
    let (out, lse_out) = (Shared::new(&mut o), Shared::new(&mut lse));
    let scale = T::of(heads.scale());
    for_tasks(cache.len(), Vec::new, |scores: &mut Vec<T>, r| {
        simd(
            #[inline(always)]
            || {
                let [k, v] = &cache[r];
                let (n, m) = (offsets[r + 1] - offsets[r], k.len() / d);
                for i in 0..n {
                    let token = offsets[r] + i;
                    let sees = if rows.visible == Visible::Causal {
                        m - n + i + 1
                    } else {
                        m
                    };
                    for h in 0..count {
                        let q = &x[token * total + h * p..token * total + (h + 1) * p];
                        // not `extend`: its loop would be compiled outside of this function, for
                        // the least x86-64
                        scores.resize(sees, T::zero());
                        for (j, s) in scores.iter_mut().enumerate() {
                            *s = scale * dot(q, &k[j * d + h * p..j * d + (h + 1) * p]);
                        }
                        lse_out.part(token * count + h, 1)[0] = softmax(scores);
                        let o = out.part(token * d + h * p, p);
                        for (j, w) in scores.iter().enumerate() {
                            for (o, v) in o.iter_mut().zip(&v[j * d + h * p..j * d + (h + 1) * p]) {
                                *o += *w * *v;
                            }
                        }
                    }
                }
            },
        );
    });
    Ok((tensor(o, (tokens, d))?, tensor(lse, (tokens, count))?))
}

/// [`attention_cached`] in candle's tensor operations, on any device. Adds the new tokens' keys and
/// values to those of their row first.
///
/// # Shapes
/// `qkv` [new tokens, 3d]; `cache[r]` row r's keys and values [1, H, seen, p], none before its
/// first token → output [new tokens, d], log-sum-exp [new tokens, H].
///
/// # Errors
/// Shapes that do not fit; no row at all.
pub fn attention_cached_tensors(
    qkv: &Tensor,
    cache: &mut [Option<[Tensor; 2]>],
    rows: Rows<'_>,
) -> Result<(Tensor, Tensor)> {
    let heads = rows.heads;
    let d = heads.hidden();
    let (mut outputs, mut sums) = (Vec::new(), Vec::new());
    for (row, w) in cache.iter_mut().zip(rows.offsets.windows(2)) {
        let n = w[1] - w[0];
        let part = |c: usize| {
            let x = qkv.narrow(0, w[0], n)?.narrow(1, c * d, d)?;
            by_head(&x, 1, heads.count)
        };
        let (q, mut k, mut v) = (part(0)?, part(1)?, part(2)?);
        if let Some([old_k, old_v]) = row.take() {
            (k, v) = (
                Tensor::cat(&[&old_k, &k], 2)?,
                Tensor::cat(&[&old_v, &v], 2)?,
            );
        }
        let m = k.dim(2)?;
        let hidden = match rows.visible {
            Visible::Causal if n > 1 => {
                let seen = (0..n).map(|i| (m - n + i + 1) as u32).collect();
                Some(unseen(seen, 1, m, qkv.device())?)
            }
            _ => None,
        };
        *row = Some([k.clone(), v.clone()]);
        let operands = Operands {
            q,
            k,
            v,
            hidden,
            keep: None,
        };
        let [o, lse] = operands.forward(heads)?;
        outputs.push(o);
        sums.push(lse);
    }
    if outputs.is_empty() {
        return Err(crate::Error::Batch("no rows to decode".into()));
    }
    Ok((Tensor::cat(&outputs, 0)?, Tensor::cat(&sums, 0)?))
}
