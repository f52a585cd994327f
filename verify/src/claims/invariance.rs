//! What an output must not depend on: later tokens, padding, the rows it is batched with, other
//! queries.

use super::models::compare;
use crate::claim::{Case, Claim};
use crate::engine::reference::{compute, lift_all, stored};
use crate::engine::{Computed, Cuda, Engine, On, conditioning, engines, mixed, training};
use crate::error::Result;
use crate::identity::{RealIdentity, Sides};
use crate::random::{Draw, Head, ModelCase, TextRow};
use crate::tolerance::Conditioning;
use inducer_reference::attention::attend;
use inducer_reference::inducer::{key, lambda, own_scores, residual_form};
use inducer_reference::visible::Visible;
use inducer_reference::{Adapter, Gpt2, Real};
use ndarray::{Array2, s};

/// The claims of this file.
#[must_use]
pub fn claims(cuda: &Cuda) -> Vec<Claim> {
    vec![
        Claim::new("causal-all-methods")
            .weighing(4, 13)
            .loosely_on_each(engines(cuda), |engine, case| causality(engine, case))
            .loosely_on_each(mixed(cuda), |engine, case| causality(engine, case)),
        Claim::new("batch-packing")
            .weighing(4, 13)
            .loosely_on_each(training(cuda), |engine, case| packed(engine, case)),
        Claim::new("padding-all-methods")
            .weighing(4, 13)
            .loosely_on(On::ReferenceF64, padded::<f64>)
            .loosely_on(On::ReferenceF32, padded::<f32>),
        Claim::new("inducer-local").real::<Local>(),
    ]
}

/// The first `n` positions of one row of a result.
pub(crate) fn start<T: Clone>(of: &Computed<T>, row: usize, n: usize) -> Computed<T> {
    let cut = |x: &Array2<T>| x.slice(s![..n, ..]).to_owned();
    Computed {
        logits: vec![cut(&of.logits[row])],
        gates: vec![
            of.gates
                .get(row)
                .map_or_else(Vec::new, |layers| layers.iter().map(cut).collect()),
        ],
        loss: None,
    }
}

/// Every number of two results of one shape together.
pub(crate) fn both(
    a: &Computed<Conditioning>,
    b: &Computed<Conditioning>,
) -> Computed<Conditioning> {
    let and = |x: &Array2<Conditioning>, y: &Array2<Conditioning>| {
        Array2::from_shape_fn(x.raw_dim(), |at| x[at].and(y[at]))
    };
    Computed {
        logits: a
            .logits
            .iter()
            .zip(&b.logits)
            .map(|(x, y)| and(x, y))
            .collect(),
        gates: a
            .gates
            .iter()
            .zip(&b.gates)
            .map(|(x, y)| x.iter().zip(y).map(|(x, y)| and(x, y)).collect())
            .collect(),
        loss: None,
    }
}

/// Other tokens from position `from` on.
pub(crate) fn with_other_end(draw: &mut Draw, row: &TextRow, from: usize, ids: u32) -> TextRow {
    let mut other = row.clone();
    for t in from..row.ids.len() {
        other.ids[t] = (row.ids[t] + 1 + draw.size(0, ids as usize - 2) as u32) % ids;
        if let Some(segments) = &mut other.segments {
            segments[t] = draw.size(0, ids as usize - 1) as u32;
        }
    }
    other
}

/// Tokens after position t change nothing up to t. In the control the token at t changes too.
fn causality(engine: &dyn Engine, case: &mut Case) -> Result<()> {
    let model = ModelCase::random(&mut case.draw)?;
    let row = case.draw.size(0, model.rows.len() - 1);
    let n = model.rows[row].ids.len();
    let seen = if n > 1 { case.draw.size(1, n - 1) } else { 1 };
    let from = if case.control { seen - 1 } else { seen };
    let mut other = model.clone();
    other.rows[row] = with_other_end(&mut case.draw, &model.rows[row], from, model.ids());
    let (found, expected) = (engine.compute(&other)?, engine.compute(&model)?);
    let bounds = both(
        &start(&conditioning(&other)?, row, seen),
        &start(&conditioning(&model)?, row, seen),
    );
    let describe = format!("{}, first {seen} of row {row}", model.describe());
    compare(
        case,
        &describe,
        &start(&found, row, seen),
        &start(&expected, row, seen),
        &bounds,
        [engine.roundoff(), 0.0],
    );
    Ok(())
}

/// A row gives the same alone as in its batch. In the control the row before it is part of its
/// text.
fn packed(engine: &dyn Engine, case: &mut Case) -> Result<()> {
    let model = ModelCase::random(&mut case.draw)?;
    let together = engine.compute(&model)?;
    let bounds = conditioning(&model)?;
    for (r, row) in model.rows.iter().enumerate() {
        let mut text = row.clone();
        if case.control && r > 0 {
            let before = &model.rows[r - 1];
            text.ids = [before.ids.clone(), row.ids.clone()].concat();
            text.segments = before
                .segments
                .as_ref()
                .zip(row.segments.as_ref())
                .map(|(a, b)| [a.clone(), b.clone()].concat());
            text.labels = vec![-100; text.ids.len()];
        }
        let (length, whole) = (row.ids.len(), text.ids.len());
        let alone = engine.compute(&model.on(vec![text]))?;
        let end = |x: &Array2<f64>| x.slice(s![whole - length.., ..]).to_owned();
        let alone = Computed {
            logits: alone.logits.iter().map(end).collect(),
            gates: vec![alone.gates[0].iter().map(end).collect()],
            loss: None,
        };
        let bound = start(&bounds, r, length);
        compare(
            case,
            &format!("{}, row {r}", model.describe()),
            &alone,
            &start(&together, r, length),
            &both(&bound, &bound),
            [engine.roundoff(), 0.0],
        );
    }
    Ok(())
}

/// Padding left and right, masked, changes no real token's output. In the control the padding is
/// not masked.
fn padded<T: Real>(case: &mut Case) -> Result<()> {
    let model = ModelCase::random(&mut case.draw)?;
    let plain = compute::<T>(&model)?;
    let bounds = conditioning(&model)?;
    let backbone = Gpt2::from_tensors(
        model.backbone.clone(),
        &lift_all(&model.weights, |_, _, x| T::from_f64(x)),
    )?;
    let tensors = stored(&model, &lift_all(&model.adapter, |_, _, x| T::from_f64(x)))?;
    let adapter = Adapter::from_tensors(model.method.clone(), &model.backbone, tensors)?;
    for (r, row) in model.rows.iter().enumerate() {
        let (left, right) = (case.draw.size(0, 3), case.draw.size(1, 4));
        let n = row.ids.len();
        let mut pad = |ids: &[u32]| -> Vec<u32> {
            let mut any = |count: usize| -> Vec<u32> {
                (0..count)
                    .map(|_| case.draw.size(0, model.ids() as usize - 1) as u32)
                    .collect()
            };
            [any(left), ids.to_vec(), any(right)].concat()
        };
        let (ids, segments) = (pad(&row.ids), row.segments.as_deref().map(&mut pad));
        let mask: Vec<bool> = (0..ids.len())
            .map(|t| case.control || (left..left + n).contains(&t))
            .collect();
        let found = backbone.forward(&ids, segments.as_deref(), Some(&mask), Some(&adapter))?;
        let real = |x: &Array2<T>| x.slice(s![left..left + n, ..]).mapv(T::to_f64);
        let found = Computed {
            logits: vec![real(&found.logits)],
            gates: vec![found.lambda.iter().map(real).collect()],
            loss: None,
        };
        let to_f64 = |x: &Array2<T>| x.mapv(T::to_f64);
        let expected = Computed {
            logits: vec![to_f64(&plain.logits[r])],
            gates: vec![plain.gates[r].iter().map(to_f64).collect()],
            loss: None,
        };
        let bound = start(&bounds, r, n);
        compare(
            case,
            &format!("{}, row {r}, {left} + {right} padding", model.describe()),
            &found,
            &expected,
            &both(&bound, &bound),
            [T::unit_roundoff(), 0.0],
        );
    }
    Ok(())
}

struct Local;

impl RealIdentity for Local {
    fn sides<T: Real>(draw: &mut Draw, control: bool) -> Sides<T> {
        let head = Head::random(draw).lift::<T>();
        let n = head.q.nrows();
        let i = draw.size(0, n - 1);
        let f_tilde = |q: &Array2<T>, visible: &Visible| {
            let attended = attend(q, &head.k, &head.v, visible);
            let s = own_scores(q, &key(q, &head.mlp_k.forward(q)));
            residual_form(
                &attended.f,
                &lambda(&s, &attended.lse),
                &head.mlp_v.forward(q),
            )
        };
        let own = if control { (i + n - 1) % n } else { i };
        let q = head.q.slice(s![own..=own, ..]).to_owned();
        let sees = Array2::from_shape_fn((1, head.k.nrows()), |(_, j)| head.visible.sees(i, j));
        let all = f_tilde(&head.q, &head.visible);
        Sides::of(
            "f̃(q_i) alone",
            f_tilde(&q, &Visible::from_matrix(sees)),
            all.slice(s![i..=i, ..]).to_owned(),
        )
    }
}
