//! The inducer's own operations (Eqs. 5–8 and 11): its score, its gate λ and its gated hidden
//! units, head by head.
//!
//! ```text
//! s   = ⟨q, q + MLP_k(q)⟩/√p          inducer_score        (MLP_k absent: P_k = q)
//! λ   = σ(s − LSE)                      gate
//! hid = λ tanh(q W₁ + b₁)               gated_hidden         (one product with W₂ then gives the whole update of Eq. 11)
//! f + hid W₂ + λ b₂   per head          add_gated_values     (without value extension)
//! (1 − λ) f           per head          scale_by_complement  (Gating)
//! ```

use super::attention::Heads;
use crate::error::Result;
use crate::kernels::elem::{Elem, dot, simd};
use crate::kernels::gemm::{Mat, MatMut, Shared, Threads, gemm};
use crate::kernels::precision::{cast_like, upcast};
use crate::kernels::threads::{for_rows, for_tasks};
use crate::kernels::{cpu, dispatch, fused, tensor};
use crate::tape::{Tape, Value};
use candle_core::{D, Tensor};
use num_traits::{One as _, Zero as _};

/// The tensors of MLP_k: `q ↦ tanh(q A + a) C + c` for each head.
#[derive(Clone, Copy)]
pub struct KeyMlp<'a> {
    /// A [H, p, r].
    pub down: &'a Value,
    /// a [H, r].
    pub down_bias: &'a Value,
    /// C [H, r, p].
    pub up: &'a Value,
    /// c [H, p].
    pub up_bias: &'a Value,
}

impl<'a> KeyMlp<'a> {
    fn values(self) -> [&'a Value; 4] {
        [self.down, self.down_bias, self.up, self.up_bias]
    }
}

/// Tokens × d below which the heads are not divided among threads: a handful of tokens (decoding)
/// is done before a second thread has woken up.
const ALONE: usize = 4096;

/// `f(h)` for every head.
fn for_heads(heads: Heads, tokens: usize, f: impl Fn(usize) + Sync + Send) {
    if tokens * heads.hidden() < ALONE {
        (0..heads.count).for_each(f);
    } else {
        for_tasks(heads.count, || (), |(), h| f(h));
    }
}

/// `tanh(q A + a)` of one head for all tokens: [tokens, r].
fn units<T: Elem>(
    x: &[T],
    total: usize,
    h: usize,
    p: usize,
    tokens: usize,
    down: &[T],
    bias: &[T],
    r: usize,
) -> Vec<T> {
    let mut u = vec![T::zero(); tokens * r];
    let bias = &bias[h * r..(h + 1) * r];
    for row in u.chunks_exact_mut(r) {
        row.copy_from_slice(bias);
    }
    let a = Mat::strided(down, h * p * r, r);
    gemm(
        tokens,
        r,
        p,
        MatMut::new(&mut u, r),
        true,
        Mat::strided(x, h * p, total),
        a,
        T::one(),
        Threads::One,
    );
    simd(
        #[inline(always)]
        || {
            for u in &mut u {
                *u = u.ftanh();
            }
        },
    );
    u
}

/// Each query's score against its inducer: `⟨q, q + MLP_k(q)⟩/√p`.
///
/// # Shapes
/// `qkv` [tokens, 3d] (only the queries are read) → [tokens, H].
///
/// # Errors
/// Shapes that do not fit.
pub fn inducer_score(
    tape: &Tape,
    qkv: &Value,
    heads: Heads,
    key: Option<KeyMlp<'_>>,
) -> Result<Value> {
    if !fused(&qkv.tensor) {
        return inducer_score_composed(tape, qkv, heads, key);
    }
    let mut inputs = vec![qkv];
    inputs.extend(key.iter().flat_map(|k| k.values()));
    let tensors: Vec<Tensor> = inputs.iter().map(|v| v.tensor.clone()).collect();
    let slots_of: Vec<_> = inputs.iter().map(|v| v.slot()).collect();
    let y = dispatch!(qkv.tensor, T => score_forward::<T>(&tensors, heads))?;
    Ok(tape.push(y, &inputs, move |g, slots| {
        let total = tensors[0].dim(1)?;
        let mut grads = dispatch!(g, T => score_backward::<T>(&g, &tensors, heads))?;
        slots.add_columns(slots_of[0], &grads.remove(0), 0, total)?;
        for (slot, grad) in slots_of[1..].iter().zip(grads) {
            slots.add(*slot, grad)?;
        }
        Ok(())
    }))
}

fn score_forward<T: Elem>(tensors: &[Tensor], heads: Heads) -> Result<Tensor> {
    let (tokens, total) = tensors[0].dims2()?;
    let (count, p) = (heads.count, heads.width);
    let guards = tensors.iter().map(cpu).collect::<Result<Vec<_>>>()?;
    let data = guards
        .iter()
        .map(|g| g.slice::<T>())
        .collect::<Result<Vec<_>>>()?;
    let scale = T::of(heads.scale());
    let mut s = vec![T::zero(); tokens * count];
    let out = Shared::new(&mut s);
    for_heads(heads, tokens, |h| {
        let inducers = inducers(&data, total, h, heads, tokens);
        simd(
            #[inline(always)]
            || {
                for t in 0..tokens {
                    let q = &data[0][t * total + h * p..t * total + (h + 1) * p];
                    let extra = inducers
                        .as_ref()
                        .map_or(T::zero(), |(_, y)| dot(q, &y[t * p..(t + 1) * p]));
                    out.part(t * count + h, 1)[0] = scale * (dot(q, q) + extra);
                }
            },
        );
    });
    tensor(s, (tokens, count))
}

/// Hidden units and MLP_k(q) of one head, when there is an MLP_k.
fn inducers<T: Elem>(
    data: &[&[T]],
    total: usize,
    h: usize,
    heads: Heads,
    tokens: usize,
) -> Option<(Vec<T>, Vec<T>)> {
    let [x, down, down_bias, up, up_bias] = data else {
        return None;
    };
    let p = heads.width;
    let r = down_bias.len() / heads.count;
    let u = units(x, total, h, p, tokens, down, down_bias, r);
    let mut y = vec![T::zero(); tokens * p];
    for row in y.chunks_exact_mut(p) {
        row.copy_from_slice(&up_bias[h * p..(h + 1) * p]);
    }
    gemm(
        tokens,
        p,
        r,
        MatMut::new(&mut y, p),
        true,
        Mat::new(&u, r),
        Mat::strided(up, h * r * p, p),
        T::one(),
        Threads::One,
    );
    Some((u, y))
}

fn score_backward<T: Elem>(g: &Tensor, tensors: &[Tensor], heads: Heads) -> Result<Vec<Tensor>> {
    let (tokens, total) = tensors[0].dims2()?;
    let d = heads.hidden();
    let guards = tensors.iter().map(cpu).collect::<Result<Vec<_>>>()?;
    let data = guards
        .iter()
        .map(|g| g.slice::<T>())
        .collect::<Result<Vec<_>>>()?;
    let g = cpu(g)?;
    let g = g.slice::<T>()?;
    let scale = T::of(heads.scale());
    let mut grads: Vec<Vec<T>> = data
        .iter()
        .enumerate()
        .map(|(i, x)| vec![T::zero(); if i == 0 { tokens * d } else { x.len() }])
        .collect();
    {
        let shared: Vec<Shared<'_, T>> = grads.iter_mut().map(|g| Shared::new(g)).collect();
        for_heads(heads, tokens, |h| {
            score_backward_head(h, g, &data, &shared, heads, tokens, total, scale)
        });
    }
    let mut out = Vec::new();
    for (i, g) in grads.into_iter().enumerate() {
        out.push(if i == 0 {
            tensor(g, (tokens, d))?
        } else {
            tensor(g, tensors[i].shape().clone())?
        });
    }
    Ok(out)
}

fn score_backward_head<T: Elem>(
    h: usize,
    g: &[T],
    data: &[&[T]],
    grads: &[Shared<'_, T>],
    heads: Heads,
    tokens: usize,
    total: usize,
    scale: T,
) {
    let (count, p, d) = (heads.count, heads.width, heads.hidden());
    let two = T::of(2.0);
    let made = inducers(data, total, h, heads, tokens);
    let mut scaled = vec![T::zero(); tokens * p]; // g q, the gradient of MLP_k(q)
    simd(
        #[inline(always)]
        || {
            for t in 0..tokens {
                let q = &data[0][t * total + h * p..t * total + (h + 1) * p];
                let w = scale * g[t * count + h];
                let dq = grads[0].part(t * d + h * p, p);
                for j in 0..p {
                    scaled[t * p + j] = w * q[j];
                    dq[j] =
                        w * (two * q[j] + made.as_ref().map_or(T::zero(), |(_, y)| y[t * p + j]));
                }
            }
        },
    );
    let Some((u, _)) = made else { return };
    let r = u.len() / tokens;
    let up = Mat::strided(data[3], h * r * p, p);
    let mut dz = vec![T::zero(); tokens * r];
    gemm(
        tokens,
        r,
        p,
        MatMut::new(&mut dz, r),
        false,
        Mat::new(&scaled, p),
        up.t(),
        T::one(),
        Threads::One,
    );
    simd(
        #[inline(always)]
        || {
            dz.iter_mut()
                .zip(&u)
                .for_each(|(z, u)| *z *= T::one() - *u * *u)
        },
    );
    gemm(
        r,
        p,
        tokens,
        MatMut::strided(grads[3], h * r * p, p),
        false,
        Mat::new(&u, r).t(),
        Mat::new(&scaled, p),
        T::one(),
        Threads::One,
    );
    add_rows(grads[4].part(h * p, p), &scaled);
    through_units(
        h, &dz, data[0], data[1], grads[0], grads[1], grads[2], heads, tokens, total, r,
    );
}

/// Adds the rows of `x` to `sums`.
#[inline(always)]
fn add_rows<T: Elem>(sums: &mut [T], x: &[T]) {
    simd(
        #[inline(always)]
        || {
            for row in x.chunks_exact(sums.len()) {
                for (s, x) in sums.iter_mut().zip(row) {
                    *s += *x;
                }
            }
        },
    );
}

/// Gradients through `z = q A + a` of one head: dA, da, and dq added.
fn through_units<T: Elem>(
    h: usize,
    dz: &[T],
    x: &[T],
    down: &[T],
    dq: Shared<'_, T>,
    ddown: Shared<'_, T>,
    dbias: Shared<'_, T>,
    heads: Heads,
    tokens: usize,
    total: usize,
    r: usize,
) {
    let (p, d) = (heads.width, heads.hidden());
    let q = Mat::strided(x, h * p, total);
    gemm(
        p,
        r,
        tokens,
        MatMut::strided(ddown, h * p * r, r),
        false,
        q.t(),
        Mat::new(dz, r),
        T::one(),
        Threads::One,
    );
    add_rows(dbias.part(h * r, r), dz);
    gemm(
        tokens,
        p,
        r,
        MatMut::strided(dq, h * p, d),
        true,
        Mat::new(dz, r),
        Mat::strided(down, h * p * r, r).t(),
        T::one(),
        Threads::One,
    );
}

/// λ = σ(s − LSE) (Eq. 7 in its single-pass form).
///
/// # Shapes
/// `score`, `lse` [tokens, H] → [tokens, H]. Any two log-masses give their gate: the prefix's μ is
/// `gate(LSE_prefix, LSE)`.
///
/// # Errors
/// Shapes that do not fit.
pub fn gate(tape: &Tape, score: &Value, lse: &Value) -> Result<Value> {
    if !fused(&score.tensor) {
        let mut out = tape.composed(&[score, lse], |a| {
            Ok(vec![((((&a[1] - &a[0])?.exp()? + 1.0)?).recip())?])
        })?;
        return Ok(out.remove(0));
    }
    // λ and 1 − λ, each from its own exponential: the gradient λ(1 − λ) stays exact where λ rounds
    // to 1
    let (lambda, rest) = dispatch!(score.tensor, T => {
        let (s, l) = (cpu(&score.tensor)?, cpu(&lse.tensor)?);
        let (s, l) = (s.slice::<T>()?, l.slice::<T>()?);
        let part = |sign: T| -> Result<Tensor> {
            let values: Vec<T> = s.iter().zip(l).map(|(s, l)| logistic(sign * (*s - *l))).collect();
            tensor(values, score.tensor.shape().clone())
        };
        (part(T::one())?, part(-T::one())?)
    });
    let (ss, ls, kept) = (score.slot(), lse.slot(), lambda.clone());
    Ok(tape.push(lambda, &[score, lse], move |g, slots| {
        let (ds, dl) = dispatch!(g, T => {
            let (g, y, rest) = (cpu(&g)?, cpu(&kept)?, cpu(&rest)?);
            let pairs = y.slice::<T>()?.iter().zip(rest.slice::<T>()?);
            let ds: Vec<T> = g.slice::<T>()?.iter().zip(pairs).map(|(g, (y, r))| *g * *y * *r).collect();
            let dl: Vec<T> = ds.iter().map(|x| -*x).collect();
            (tensor(ds, kept.shape().clone())?, tensor(dl, kept.shape().clone())?)
        });
        slots.add(ss, ds)?;
        slots.add(ls, dl)
    }))
}

#[inline(always)]
fn logistic<T: Elem>(x: T) -> T {
    // exp of a negative number only, so that nothing overflows
    let e = (-x.abs()).fexp();
    let small = e / (T::one() + e);
    if x >= T::zero() {
        T::one() - small
    } else {
        small
    }
}

/// λ tanh(q W₁ + b₁) for each head.
///
/// # Shapes
/// `qkv` [tokens, 3d], `lambda` [tokens, H], `down` [H, p, r], `bias` [H, r] → [tokens, H r].
///
/// # Errors
/// Shapes that do not fit.
pub fn gated_hidden(
    tape: &Tape,
    qkv: &Value,
    lambda: &Value,
    down: &Value,
    bias: &Value,
    heads: Heads,
) -> Result<Value> {
    if !fused(&qkv.tensor) {
        return gated_hidden_composed(tape, qkv, lambda, down, bias, heads);
    }
    let (tokens, total) = qkv.tensor.dims2()?;
    let r = bias.tensor.dim(1)?;
    let (count, p, d) = (heads.count, heads.width, heads.hidden());
    let inputs = [qkv, lambda, down, bias];
    let kept: Vec<Tensor> = inputs.iter().map(|v| v.tensor.clone()).collect();
    let slots_of: Vec<_> = inputs.iter().map(|v| v.slot()).collect();
    let y = dispatch!(qkv.tensor, T => {
        let guards = kept.iter().map(cpu).collect::<Result<Vec<_>>>()?;
        let data = guards.iter().map(|g| g.slice::<T>()).collect::<Result<Vec<_>>>()?;
        let mut hidden = vec![T::zero(); tokens * count * r];
        let out = Shared::new(&mut hidden);
        for_heads(heads, tokens, |h| {
            let u = units(data[0], total, h, p, tokens, data[2], data[3], r);
            for t in 0..tokens {
                let lambda = data[1][t * count + h];
                for (o, u) in out.part((t * count + h) * r, r).iter_mut().zip(&u[t * r..(t + 1) * r]) {
                    *o = lambda * *u;
                }
            }
        });
        tensor(hidden, (tokens, count * r))
    })?;
    Ok(tape.push(y, &inputs, move |g, slots| {
        dispatch!(g, T => {
            let guards = kept.iter().map(cpu).collect::<Result<Vec<_>>>()?;
            let data = guards.iter().map(|g| g.slice::<T>()).collect::<Result<Vec<_>>>()?;
            let g = cpu(&g)?;
            let g = g.slice::<T>()?;
            let (mut dq, mut dl) = (vec![T::zero(); tokens * d], vec![T::zero(); tokens * count]);
            let (mut dw, mut db) = (vec![T::zero(); data[2].len()], vec![T::zero(); data[3].len()]);
            let shared = [Shared::new(&mut dq), Shared::new(&mut dl), Shared::new(&mut dw), Shared::new(&mut db)];
            for_heads(heads, tokens, |h| {
                let mut u = units(data[0], total, h, p, tokens, data[2], data[3], r);
                for t in 0..tokens {
                    let lambda = data[1][t * count + h];
                    let (u, g) = (&mut u[t * r..(t + 1) * r], &g[(t * count + h) * r..(t * count + h + 1) * r]);
                    shared[1].part(t * count + h, 1)[0] = dot(u, g);
                    for (u, g) in u.iter_mut().zip(g) {
                        *u = lambda * *g * (T::one() - *u * *u);
                    }
                }
                through_units(h, &u, data[0], data[2], shared[0], shared[2], shared[3], heads, tokens, total, r);
            });
            slots.add_columns(slots_of[0], &tensor(dq, (tokens, d))?, 0, total)?;
            slots.add(slots_of[1], tensor(dl, (tokens, count))?)?;
            slots.add(slots_of[2], tensor(dw, kept[2].shape().clone())?)?;
            slots.add(slots_of[3], tensor(db, kept[3].shape().clone())?)
        })
    }))
}

/// `f + hid W₂ + λ b₂` head by head: the value path without extension (Adaptive).
///
/// # Shapes
/// `f` [tokens, d], `hidden` [tokens, H r], `lambda` [tokens, H], `up` [H, r, p], `bias` [H, p] →
/// [tokens, d].
///
/// # Errors
/// Shapes that do not fit.
pub fn add_gated_values(
    tape: &Tape,
    f: &Value,
    hidden: &Value,
    lambda: &Value,
    up: &Value,
    bias: &Value,
    heads: Heads,
) -> Result<Value> {
    let (count, p, d) = (heads.count, heads.width, heads.hidden());
    let tokens = f.tensor.dim(0)?;
    let r = up.tensor.dim(1)?;
    if !fused(&f.tensor) {
        let mut out = tape.composed(&[f, hidden, lambda, up, bias], |a| {
            let lifted = a[1]
                .reshape((tokens, count, r))?
                .transpose(0, 1)?
                .contiguous()?
                .matmul(&a[3])?
                .transpose(0, 1)?;
            let biased = upcast(&a[2])?
                .unsqueeze(2)?
                .broadcast_mul(&upcast(&a[4])?.unsqueeze(0)?)?;
            let change = (upcast(&lifted)? + biased)?.reshape((tokens, d))?;
            Ok(vec![cast_like(&(upcast(&a[0])? + change)?, &a[0])?])
        })?;
        return Ok(out.remove(0));
    }
    let inputs = [f, hidden, lambda, up, bias];
    let kept: Vec<Tensor> = inputs[1..].iter().map(|v| v.tensor.clone()).collect();
    let slots_of: Vec<_> = inputs.iter().map(|v| v.slot()).collect();
    let y = dispatch!(f.tensor, T => {
        let guards = inputs.iter().map(|v| cpu(&v.tensor)).collect::<Result<Vec<_>>>()?;
        let data = guards.iter().map(|g| g.slice::<T>()).collect::<Result<Vec<_>>>()?;
        let mut y = data[0].to_vec();
        let out = Shared::new(&mut y);
        for_heads(heads, tokens, |h| {
            for t in 0..tokens {
                let lambda = data[2][t * count + h];
                for (o, b) in out.part(t * d + h * p, p).iter_mut().zip(&data[4][h * p..(h + 1) * p]) {
                    *o += lambda * *b;
                }
            }
            let hid = Mat::strided(data[1], h * r, count * r);
            gemm(tokens, p, r, MatMut::strided(out, h * p, d), true, hid, Mat::strided(data[3], h * r * p, p), T::one(), Threads::One);
        });
        tensor(y, (tokens, d))
    })?;
    Ok(tape.push(y, &inputs, move |g, slots| {
        dispatch!(g, T => {
            let guards = kept.iter().map(cpu).collect::<Result<Vec<_>>>()?;
            let data = guards.iter().map(|g| g.slice::<T>()).collect::<Result<Vec<_>>>()?;
            let gg = cpu(&g)?;
            let gs = gg.slice::<T>()?;
            let (mut dh, mut dl) = (vec![T::zero(); data[0].len()], vec![T::zero(); data[1].len()]);
            let (mut du, mut db) = (vec![T::zero(); data[2].len()], vec![T::zero(); data[3].len()]);
            let shared = [Shared::new(&mut dh), Shared::new(&mut dl), Shared::new(&mut du), Shared::new(&mut db)];
            for_heads(heads, tokens, |h| {
                let bias = &data[3][h * p..(h + 1) * p];
                let dbias = shared[3].part(h * p, p);
                for t in 0..tokens {
                    let g = &gs[t * d + h * p..t * d + (h + 1) * p];
                    shared[1].part(t * count + h, 1)[0] = dot(g, bias);
                    let lambda = data[1][t * count + h];
                    for (b, g) in dbias.iter_mut().zip(g) {
                        *b += lambda * *g;
                    }
                }
                let g = Mat::strided(gs, h * p, d);
                let up = Mat::strided(data[2], h * r * p, p);
                let hid = Mat::strided(data[0], h * r, count * r);
                gemm(tokens, r, p, MatMut::strided(shared[0], h * r, count * r), false, g, up.t(), T::one(), Threads::One);
                gemm(r, p, tokens, MatMut::strided(shared[2], h * r * p, p), false, hid.t(), g, T::one(), Threads::One);
            });
            for (i, grad) in [dh, dl, du, db].into_iter().enumerate() {
                slots.add(slots_of[i + 1], tensor(grad, kept[i].shape().clone())?)?;
            }
        });
        slots.pass(slots_of[0], g)
    }))
}

/// `(1 − λ) f` for each head: what Gating leaves of the attention.
///
/// # Shapes
/// `f` [tokens, d], `lambda` [tokens, H] → [tokens, d].
///
/// # Errors
/// Shapes that do not fit.
pub fn scale_by_complement(tape: &Tape, f: &Value, lambda: &Value, heads: Heads) -> Result<Value> {
    let (count, p, d) = (heads.count, heads.width, heads.hidden());
    let tokens = f.tensor.dim(0)?;
    if !fused(&f.tensor) {
        let mut out = tape.composed(&[f, lambda], |a| {
            let keep = (1.0 - upcast(&a[1])?)?.unsqueeze(2)?;
            let faded = upcast(&a[0])?
                .reshape((tokens, count, p))?
                .broadcast_mul(&keep)?
                .reshape((tokens, d))?;
            Ok(vec![cast_like(&faded, &a[0])?])
        })?;
        return Ok(out.remove(0));
    }
    let scale = move |x: &Tensor, lambda: &Tensor| -> Result<Tensor> {
        dispatch!(x, T => {
            let (x, l) = (cpu(x)?, cpu(lambda)?);
            let l = l.slice::<T>()?;
            let mut y = x.slice::<T>()?.to_vec();
            for_rows(&mut y, p, #[inline(always)] |i, row| row.iter_mut().for_each(|y| *y *= T::one() - l[i]));
            tensor(y, (tokens, d))
        })
    };
    let y = scale(&f.tensor, &lambda.tensor)?;
    let (fs, ls, kept_f, kept_l) = (
        f.slot(),
        lambda.slot(),
        f.tensor.clone(),
        lambda.tensor.clone(),
    );
    Ok(tape.push(y, &[f, lambda], move |g, slots| {
        if ls.is_some() {
            slots.add(ls, dispatch!(g, T => {
                let (g, f) = (cpu(&g)?, cpu(&kept_f)?);
                let (g, f) = (g.slice::<T>()?, f.slice::<T>()?);
                tensor(g.chunks_exact(p).zip(f.chunks_exact(p)).map(|(g, f)| -dot(g, f)).collect::<Vec<T>>(), (tokens, count))
            })?)?;
        }
        slots.add(fs, scale(&g, &kept_l)?)
    }))
}

fn queries(qkv: &Tensor, heads: Heads) -> candle_core::Result<Tensor> {
    let n = qkv.dim(0)?;
    qkv.narrow(1, 0, heads.hidden())?
        .reshape((n, heads.count, heads.width))?
        .transpose(0, 1)?
        .contiguous()
}

/// [`inducer_score`] in plain candle.
///
/// # Errors
/// As [`inducer_score`].
pub fn inducer_score_composed(
    tape: &Tape,
    qkv: &Value,
    heads: Heads,
    key: Option<KeyMlp<'_>>,
) -> Result<Value> {
    let mut inputs = vec![qkv];
    inputs.extend(key.iter().flat_map(|k| k.values()));
    let mut out = tape.composed(&inputs, |a| {
        let q = queries(&a[0], heads)?;
        let mut inducer = upcast(&q)?;
        if let [_, down, down_bias, up, up_bias] = a {
            let u = q
                .matmul(down)?
                .broadcast_add(&down_bias.unsqueeze(1)?)?
                .tanh()?;
            let moved = u.matmul(up)?.broadcast_add(&up_bias.unsqueeze(1)?)?;
            inducer = (inducer + upcast(&moved)?)?;
        }
        Ok(vec![
            ((upcast(&q)? * inducer)?.sum(D::Minus1)? * heads.scale())?
                .t()?
                .contiguous()?,
        ])
    })?;
    Ok(out.remove(0))
}

/// [`gated_hidden`] in plain candle.
///
/// # Errors
/// As [`gated_hidden`].
pub fn gated_hidden_composed(
    tape: &Tape,
    qkv: &Value,
    lambda: &Value,
    down: &Value,
    bias: &Value,
    heads: Heads,
) -> Result<Value> {
    let mut out = tape.composed(&[qkv, lambda, down, bias], |a| {
        let q = queries(&a[0], heads)?;
        let u = q
            .matmul(&a[2])?
            .broadcast_add(&a[3].unsqueeze(1)?)?
            .tanh()?;
        let gated = upcast(&u)?
            .transpose(0, 1)?
            .broadcast_mul(&upcast(&a[1])?.unsqueeze(2)?)?;
        let (n, count, r) = gated.dims3()?;
        Ok(vec![cast_like(&gated.reshape((n, count * r))?, &q)?])
    })?;
    Ok(out.remove(0))
}
