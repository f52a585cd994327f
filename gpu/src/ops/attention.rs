//! Attention (Eqs. 2–4) over packed rows, with the log-sum-exp of each row of scores as a second
//! result.
//!
//! ```text
//! o_i = Σ_{j ∈ V(i)} P_ij v_j,   P_ij = exp(⟨q_i,k_j⟩/√p − LSE_i),   LSE_i = log Σ_{j ∈ V(i)} exp(⟨q_i,k_j⟩/√p)
//! ```
//!
//! The n × n matrix is never kept: a block of queries at a time is scored, and the backward pass
//! computes P again from the log-sum-exp. The inducer's λ and the prefix's μ need nothing but LSE,
//! so there is no second softmax anywhere. Gradients: with D_i = ⟨dO_i, o_i⟩,
//! `dS = P ∘ (mask ∘ dO Vᵀ − D + dLSE)`.

use super::dropout::Dropout;
use crate::error::Result;
use crate::kernels::elem::{Elem, dot, max, simd, sum};
use crate::kernels::gemm::{Mat, MatMut, Shared, Threads, gemm};
use crate::kernels::precision::{cast_like, upcast};
use crate::kernels::threads::{for_rows, for_tasks};
use crate::kernels::{cpu, dispatch, fused, tensor};
use crate::tape::{Tape, Value};
use candle_core::{D, Device, Tensor};
use num_traits::Zero as _;

/// Queries scored at a time.
const BLOCK: usize = 64;

/// Which keys of its own row a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visible {
    /// Keys up to its own position.
    Causal,
    /// All keys of the row.
    All,
}

/// Number of heads and their width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// H.
    pub count: usize,
    /// p.
    pub width: usize,
}

impl Heads {
    /// d = H p.
    pub fn hidden(&self) -> usize {
        self.count * self.width
    }

    /// 1/√p.
    pub fn scale(&self) -> f64 {
        1.0 / (self.width as f64).sqrt()
    }
}

/// Self-attention within each packed row.
///
/// # Shapes
/// `qkv` [tokens, 3d] (queries, keys, values), `starts` the rows' boundaries → output [tokens, d],
/// log-sum-exp [tokens, H].
///
/// # Errors
/// Shapes that do not fit.
pub fn attention(
    tape: &Tape,
    qkv: &Value,
    heads: Heads,
    starts: &[usize],
    visible: Visible,
    drop: Dropout,
) -> Result<(Value, Value)> {
    if !fused(&qkv.tensor) {
        return on_tensors(tape, qkv, heads, starts, visible, drop);
    }
    let starts = starts.to_vec();
    let d = heads.hidden();
    let total = 3 * d;
    let place = move |column: usize| Place {
        offset: column,
        head: heads.width,
        row: total,
    };
    let job = Job {
        heads,
        visible,
        drop,
        q: place(0),
        k: place(d),
        v: place(2 * d),
    };
    let ranges: Vec<Range> = starts
        .windows(2)
        .map(|w| Range {
            q: (w[0], w[1]),
            k: (w[0], w[1]),
        })
        .collect();
    let (o, lse) = dispatch!(qkv.tensor, T => {
        let x = cpu(&qkv.tensor)?;
        let x = x.slice::<T>()?;
        job.forward(x, x, x, &ranges, qkv.tensor.dim(0)?)
    })?;
    let (slot, x, out, kept_lse) = (qkv.slot(), qkv.tensor.clone(), o.clone(), lse.clone());
    let mut values = tape.push_many(vec![o, lse], &[qkv], move |grads, slots| {
        let dqkv = dispatch!(x, T => {
            let data = cpu(&x)?;
            let data = data.slice::<T>()?;
            let mut grad = vec![T::zero(); data.len()];
            let shared = Shared::new(&mut grad);
            job.backward([data; 3], [shared; 3], &ranges, &out, &kept_lse, grads)?;
            tensor(grad, x.shape().clone())
        })?;
        slots.add(slot, dqkv)
    });
    let lse = values.remove(1);
    Ok((values.remove(0), lse))
}

/// Attention of all queries to the same `l` keys: the prefix (§4.2).
///
/// # Shapes
/// `qkv` [tokens, 3d] (only the queries are read), `keys`, `values` [H, l, p] → output [tokens, d],
/// log-sum-exp [tokens, H].
///
/// # Errors
/// Shapes that do not fit.
pub fn attention_to(
    tape: &Tape,
    qkv: &Value,
    keys: &Value,
    values: &Value,
    heads: Heads,
    drop: Dropout,
) -> Result<(Value, Value)> {
    if !fused(&qkv.tensor) {
        return to_on_tensors(tape, qkv, keys, values, heads, drop);
    }
    let l = keys.tensor.dim(1)?;
    let (tokens, total) = qkv.tensor.dims2()?;
    let d = heads.hidden();
    let own = Place {
        offset: 0,
        head: l * heads.width,
        row: heads.width,
    };
    let job = Job {
        heads,
        visible: Visible::All,
        drop,
        q: Place {
            offset: 0,
            head: heads.width,
            row: total,
        },
        k: own,
        v: own,
    };
    let ranges = vec![Range {
        q: (0, tokens),
        k: (0, l),
    }];
    let (o, lse) = dispatch!(qkv.tensor, T => {
        let (q, k, v) = (cpu(&qkv.tensor)?, cpu(&keys.tensor)?, cpu(&values.tensor)?);
        job.forward::<T>(q.slice()?, k.slice()?, v.slice()?, &ranges, tokens)
    })?;
    let kept = [
        qkv.tensor.clone(),
        keys.tensor.clone(),
        values.tensor.clone(),
    ];
    let slots_of = [qkv.slot(), keys.slot(), values.slot()];
    let (out, kept_lse) = (o.clone(), lse.clone());
    let mut results = tape.push_many(vec![o, lse], &[qkv, keys, values], move |grads, slots| {
        dispatch!(kept[0], T => {
            let (q, k, v) = (cpu(&kept[0])?, cpu(&kept[1])?, cpu(&kept[2])?);
            let data = [q.slice::<T>()?, k.slice::<T>()?, v.slice::<T>()?];
            let mut grad = [vec![T::zero(); tokens * d], vec![T::zero(); data[1].len()], vec![T::zero(); data[2].len()]];
            let [gq, gk, gv] = &mut grad;
            let narrow = Job { q: Place { row: d, ..job.q }, ..job };
            job.backward_to(narrow.q, data, [Shared::new(gq), Shared::new(gk), Shared::new(gv)], &ranges, &out, &kept_lse, grads)?;
            let [gq, gk, gv] = grad;
            slots.add_columns(slots_of[0], &tensor(gq, (tokens, d))?, 0, total)?;
            slots.add(slots_of[1], tensor(gk, kept[1].shape().clone())?)?;
            slots.add(slots_of[2], tensor(gv, kept[2].shape().clone())?)
        })
    });
    let lse = results.remove(1);
    Ok((results.remove(0), lse))
}

/// Where the vectors of one role lie: vector i of head h starts at `offset + h * head + i * row`.
#[derive(Clone, Copy)]
struct Place {
    offset: usize,
    head: usize,
    row: usize,
}

impl Place {
    fn mat<T>(self, data: &[T], h: usize, from: usize) -> Mat<'_, T> {
        Mat::strided(
            data,
            self.offset + h * self.head + from * self.row,
            self.row,
        )
    }

    fn mat_mut<T>(self, data: Shared<'_, T>, h: usize, from: usize) -> MatMut<'_, T> {
        MatMut::strided(
            data,
            self.offset + h * self.head + from * self.row,
            self.row,
        )
    }
}

/// The queries and keys of one row.
#[derive(Clone, Copy)]
struct Range {
    q: (usize, usize),
    k: (usize, usize),
}

#[derive(Clone, Copy)]
struct Job {
    heads: Heads,
    visible: Visible,
    drop: Dropout,
    q: Place,
    k: Place,
    v: Place,
}

impl Job {
    /// Number of keys that a block of queries ending before `end` (counted in its row) may see.
    fn reach(&self, end: usize, m: usize) -> usize {
        if self.visible == Visible::Causal {
            end
        } else {
            m
        }
    }

    fn sees(&self, i: usize, m: usize) -> usize {
        if self.visible == Visible::Causal {
            i + 1
        } else {
            m
        }
    }

    fn tasks(&self, ranges: &[Range]) -> Vec<(Range, usize)> {
        ranges
            .iter()
            .flat_map(|r| (0..self.heads.count).map(move |h| (*r, h)))
            .collect()
    }

    fn forward<T: Elem>(
        &self,
        q: &[T],
        k: &[T],
        v: &[T],
        ranges: &[Range],
        tokens: usize,
    ) -> Result<(Tensor, Tensor)> {
        let (d, count, p) = (self.heads.hidden(), self.heads.count, self.heads.width);
        let (mut o, mut lse) = (vec![T::zero(); tokens * d], vec![T::zero(); tokens * count]);
        let (out, lse_out) = (Shared::new(&mut o), Shared::new(&mut lse));
        let tasks = self.tasks(ranges);
        for_tasks(tasks.len(), Vec::new, |scores, task| {
            let (range, h) = tasks[task];
            let (n, m) = (range.q.1 - range.q.0, range.k.1 - range.k.0);
            for from in (0..n).step_by(BLOCK) {
                let rows = BLOCK.min(n - from);
                let width = self.reach(from + rows, m);
                scores.resize(BLOCK * m, T::zero());
                let s = &mut scores[..rows * width];
                self.score(s, q, k, range, h, from, rows, width);
                simd(
                    #[inline(always)]
                    || {
                        for (i, row) in s.chunks_exact_mut(width).enumerate() {
                            let token = range.q.0 + from + i;
                            let sees = self.sees(from + i, m);
                            let (seen, hidden) = row.split_at_mut(sees);
                            let log = normalise(seen);
                            hidden.fill(T::zero());
                            lse_out.part(token * count + h, 1)[0] = log;
                            self.thin(seen, token, h);
                        }
                    },
                );
                let dst = MatMut::strided(out, (range.q.0 + from) * d + h * p, d);
                gemm(
                    rows,
                    p,
                    width,
                    dst,
                    false,
                    Mat::new(s, width),
                    self.v.mat(v, h, range.k.0),
                    T::one(),
                    Threads::One,
                );
            }
        });
        Ok((tensor(o, (tokens, d))?, tensor(lse, (tokens, count))?))
    }

    fn score<T: Elem>(
        &self,
        s: &mut [T],
        q: &[T],
        k: &[T],
        range: Range,
        h: usize,
        from: usize,
        rows: usize,
        width: usize,
    ) {
        let (q, k) = (
            self.q.mat(q, h, range.q.0 + from),
            self.k.mat(k, h, range.k.0),
        );
        gemm(
            rows,
            width,
            self.heads.width,
            MatMut::new(s, width),
            false,
            q,
            k.t(),
            T::of(self.heads.scale()),
            Threads::One,
        );
    }

    #[inline(always)]
    fn thin<T: Elem>(&self, weights: &mut [T], token: usize, h: usize) {
        if !self.drop.is_off() {
            let keep = self.drop.row::<T>((token * self.heads.count + h) as u64);
            for (j, w) in weights.iter_mut().enumerate() {
                *w *= keep.factor(j as u32);
            }
        }
    }

    fn backward<T: Elem>(
        &self,
        data: [&[T]; 3],
        grad: [Shared<'_, T>; 3],
        ranges: &[Range],
        o: &Tensor,
        lse: &Tensor,
        grads: &mut [Option<Tensor>],
    ) -> Result<()> {
        self.backward_to(self.q, data, grad, ranges, o, lse, grads)
    }

    /// Writes the gradients of queries (laid out as `q_place`), keys and values.
    fn backward_to<T: Elem>(
        &self,
        q_place: Place,
        data: [&[T]; 3],
        grad: [Shared<'_, T>; 3],
        ranges: &[Range],
        o: &Tensor,
        lse: &Tensor,
        grads: &mut [Option<Tensor>],
    ) -> Result<()> {
        let [q, k, v] = data;
        let (d, count, p) = (self.heads.hidden(), self.heads.count, self.heads.width);
        let (o, lse) = (cpu(o)?, cpu(lse)?);
        let (o, lse) = (o.slice::<T>()?, lse.slice::<T>()?);
        let zeros;
        let given = grads[0].take();
        let given = given.as_ref().map(cpu).transpose()?;
        let go = match &given {
            Some(g) => g.slice::<T>()?,
            None => {
                zeros = vec![T::zero(); o.len()];
                &zeros
            }
        };
        let given_lse = grads[1].take();
        let given_lse = given_lse.as_ref().map(cpu).transpose()?;
        let glse = given_lse.as_ref().map(|g| g.slice::<T>()).transpose()?;
        let scale = T::of(self.heads.scale());
        let tasks = self.tasks(ranges);
        for_tasks(
            tasks.len(),
            || (Vec::new(), Vec::new()),
            |(weights, slopes), task| {
                let (range, h) = tasks[task];
                let (n, m) = (range.q.1 - range.q.0, range.k.1 - range.k.0);
                for from in (0..n).step_by(BLOCK) {
                    let rows = BLOCK.min(n - from);
                    let width = self.reach(from + rows, m);
                    weights.resize(BLOCK * m, T::zero());
                    slopes.resize(BLOCK * m, T::zero());
                    let (s, ds) = (&mut weights[..rows * width], &mut slopes[..rows * width]);
                    self.score(s, q, k, range, h, from, rows, width);
                    let dout = Mat::strided(go, (range.q.0 + from) * d + h * p, d);
                    gemm(
                        rows,
                        width,
                        p,
                        MatMut::new(ds, width),
                        false,
                        dout,
                        self.v.mat(v, h, range.k.0).t(),
                        T::one(),
                        Threads::One,
                    );
                    simd(
                        #[inline(always)]
                        || {
                            for i in 0..rows {
                                let token = range.q.0 + from + i;
                                let sees = self.sees(from + i, m);
                                let log = lse[token * count + h];
                                let (w, g) = (
                                    &mut s[i * width..(i + 1) * width],
                                    &mut ds[i * width..(i + 1) * width],
                                );
                                self.thin(&mut g[..sees], token, h);
                                let at = token * d + h * p;
                                let shift = dot(&go[at..at + p], &o[at..at + p])
                                    - glse.map_or(T::zero(), |g| g[token * count + h]);
                                for j in 0..sees {
                                    w[j] = (w[j] - log).fexp();
                                    g[j] = w[j] * (g[j] - shift);
                                }
                                w[sees..].fill(T::zero());
                                g[sees..].fill(T::zero());
                                self.thin(&mut w[..sees], token, h);
                            }
                        },
                    );
                    let (s, ds) = (Mat::new(s, width), Mat::new(ds, width));
                    let first = range.q.0 + from;
                    gemm(
                        rows,
                        p,
                        width,
                        q_place.mat_mut(grad[0], h, first),
                        false,
                        ds,
                        self.k.mat(k, h, range.k.0),
                        scale,
                        Threads::One,
                    );
                    gemm(
                        width,
                        p,
                        rows,
                        self.k.mat_mut(grad[1], h, range.k.0),
                        true,
                        ds.t(),
                        self.q.mat(q, h, first),
                        scale,
                        Threads::One,
                    );
                    gemm(
                        width,
                        p,
                        rows,
                        self.v.mat_mut(grad[2], h, range.k.0),
                        true,
                        s.t(),
                        dout,
                        T::one(),
                        Threads::One,
                    );
                }
            },
        );
        Ok(())
    }
}

/// Turns scores into weights that sum to one; returns their log-sum-exp.
#[inline(always)]
fn normalise<T: Elem>(scores: &mut [T]) -> T {
    let top = max(scores);
    for s in scores.iter_mut() {
        *s = (*s - top).fexp();
    }
    let total = sum(scores);
    let inverse = T::one() / total;
    for s in scores.iter_mut() {
        *s *= inverse;
    }
    top + total.ln()
}

/// Attention for decoding: the queries of the newest tokens of each row against all that a cache
/// holds. No gradient.
///
/// # Shapes
/// `q` [new tokens, 3d] (only the queries are read); `rows[r]` holds row r's keys and values,
/// [seen, d] flat each, the new tokens included; `starts` bounds the new tokens of each row →
/// output [new tokens, d], log-sum-exp [new tokens, H].
///
/// # Errors
/// Shapes that do not fit.
pub fn attention_cached<T: Elem>(
    qkv: &Tensor,
    rows: &[[Vec<T>; 2]],
    starts: &[usize],
    heads: Heads,
    visible: Visible,
) -> Result<(Tensor, Tensor)> {
    let (tokens, total) = qkv.dims2()?;
    let (d, count, p) = (heads.hidden(), heads.count, heads.width);
    let x = cpu(qkv)?;
    let x = x.slice::<T>()?;
    let (mut o, mut lse) = (vec![T::zero(); tokens * d], vec![T::zero(); tokens * count]);
    let (out, lse_out) = (Shared::new(&mut o), Shared::new(&mut lse));
    let scale = T::of(heads.scale());
    for_tasks(rows.len(), Vec::new, |scores: &mut Vec<T>, r| {
        simd(
            #[inline(always)]
            || {
                let [k, v] = &rows[r];
                let (n, m) = (starts[r + 1] - starts[r], k.len() / d);
                for i in 0..n {
                    let token = starts[r] + i;
                    let sees = if visible == Visible::Causal {
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
                        lse_out.part(token * count + h, 1)[0] = normalise(scores);
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

/// [`attention`] in candle's own operations, on any device: nothing is kept but output and
/// log-sum-exp, as in the fused form.
fn on_tensors(
    tape: &Tape,
    qkv: &Value,
    heads: Heads,
    starts: &[usize],
    visible: Visible,
    drop: Dropout,
) -> Result<(Value, Value)> {
    let d = heads.hidden();
    let groups: Vec<Group> = grouped(starts, heads.count, MOST_SCORES)
        .into_iter()
        .map(|starts| Group::new(starts, visible, qkv.tensor.device()))
        .collect::<candle_core::Result<_>>()?;
    let operands = move |group: &Group, x: &Tensor| -> candle_core::Result<Operands> {
        let x = group.padded(x)?;
        let part = |c: usize| by_head(&x.narrow(1, c * d, d)?, group.rows(), heads.count);
        Ok(Operands {
            q: part(0)?,
            k: part(1)?,
            v: part(2)?,
            hidden: group.hidden.clone(),
            keep: keep_mask(
                drop,
                &group.starts[..group.rows()],
                [group.longest; 2],
                heads.count,
                &x,
            )?,
        })
    };
    let mut parts = (Vec::new(), Vec::new());
    for group in &groups {
        let [o, lse] = operands(group, &qkv.tensor)?.forward(heads)?;
        parts.0.push(group.packed(&o)?);
        parts.1.push(group.packed(&lse)?);
    }
    let (o, lse) = (Tensor::cat(&parts.0, 0)?, Tensor::cat(&parts.1, 0)?);
    let (slot, x, kept) = (qkv.slot(), qkv.tensor.clone(), [o.clone(), lse.clone()]);
    let mut values = tape.push_many(vec![o, lse], &[qkv], move |grads, slots| {
        let mut all = Vec::new();
        for group in &groups {
            let part = |t: &Option<Tensor>| t.as_ref().map(|t| group.padded(t)).transpose();
            let results = [group.padded(&kept[0])?, group.padded(&kept[1])?];
            let given = [part(&grads[0])?, part(&grads[1])?];
            let g = operands(group, &x)?.backward(heads, results, given)?;
            let flat: Vec<Tensor> = g
                .iter()
                .map(|g| cast_like(&side_by_side(g)?, &x))
                .collect::<candle_core::Result<_>>()?;
            all.push(group.packed(&Tensor::cat(&flat, 1)?)?);
        }
        slots.add(slot, Tensor::cat(&all, 0)?)
    });
    let lse = values.remove(1);
    Ok((values.remove(0), lse))
}

/// [`attention_to`] in candle's own operations, on any device.
fn to_on_tensors(
    tape: &Tape,
    qkv: &Value,
    keys: &Value,
    values: &Value,
    heads: Heads,
    drop: Dropout,
) -> Result<(Value, Value)> {
    let (tokens, total) = qkv.tensor.dims2()?;
    let (inputs, d) = ([qkv, keys, values], heads.hidden());
    let l = keys.tensor.dim(1)?;
    let operands = Operands {
        q: by_head(&qkv.tensor.narrow(1, 0, d)?, 1, heads.count)?,
        k: keys.tensor.unsqueeze(0)?,
        v: values.tensor.unsqueeze(0)?,
        hidden: None,
        keep: keep_mask(drop, &[0], [tokens, l], heads.count, &qkv.tensor)?,
    };
    let [o, lse] = operands.forward(heads)?;
    let slots_of = inputs.map(Value::slot);
    let (kept, like_these) = ([o.clone(), lse.clone()], inputs.map(|v| v.tensor.dtype()));
    let mut results = tape.push_many(vec![o, lse], &inputs, move |grads, slots| {
        let given = [grads[0].take(), grads[1].take()];
        let [dq, dk, dv] = operands.backward(heads, kept, given)?;
        let dq = side_by_side(&dq)?.to_dtype(like_these[0])?;
        slots.add_columns(slots_of[0], &dq, 0, total)?;
        slots.add(slots_of[1], dk.squeeze(0)?.to_dtype(like_these[1])?)?;
        slots.add(slots_of[2], dv.squeeze(0)?.to_dtype(like_these[2])?)
    });
    let lse = results.remove(1);
    Ok((results.remove(0), lse))
}

/// Scores computed at a time in [`on_tensors`] (2²⁶, 256 MB in f32), if one row does not have more.
/// Tests have few rows, and more than one group of them.
const MOST_SCORES: usize = if cfg!(test) { 16_384 } else { 67_108_864 };

/// The boundaries of consecutive rows that are computed at once: padded to the longest, they have
/// at most `most` scores.
fn grouped(starts: &[usize], heads: usize, most: usize) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut longest = 0;
    for w in starts.windows(2) {
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
    starts: Vec<usize>,
    longest: usize,
    /// The packed token, counted from the group's first, at each padded place, and the padded place
    /// of each token; none where all rows are equally long.
    moves: Option<[Tensor; 2]>,
    /// 1 where a query does not see a key, [rows, 1, longest, longest]; none where every query sees
    /// every key.
    hidden: Option<Tensor>,
}

impl Group {
    fn new(starts: Vec<usize>, visible: Visible, device: &Device) -> candle_core::Result<Self> {
        let lengths: Vec<usize> = starts.windows(2).map(|w| w[1] - w[0]).collect();
        let (rows, longest) = (lengths.len(), lengths.iter().copied().max().unwrap_or(0));
        let equal = lengths.iter().all(|&n| n == longest);
        let [mut token_at, mut place_of, mut keys_seen] = [const { Vec::<u32>::new() }; 3];
        for (b, &n) in lengths.iter().enumerate() {
            for i in 0..longest {
                let own = i < n;
                let token = starts[b] - starts[0] + if own { i } else { 0 };
                token_at.push(token as u32);
                if own {
                    place_of.push((b * longest + i) as u32);
                }
                keys_seen.push(match (own, visible) {
                    (false, _) => 0,
                    (true, Visible::Causal) => i as u32 + 1,
                    (true, Visible::All) => n as u32,
                });
            }
        }
        let index = |places: Vec<u32>| Tensor::new(places, device);
        let hidden = if equal && visible == Visible::All {
            None
        } else {
            let keys = Tensor::arange(0_u32, longest as u32, device)?;
            let seen = Tensor::from_vec(keys_seen, (rows, 1, longest, 1), device)?;
            Some(keys.reshape((1, 1, 1, longest))?.broadcast_ge(&seen)?)
        };
        let moves = if equal {
            None
        } else {
            Some([index(token_at)?, index(place_of)?])
        };
        Ok(Self {
            starts,
            longest,
            moves,
            hidden,
        })
    }

    fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// The group's rows [rows · longest, c] of packed ones [tokens, c].
    fn padded(&self, packed: &Tensor) -> candle_core::Result<Tensor> {
        let own = packed.narrow(0, self.starts[0], self.starts[self.rows()] - self.starts[0])?;
        match &self.moves {
            Some([token_at, _]) => own.contiguous()?.index_select(token_at, 0),
            None => Ok(own),
        }
    }

    /// Back from [rows · longest, c] to the group's tokens.
    fn packed(&self, padded: &Tensor) -> candle_core::Result<Tensor> {
        match &self.moves {
            Some([_, place_of]) => padded.contiguous()?.index_select(place_of, 0),
            None => Ok(padded.clone()),
        }
    }
}

/// What one group of rows attends with: q [rows, H, n, p], k and v [rows, H, m, p].
struct Operands {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    /// 1 where a key is not seen, [rows, 1, n, m].
    hidden: Option<Tensor>,
    /// Dropout's factors [rows, H, n, m].
    keep: Option<Tensor>,
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

    fn thin(&self, weights: Tensor) -> candle_core::Result<Tensor> {
        match &self.keep {
            Some(keep) => weights * keep,
            None => Ok(weights),
        }
    }

    /// Output [rows · n, d] and log-sum-exp [rows · n, H]; of a padded query, NaN.
    fn forward(&self, heads: Heads) -> candle_core::Result<[Tensor; 2]> {
        let s = self.scores(heads)?;
        let top = s.max_keepdim(D::Minus1)?;
        let e = s.broadcast_sub(&top)?.exp()?;
        let total = e.sum_keepdim(D::Minus1)?;
        let weights = self.thin(e.broadcast_div(&total)?)?;
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
        let ds = (&p * self.thin(of_weights)?.broadcast_sub(&shift)?)?;
        let ds = cast_like(&(ds * heads.scale())?, &self.q)?;
        let weights = cast_like(&self.thin(p)?, &self.v)?;
        Ok([
            upcast(&ds.matmul(&self.k)?)?,
            upcast(&ds.t()?.contiguous()?.matmul(&self.q)?)?,
            upcast(&weights.t()?.contiguous()?.matmul(&go)?)?,
        ])
    }
}

/// [rows · n, H c] as [rows, H, n, c].
fn by_head(x: &Tensor, rows: usize, heads: usize) -> candle_core::Result<Tensor> {
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

/// Dropout's factors [rows, H, n, m] for scores like `like`, of rows of at most n queries that
/// begin at these tokens; none where nothing is dropped.
fn keep_mask(
    drop: Dropout,
    starts: &[usize],
    [n, m]: [usize; 2],
    heads: usize,
    like: &Tensor,
) -> candle_core::Result<Option<Tensor>> {
    if drop.is_off() {
        return Ok(None);
    }
    let rows = starts.len();
    let mask = dispatch!(like, T => {
        let mut mask = vec![T::zero(); rows * heads * n * m];
        for_rows(
            &mut mask,
            m,
            #[inline(always)]
            |at, factors| {
                let (b, h, i) = (at / (heads * n), at / n % heads, at % n);
                let keep = drop.row::<T>(((starts[b] + i) * heads + h) as u64);
                for (j, factor) in factors.iter_mut().enumerate() {
                    *factor = keep.factor(j as u32);
                }
            },
        );
        Tensor::from_vec(mask, (rows, heads, n, m), like.device())?
    });
    Ok(Some(mask))
}

/// [`attention`] in plain candle: rows one by one.
///
/// # Errors
/// As [`attention`].
pub fn composed(
    tape: &Tape,
    qkv: &Value,
    heads: Heads,
    starts: &[usize],
    visible: Visible,
    drop: Dropout,
) -> Result<(Value, Value)> {
    let (d, count, p) = (heads.hidden(), heads.count, heads.width);
    let mut out = tape.composed(&[qkv], |a| {
        let (mut outputs, mut sums) = (Vec::new(), Vec::new());
        for w in starts.windows(2) {
            let n = w[1] - w[0];
            let row = a[0].narrow(0, w[0], n)?;
            let part = |c: usize| {
                row.narrow(1, c * d, d)?
                    .reshape((n, count, p))?
                    .transpose(0, 1)?
                    .contiguous()
            };
            let (q, k, v) = (upcast(&part(0)?)?, upcast(&part(1)?)?, part(2)?);
            let mut scores = (q.matmul(&k.t()?.contiguous()?)? * heads.scale())?;
            if visible == Visible::Causal {
                let hidden: Vec<f32> = (0..n * n)
                    .map(|x| {
                        if x % n > x / n {
                            f32::NEG_INFINITY
                        } else {
                            0.0
                        }
                    })
                    .collect();
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
    let lse = out.remove(1);
    Ok((out.remove(0), lse))
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

/// [`attention_to`] in plain candle.
///
/// # Errors
/// As [`attention_to`].
pub fn composed_to(
    tape: &Tape,
    qkv: &Value,
    keys: &Value,
    values: &Value,
    heads: Heads,
    drop: Dropout,
) -> Result<(Value, Value)> {
    let n = qkv.tensor.dim(0)?;
    let mut out = tape.composed(&[qkv, keys, values], |a| {
        let q = a[0]
            .narrow(1, 0, heads.hidden())?
            .reshape((n, heads.count, heads.width))?
            .transpose(0, 1)?
            .contiguous()?;
        let keys = upcast(&a[1])?.t()?.contiguous()?;
        let scores = (upcast(&q)?.matmul(&keys)? * heads.scale())?;
        let (o, lse) = weigh(&scores, &a[2], 0, heads, drop)?;
        Ok(vec![o, lse])
    })?;
    let lse = out.remove(1);
    Ok((out.remove(0), lse))
}

#[cfg(test)]
mod tests {
    use super::*;

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
