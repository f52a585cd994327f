//! A variant of your own, complete in one file: two inducers for each query. Copy it and change it:
//! `cargo run -p inducer-verify --example my_variant`.
//!
//! ```text
//! P_k,a(q) = q + c_a,   P_v,a(q) = f(q) + MLP_a(q),   MLP_a(q) = tanh(q D_a) U_a,   a = 1, 2
//! f̃(q) = NW(q; [P_k,1; P_k,2; K], [P_v,1; P_v,2; V])
//!      = f(q) + Σ_a λ_a MLP_a(q),   λ_a = κ(q, P_k,a)/(Σ_b κ(q, P_k,b) + Σ_j κ(q, k_j))
//! ```
//!
//! You write the variant twice, and the checks hold one against the other. The [`Formula`] is the
//! paper's side: the estimator over all n + 2 points, as the first line has it, for any scalar; so
//! it gives values, bounds and exact gradients. The [`TrainablePart`] is the engine's side: the
//! second line, from attention's output and log-sum-exp, in plain candle operations, of which
//! [`Tape::composed`](inducer_gpu::Tape::composed) makes one differentiable operation. Then
//! [`custom::check`] puts both into random whole models.

#![allow(clippy::unwrap_used)]

use candle_core::{D, Tensor};
use inducer_gpu::ops::attention::Heads;
use inducer_gpu::parts::{Attended, Part, Pass};
use inducer_gpu::{Parameter, Result, Value};
use inducer_reference::Real;
use inducer_reference::attention::attend;
use inducer_reference::kernel::score;
use inducer_verify::custom::{self, Formula, Points, Tensors, TrainablePart, matrix, vector};
use inducer_verify::{Verdict, render};
use ndarray::Array2;
use std::process::ExitCode;

/// The one line that checks everything, and what it says.
fn main() -> ExitCode {
    let rows = custom::check::<TwoInducers, TwoInducers>(30, 1);
    for row in &rows {
        println!("{}", render::line(row));
    }
    match rows.iter().all(|row| row.verdict == Verdict::Passed) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Hidden units of an inducer's value.
const WIDTH: usize = 3;

/// Two inducers for each query; both sides.
pub struct TwoInducers;

impl Formula for TwoInducers {
    fn shapes(heads: Heads) -> Vec<(&'static str, Vec<usize>)> {
        let (h, p) = (heads.count, heads.width);
        vec![
            ("offset_1", vec![h, p]),
            ("offset_2", vec![h, p]),
            ("down_1", vec![h, p, WIDTH]),
            ("down_2", vec![h, p, WIDTH]),
            ("up_1", vec![h, WIDTH, p]),
            ("up_2", vec![h, WIDTH, p]),
        ]
    }

    fn head<T: Real>(points: &Points<'_, T>, tensors: &Tensors<T>) -> Array2<T> {
        let Points {
            h,
            q,
            k,
            v,
            visible,
        } = points;
        let f = attend(q, k, v, visible).f;
        let names = [
            ["offset_1", "down_1", "up_1"],
            ["offset_2", "down_2", "up_2"],
        ];
        let mut output = Array2::zeros(f.raw_dim());
        for i in 0..q.nrows() {
            let query = q.row(i).to_owned();
            // every point of this query: its score and its value
            let mut all: Vec<_> = visible
                .of(i)
                .map(|j| (score(&query, &k.row(j)), v.row(j).to_owned()))
                .collect();
            for [offset, down, up] in names {
                let key = &query + &vector(&tensors[offset], *h);
                let hidden = query.dot(&matrix(&tensors[down], *h)).mapv(T::tanh);
                let value = hidden.dot(&matrix(&tensors[up], *h)) + f.row(i);
                all.push((score(&query, &key), value));
            }
            let top = all.iter().map(|point| point.0).reduce(T::maximum).unwrap();
            let mut below = T::zero();
            for (score, value) in all {
                let weight = (score - top).exp();
                below = below + weight;
                let mut row = output.row_mut(i);
                row.zip_mut_with(&value, |sum, value| *sum = *sum + weight * *value);
            }
            output.row_mut(i).mapv_inplace(|above| above / below);
        }
        output
    }
}

/// The engine's side of one layer.
struct Two {
    parameters: Vec<Parameter>,
}

impl TrainablePart for TwoInducers {
    fn part(_layer: usize, parameters: Vec<Parameter>) -> Box<dyn Part> {
        Box::new(Two { parameters })
    }
}

impl Part for Two {
    fn parameters(&self) -> Vec<&Parameter> {
        self.parameters.iter().collect()
    }

    fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        self.parameters.iter_mut().collect()
    }

    fn on_heads(&self, pass: &Pass<'_>, qkv: &Value, attended: Attended) -> Result<Attended> {
        on_heads(&self.parameters, pass, qkv, attended, gate)
    }
}

/// λ_a [tokens, H] from LSE, the scores of both inducers, and a.
pub type Gate = fn(&Tensor, &[Tensor], usize) -> candle_core::Result<Tensor>;

/// λ_a = exp(s_a − log(exp LSE + Σ_b exp s_b)).
fn gate(lse: &Tensor, scores: &[Tensor], a: usize) -> candle_core::Result<Tensor> {
    let all = Tensor::stack(&[lse, &scores[0], &scores[1]], 2)?;
    (&scores[a] - log_sum_exp(&all)?)?.exp()
}

/// log Σ exp over the last dimension.
pub fn log_sum_exp(x: &Tensor) -> candle_core::Result<Tensor> {
    let top = x.max_keepdim(D::Minus1)?.detach();
    (x.broadcast_sub(&top)?
        .exp()?
        .sum_keepdim(D::Minus1)?
        .log()?
        + top)?
        .squeeze(D::Minus1)
}

/// The heads' output f̃ in place of f, as one operation of the tape.
pub fn on_heads(
    parameters: &[Parameter],
    pass: &Pass<'_>,
    qkv: &Value,
    attended: Attended,
    gate: Gate,
) -> Result<Attended> {
    let own = parameters.iter().map(|p| pass.tape.parameter(p));
    let own: Vec<Value> = own.collect::<Result<_>>()?;
    let mut inputs = vec![qkv, &attended.f, &attended.lse];
    inputs.extend(&own);
    let f = pass
        .tape
        .composed(&inputs, |x| forward(pass.heads, x, gate))?;
    Ok(Attended { f, ..attended })
}

/// f̃ [tokens, d] from qkv [tokens, 3 d], f [tokens, d], LSE [tokens, H] and the six tensors.
fn forward(heads: Heads, x: &[Tensor], gate: Gate) -> candle_core::Result<Tensor> {
    let (n, d) = x[1].dims2()?;
    let q = x[0]
        .narrow(1, 0, d)?
        .reshape((n, heads.count, heads.width))?;
    let by_head = q.transpose(0, 1)?.contiguous()?;
    let (mut scores, mut values) = (Vec::new(), Vec::new());
    for a in 0..2 {
        let key = q.broadcast_add(&x[3 + a].unsqueeze(0)?)?;
        scores.push(((&q * key)?.sum(2)? * heads.scale())?);
        let value = by_head.matmul(&x[5 + a])?.tanh()?.matmul(&x[7 + a])?;
        values.push(value.transpose(0, 1)?);
    }
    let mut output = x[1].reshape((n, heads.count, heads.width))?;
    for a in 0..2 {
        let lambda = gate(&x[2], &scores, a)?.unsqueeze(2)?;
        output = (output + values[a].broadcast_mul(&lambda)?)?;
    }
    output.reshape((n, d))
}
