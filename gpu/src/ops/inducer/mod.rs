//! The inducer's own operations (Eqs. 5–8 and 11), head by head, and the prefix's mixture (§4.2).
//!
//! ```text
//! s   = ⟨q, q + MLP_k(q)⟩/√p           inducer_score         (MLP_k absent: P_k = q)
//! λ   = σ(s − LSE)                     gate
//! log(e^LSE + e^LSE_prefix)            joint                 (prefix)
//! hid = λ tanh(q W₁ + b₁)              gated_hidden          (one product with W₂ then gives the
//!                                                            whole update of Eq. 11)
//! f + hid W₂ + λ b₂       per head     add_gated_values      (without value extension)
//! (1 − λ) f               per head     scale_by_complement   (Gating)
//! (1 − μ) f + μ f_prefix  per head     mixture               (prefix)
//! ```
//!
//! A card has kernels for all of them. Those with a bottleneck are for heads of at most 128
//! elements, with any number of hidden units; wider heads run the composed form there.

mod card;
mod gate;
mod score;
mod values;

pub use gate::{gate, joint, mixture, scale_by_complement};
pub use score::inducer_score;
pub(crate) use score::key_mlp;
pub use values::{add_gated_values, gated_hidden};

use super::attention::Heads;
use crate::error::Result;
use crate::kernels::elem::{Elem, simd};
use crate::kernels::gemm::{Mat, MatMut, Product, Shared};
use crate::kernels::threads::for_tasks;
use crate::tape::{Tape, Value};
use candle_core::Tensor;

/// Tokens × d below which the heads are not divided among threads: a handful of tokens (decoding)
/// is done before a second thread has woken up.
const SERIAL: usize = 4096;

/// The sizes of a bottleneck in each head, on the queries of a batch.
#[derive(Clone, Copy)]
struct Bottleneck {
    heads: Heads,
    tokens: usize,
    /// Width of [q | k | v].
    total: usize,
    /// Hidden units.
    r: usize,
    /// Whether the CPU's kernels round the products' operands to bf16.
    in_bf16: bool,
}

impl Bottleneck {
    fn new(tape: &Tape, heads: Heads, qkv: &Value, r: usize) -> Result<Self> {
        let (tokens, total) = qkv.tensor.dims2()?;
        Ok(Self {
            heads,
            tokens,
            total,
            r,
            in_bf16: tape.rounds(&qkv.tensor),
        })
    }

    /// Heads, tokens, hidden units.
    fn sizes(&self) -> (Heads, usize, usize) {
        (self.heads, self.tokens, self.r)
    }

    /// `a b`, a map of the bottleneck or a gradient of one.
    fn product<'a, T: Elem>(&self, a: Mat<'a, T>, b: Mat<'a, T>) -> Product<'a, T> {
        a.times(b).in_bf16(self.in_bf16)
    }

    /// The queries of one head, [tokens, p].
    fn queries<'a, T>(&self, qkv: &'a [T], h: usize) -> Mat<'a, T> {
        let p = self.heads.width;
        Mat::strided(qkv, [self.tokens, p], h * p, self.total)
    }

    /// One query of one head.
    #[inline(always)]
    fn query<'a, T>(&self, qkv: &'a [T], t: usize, h: usize) -> &'a [T] {
        let p = self.heads.width;
        &qkv[t * self.total + h * p..t * self.total + (h + 1) * p]
    }

    /// One head's W₁ of all heads' [H, p, r].
    fn down<'a, T>(&self, down: &'a [T], h: usize) -> Mat<'a, T> {
        let (p, r) = (self.heads.width, self.r);
        Mat::strided(down, [p, r], h * p * r, r)
    }

    /// One head's W₂ of all heads' [H, r, p].
    fn up<'a, T>(&self, up: &'a [T], h: usize) -> Mat<'a, T> {
        let (p, r) = (self.heads.width, self.r);
        Mat::strided(up, [r, p], h * r * p, p)
    }

    /// `tanh(q W₁ + b₁)` of one head for all tokens: [tokens, r].
    fn units<T: Elem>(&self, qkv: &[T], h: usize, down: &[T], bias: &[T]) -> Vec<T> {
        let r = self.r;
        let mut u = repeated(&bias[h * r..(h + 1) * r], self.tokens);
        let product = self.product(self.queries(qkv, h), self.down(down, h));
        product.add_to(MatMut::new(&mut u, r));
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

    /// Gradients through `z = q W₁ + b₁` of one head: dW₁ and db₁, and dq added.
    fn through_units<T: Elem>(
        &self,
        h: usize,
        dz: &[T],
        [qkv, down]: [&[T]; 2],
        [dq, ddown, dbias]: [Shared<'_, T>; 3],
    ) {
        let (p, d, r) = (self.heads.width, self.heads.hidden(), self.r);
        let z = Mat::new(dz, [self.tokens, r]);
        let product = self.product(self.queries(qkv, h).t(), z);
        product.write(MatMut::strided(ddown, h * p * r, r));
        add_rows(dbias.part(h * r, r), dz);
        let product = self.product(z, self.down(down, h).t());
        product.add_to(MatMut::strided(dq, h * p, d));
    }
}

/// `f(h)` for every head.
fn for_heads(heads: Heads, tokens: usize, f: impl Fn(usize) + Sync + Send) {
    if tokens * heads.hidden() < SERIAL {
        (0..heads.count).for_each(f);
    } else {
        for_tasks(heads.count, || (), |(), h| f(h));
    }
}

/// A row as often as there are tokens.
fn repeated<T: Elem>(row: &[T], tokens: usize) -> Vec<T> {
    let mut rows = vec![T::zero(); tokens * row.len()];
    for copy in rows.chunks_exact_mut(row.len()) {
        copy.copy_from_slice(row);
    }
    rows
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

/// `tanh(q W₁ + b₁)` in plain candle, [H, tokens, r].
fn units(q: &Tensor, down: &Tensor, bias: &Tensor) -> candle_core::Result<Tensor> {
    q.matmul(down)?.broadcast_add(&bias.unsqueeze(1)?)?.tanh()
}
