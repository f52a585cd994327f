//! What an output must not depend on: later tokens, padding, the texts it is batched with, other
//! queries.

use super::agreement::compare;
use crate::cases::{Draw, Head, ModelCase, TextRow, roberta};
use crate::engines::external::Surrounded;
use crate::engines::specification::lift;
use crate::engines::{
    Computed, External, Paper, Specification, engines, external, mixed, training,
};
use crate::identity::{RealIdentity, Sides};
use crate::oracle::Mutation;
use crate::{Case, Claim, Engine, Present, Result, Target};
use inducer_reference::Real;
use inducer_reference::attention::attend;
use inducer_reference::inducer::{key, lambda, own_scores, residual_form};
use inducer_reference::visible::Visible;
use ndarray::{Array2, s};

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    let share = |id| Claim::new(id).one_case_in(8).at_least(13);
    let packing = |claim: Claim| {
        claim
            .on_each_one_sided(training(present), |engine, case| packing(engine, case))
            .on_each_one_sided(external(present), |engine, case| packing(engine, case))
    };
    let padding = |claim: Claim| {
        claim
            .on_one_sided(Target::ReferenceF64, padding::<f64>)
            .on_one_sided(Target::ReferenceF32, padding::<f32>)
            .on_each_one_sided(external(present), surrounded)
    };
    vec![
        share("causal-all-methods")
            .on_each_one_sided(engines(present), causality)
            .on_each_one_sided(mixed(present), causality),
        packing(share("batch-packing")),
        packing(share("roberta-packing").about(roberta)),
        padding(share("padding-all-methods")),
        padding(share("roberta-padding").about(roberta)),
        Claim::new("inducer-local")
            .real::<Local>()
            .on_whole_models(present, Mutation::OwnQuery),
    ]
}

fn causality(engine: &(impl Engine + ?Sized), case: &mut Case) -> Result<()> {
    let model = ModelCase::random(&mut case.draw, case.family)?;
    causal::<Paper>(engine, case, &model)
}

fn packing(engine: &dyn Engine, case: &mut Case) -> Result<()> {
    let model = ModelCase::random(&mut case.draw, case.family)?;
    packed::<Paper>(engine, case, &model)
}

fn padding<T: Real>(case: &mut Case) -> Result<()> {
    let model = ModelCase::random(&mut case.draw, case.family)?;
    padded::<Paper, T>(case, &model)
}

/// Other tokens from position `from` on, and other segments behind it (at it they might change
/// places with the token: both are embedded by one table).
fn with_other_end(draw: &mut Draw, row: &TextRow, from: usize, ids: u32) -> TextRow {
    let mut other = row.clone();
    for t in from..row.ids.len() {
        other.ids[t] = (row.ids[t] + 1 + draw.size(0, ids as usize - 2) as u32) % ids;
        if let (true, Some(segments)) = (t > from, &mut other.segments) {
            segments[t] = draw.size(0, ids as usize - 1) as u32;
        }
    }
    other
}

/// The text with other tokens, none of them padding.
fn with_other_tokens(model: &ModelCase, row: &TextRow) -> TextRow {
    let (ids, padding) = (model.ids(), model.backbone.padding());
    let next = |id: &u32| match (id + 1) % ids {
        other if Some(other) == padding => (other + 1) % ids,
        other => other,
    };
    TextRow {
        ids: row.ids.iter().map(next).collect(),
        ..row.clone()
    }
}

/// The unit round-off between two runs of one engine on the same numbers. In mixed precision every
/// text is computed by itself on a host, so that two runs agree to the bit; its derived bound would
/// be wider than what a leak changes.
fn between_runs(engine: &(impl Engine + ?Sized)) -> f64 {
    let target = engine.target();
    match target.is_mixed() && !Target::is_gpu(target.name()) {
        true => 0.0,
        false => engine.roundoff(),
    }
}

/// Tokens after position t change nothing up to t. In the control the token at t changes too.
///
/// # Errors
/// Engine or specification refuses the model.
pub fn causal<S: Specification>(
    engine: &(impl Engine + ?Sized),
    case: &mut Case,
    model: &ModelCase,
) -> Result<()> {
    let row = case.draw.size(0, model.rows.len() - 1);
    let n = model.rows[row].ids.len();
    let seen = if n > 1 { case.draw.size(1, n - 1) } else { 1 };
    let from = case.or_control(seen, seen - 1);
    let mut other = model.clone();
    other.rows[row] = with_other_end(&mut case.draw, &model.rows[row], from, model.ids());
    let (found, expected) = (engine.compute(&other)?, engine.compute(model)?);
    let bounds = S::conditioning(&other)?.part(row, 0..seen);
    let bounds = bounds.and(&S::conditioning(model)?.part(row, 0..seen));
    compare(
        case,
        &format!("{}, first {seen} of row {row}", model.describe()),
        &found.part(row, 0..seen),
        &expected.part(row, 0..seen),
        &bounds,
        [between_runs(engine), 0.0],
    );
    Ok(())
}

/// A text gives the same alone as in its batch. In the control a text stands before it.
///
/// # Errors
/// As [`causal`].
pub fn packed<S: Specification>(
    engine: &dyn Engine,
    case: &mut Case,
    model: &ModelCase,
) -> Result<()> {
    let together = engine.compute(model)?;
    let bounds = S::conditioning(model)?;
    for (r, row) in model.rows.iter().enumerate() {
        let text = match case.control {
            true => model.joined(&with_other_tokens(model, row), row),
            false => row.clone(),
        };
        let (n, whole) = (row.ids.len(), text.ids.len());
        let alone = engine.compute(&model.on(vec![text]))?;
        let bound = bounds.part(r, 0..n);
        compare(
            case,
            &format!("{}, row {r}", model.describe()),
            &alone.part(0, whole - n..whole),
            &together.part(r, 0..n),
            &bound.and(&bound),
            [between_runs(engine), 0.0],
        );
    }
    Ok(())
}

/// Masked padding changes no real token's output: random tokens left and right of a text of a
/// language model, the padding token behind a text of RoBERTa, whose positions count from the left.
/// In the control the padding is not masked.
///
/// # Errors
/// The specification refuses the model.
pub fn padded<S: Specification, T: Real>(case: &mut Case, model: &ModelCase) -> Result<()> {
    let to_f64 = |x: &T| x.to_f64();
    let plain = S::computed_in::<T>(model)?.map(to_f64);
    let bounds = S::conditioning(model)?;
    let tensors = lift(&model.adapter);
    let forward = S::model::<T>(model, &tensors)?;
    for (r, row) in model.rows.iter().enumerate() {
        let around = surround(&mut case.draw, model, row);
        let (n, left, whole) = (around.length, around.from, around.row.ids.len());
        let mask: Vec<bool> = (0..whole)
            .map(|t| case.control || (left..left + n).contains(&t))
            .collect();
        let (logits, gates) = forward(&around.row, Some(&mask))?;
        let found = Computed {
            logits: vec![logits],
            gates: vec![gates],
            loss: None,
        };
        let bound = bounds.part(r, 0..n);
        let right = whole - left - n;
        compare(
            case,
            &format!("{}, row {r}, {left} + {right} padding", model.describe()),
            &found.map(to_f64).part(0, left..left + n),
            &plain.part(r, 0..n),
            &bound.and(&bound),
            [T::unit_roundoff(), 0.0],
        );
    }
    Ok(())
}

/// A text with random tokens left and right of it, or padding tokens behind it where there are
/// such.
fn surround(draw: &mut Draw, model: &ModelCase, row: &TextRow) -> Surrounded {
    let token = model.backbone.padding();
    let left = match token {
        Some(_) => 0,
        None => draw.size(0, 3),
    };
    let right = draw.size(1, 4);
    let mut any = || token.unwrap_or_else(|| draw.size(0, model.ids() as usize - 1) as u32);
    let mut pad = |ids: &[u32]| -> Vec<u32> {
        let [before, after] = [left, right].map(|count| (0..count).map(|_| any()).collect());
        [before, ids.to_vec(), after].concat()
    };
    let labels = match model.backbone.classifies() {
        true => row.labels.clone(),
        false => vec![-100; left + row.ids.len() + right],
    };
    Surrounded {
        row: TextRow {
            ids: pad(&row.ids),
            segments: row.segments.as_deref().map(pad),
            labels,
        },
        from: left,
        length: row.ids.len(),
    }
}

/// The same of a program of one's own, all texts in one batch, against the texts by themselves.
fn surrounded(engine: &External, case: &mut Case) -> Result<()> {
    let model = ModelCase::random(&mut case.draw, case.family)?;
    let rows = model.rows.iter();
    let rows: Vec<Surrounded> = rows
        .map(|row| surround(&mut case.draw, &model, row))
        .collect();
    let found = engine.surrounded(&model, &rows, !case.control)?;
    let bounds = Paper::conditioning(&model)?;
    for (r, row) in model.rows.iter().enumerate() {
        let alone = engine.compute(&model.on(vec![row.clone()]))?;
        let n = row.ids.len();
        let bound = bounds.part(r, 0..n);
        compare(
            case,
            &format!("{}, row {r} with padding around it", model.describe()),
            &found.part(r, 0..n),
            &alone.part(0, 0..n),
            &bound.and(&bound),
            [engine.roundoff(), 0.0],
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
