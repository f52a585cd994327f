//! Each query's score against its own inducer.

use super::card::{Reads, alike, gradients, new_like, new_numbers, numbers, over_heads};
use super::{Bottleneck, add_rows, for_heads, repeated, units};
use crate::error::Result;
use crate::kernels::cuda::Arg;
use crate::kernels::elem::{Elem, dot, simd};
use crate::kernels::gemm::{Mat, MatMut, Shared};
use crate::kernels::precision::upcast;
use crate::ops::attention::Heads;
use crate::ops::driver::{self, Gradient, Op};
use crate::tape::{Tape, Value};
use candle_core::{D, Tensor};

/// Each query's score against its inducer: `⟨q, q + MLP_k(q)⟩/√p`, with
/// `MLP_k(q) = tanh(q A + a) C + c` in each head.
///
/// # Shapes
/// `qkv` [tokens, 3d] (only the queries are read); `key`, of MLP_k, A [H, p, r], a [H, r],
/// C [H, r, p], c [H, p] → [tokens, H].
///
/// # Errors
/// Shapes that do not fit.
pub fn inducer_score(
    tape: &Tape,
    qkv: &Value,
    heads: Heads,
    key: Option<&[Value; 4]>,
) -> Result<Value> {
    let r = key.map_or(Ok(0), |[_, bias, ..]| bias.tensor.dim(1))?;
    let sizes = Bottleneck::new(tape, heads, qkv, r)?;
    let (op, shape) = (Score(sizes), (sizes.tokens, heads.count));
    match key {
        None => driver::run(tape, op, [qkv], shape),
        Some([down, down_bias, up, up_bias]) => {
            driver::run(tape, op, [qkv, down, down_bias, up, up_bias], shape)
        }
    }
}

struct Score(Bottleneck);

/// Inputs: [q | k | v] and, when there is one, MLP_k's four tensors.
impl<const N: usize> Op<N> for Score {
    fn forward<T: Elem>(&self, inputs: [&[T]; N]) -> Vec<T> {
        let (heads, tokens, _) = self.0.sizes();
        let (count, p) = (heads.count, heads.width);
        let scale = T::of(heads.scale());
        let mut scores = vec![T::zero(); tokens * count];
        let out = Shared::new(&mut scores);
        for_heads(heads, tokens, |h| {
            let inducers = self.inducers(&inputs, h);
            simd(
                #[inline(always)]
                || {
                    for t in 0..tokens {
                        let q = self.0.query(inputs[0], t, h);
                        let extra = inducers
                            .as_ref()
                            .map_or(T::zero(), |(_, y)| dot(q, &y[t * p..(t + 1) * p]));
                        out.part(t * count + h, 1)[0] = scale * (dot(q, q) + extra);
                    }
                },
            );
        });
        scores
    }

    fn backward<T: Elem>(&self, inputs: [&[T]; N], g: &[T], _: [bool; N]) -> [Gradient<Vec<T>>; N] {
        let (heads, tokens, _) = self.0.sizes();
        let mut lengths = inputs.map(<[T]>::len);
        lengths[0] = tokens * heads.hidden();
        let mut grads = lengths.map(|length| vec![T::zero(); length]);
        let shared = grads.each_mut().map(|g| Shared::new(g));
        for_heads(heads, tokens, |h| {
            let made = self.through_query(h, &inputs, g, shared[0]);
            self.through_key(h, made, &inputs, &shared);
        });
        grads.map(Gradient::Of)
    }

    fn suits_card(&self) -> bool {
        N == 1 || self.0.suits_card()
    }

    fn forward_on_card(&self, inputs: [&Tensor; N]) -> Result<Tensor> {
        let (heads, tokens, _) = self.0.sizes();
        let qkv = inputs[0];
        let (s, scale) = (
            new_numbers(qkv, &[tokens, heads.count])?,
            [Arg::F32(heads.scale())],
        );
        match Self::key(&inputs.map(Some)) {
            None => {
                let args = [&[Arg::In(qkv), Arg::Out(&s)][..], &self.lengths(), &scale].concat();
                over_heads(qkv, "inducer_length", tokens * heads.count, &args)?;
            }
            Some(key) => {
                let key = alike(qkv, key)?;
                let args = [
                    &[Arg::In(qkv)],
                    &key.each_ref().map(Arg::In)[..],
                    &[Arg::Out(&s)],
                ];
                let name = "inducer_score";
                self.0
                    .over_tokens(qkv, name, MATRICES, &args.concat(), &scale)?;
            }
        }
        Ok(s)
    }

    fn backward_on_card(
        &self,
        x: [Option<&Tensor>; N],
        g: &Tensor,
        wanted: [bool; N],
    ) -> Result<[Gradient<Tensor>; N]> {
        let (heads, tokens, _) = self.0.sizes();
        let Some(qkv) = x[0] else {
            unreachable!("q is saved")
        };
        let (g, scale) = (numbers(g)?, [Arg::F32(heads.scale())]);
        let dq = wanted[0]
            .then(|| new_like(qkv, &[tokens, heads.hidden()]))
            .transpose()?;
        let Some(key) = Self::key(&x) else {
            if let Some(dq) = &dq {
                let given = [Arg::In(qkv), Arg::In(&g), Arg::Out(dq)];
                let args = [&given[..], &self.lengths(), &scale].concat();
                over_heads(qkv, "inducer_length_backward", tokens * heads.count, &args)?;
            }
            return Ok(gradients([dq]));
        };
        let key = alike(qkv, key)?;
        let given = [
            &[Arg::In(qkv)],
            &key.each_ref().map(Arg::In)[..],
            &[Arg::In(&g)],
        ]
        .concat();
        if let Some(dq) = &dq {
            let args = [&given[..], &[Arg::Out(dq)]].concat();
            self.0
                .over_tokens(qkv, "inducer_score_queries", MATRICES, &args, &scale)?;
        }
        let mut found = vec![dq];
        if wanted[1..].contains(&true) {
            let name = "inducer_score_weights";
            let sums = self.0.weights(qkv, name, [MATRICES; 2], &given, &scale)?;
            found.extend(sums.into_iter().map(Some));
        }
        Ok(gradients(found))
    }

    fn composed(&self, a: &[Tensor]) -> candle_core::Result<Tensor> {
        let heads = self.0.heads;
        let q = heads.split(&a[0], 0)?;
        let mut inducer = upcast(&q)?;
        if let [_, down, down_bias, up, up_bias] = a {
            let moved = key_mlp(&q, [down, down_bias, up, up_bias])?;
            inducer = (inducer + upcast(&moved)?)?;
        }
        ((upcast(&q)? * inducer)?.sum(D::Minus1)? * heads.scale())?
            .t()?
            .contiguous()
    }
}

/// MLP_k in plain candle, [H, tokens, p].
pub(crate) fn key_mlp(q: &Tensor, mlp: [&Tensor; 4]) -> candle_core::Result<Tensor> {
    let [down, down_bias, up, up_bias] = mlp;
    let moved = units(q, down, down_bias)?.matmul(up)?;
    moved.broadcast_add(&up_bias.unsqueeze(1)?)
}

/// Of one head: hidden units and MLP_k(q), when there is an MLP_k.
type Inducers<T> = Option<(Vec<T>, Vec<T>)>;

/// MLP_k's matrices.
const MATRICES: Reads = Reads {
    down: true,
    up: true,
};

impl Score {
    /// MLP_k's tensors, where there is one.
    fn key<'a, const N: usize>(inputs: &[Option<&'a Tensor>; N]) -> Option<[&'a Tensor; 4]> {
        match inputs[..] {
            [_, Some(down), Some(down_bias), Some(up), Some(up_bias)] => {
                Some([down, down_bias, up, up_bias])
            }
            _ => None,
        }
    }

    /// How many queries there are, and how they lie in [q | k | v].
    fn lengths(&self) -> [Arg<'static>; 4] {
        let (heads, tokens, _) = self.0.sizes();
        [tokens * heads.count, heads.count, heads.width, self.0.total].map(Arg::U32)
    }

    fn inducers<T: Elem>(&self, inputs: &[&[T]], h: usize) -> Inducers<T> {
        let [qkv, down, down_bias, up, up_bias] = inputs else {
            return None;
        };
        let (_, tokens, r) = self.0.sizes();
        let p = self.0.heads.width;
        let u = self.0.units(qkv, h, down, down_bias);
        let mut y = repeated(&up_bias[h * p..(h + 1) * p], tokens);
        let product = self.0.product(Mat::new(&u, [tokens, r]), self.0.up(up, h));
        product.add_to(MatMut::new(&mut y, p));
        Some((u, y))
    }

    /// Writes dq of one head as if MLP_k(q) were a constant; returns the hidden units, and g q,
    /// the gradient of MLP_k(q).
    fn through_query<T: Elem>(
        &self,
        h: usize,
        inputs: &[&[T]],
        g: &[T],
        dq: Shared<'_, T>,
    ) -> Option<(Vec<T>, Vec<T>)> {
        let (heads, tokens, _) = self.0.sizes();
        let (count, p, d) = (heads.count, heads.width, heads.hidden());
        let (two, scale) = (T::of(2.0), T::of(heads.scale()));
        let inducers = self.inducers(inputs, h);
        let mut scaled = vec![T::zero(); tokens * p];
        simd(
            #[inline(always)]
            || {
                for t in 0..tokens {
                    let q = self.0.query(inputs[0], t, h);
                    let w = scale * g[t * count + h];
                    let dq = dq.part(t * d + h * p, p);
                    for j in 0..p {
                        let y = inducers.as_ref().map_or(T::zero(), |(_, y)| y[t * p + j]);
                        scaled[t * p + j] = w * q[j];
                        dq[j] = w * (two * q[j] + y);
                    }
                }
            },
        );
        inducers.map(|(u, _)| (u, scaled))
    }

    /// Gradients through MLP_k of one head, from its hidden units and the gradient of its result.
    fn through_key<T: Elem>(
        &self,
        h: usize,
        made: Option<(Vec<T>, Vec<T>)>,
        inputs: &[&[T]],
        grads: &[Shared<'_, T>],
    ) {
        let Some((u, dy)) = made else { return };
        let (_, tokens, r) = self.0.sizes();
        let p = self.0.heads.width;
        let (units, rows) = (Mat::new(&u, [tokens, r]), Mat::new(&dy, [tokens, p]));
        let mut dz = self.0.product(rows, self.0.up(inputs[3], h).t()).to_vec();
        simd(
            #[inline(always)]
            || {
                dz.iter_mut()
                    .zip(&u)
                    .for_each(|(z, u)| *z *= T::one() - *u * *u)
            },
        );
        let product = self.0.product(units.t(), rows);
        product.write(MatMut::strided(grads[3], h * r * p, p));
        add_rows(grads[4].part(h * p, p), &dy);
        let (tensors, into) = ([inputs[0], inputs[1]], [grads[0], grads[1], grads[2]]);
        self.0.through_units(h, &dz, tensors, into);
    }
}
