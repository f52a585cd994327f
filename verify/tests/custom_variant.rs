//! Variants of your own, right and wrong: the right ones pass every check, the wrong ones fail
//! where they differ and nowhere else. The complete right one is `examples/my_variant.rs`.

#![allow(clippy::unwrap_used)]

#[path = "../examples/my_variant.rs"]
#[allow(dead_code)]
mod my_variant;

use candle_core::Tensor;
use inducer_gpu::ops::attention::Heads;
use inducer_gpu::parts::{Attended, ForwardContext, Inducer, Part};
use inducer_gpu::{Parameter, Result, Value};
use inducer_reference::Real;
use inducer_reference::attention::attend;
use inducer_reference::inducer::{lambda, own_scores, residual_form};
use inducer_verify::custom::{self, Formula, Points, Tensors, TrainablePart, matrix, vector};
use inducer_verify::{ReportRow, Verdict, render};
use my_variant::{TwoInducers, log_sum_exp, on_heads};
use ndarray::Array2;

/// The engine's side with a fault that is easily made: each λ as if the other inducer were not
/// there.
struct Wrong {
    parameters: Vec<Parameter>,
}

fn gate_alone(lse: &Tensor, scores: &[Tensor], a: usize) -> candle_core::Result<Tensor> {
    let all = Tensor::stack(&[lse, &scores[a]], 2)?;
    (&scores[a] - log_sum_exp(&all)?)?.exp()
}

inducer_gpu::tensors!(Wrong: parameters);

impl Part for Wrong {
    fn on_heads(
        &self,
        ctx: &ForwardContext<'_>,
        qkv: &Value,
        attended: Attended,
    ) -> Result<Attended> {
        on_heads(&self.parameters, ctx, qkv, attended, gate_alone)
    }
}

impl TrainablePart for Wrong {
    fn part(_layer: usize, parameters: Vec<Parameter>) -> Box<dyn Part> {
        Box::new(Self { parameters })
    }
}

/// A built-in variant through the same door: Adaptive (§6.2), f + λ MLP_v(q) with P_k = q, by the
/// reference's functions and the engine's own part.
struct Adaptive;

impl Formula for Adaptive {
    fn shapes(heads: Heads) -> Vec<(&'static str, Vec<usize>)> {
        let (h, p) = (heads.count, heads.width);
        vec![
            ("down", vec![h, p, UNITS]),
            ("down_bias", vec![h, UNITS]),
            ("up", vec![h, UNITS, p]),
            ("up_bias", vec![h, p]),
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
        let attended = attend(q, k, v, visible);
        let gate = lambda(&own_scores(q, q), &attended.lse);
        let hidden = q.dot(&matrix(&tensors["down"], *h)) + vector(&tensors["down_bias"], *h);
        let mlp_v = hidden.mapv(T::tanh).dot(&matrix(&tensors["up"], *h));
        residual_form(
            &attended.f,
            &gate,
            &(mlp_v + vector(&tensors["up_bias"], *h)),
        )
    }
}

impl TrainablePart for Adaptive {
    fn part(layer: usize, parameters: Vec<Parameter>) -> Box<dyn Part> {
        let value = parameters
            .try_into()
            .unwrap_or_else(|_| unreachable!("as many parameters as shapes"));
        Box::new(Inducer {
            layer,
            variant: inducer_gpu::Variant::Adaptive,
            key: None,
            value,
        })
    }
}

/// Hidden units of its MLP_v.
const UNITS: usize = 3;

fn verdicts(rows: &[ReportRow]) -> String {
    rows.iter().map(|row| render::line(row) + "\n").collect()
}

#[test]
fn two_inducers_pass_every_check() {
    let rows = custom::check::<TwoInducers, TwoInducers>(30, 1);
    assert_eq!(rows.len(), 13);
    assert!(
        rows.iter().all(|row| row.verdict == Verdict::Passed),
        "{}",
        verdicts(&rows)
    );
}

#[test]
fn an_engine_whose_gates_ignore_each_other_fails_where_it_differs_and_nowhere_else() {
    let rows = custom::check::<TwoInducers, Wrong>(30, 1);
    for row in &rows {
        let differs = row.engine.starts_with("cpu")
            && ["custom-agree", "custom-gradients"].contains(&row.claim.as_str());
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
    let rows = custom::check::<Adaptive, Adaptive>(30, 1);
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
            Adaptive::shapes(heads)
        }

        fn head<T: Real>(points: &Points<'_, T>, tensors: &Tensors<T>) -> Array2<T> {
            let f = attend(&points.q, &points.k, &points.v, points.visible).f;
            let whole = Adaptive::head(points, tensors);
            // λ halved
            (whole + &f) * T::from_f64(0.5)
        }
    }
    let rows = custom::check::<Half, Adaptive>(13, 1);
    for row in rows.iter().filter(|row| row.engine.starts_with("cpu")) {
        let differs = ["custom-agree", "custom-gradients"].contains(&row.claim.as_str());
        assert_eq!(
            row.verdict == Verdict::Failed,
            differs,
            "{}",
            render::line(row)
        );
    }
}
