//! Layer normalisation with affine parameters, over the last axis.
//!
//! Candle's fused layer norm has no backward pass and says nothing about it; this one has. Mean and
//! deviation are computed again in the backward pass rather than kept.

use crate::error::Result;
use crate::kernels::elem::{Elem, dot, simd, sum};
use crate::kernels::precision::upcast;
use crate::kernels::threads::for_rows;
use crate::kernels::{cpu, dispatch, fused_pair, tensor};
use crate::tape::{Pair, Tape, Value};
use candle_core::Tensor;

/// `(x − mean) / √(variance + eps) · weight + bias` for each row.
///
/// # Shapes
/// `x: [tokens, d]`, `weight: [d]`, `bias: [d]` → `[tokens, d]`.
///
/// # Errors
/// Shapes that do not fit.
pub fn layer_norm(tape: &Tape, x: &Value, weight: &Value, bias: &Value, eps: f64) -> Result<Value> {
    if !fused_pair(&x.tensor, &weight.tensor) {
        return composed(tape, x, weight, bias, eps);
    }
    let y = dispatch!(x.tensor, T => forward::<T>(&x.tensor, &weight.tensor, &bias.tensor, eps))?;
    let (kept, w) = (x.tensor.clone(), weight.tensor.clone());
    let (xs, ws, bs) = (x.slot(), weight.slot(), bias.slot());
    Ok(tape.push(y, &[x, weight, bias], move |g, slots| {
        if xs.is_some() {
            slots.add(
                xs,
                dispatch!(g, T => input_gradient::<T>(&g, &kept, &w, eps))?,
            )?;
        }
        if ws.is_some() || bs.is_some() {
            let (dw, db) = dispatch!(g, T => parameter_gradients::<T>(&g, &kept, eps))?;
            slots.add(ws, dw)?;
            slots.add(bs, db)?;
        }
        Ok(())
    }))
}

/// [`layer_norm`] with a model's own weight and bias.
///
/// # Errors
/// As [`layer_norm`].
pub fn norm(tape: &Tape, pair: &Pair, x: &Value, eps: f64) -> Result<Value> {
    let [weight, bias] = tape.parameters(pair)?;
    layer_norm(tape, x, &weight, &bias, eps)
}

#[inline(always)]
fn statistics<T: Elem>(x: &[T], eps: T) -> (T, T) {
    let n = T::of(x.len() as f64);
    let mean = sum(x) / n;
    let mut variance = T::zero();
    let mut lanes = [T::zero(); 16];
    let chunks = x.chunks_exact(16);
    for v in chunks.remainder() {
        variance += (*v - mean) * (*v - mean);
    }
    for c in chunks {
        for i in 0..16 {
            lanes[i] += (c[i] - mean) * (c[i] - mean);
        }
    }
    variance += lanes.iter().copied().sum::<T>();
    (mean, T::one() / (variance / n + eps).sqrt())
}

fn forward<T: Elem>(x: &Tensor, w: &Tensor, b: &Tensor, eps: f64) -> Result<Tensor> {
    let shape = x.dims2()?;
    let (x, w, b) = (cpu(x)?, cpu(w)?, cpu(b)?);
    let (x, w, b) = (x.slice::<T>()?, w.slice::<T>()?, b.slice::<T>()?);
    let d = shape.1;
    let mut y = vec![T::zero(); x.len()];
    for_rows(
        &mut y,
        d,
        #[inline(always)]
        |i, row| {
            let x = &x[i * d..(i + 1) * d];
            let (mean, r) = statistics(x, T::of(eps));
            for j in 0..d {
                row[j] = (x[j] - mean) * r * w[j] + b[j];
            }
        },
    );
    tensor(y, shape)
}

fn input_gradient<T: Elem>(g: &Tensor, x: &Tensor, w: &Tensor, eps: f64) -> Result<Tensor> {
    let shape = x.dims2()?;
    let (g, x, w) = (cpu(g)?, cpu(x)?, cpu(w)?);
    let (g, x, w) = (g.slice::<T>()?, x.slice::<T>()?, w.slice::<T>()?);
    let d = shape.1;
    let n = T::of(d as f64);
    let mut dx = vec![T::zero(); x.len()];
    for_rows(
        &mut dx,
        d,
        #[inline(always)]
        |i, row| {
            let (x, g) = (&x[i * d..(i + 1) * d], &g[i * d..(i + 1) * d]);
            let (mean, r) = statistics(x, T::of(eps));
            for j in 0..d {
                row[j] = g[j] * w[j];
            }
            // with x̂ = (x − mean) r and a = g ∘ w: dx = r (a − mean(a) − x̂ mean(a ∘ x̂))
            let a_mean = sum(row) / n;
            let ax = (dot(row, x) - mean * sum(row)) * r / n;
            for j in 0..d {
                row[j] = r * (row[j] - a_mean - (x[j] - mean) * r * ax);
            }
        },
    );
    tensor(dx, shape)
}

fn parameter_gradients<T: Elem>(g: &Tensor, x: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    let d = x.dims2()?.1;
    let (g, x) = (cpu(g)?, cpu(x)?);
    let (g, x) = (g.slice::<T>()?, x.slice::<T>()?);
    let (mut dw, mut db) = (vec![T::zero(); d], vec![T::zero(); d]);
    simd(
        #[inline(always)]
        || {
            for (g, x) in g.chunks_exact(d).zip(x.chunks_exact(d)) {
                let (mean, r) = statistics(x, T::of(eps));
                for j in 0..d {
                    dw[j] += g[j] * (x[j] - mean) * r;
                    db[j] += g[j];
                }
            }
        },
    );
    Ok((tensor(dw, d)?, tensor(db, d)?))
}

/// The same function in plain candle.
///
/// # Errors
/// As [`layer_norm`].
pub fn composed(tape: &Tape, x: &Value, weight: &Value, bias: &Value, eps: f64) -> Result<Value> {
    let mut out = tape.composed(&[x, weight, bias], |a| {
        let (x, weight, bias) = (upcast(&a[0])?, upcast(&a[1])?, upcast(&a[2])?);
        let centred = x.broadcast_sub(&x.mean_keepdim(1)?)?;
        let variance = centred.sqr()?.mean_keepdim(1)?;
        let scaled = centred.broadcast_div(&(variance + eps)?.sqrt()?)?;
        Ok(vec![scaled.broadcast_mul(&weight)?.broadcast_add(&bias)?])
    })?;
    Ok(out.remove(0))
}
