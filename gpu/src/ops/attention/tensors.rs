//! Attention in candle's tensor operations, on any device: nothing is kept but output and
//! log-sum-exp, as in the fused form.

use super::{Heads, Rows, Visible, both, keep_mask};
use crate::error::Result;
use crate::kernels::precision::{cast_like, upcast};
use crate::ops::dropout::Dropout;
use crate::tape::{Tape, Value};
use candle_core::{D, Device, Tensor};

pub(super) fn within_rows(
    tape: &Tape,
    qkv: &Value,
    rows: Rows<'_>,
    drop: Dropout,
) -> Result<(Value, Value)> {
    let heads = rows.heads;
    let groups: Vec<Group> = grouped(rows.offsets, heads.count, MOST_SCORES)
        .into_iter()
        .map(|offsets| Group::new(offsets, rows.visible, qkv.tensor.device()))
        .collect::<candle_core::Result<_>>()?;
    let mut parts = (Vec::new(), Vec::new());
    for group in &groups {
        let [o, lse] = group.operands(&qkv.tensor, heads, drop)?.forward(heads)?;
        parts.0.push(group.packed(&o)?);
        parts.1.push(group.packed(&lse)?);
    }
    let (o, lse) = (Tensor::cat(&parts.0, 0)?, Tensor::cat(&parts.1, 0)?);
    let (slot, x, results) = (qkv.slot(), qkv.tensor.clone(), [o.clone(), lse.clone()]);
    let values = tape.push_many(vec![o, lse], &[qkv], move |grads, slots| {
        let mut all = Vec::new();
        for group in &groups {
            let part = |t: &Option<Tensor>| t.as_ref().map(|t| group.padded(t)).transpose();
            let results = [group.padded(&results[0])?, group.padded(&results[1])?];
            let given = [part(&grads[0])?, part(&grads[1])?];
            let operands = group.operands(&x, heads, drop)?;
            let flat: Vec<Tensor> = operands
                .backward(heads, results, given)?
                .iter()
                .map(|g| cast_like(&side_by_side(g)?, &x))
                .collect::<candle_core::Result<_>>()?;
            all.push(group.packed(&Tensor::cat(&flat, 1)?)?);
        }
        slots.add(slot, Tensor::cat(&all, 0)?)
    });
    Ok(both(values))
}

pub(super) fn to_prefix(
    tape: &Tape,
    inputs: [&Value; 3],
    heads: Heads,
    drop: Dropout,
) -> Result<(Value, Value)> {
    let [qkv, keys, values] = inputs;
    let (tokens, total) = qkv.tensor.dims2()?;
    let l = keys.tensor.dim(1)?;
    let operands = Operands {
        q: by_head(&qkv.tensor.narrow(1, 0, heads.hidden())?, 1, heads.count)?,
        k: keys.tensor.unsqueeze(0)?,
        v: values.tensor.unsqueeze(0)?,
        hidden: None,
        keep: keep_mask(drop, &[0], [tokens, l], heads.count, &qkv.tensor)?,
    };
    let [o, lse] = operands.forward(heads)?;
    let slots_of = inputs.map(Value::slot);
    let (saved, dtypes) = ([o.clone(), lse.clone()], inputs.map(|v| v.tensor.dtype()));
    let results = tape.push_many(vec![o, lse], &inputs, move |grads, slots| {
        let given = [grads[0].take(), grads[1].take()];
        let [dq, dk, dv] = operands.backward(heads, saved, given)?;
        let dq = side_by_side(&dq)?.to_dtype(dtypes[0])?;
        slots.add_columns(slots_of[0], &dq, 0, total)?;
        slots.add(slots_of[1], dk.squeeze(0)?.to_dtype(dtypes[1])?)?;
        slots.add(slots_of[2], dv.squeeze(0)?.to_dtype(dtypes[2])?)
    });
    Ok(both(results))
}

/// Scores computed at a time in [`within_rows`] (2²⁶, 256 MB in f32), unless one row has more.
/// Tests have few rows, and more than one group of them.
const MOST_SCORES: usize = if cfg!(test) { 16_384 } else { 67_108_864 };

/// The boundaries of consecutive rows that are computed at once: padded to the longest, they have
/// at most `most` scores.
fn grouped(offsets: &[usize], heads: usize, most: usize) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut longest = 0;
    for w in offsets.windows(2) {
        let with_this = longest.max(w[1] - w[0]);
        match groups.last_mut() {
            Some(group) if group.len() * heads * with_this * with_this <= most => {
                group.push(w[1]);
                longest = with_this;
            }
            _ => {
                groups.push(w.to_vec());
                longest = w[1] - w[0];
            }
        }
    }
    groups
}

/// Rows of a batch that are computed at once, each padded to the longest with copies of its first
/// token. No query sees a padded key, and a padded query sees none.
struct Group {
    /// Boundaries of the rows among the packed tokens.
    offsets: Vec<usize>,
    longest: usize,
    /// The packed token, counted from the group's first, at each padded index, and the padded index
    /// of each token; none where all rows are equally long.
    moves: Option<[Tensor; 2]>,
    /// 1 where a query does not see a key, [rows, 1, longest, longest]; none where every query sees
    /// every key.
    hidden: Option<Tensor>,
}

impl Group {
    fn new(offsets: Vec<usize>, visible: Visible, device: &Device) -> candle_core::Result<Self> {
        let lengths: Vec<usize> = offsets.windows(2).map(|w| w[1] - w[0]).collect();
        let (rows, longest) = (lengths.len(), lengths.iter().copied().max().unwrap_or(0));
        let equal = lengths.iter().all(|&n| n == longest);
        let [mut token_at, mut index_of, mut keys_seen] = [const { Vec::<u32>::new() }; 3];
        for (b, &n) in lengths.iter().enumerate() {
            for i in 0..longest {
                let real = i < n;
                let token = offsets[b] - offsets[0] + if real { i } else { 0 };
                token_at.push(token as u32);
                if real {
                    index_of.push((b * longest + i) as u32);
                }
                keys_seen.push(match (real, visible) {
                    (false, _) => 0,
                    (true, Visible::Causal) => i as u32 + 1,
                    (true, Visible::All) => n as u32,
                });
            }
        }
        let index = |indices: Vec<u32>| Tensor::new(indices, device);
        let hidden = match equal && visible == Visible::All {
            true => None,
            false => Some(unseen(keys_seen, rows, longest, device)?),
        };
        let moves = match equal {
            true => None,
            false => Some([index(token_at)?, index(index_of)?]),
        };
        Ok(Self {
            offsets,
            longest,
            moves,
            hidden,
        })
    }

    fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// What the group's rows attend with, of packed [q | k | v].
    fn operands(&self, qkv: &Tensor, heads: Heads, drop: Dropout) -> candle_core::Result<Operands> {
        let (d, rows) = (heads.hidden(), self.rows());
        let x = self.padded(qkv)?;
        let part = |c: usize| by_head(&x.narrow(1, c * d, d)?, rows, heads.count);
        let (offsets, size) = (&self.offsets[..rows], [self.longest; 2]);
        Ok(Operands {
            q: part(0)?,
            k: part(1)?,
            v: part(2)?,
            hidden: self.hidden.clone(),
            keep: keep_mask(drop, offsets, size, heads.count, &x)?,
        })
    }

    /// The group's rows [rows · longest, c] of packed ones [tokens, c].
    fn padded(&self, packed: &Tensor) -> candle_core::Result<Tensor> {
        let rows = packed.narrow(
            0,
            self.offsets[0],
            self.offsets[self.rows()] - self.offsets[0],
        )?;
        match &self.moves {
            Some([token_at, _]) => rows.contiguous()?.index_select(token_at, 0),
            None => Ok(rows),
        }
    }

    /// Back from [rows · longest, c] to the group's tokens.
    fn packed(&self, padded: &Tensor) -> candle_core::Result<Tensor> {
        match &self.moves {
            Some([_, index_of]) => padded.contiguous()?.index_select(index_of, 0),
            None => Ok(padded.clone()),
        }
    }
}

/// 1 where a query, of [rows, n] that each see so many keys, does not see a key: [rows, 1, n, m].
pub(super) fn unseen(
    keys_seen: Vec<u32>,
    rows: usize,
    m: usize,
    device: &Device,
) -> candle_core::Result<Tensor> {
    let n = keys_seen.len() / rows;
    let keys = Tensor::arange(0_u32, m as u32, device)?.reshape((1, 1, 1, m))?;
    let seen = Tensor::from_vec(keys_seen, (rows, 1, n, 1), device)?;
    keys.broadcast_ge(&seen)
}

/// What one group of rows attends with: q [rows, H, n, p], k and v [rows, H, m, p].
pub(super) struct Operands {
    pub(super) q: Tensor,
    pub(super) k: Tensor,
    pub(super) v: Tensor,
    /// 1 where a key is not seen, [rows, 1, n, m].
    pub(super) hidden: Option<Tensor>,
    /// Dropout's factors [rows, H, n, m].
    pub(super) keep: Option<Tensor>,
}

impl Operands {
    /// ⟨q_i, k_j⟩/√p, −∞ where the key is not seen: [rows, H, n, m] in f32 or f64.
    fn scores(&self, heads: Heads) -> candle_core::Result<Tensor> {
        let keys = upcast(&self.k)?.t()?.contiguous()?;
        let s = (upcast(&self.q)?.matmul(&keys)? * heads.scale())?;
        match &self.hidden {
            None => Ok(s),
            Some(hidden) => {
                let never = cast_like(&Tensor::new(f32::NEG_INFINITY, s.device())?, &s)?;
                hidden
                    .broadcast_as(s.shape())?
                    .where_cond(&never.broadcast_as(s.shape())?, &s)
            }
        }
    }

    fn dropped(&self, weights: Tensor) -> candle_core::Result<Tensor> {
        match &self.keep {
            Some(keep) => weights * keep,
            None => Ok(weights),
        }
    }

    /// Output [rows · n, d] and log-sum-exp [rows · n, H]; of a padded query, NaN.
    pub(super) fn forward(&self, heads: Heads) -> candle_core::Result<[Tensor; 2]> {
        let s = self.scores(heads)?;
        let top = s.max_keepdim(D::Minus1)?;
        let e = s.broadcast_sub(&top)?.exp()?;
        let total = e.sum_keepdim(D::Minus1)?;
        let weights = self.dropped(e.broadcast_div(&total)?)?;
        let o = cast_like(&weights, &self.v)?.matmul(&self.v)?;
        Ok([side_by_side(&o)?, side_by_side(&(total.log()? + top)?)?])
    }

    /// Gradients of q, k and v, in f32 or f64, from those of output and log-sum-exp.
    fn backward(
        &self,
        heads: Heads,
        results: [Tensor; 2],
        given: [Option<Tensor>; 2],
    ) -> candle_core::Result<[Tensor; 3]> {
        let of_heads = |t: &Tensor| by_head(t, self.q.dim(0)?, heads.count);
        let [o, lse] = [of_heads(&results[0])?, of_heads(&results[1])?];
        let p = self.scores(heads)?.broadcast_sub(&lse)?.exp()?;
        let go = match &given[0] {
            Some(g) => of_heads(g)?,
            None => o.zeros_like()?,
        };
        let of_weights = upcast(&go.matmul(&self.v.t()?.contiguous()?)?)?;
        let mut shift = (upcast(&go)? * upcast(&o)?)?.sum_keepdim(D::Minus1)?;
        if let Some(g) = &given[1] {
            shift = (shift - of_heads(g)?)?;
        }
        let ds = (&p * self.dropped(of_weights)?.broadcast_sub(&shift)?)?;
        let ds = cast_like(&(ds * heads.scale())?, &self.q)?;
        let weights = cast_like(&self.dropped(p)?, &self.v)?;
        Ok([
            upcast(&ds.matmul(&self.k)?)?,
            upcast(&ds.t()?.contiguous()?.matmul(&self.q)?)?,
            upcast(&weights.t()?.contiguous()?.matmul(&go)?)?,
        ])
    }
}

/// [rows · n, H c] as [rows, H, n, c].
pub(super) fn by_head(x: &Tensor, rows: usize, heads: usize) -> candle_core::Result<Tensor> {
    let (places, width) = x.dims2()?;
    x.reshape((rows, places / rows, heads, width / heads))?
        .transpose(1, 2)?
        .contiguous()
}

/// [rows, H, n, c] as [rows · n, H c].
fn side_by_side(x: &Tensor) -> candle_core::Result<Tensor> {
    let (rows, heads, n, c) = x.dims4()?;
    x.transpose(1, 2)?.reshape((rows * n, heads * c))
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn rows_are_computed_together_up_to_the_most_scores() {
        let most = 3 * 2 * 7 * 7; // three heads, two rows of seven
        assert_eq!(
            grouped(&[0, 1, 8, 80, 81], 3, most),
            [vec![0, 1, 8], vec![8, 80], vec![80, 81]]
        );
        assert_eq!(grouped(&[0, 1, 8], 3, most - 1), [[0, 1], [1, 8]]);
        assert_eq!(
            grouped(&[0, 72, 79, 86], 3, most),
            [vec![0, 72], vec![72, 79, 86]]
        );
        // the longest of the group counts, not the last
        assert_eq!(grouped(&[0, 7, 8, 9], 3, most), [vec![0, 7, 8], vec![8, 9]]);
    }
}
