//! What weighs two attentions head by head: the gate, and what it is applied to.

use super::card::{alike, gradients, new_like, new_numbers, numbers, over_heads};
use crate::error::Result;
use crate::kernels::cuda::{self, Arg, Grid};
use crate::kernels::elem::{Elem, dot};
use crate::kernels::precision::{cast_like, upcast};
use crate::kernels::threads::for_rows;
use crate::ops::attention::Heads;
use crate::ops::driver::{self, Gradient, Op};
use crate::tape::{Tape, Value};
use candle_core::Tensor;

/// λ = σ(s − LSE) (Eq. 7 in its single-pass form).
///
/// # Shapes
/// `score`, `lse` [tokens, H] → [tokens, H]. Any two log-masses give their gate: the prefix's μ is
/// `gate(LSE_prefix, LSE)`.
///
/// # Errors
/// Shapes that do not fit.
pub fn gate(tape: &Tape, score: &Value, lse: &Value) -> Result<Value> {
    driver::run(tape, Gate, [score, lse], score.tensor.shape())
}

struct Gate;

impl Op<2> for Gate {
    fn forward<T: Elem>(&self, [s, l]: [&[T]; 2]) -> Vec<T> {
        s.iter().zip(l).map(|(s, l)| logistic(*s - *l)).collect()
    }

    /// λ and 1 − λ, each from its own exponential: λ(1 − λ) stays exact where λ rounds to 1.
    fn backward<T: Elem>(&self, [s, l]: [&[T]; 2], g: &[T], _: [bool; 2]) -> [Gradient<Vec<T>>; 2] {
        let slope = |x: T| (logistic(x), logistic(-x));
        let slopes = s.iter().zip(l).map(|(s, l)| slope(*s - *l));
        let ds: Vec<T> = g.iter().zip(slopes).map(|(g, (y, r))| *g * y * r).collect();
        let dl = ds.iter().map(|x| -*x).collect();
        [Gradient::Of(ds), Gradient::Of(dl)]
    }

    fn forward_on_card(&self, x: [&Tensor; 2]) -> Result<Tensor> {
        of_two("gate", x)
    }

    fn backward_on_card(
        &self,
        x: [Option<&Tensor>; 2],
        g: &Tensor,
        _: [bool; 2],
    ) -> Result<[Gradient<Tensor>; 2]> {
        slopes_of_two("gate_backward", x, g)
    }

    fn composed(&self, a: &[Tensor]) -> candle_core::Result<Tensor> {
        (((&a[1] - &a[0])?.exp()? + 1.0)?).recip()
    }
}

/// One number of two, element by element, on a card.
fn of_two(kernel: &str, [a, b]: [&Tensor; 2]) -> Result<Tensor> {
    let ([b], y, n) = (alike(a, [b])?, new_like(a, a.dims())?, a.elem_count());
    let args = [Arg::In(a), Arg::In(&b), Arg::Out(&y), Arg::U32(n)];
    cuda::launch(a, kernel, Grid::over(n), &args)?;
    Ok(y)
}

/// The gradients of both.
fn slopes_of_two(
    kernel: &str,
    x: [Option<&Tensor>; 2],
    g: &Tensor,
) -> Result<[Gradient<Tensor>; 2]> {
    let [Some(a), Some(b)] = x else {
        unreachable!("both are saved")
    };
    let ([b, g], n) = (alike(a, [b, g])?, a.elem_count());
    let [da, db] = [new_like(a, a.dims())?, new_like(a, a.dims())?];
    let (given, found) = ([a, &b, &g].map(Arg::In), [&da, &db].map(Arg::Out));
    let args = [&given[..], &found, &[Arg::U32(n)]].concat();
    cuda::launch(a, kernel, Grid::over(n), &args)?;
    Ok([da, db].map(Gradient::Of))
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

/// log(eᵃ + eᵇ): the log-sum-exp over two sets of keys together.
///
/// # Shapes
/// `a`, `b` [tokens, H] → [tokens, H].
///
/// # Errors
/// Shapes that do not fit.
pub fn joint(tape: &Tape, a: &Value, b: &Value) -> Result<Value> {
    driver::run(tape, Joint, [a, b], a.tensor.shape())
}

struct Joint;

impl Op<2> for Joint {
    fn forward<T: Elem>(&self, [a, b]: [&[T]; 2]) -> Vec<T> {
        let of = |(a, b): (&T, &T)| {
            let top = num_traits::Float::max(*a, *b);
            ((*a - top).fexp() + (*b - top).fexp()).ln() + top
        };
        a.iter().zip(b).map(of).collect()
    }

    fn backward<T: Elem>(&self, [a, b]: [&[T]; 2], g: &[T], _: [bool; 2]) -> [Gradient<Vec<T>>; 2] {
        let both = || g.iter().zip(a.iter().zip(b));
        let da = both().map(|(g, (a, b))| *g * logistic(*a - *b)).collect();
        let db = both().map(|(g, (a, b))| *g * logistic(*b - *a)).collect();
        [Gradient::Of(da), Gradient::Of(db)]
    }

    fn forward_on_card(&self, x: [&Tensor; 2]) -> Result<Tensor> {
        of_two("joint", x)
    }

    fn backward_on_card(
        &self,
        x: [Option<&Tensor>; 2],
        g: &Tensor,
        _: [bool; 2],
    ) -> Result<[Gradient<Tensor>; 2]> {
        slopes_of_two("joint_backward", x, g)
    }

    fn composed(&self, a: &[Tensor]) -> candle_core::Result<Tensor> {
        let top = a[0].maximum(&a[1])?.detach();
        let sum = ((&a[0] - &top)?.exp()? + (&a[1] - &top)?.exp()?)?;
        sum.log()? + top
    }
}

/// `(1 − λ) f` for each head: what Gating leaves of the attention.
///
/// # Shapes
/// `f` [tokens, d], `lambda` [tokens, H] → [tokens, d].
///
/// # Errors
/// Shapes that do not fit.
pub fn scale_by_complement(tape: &Tape, f: &Value, lambda: &Value, heads: Heads) -> Result<Value> {
    driver::run(tape, Complement(heads), [f, lambda], f.tensor.shape())
}

struct Complement(Heads);

impl Op<2> for Complement {
    fn forward<T: Elem>(&self, [f, lambda]: [&[T]; 2]) -> Vec<T> {
        weighted(f, self.0, |i| T::one() - lambda[i])
    }

    fn backward<T: Elem>(&self, x: [&[T]; 2], g: &[T], wanted: [bool; 2]) -> [Gradient<Vec<T>>; 2] {
        let [f, lambda] = x;
        let p = self.0.width;
        let dl = || {
            let heads = g.chunks_exact(p).zip(f.chunks_exact(p));
            heads.map(|(g, f)| -dot(g, f)).collect()
        };
        [
            Gradient::when(wanted[0], || weighted(g, self.0, |i| T::one() - lambda[i])),
            Gradient::when(wanted[1], dl),
        ]
    }

    fn forward_on_card(&self, [f, lambda]: [&Tensor; 2]) -> Result<Tensor> {
        let (lambda, y, n) = (
            numbers(lambda)?,
            new_like(f, f.dims())?,
            lambda.elem_count(),
        );
        let (given, sizes) = ([f, &lambda].map(Arg::In), [n, self.0.width].map(Arg::U32));
        let args = [&given[..], &[Arg::Out(&y)], &sizes].concat();
        over_heads(f, "complement", n, &args)?;
        Ok(y)
    }

    fn backward_on_card(
        &self,
        x: [Option<&Tensor>; 2],
        g: &Tensor,
        wanted: [bool; 2],
    ) -> Result<[Gradient<Tensor>; 2]> {
        let [Some(f), Some(lambda)] = x else {
            unreachable!("both are saved")
        };
        let (lambda, n, [g]) = (numbers(lambda)?, lambda.elem_count(), alike(f, [g])?);
        let df = wanted[0].then(|| new_like(f, f.dims())).transpose()?;
        let dl = new_numbers(f, lambda.dims())?;
        let (given, sizes) = (
            [f, &lambda, &g].map(Arg::In),
            [n, self.0.width].map(Arg::U32),
        );
        let found = [Arg::MaybeOut(df.as_ref()), Arg::Out(&dl)];
        let args = [&given[..], &found, &sizes].concat();
        over_heads(f, "complement_backward", n, &args)?;
        Ok(gradients([df, Some(dl)]))
    }

    fn composed(&self, a: &[Tensor]) -> candle_core::Result<Tensor> {
        let keep = (1.0 - upcast(&a[1])?)?.unsqueeze(2)?;
        let (tokens, d) = a[0].dims2()?;
        let faded = upcast(&a[0])?
            .reshape((tokens, self.0.count, self.0.width))?
            .broadcast_mul(&keep)?
            .reshape((tokens, d))?;
        cast_like(&faded, &a[0])
    }
}

/// The vectors of all heads of all tokens, the i-th times `weight(i)`.
#[inline(always)]
fn weighted<T: Elem>(x: &[T], heads: Heads, weight: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
    let mut y = x.to_vec();
    for_rows(
        &mut y,
        heads.width,
        #[inline(always)]
        |i, row| {
            let weight = weight(i);
            row.iter_mut().for_each(|y| *y *= weight);
        },
    );
    y
}

/// The prefix's gated mixture (§4.2), `(1 − μ) f + μ g` for each head.
///
/// # Shapes
/// `f`, `g` [tokens, d], `mu` [tokens, H] → [tokens, d].
///
/// # Errors
/// Shapes that do not fit.
pub fn mixture(tape: &Tape, f: &Value, g: &Value, mu: &Value, heads: Heads) -> Result<Value> {
    driver::run(tape, Mixture(heads), [f, g, mu], f.tensor.shape())
}

struct Mixture(Heads);

impl Op<3> for Mixture {
    fn forward<T: Elem>(&self, [f, g, m]: [&[T]; 3]) -> Vec<T> {
        let p = self.0.width;
        let mut y = vec![T::zero(); f.len()];
        for_rows(
            &mut y,
            p,
            #[inline(always)]
            |i, row| {
                for (j, y) in row.iter_mut().enumerate() {
                    *y = (T::one() - m[i]) * f[i * p + j] + m[i] * g[i * p + j];
                }
            },
        );
        y
    }

    fn backward<T: Elem>(
        &self,
        x: [&[T]; 3],
        dy: &[T],
        wanted: [bool; 3],
    ) -> [Gradient<Vec<T>>; 3] {
        let [f, g, m] = x;
        let p = self.0.width;
        let dm = || {
            let heads = dy
                .chunks_exact(p)
                .zip(f.chunks_exact(p).zip(g.chunks_exact(p)));
            heads.map(|(dy, (f, g))| dot(dy, g) - dot(dy, f)).collect()
        };
        [
            Gradient::when(wanted[0], || weighted(dy, self.0, |i| T::one() - m[i])),
            Gradient::when(wanted[1], || weighted(dy, self.0, |i| m[i])),
            Gradient::when(wanted[2], dm),
        ]
    }

    fn forward_on_card(&self, [f, g, mu]: [&Tensor; 3]) -> Result<Tensor> {
        let ([g], mu, n) = (alike(f, [g])?, numbers(mu)?, mu.elem_count());
        let y = new_like(f, f.dims())?;
        let (given, sizes) = ([f, &g, &mu].map(Arg::In), [n, self.0.width].map(Arg::U32));
        let args = [&given[..], &[Arg::Out(&y)], &sizes].concat();
        over_heads(f, "mixture", n, &args)?;
        Ok(y)
    }

    fn backward_on_card(
        &self,
        x: [Option<&Tensor>; 3],
        dy: &Tensor,
        wanted: [bool; 3],
    ) -> Result<[Gradient<Tensor>; 3]> {
        let [Some(f), Some(g), Some(mu)] = x else {
            unreachable!("all are saved")
        };
        let ([g, dy], mu, n) = (alike(f, [g, dy])?, numbers(mu)?, mu.elem_count());
        let new = |wanted: bool| wanted.then(|| new_like(f, f.dims())).transpose();
        let (df, dg, dm) = (new(wanted[0])?, new(wanted[1])?, new_numbers(f, mu.dims())?);
        let given = [f, &g, &mu, &dy].map(Arg::In);
        let found = [
            Arg::MaybeOut(df.as_ref()),
            Arg::MaybeOut(dg.as_ref()),
            Arg::Out(&dm),
        ];
        let sizes = [n, self.0.width].map(Arg::U32);
        over_heads(
            f,
            "mixture_backward",
            n,
            &[&given[..], &found, &sizes].concat(),
        )?;
        Ok(gradients([df, dg, Some(dm)]))
    }

    fn composed(&self, a: &[Tensor]) -> candle_core::Result<Tensor> {
        let (f, g) = (upcast(&a[0])?, upcast(&a[1])?);
        let (tokens, d) = f.dims2()?;
        let change = (g - &f)?
            .reshape((tokens, self.0.count, self.0.width))?
            .broadcast_mul(&upcast(&a[2])?.unsqueeze(2)?)?;
        cast_like(&(f + change.reshape((tokens, d))?)?, &a[0])
    }
}
