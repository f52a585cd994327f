//! The value path: gated hidden units, and what they add to the attention.

use super::card::{Reads, alike, gradients, new_like, new_numbers, numbers};
use super::{Bottleneck, for_heads, units};
use crate::error::Result;
use crate::kernels::cuda::Arg;
use crate::kernels::elem::{Elem, dot};
use crate::kernels::gemm::{Mat, MatMut, Shared};
use crate::kernels::precision::{cast_like, upcast};
use crate::ops::attention::Heads;
use crate::ops::driver::{self, Gradient, Op};
use crate::tape::{Tape, Value};
use candle_core::Tensor;

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
    let sizes = Bottleneck::new(tape, heads, qkv, bias.tensor.dim(1)?)?;
    let shape = (sizes.tokens, heads.count * sizes.r);
    driver::run(tape, Hidden(sizes), [qkv, lambda, down, bias], shape)
}

struct Hidden(Bottleneck);

/// The only matrix that gated hidden units read, and that of gated values.
const DOWN: Reads = Reads {
    down: true,
    up: false,
};
const UP: Reads = Reads {
    down: false,
    up: true,
};
const NEITHER: Reads = Reads {
    down: false,
    up: false,
};

impl Op<4> for Hidden {
    fn forward<T: Elem>(&self, [qkv, lambda, down, bias]: [&[T]; 4]) -> Vec<T> {
        let (heads, tokens, r) = self.0.sizes();
        let count = heads.count;
        let mut hidden = vec![T::zero(); tokens * count * r];
        let out = Shared::new(&mut hidden);
        for_heads(heads, tokens, |h| {
            let u = self.0.units(qkv, h, down, bias);
            for t in 0..tokens {
                let lambda = lambda[t * count + h];
                let out = out.part((t * count + h) * r, r);
                for (o, u) in out.iter_mut().zip(&u[t * r..(t + 1) * r]) {
                    *o = lambda * *u;
                }
            }
        });
        hidden
    }

    fn backward<T: Elem>(&self, x: [&[T]; 4], g: &[T], _: [bool; 4]) -> [Gradient<Vec<T>>; 4] {
        let [qkv, lambda, down, bias] = x;
        let (heads, tokens, r) = self.0.sizes();
        let count = heads.count;
        let lengths = [
            tokens * heads.hidden(),
            lambda.len(),
            down.len(),
            bias.len(),
        ];
        let mut grads = lengths.map(|length| vec![T::zero(); length]);
        let [dq, dl, dw, db] = grads.each_mut().map(|g| Shared::new(g));
        for_heads(heads, tokens, |h| {
            let mut u = self.0.units(qkv, h, down, bias);
            for t in 0..tokens {
                let lambda = lambda[t * count + h];
                let u = &mut u[t * r..(t + 1) * r];
                let g = &g[(t * count + h) * r..(t * count + h + 1) * r];
                dl.part(t * count + h, 1)[0] = dot(u, g);
                for (u, g) in u.iter_mut().zip(g) {
                    *u = lambda * *g * (T::one() - *u * *u);
                }
            }
            self.0.through_units(h, &u, [qkv, down], [dq, dw, db]);
        });
        grads.map(Gradient::Of)
    }

    fn suits_card(&self) -> bool {
        self.0.suits_card()
    }

    fn forward_on_card(&self, [qkv, lambda, down, bias]: [&Tensor; 4]) -> Result<Tensor> {
        let (heads, tokens, r) = self.0.sizes();
        let (lambda, [down, bias]) = (numbers(lambda)?, alike(qkv, [down, bias])?);
        let y = new_like(qkv, &[tokens, heads.count * r])?;
        let args = [
            &[qkv, &lambda, &down, &bias].map(Arg::In)[..],
            &[Arg::Out(&y)],
        ]
        .concat();
        self.0
            .over_tokens(qkv, "inducer_hidden", DOWN, &args, &[])?;
        Ok(y)
    }

    fn backward_on_card(
        &self,
        x: [Option<&Tensor>; 4],
        g: &Tensor,
        wanted: [bool; 4],
    ) -> Result<[Gradient<Tensor>; 4]> {
        let [Some(qkv), Some(lambda), Some(down), Some(bias)] = x else {
            unreachable!("all are saved")
        };
        let (heads, tokens, _) = self.0.sizes();
        let (lambda, [down, bias, g]) = (numbers(lambda)?, alike(qkv, [down, bias, g])?);
        let given = [qkv, &lambda, &down, &bias, &g].map(Arg::In);
        let mut found = vec![None, None];
        if wanted[0] || wanted[1] {
            let dq = new_like(qkv, &[tokens, heads.hidden()])?;
            let dl = new_numbers(qkv, lambda.dims())?;
            let args = [&given[..], &[&dq, &dl].map(Arg::Out)].concat();
            self.0
                .over_tokens(qkv, "inducer_hidden_queries", DOWN, &args, &[])?;
            found = vec![Some(dq), Some(dl)];
        }
        if wanted[2] || wanted[3] {
            let sums = self
                .0
                .weights(qkv, "inducer_hidden_weights", [DOWN; 2], &given, &[])?;
            found.extend(sums.into_iter().map(Some));
        }
        Ok(gradients(found))
    }

    fn composed(&self, a: &[Tensor]) -> candle_core::Result<Tensor> {
        let q = self.0.heads.split(&a[0], 0)?;
        let gated = upcast(&units(&q, &a[2], &a[3])?)?
            .transpose(0, 1)?
            .broadcast_mul(&upcast(&a[1])?.unsqueeze(2)?)?;
        let (n, count, r) = gated.dims3()?;
        cast_like(&gated.reshape((n, count * r))?, &q)
    }
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
    let sizes = Bottleneck::new(tape, heads, f, up.tensor.dim(1)?)?;
    let inputs = [f, hidden, lambda, up, bias];
    driver::run(tape, GatedValues(sizes), inputs, f.tensor.shape())
}

struct GatedValues(Bottleneck);

impl GatedValues {
    /// The hidden units of one head, [tokens, r].
    fn hidden<'a, T>(&self, hidden: &'a [T], h: usize) -> Mat<'a, T> {
        let (_, tokens, r) = self.0.sizes();
        Mat::strided(hidden, [tokens, r], h * r, self.0.heads.count * r)
    }
}

impl Op<5> for GatedValues {
    const READS: [bool; 5] = [false, true, true, true, true];

    fn forward<T: Elem>(&self, [f, hidden, lambda, up, bias]: [&[T]; 5]) -> Vec<T> {
        let (heads, tokens, _) = self.0.sizes();
        let (count, p, d) = (heads.count, heads.width, heads.hidden());
        let mut y = f.to_vec();
        let out = Shared::new(&mut y);
        for_heads(heads, tokens, |h| {
            for t in 0..tokens {
                let lambda = lambda[t * count + h];
                let out = out.part(t * d + h * p, p);
                for (o, b) in out.iter_mut().zip(&bias[h * p..(h + 1) * p]) {
                    *o += lambda * *b;
                }
            }
            let product = self.0.product(self.hidden(hidden, h), self.0.up(up, h));
            product.add_to(MatMut::strided(out, h * p, d));
        });
        y
    }

    fn backward<T: Elem>(&self, x: [&[T]; 5], g: &[T], _: [bool; 5]) -> [Gradient<Vec<T>>; 5] {
        let [_, hidden, lambda, up, bias] = x;
        let (heads, tokens, r) = self.0.sizes();
        let (count, p, d) = (heads.count, heads.width, heads.hidden());
        let mut grads = [hidden, lambda, up, bias].map(|x| vec![T::zero(); x.len()]);
        let [dh, dl, du, db] = grads.each_mut().map(|g| Shared::new(g));
        for_heads(heads, tokens, |h| {
            let bias = &bias[h * p..(h + 1) * p];
            let db = db.part(h * p, p);
            for t in 0..tokens {
                let g = &g[t * d + h * p..t * d + (h + 1) * p];
                dl.part(t * count + h, 1)[0] = dot(g, bias);
                let lambda = lambda[t * count + h];
                for (b, g) in db.iter_mut().zip(g) {
                    *b += lambda * *g;
                }
            }
            let g = Mat::strided(g, [tokens, p], h * p, d);
            let product = self.0.product(g, self.0.up(up, h).t());
            product.write(MatMut::strided(dh, h * r, count * r));
            let product = self.0.product(self.hidden(hidden, h).t(), g);
            product.write(MatMut::strided(du, h * r * p, p));
        });
        let [dh, dl, du, db] = grads.map(Gradient::Of);
        [Gradient::Passed, dh, dl, du, db]
    }

    fn suits_card(&self) -> bool {
        self.0.suits_card()
    }

    fn forward_on_card(&self, inputs: [&Tensor; 5]) -> Result<Tensor> {
        let [f, hidden, lambda, up, bias] = inputs;
        let (lambda, [hidden, up, bias]) = (numbers(lambda)?, alike(f, [hidden, up, bias])?);
        let y = new_like(f, f.dims())?;
        let given = [f, &hidden, &lambda, &up, &bias].map(Arg::In);
        let args = [&given[..], &[Arg::Out(&y)]].concat();
        self.0.over_tokens(f, "inducer_values", UP, &args, &[])?;
        Ok(y)
    }

    fn backward_on_card(
        &self,
        x: [Option<&Tensor>; 5],
        g: &Tensor,
        wanted: [bool; 5],
    ) -> Result<[Gradient<Tensor>; 5]> {
        let [_, Some(hidden), Some(lambda), Some(up), Some(bias)] = x else {
            unreachable!("all but f are saved")
        };
        let (lambda, [hidden, up, bias]) = (numbers(lambda)?, alike(g, [hidden, up, bias])?);
        let mut found = vec![None, None];
        if wanted[1] || wanted[2] {
            let (dh, dl) = (new_like(g, hidden.dims())?, new_numbers(g, lambda.dims())?);
            let given = [g, &up, &bias].map(Arg::In);
            let args = [&given[..], &[&dh, &dl].map(Arg::Out)].concat();
            self.0
                .over_tokens(g, "inducer_values_units", UP, &args, &[])?;
            found = vec![Some(dh), Some(dl)];
        }
        if wanted[3] || wanted[4] {
            let (name, args) = ("inducer_values_weights", [g, &hidden, &lambda].map(Arg::In));
            let sums = self.0.weights(g, name, [NEITHER, UP], &args, &[])?;
            found.extend(sums.into_iter().map(Some));
        }
        let [dh, dl, du, db] = gradients(found);
        Ok([Gradient::Passed, dh, dl, du, db])
    }

    fn composed(&self, a: &[Tensor]) -> candle_core::Result<Tensor> {
        let (_, tokens, r) = self.0.sizes();
        let lifted = a[1]
            .reshape((tokens, self.0.heads.count, r))?
            .transpose(0, 1)?
            .contiguous()?
            .matmul(&a[3])?
            .transpose(0, 1)?;
        let biased = upcast(&a[2])?
            .unsqueeze(2)?
            .broadcast_mul(&upcast(&a[4])?.unsqueeze(0)?)?;
        let change = (upcast(&lifted)? + biased)?.reshape(a[0].shape())?;
        cast_like(&(upcast(&a[0])? + change)?, &a[0])
    }
}
