//! A variant of one's own, complete in one file: two inducers for each query.
//!
//! ```text
//! P_k,a(q) = q + c_a,   P_v,a(q) = f(q) + MLP_a(q),   MLP_a(q) = tanh(q D_a) U_a,   a = 1, 2
//! f̃(q) = NW(q; [P_k,1; P_k,2; K], [P_v,1; P_v,2; V])
//!      = f(q) + Σ_a λ_a MLP_a(q),   λ_a = κ(q, P_k,a)/(Σ_b κ(q, P_k,b) + Σ_j κ(q, k_j))
//! ```
//!
//! The formula is the estimator over all n + 2 points, as the first line has it; the engine's part
//! is the second line, from attention's output and log-sum-exp. The one line that checks everything
//! is in `two_inducers_pass_every_check`.

#![allow(clippy::unwrap_used)]

use candle_core::{D, Tensor};
use inducer_gpu::ops::attention::Heads;
use inducer_gpu::parts::{Attended, ForwardContext, Part};
use inducer_gpu::{Parameter, Result, Value};
use inducer_reference::Real;
use inducer_reference::attention::attend;
use inducer_reference::kernel::score;
use inducer_verify::own::{self, Engined, Formula, Points, Tensors, matrix, vector};
use inducer_verify::{ReportRow, Verdict, render};
use ndarray::Array2;

/// Hidden units of an inducer's value.
const WIDTH: usize = 3;

/// Two inducers for each query; both sides.
struct TwoInducers;

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

/// The engine's side; `joint` false forgets, in each λ, the other inducer.
struct Two {
    parameters: Vec<Parameter>,
    joint: bool,
}

/// log Σ exp over the last dimension.
fn log_sum_exp(x: &Tensor) -> candle_core::Result<Tensor> {
    let top = x.max_keepdim(D::Minus1)?.detach();
    (x.broadcast_sub(&top)?
        .exp()?
        .sum_keepdim(D::Minus1)?
        .log()?
        + top)?
        .squeeze(D::Minus1)
}

impl Two {
    /// f̃ [tokens, d] from qkv [tokens, 3 d], f [tokens, d], LSE [tokens, H] and the six tensors.
    fn forward(&self, heads: Heads, x: &[Tensor]) -> candle_core::Result<Tensor> {
        let (n, d) = x[1].dims2()?;
        let q = x[0]
            .narrow(1, 0, d)?
            .reshape((n, heads.count, heads.width))?;
        let lse = &x[2];
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
            let all = match self.joint {
                true => Tensor::stack(&[lse, &scores[0], &scores[1]], 2)?,
                false => Tensor::stack(&[lse, &scores[a]], 2)?,
            };
            let gate = (&scores[a] - log_sum_exp(&all)?)?.exp()?.unsqueeze(2)?;
            output = (output + values[a].broadcast_mul(&gate)?)?;
        }
        output.reshape((n, d))
    }
}

inducer_gpu::tensors!(Two: parameters);

impl Part for Two {
    fn on_heads(
        &self,
        pass: &ForwardContext<'_>,
        qkv: &Value,
        attended: Attended,
    ) -> Result<Attended> {
        let own: Vec<Value> = self
            .parameters
            .iter()
            .map(|p| pass.tape.parameter(p))
            .collect::<Result<_>>()?;
        let mut inputs = vec![qkv, &attended.f, &attended.lse];
        inputs.extend(&own);
        let f = pass
            .tape
            .composed(&inputs, |x| self.forward(pass.heads, x))?;
        Ok(Attended { f, ..attended })
    }
}

impl Engined for TwoInducers {
    fn part(_layer: usize, parameters: Vec<Parameter>) -> Box<dyn Part> {
        Box::new(Two {
            parameters,
            joint: true,
        })
    }
}

/// The engine's side with a fault that is easily made: each λ as if the other inducer were not
/// there.
struct Wrong;

impl Engined for Wrong {
    fn part(_layer: usize, parameters: Vec<Parameter>) -> Box<dyn Part> {
        Box::new(Two {
            parameters,
            joint: false,
        })
    }
}

fn verdicts(rows: &[ReportRow]) -> String {
    rows.iter().map(|row| render::line(row) + "\n").collect()
}

#[test]
fn two_inducers_pass_every_check() {
    let rows = own::check::<TwoInducers, TwoInducers>(30, 1);
    assert_eq!(rows.len(), 13);
    assert!(
        rows.iter().all(|row| row.verdict == Verdict::Passed),
        "{}",
        verdicts(&rows)
    );
}

#[test]
fn an_engine_whose_gates_ignore_each_other_fails_where_it_differs_and_nowhere_else() {
    let rows = own::check::<TwoInducers, Wrong>(30, 1);
    for row in &rows {
        let differs = row.engine.starts_with("cpu")
            && ["own-agree", "own-gradients"].contains(&row.claim.as_str());
        let expected = if differs {
            Verdict::Failed
        } else {
            Verdict::Passed
        };
        assert_eq!(row.verdict, expected, "{}", render::line(row));
    }
}

#[test]
fn a_built_in_variant_passes_through_the_same_door() {
    let rows = own::check::<own::builtin::Adaptive, own::builtin::Adaptive>(30, 1);
    assert!(
        rows.iter().all(|row| row.verdict == Verdict::Passed),
        "{}",
        verdicts(&rows)
    );
}

#[test]
fn a_formula_whose_gate_lacks_the_inducer_is_not_what_the_engine_trains() {
    struct Half;
    impl Formula for Half {
        fn shapes(heads: Heads) -> Vec<(&'static str, Vec<usize>)> {
            own::builtin::Adaptive::shapes(heads)
        }

        fn head<T: Real>(points: &Points<'_, T>, tensors: &Tensors<T>) -> Array2<T> {
            let f = attend(&points.q, &points.k, &points.v, points.visible).f;
            let whole = own::builtin::Adaptive::head(points, tensors);
            // λ halved
            (whole + &f) * T::from_f64(0.5)
        }
    }
    let rows = own::check::<Half, own::builtin::Adaptive>(13, 1);
    for row in rows.iter().filter(|row| row.engine.starts_with("cpu")) {
        let differs = ["own-agree", "own-gradients"].contains(&row.claim.as_str());
        assert_eq!(
            row.verdict == Verdict::Failed,
            differs,
            "{}",
            render::line(row)
        );
    }
}
