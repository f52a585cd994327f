//! Layer normalisation with affine parameters, over the last axis.
//!
//! Candle's fused layer norm has no backward pass and says nothing about it; this one has. Mean and
//! deviation are computed again in the backward pass rather than kept.

use super::driver::{self, Gradient, Op};
use crate::error::Result;
use crate::kernels::cuda::{self, Arg, Grid, rows};
use crate::kernels::elem::{Elem, dot, simd, sum, sum_of};
use crate::kernels::precision::{master_dtype, upcast};
use crate::kernels::threads::for_rows;
use crate::tape::{Pair, Tape, Value};
use candle_core::{DType, Tensor};

/// `(x − mean) / √(variance + eps) · weight + bias` for each row.
///
/// # Shapes
/// `x: [tokens, d]`, `weight: [d]`, `bias: [d]` → `[tokens, d]`, in mixed precision in f32.
///
/// # Errors
/// Shapes that do not fit.
pub fn layer_norm(tape: &Tape, x: &Value, weight: &Value, bias: &Value, eps: f64) -> Result<Value> {
    let output = master_dtype(x.tensor.dtype());
    run(tape, [x, weight, bias], eps, output)
}

fn run(tape: &Tape, inputs: [&Value; 3], eps: f64, output: DType) -> Result<Value> {
    let (tokens, d) = inputs[0].tensor.dims2()?;
    driver::run(tape, LayerNorm { d, eps, output }, inputs, (tokens, d))
}

/// [`layer_norm`] with a model's own weight and bias.
///
/// # Errors
/// As [`layer_norm`].
pub fn norm(tape: &Tape, pair: &Pair, x: &Value, eps: f64) -> Result<Value> {
    let [weight, bias] = tape.parameters(pair)?;
    layer_norm(tape, x, &weight, &bias, eps)
}

/// [`norm`] for linear maps alone, none of which reads more than the type that the model computes
/// in: the result has that type.
///
/// # Errors
/// As [`layer_norm`].
pub fn norm_for_products(tape: &Tape, pair: &Pair, x: &Value, eps: f64) -> Result<Value> {
    let [weight, bias] = tape.parameters(pair)?;
    run(tape, [x, &weight, &bias], eps, weight.tensor.dtype())
}

struct LayerNorm {
    d: usize,
    eps: f64,
    output: DType,
}

#[inline(always)]
fn statistics<T: Elem>(x: &[T], eps: T) -> (T, T) {
    let n = T::of(x.len() as f64);
    let mean = sum(x) / n;
    let squares = sum_of(
        x,
        #[inline(always)]
        |v| (v - mean) * (v - mean),
    );
    (mean, T::one() / (squares / n + eps).sqrt())
}

impl Op<3> for LayerNorm {
    const READS: [bool; 3] = [true, true, false];
    const ADDS_TO_WAITING: bool = true;

    fn forward<T: Elem>(&self, [x, w, b]: [&[T]; 3]) -> Vec<T> {
        let d = self.d;
        let mut y = vec![T::zero(); x.len()];
        for_rows(
            &mut y,
            d,
            #[inline(always)]
            |i, row| {
                let x = &x[i * d..(i + 1) * d];
                let (mean, r) = statistics(x, T::of(self.eps));
                for j in 0..d {
                    row[j] = (x[j] - mean) * r * w[j] + b[j];
                }
            },
        );
        y
    }

    fn backward<T: Elem>(&self, x: [&[T]; 3], g: &[T], wanted: [bool; 3]) -> [Gradient<Vec<T>>; 3] {
        let [x, w, _] = x;
        let dx = Gradient::when(wanted[0], || self.input_gradient(x, w, g));
        if !wanted[1] && !wanted[2] {
            return [dx, Gradient::Unwanted, Gradient::Unwanted];
        }
        let (dw, db) = self.parameter_gradients(x, g);
        [dx, Gradient::Of(dw), Gradient::Of(db)]
    }

    fn forward_on_card(&self, [x, w, b]: [&Tensor; 3]) -> Result<Tensor> {
        let (x, b) = (x.to_dtype(DType::F32)?, b.to_dtype(w.dtype())?);
        let tokens = x.dim(0)?;
        let y = cuda::empty(x.shape(), self.output, x.device())?;
        let args = [
            Arg::In(&x),
            Arg::In(w),
            Arg::In(&b),
            Arg::Out(&y),
            Arg::U32(tokens),
            Arg::U32(self.d),
            Arg::F32(self.eps),
        ];
        cuda::launch_pair([w, &y], "layer_norm", Grid::rows(tokens), &args)?;
        Ok(y)
    }

    fn backward_on_card(
        &self,
        x: [Option<&Tensor>; 3],
        g: &Tensor,
        wanted: [bool; 3],
    ) -> Result<[Gradient<Tensor>; 3]> {
        self.backward_onto(x, g, wanted, None)
    }

    fn backward_onto(
        &self,
        [x, w, _]: [Option<&Tensor>; 3],
        g: &Tensor,
        wanted: [bool; 3],
        waiting: Option<&Tensor>,
    ) -> Result<[Gradient<Tensor>; 3]> {
        let (Some(x), Some(w)) = (x, w) else {
            unreachable!("the driver saves both")
        };
        let x = x.to_dtype(DType::F32)?;
        let (tokens, device) = (x.dim(0)?, x.device());
        let empty = |width| cuda::empty((tokens, width), DType::F32, device);
        let dx = wanted[0].then(|| empty(self.d)).transpose()?;
        let parameters = wanted[1] || wanted[2];
        let statistics = parameters.then(|| empty(2)).transpose()?;
        let args = [
            Arg::In(&x),
            Arg::In(w),
            Arg::In(g),
            Arg::Maybe(waiting),
            Arg::MaybeOut(dx.as_ref()),
            Arg::MaybeOut(statistics.as_ref()),
            Arg::U32(tokens),
            Arg::U32(self.d),
            Arg::F32(self.eps),
        ];
        cuda::launch_pair([w, g], "layer_norm_back", Grid::rows(tokens), &args)?;
        let dx = dx.map_or(Gradient::Unwanted, Gradient::Of);
        let Some(statistics) = statistics else {
            return Ok([dx, Gradient::Unwanted, Gradient::Unwanted]);
        };
        let [dw, db] =
            self.parameter_gradients_on_card(&x, &g.to_dtype(DType::F32)?, &statistics)?;
        Ok([dx, Gradient::Of(dw), Gradient::Of(db)])
    }

    fn composed(&self, a: &[Tensor]) -> candle_core::Result<Tensor> {
        let (x, weight, bias) = (upcast(&a[0])?, upcast(&a[1])?, upcast(&a[2])?);
        let centred = x.broadcast_sub(&x.mean_keepdim(1)?)?;
        let variance = centred.sqr()?.mean_keepdim(1)?;
        let scaled = centred.broadcast_div(&(variance + self.eps)?.sqrt()?)?;
        let y = scaled.broadcast_mul(&weight)?.broadcast_add(&bias)?;
        y.to_dtype(self.output)
    }
}

impl LayerNorm {
    fn input_gradient<T: Elem>(&self, x: &[T], w: &[T], g: &[T]) -> Vec<T> {
        let d = self.d;
        let n = T::of(d as f64);
        let mut dx = vec![T::zero(); x.len()];
        for_rows(
            &mut dx,
            d,
            #[inline(always)]
            |i, row| {
                let (x, g) = (&x[i * d..(i + 1) * d], &g[i * d..(i + 1) * d]);
                let (mean, r) = statistics(x, T::of(self.eps));
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
        dx
    }

    fn parameter_gradients_on_card(
        &self,
        x: &Tensor,
        g: &Tensor,
        statistics: &Tensor,
    ) -> Result<[Tensor; 2]> {
        let (tokens, d) = (x.dim(0)?, self.d);
        let (count, chunk) = rows::chunks(tokens);
        let partial = cuda::empty((count, 2 * d), DType::F32, x.device())?;
        let args = [
            Arg::In(x),
            Arg::In(g),
            Arg::In(statistics),
            Arg::Out(&partial),
            Arg::U32(tokens),
            Arg::U32(d),
            Arg::U32(chunk),
        ];
        let grid = rows::over_chunks(d, count);
        cuda::launch_named(x.device(), "layer_norm_sums", grid, &args)?;
        let both = rows::added(&partial)?;
        Ok([both.narrow(0, 0, d)?, both.narrow(0, d, d)?])
    }

    fn parameter_gradients<T: Elem>(&self, x: &[T], g: &[T]) -> (Vec<T>, Vec<T>) {
        let d = self.d;
        let (mut dw, mut db) = (vec![T::zero(); d], vec![T::zero(); d]);
        simd(
            #[inline(always)]
            || {
                for (g, x) in g.chunks_exact(d).zip(x.chunks_exact(d)) {
                    let (mean, r) = statistics(x, T::of(self.eps));
                    for j in 0..d {
                        dw[j] += g[j] * (x[j] - mean) * r;
                        db[j] += g[j];
                    }
                }
            },
        );
        (dw, db)
    }
}
