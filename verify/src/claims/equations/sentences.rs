//! Sentences of the paper that are provable and are no equation.
//!
//! ```text
//! §2    ∂f̃/∂f = I for the inducer, (1 − λ) I under Gating: what the residual form keeps
//! §4.2  κ(q, q) ≥ κ(q, k) for every ‖k‖ ≤ ‖q‖: a point at the query outweighs each such key, so
//!       that its gate against l of them is at least 1/(l + 1)
//! ```

use crate::bounds::traced::backward;
use crate::bounds::{Traced, UNIT_ROUNDOFF_F64, record};
use crate::engines::candle::array;
use crate::engines::{Candle, candles};
use crate::{Case, Claim, Engine, Present, Result, Target, Tolerance};
use candle_core::Tensor;
use inducer_gpu::ops::attention::{Heads, Rows, Visible as Seen, attention};
use inducer_gpu::ops::dropout::Dropout;
use inducer_gpu::ops::inducer;
use inducer_gpu::tape::Parameter;
use inducer_gpu::{Tape, Value};
use inducer_reference::attention::attend;
use inducer_reference::inducer::{lambda, own_scores, residual_form};
use inducer_reference::nadaraya_watson::scale_rows;
use inducer_reference::visible::Visible;
use ndarray::{Array1, Array2, ArrayD, s};

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    vec![
        Claim::new("residual-derivative")
            .on_one_sided(Target::ReferenceF64, derivative)
            .one_case_in(4)
            .at_least(13)
            .on_each_one_sided(candles(present), derivative_of_engine),
        Claim::new("inducer-outweighs")
            .on_one_sided(Target::ReferenceF64, outweighs)
            .one_case_in(4)
            .at_least(13)
            .on_each_one_sided(candles(present), outweighs_in_engine),
    ]
}

/// ∂f̃_a/∂f_b is δ_ab, or (1 − λ) δ_ab under Gating. In the control the two are exchanged.
fn derivative(case: &mut Case) -> Result<()> {
    let c = case.draw.size(1, 6);
    let gating = case.draw.chance(0.5);
    let (f, value) = (case.draw.array(c, 2.0), case.draw.array(c, 2.0));
    let gate = case.draw.between(0.05, 0.95);
    for a in 0..c {
        let (gradient, _) = record(|| {
            let variables: Vec<Traced> = f.iter().map(|x| Traced::variable(*x)).collect();
            let row = |x: &[Traced]| Array2::from_shape_fn((1, c), |(_, i)| x[i]);
            let own: Vec<Traced> = value.iter().map(|x| Traced::constant(*x)).collect();
            let lambda = Array1::from_elem(1, Traced::constant(gate));
            let kept = lambda.mapv(|l| Traced::constant(1.0) - l);
            let output = match gating {
                false => residual_form(&row(&variables), &lambda, &row(&own)),
                true => scale_rows(&kept, &row(&variables)) + scale_rows(&lambda, &row(&own)),
            };
            backward(output[[0, a]], &variables).gradient
        });
        let stated = match gating != case.control {
            false => 1.0,
            true => 1.0 - gate,
        };
        for (b, found) in gradient.iter().enumerate() {
            let expected = if a == b { stated } else { 0.0 };
            let tolerance = Tolerance::stated(2.0 * UNIT_ROUNDOFF_F64, "2 u of a factor up to 1");
            case.close(found.value(), expected, &tolerance, || {
                format!("gating {gating}: ∂f̃_{a}/∂f_{b}")
            });
        }
    }
    Ok(())
}

/// The same of the engine's own backward pass, for Σ w ∘ f̃ with random w: its gradient is w, or
/// (1 − λ) w under Gating.
fn derivative_of_engine(engine: &Candle, case: &mut Case) -> Result<()> {
    let [n, count, width, r] = case.draw.sizes([(1, 5), (1, 3), (1, 6), (1, 4)]);
    let gating = case.draw.chance(0.5);
    let (heads, d) = (Heads { count, width }, count * width);
    let [f, w] = [1.0, 2.0].map(|scale| case.draw.array((n, d), scale));
    let lambda = Array2::from_shape_fn((n, count), |_| case.draw.between(0.05, 0.95));
    let hidden = case.draw.array((n, count * r), 1.0).into_dyn();
    let up = case.draw.array((count, r, width), 1.0).into_dyn();
    let bias = case.draw.array((count, width), 1.0).into_dyn();
    let tape = Tape::new();
    let parameter = Parameter::new("f", engine.tensor(&f.clone().into_dyn())?, true);
    let own = tape.parameter(&parameter)?;
    let constant = |x: &ArrayD<f64>| Ok::<_, crate::Error>(Value::constant(engine.tensor(x)?));
    let gate = constant(&lambda.clone().into_dyn())?;
    let output = match gating {
        true => inducer::scale_by_complement(&tape, &own, &gate, heads)?,
        false => {
            let [hidden, up, bias] = [&hidden, &up, &bias].map(constant);
            let (hidden, up, bias) = (hidden?, up?, bias?);
            inducer::add_gated_values(&tape, &own, &hidden, &gate, &up, &bias, heads)?
        }
    };
    let weights: Tensor = engine.tensor(&w.clone().into_dyn())?;
    let loss = tape.composed(&[&output], |x| (&x[0] * &weights)?.sum_all())?;
    let found = array(&tape.backward(&loss, [&parameter])?["f"])?;
    for (at, w) in w.indexed_iter() {
        let kept = match gating != case.control {
            false => 1.0,
            true => 1.0 - lambda[[at.0, at.1 / width]],
        };
        let bound = 4.0 * (engine.roundoff() + UNIT_ROUNDOFF_F64) * w.abs();
        let tolerance = Tolerance::stated(bound, "4 u |w|");
        case.close(found[[at.0, at.1]], kept * w, &tolerance, || {
            format!("gating {gating}: ∂Σ w f̃/∂f at {at:?}")
        });
    }
    Ok(())
}

/// The same of the engine: a text's last query against the keys that it sees.
fn outweighs_in_engine(engine: &Candle, case: &mut Case) -> Result<()> {
    let (p, n) = (case.draw.size(1, 8), case.draw.size(1, 9));
    let mut qkv: Array2<f64> = case.draw.array((n, 3 * p), 1.5);
    let q = qkv.slice(s![n - 1, ..p]).to_owned();
    let norm = q.dot(&q).sqrt();
    for mut row in qkv.rows_mut() {
        let mut key = row.slice_mut(s![p..2 * p]);
        let share = case.draw.between(0.1, 1.0) * norm / key.dot(&key).sqrt();
        key.mapv_inplace(|x| x * share);
        if case.control {
            key.assign(&(&q * 10.0));
        }
    }
    let heads = Heads { count: 1, width: p };
    let rows = Rows {
        heads,
        offsets: &[0, n],
        visible: Seen::Causal,
    };
    let (tape, qkv) = (Tape::off(), engine.tensor(&qkv.into_dyn())?);
    let qkv = Value::constant(qkv);
    let (_, lse) = attention(&tape, &qkv, rows, Dropout::OFF)?;
    let score = inducer::inducer_score(&tape, &qkv, heads, None)?;
    let gate = array(&inducer::gate(&tape, &score, &lse)?.tensor)?[[n - 1, 0]];
    let least = 1.0 / (n as f64 + 1.0);
    let u = engine.roundoff();
    let bound = 8.0 * (p as f64 + 8.0) * u * (1.0 + norm * norm);
    let tolerance = Tolerance::stated(bound, "8 (p + 8) u (1 + ‖q‖²)");
    case.at_least(gate, least, &tolerance, || format!("p {p}, {n} keys"));
    Ok(())
}

/// A point at the query weighs at least as much as each shorter key. In the control the keys are
/// ten times as long, and lie along the query.
fn outweighs(case: &mut Case) -> Result<()> {
    let (p, l) = (case.draw.size(1, 8), case.draw.size(1, 9));
    let q: Array2<f64> = case.draw.array((1, p), 1.5);
    let length = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let norm = length(q.as_slice().unwrap_or_default());
    let mut keys: Array2<f64> = case.draw.array((l, p), 1.5);
    for mut key in keys.rows_mut() {
        let own = key.iter().map(|x| x * x).sum::<f64>().sqrt();
        let share = case.draw.between(0.1, 1.0) * norm / own;
        key.mapv_inplace(|x| x * share);
        if case.control {
            key.assign(&(&q.row(0) * 10.0));
        }
    }
    let attended = attend(&q, &keys, &keys, &Visible::all(1, l));
    let gate = lambda(&own_scores(&q, &q), &attended.lse)[0];
    let least = 1.0 / (l as f64 + 1.0);
    // a score has p products, and their sum and the gate's exponentials err by a few u each
    let bound = 8.0 * (p as f64 + 8.0) * UNIT_ROUNDOFF_F64 * (1.0 + norm * norm);
    let tolerance = Tolerance::stated(bound, "8 (p + 8) u (1 + ‖q‖²)");
    case.at_least(gate, least, &tolerance, || format!("p {p}, {l} keys"));
    Ok(())
}
