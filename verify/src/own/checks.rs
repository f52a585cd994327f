//! The checks of a variant of one's own.

use super::model::Own;
use super::{Engined, Formula};
use crate::claim::{Case, Claim};
use crate::claims::gradients::{coordinates, reached};
use crate::claims::invariance::{both, start, with_other_end};
use crate::claims::models::compare;
use crate::engine::candle::{arrays, options, pack};
use crate::engine::{Candle, Computed, Engine, On};
use crate::error::Result;
use crate::random::{Corner, TextRow};
use inducer_gpu::kernels::without_cpu_kernels;
use inducer_reference::TensorMap;
use ndarray::{Array2, s};

/// Every check of a variant, as claims.
#[must_use]
pub fn suite<R: Formula, E: Engined>() -> Vec<Claim> {
    vec![
        Claim::new("own-agree")
            .loosely_on(On::CpuF64, |case| agrees::<R>(case, &engined::<R, E>))
            .loosely_on(On::CpuF32, |case| agrees::<R>(case, &engined32::<R, E>))
            .loosely_on(On::CpuTensors, |case| {
                without_cpu_kernels(|| agrees::<R>(case, &engined::<R, E>))
            })
            .loosely_on(On::ReferenceF32, |case| agrees::<R>(case, &formula32::<R>)),
        Claim::new("own-gradients")
            .loosely_on(On::CpuF64, gradients::<R, E>)
            .loosely_on(On::CpuTensors, |case| {
                without_cpu_kernels(|| gradients::<R, E>(case))
            }),
        Claim::new("own-reaches").loosely_on(On::CpuF64, reaches::<R, E>),
        Claim::new("own-causal")
            .loosely_on(On::ReferenceF64, |case| causal::<R>(case, &formula::<R>))
            .loosely_on(On::CpuF64, |case| causal::<R>(case, &engined::<R, E>))
            .loosely_on(On::CpuF32, |case| causal::<R>(case, &engined32::<R, E>)),
        Claim::new("own-packing")
            .loosely_on(On::CpuF64, |case| packing::<R>(case, &engined::<R, E>))
            .loosely_on(On::CpuF32, |case| packing::<R>(case, &engined32::<R, E>)),
        Claim::new("own-padding").loosely_on(On::ReferenceF64, padding::<R>),
    ]
}

/// A model computed somewhere, and the unit round-off there.
type Somewhere<R> = dyn Fn(&Own<R>) -> Result<(Computed<f64>, f64)>;

fn engined<R: Formula, E: Engined>(own: &Own<R>) -> Result<(Computed<f64>, f64)> {
    let candle = Candle::cpu_f64();
    Ok((own.run::<E>(&candle)?, candle.roundoff()))
}

fn engined32<R: Formula, E: Engined>(own: &Own<R>) -> Result<(Computed<f64>, f64)> {
    let candle = Candle::cpu_f32();
    Ok((own.run::<E>(&candle)?, candle.roundoff()))
}

fn formula<R: Formula>(own: &Own<R>) -> Result<(Computed<f64>, f64)> {
    Ok((own.formula(&own.lifted())?, f64::EPSILON / 2.0))
}

fn formula32<R: Formula>(own: &Own<R>) -> Result<(Computed<f64>, f64)> {
    let found = own.formula::<f32>(&own.lifted())?;
    let widen = |x: &Array2<f32>| x.mapv(f64::from);
    let widened = Computed {
        logits: found.logits.iter().map(widen).collect(),
        gates: Vec::new(),
        loss: found.loss.map(f64::from),
    };
    Ok((widened, f64::from(f32::EPSILON) / 2.0))
}

/// A case, and what the formula is given: in the control with one tensor changed.
fn pair<R: Formula>(case: &mut Case) -> Result<(Own<R>, Own<R>)> {
    let own = Own::random(&mut case.draw)?;
    let other = match case.control {
        true => own.changed(case.draw.index),
        false => own.clone(),
    };
    Ok((own, other))
}

fn agrees<R: Formula>(case: &mut Case, somewhere: &Somewhere<R>) -> Result<()> {
    let (own, other) = pair::<R>(case)?;
    let (found, u) = somewhere(&own)?;
    let expected = other.formula(&other.lifted())?;
    let bounds = own.conditioning()?;
    let v = f64::EPSILON / 2.0;
    compare(
        case,
        &own.model.describe(),
        &found,
        &expected,
        &bounds,
        [u, v],
    );
    Ok(())
}

/// The gradients of the variant's tensors, by the engine.
fn backward<R: Formula, E: Engined>(own: &Own<R>, trainable: bool) -> Result<TensorMap<f64>> {
    let built = own.engine::<E>(&Candle::cpu_f64(), trainable)?;
    if built.trainable().is_empty() {
        return Ok(TensorMap::new());
    }
    let (_, found) = built.gradients(&pack(&own.model.rows), options(&own.model))?;
    arrays(&found)
}

/// Every coordinate of every tensor, within [`Tolerance::gradient`].
fn gradients<R: Formula, E: Engined>(case: &mut Case) -> Result<()> {
    let (own, other) = pair::<R>(case)?;
    let (found, expected) = (backward::<R, E>(&own, true)?, other.gradients()?);
    let u = f64::EPSILON / 2.0;
    coordinates(case, &own.model.describe(), &found, &expected, u);
    Ok(())
}

/// No tensor is cut off from the loss.
fn reaches<R: Formula, E: Engined>(case: &mut Case) -> Result<()> {
    case.draw.force(Corner::Plain);
    let mut own = Own::<R>::random(&mut case.draw)?;
    own.model.label_all(&mut case.draw);
    // where a gate or a tanh is saturated there is no gradient by right
    own.tensors.values_mut().for_each(|x| *x *= 0.3);
    let (found, expected) = (backward::<R, E>(&own, !case.control)?, own.gradients()?);
    let u = f64::EPSILON / 2.0;
    reached(case, &own.model.describe(), &found, &expected, u, |_| false);
    Ok(())
}

/// Tokens from some place on change nothing before it.
fn causal<R: Formula>(case: &mut Case, somewhere: &Somewhere<R>) -> Result<()> {
    let own = Own::<R>::random(&mut case.draw)?;
    let n = own.model.rows[0].ids.len();
    let seen = if n > 1 { case.draw.size(1, n - 1) } else { 1 };
    let from = case.or_control(seen, seen - 1);
    let ids = own.model.ids();
    let mut rows = own.model.rows.clone();
    rows[0] = with_other_end(&mut case.draw, &own.model.rows[0], from, ids);
    let other = own.on(rows);
    let ((found, u), (expected, _)) = (somewhere(&other)?, somewhere(&own)?);
    let bounds = both(
        &start(&other.conditioning()?, 0, seen),
        &start(&own.conditioning()?, 0, seen),
    );
    compare(
        case,
        &format!("{}, first {seen} of row 0", own.model.describe()),
        &start(&found, 0, seen),
        &start(&expected, 0, seen),
        &bounds,
        [u, 0.0],
    );
    Ok(())
}

/// A row with another one before it, as one text.
fn joined(before: &TextRow, row: &TextRow) -> TextRow {
    let segments = before.segments.as_ref().zip(row.segments.as_ref());
    TextRow {
        ids: [&before.ids[..], &row.ids].concat(),
        segments: segments.map(|(a, b)| [&a[..], b].concat()),
        labels: vec![-100; before.ids.len() + row.ids.len()],
    }
}

/// A row alone and in its batch.
fn packing<R: Formula>(case: &mut Case, somewhere: &Somewhere<R>) -> Result<()> {
    let own = Own::<R>::random(&mut case.draw)?;
    let (together, u) = somewhere(&own)?;
    let bounds = own.conditioning()?;
    for (r, row) in own.model.rows.iter().enumerate() {
        let text = match r.checked_sub(1) {
            Some(before) if case.control => joined(&own.model.rows[before], row),
            _ => row.clone(),
        };
        let (n, whole) = (row.ids.len(), text.ids.len());
        let (alone, _) = somewhere(&own.on(vec![text]))?;
        let end = |x: &Array2<f64>| x.slice(s![whole - n.., ..]).to_owned();
        let alone = Computed {
            logits: alone.logits.iter().map(end).collect(),
            gates: vec![Vec::new()],
            loss: None,
        };
        let bound = start(&bounds, r, n);
        compare(
            case,
            &format!("{}, row {r}", own.model.describe()),
            &alone,
            &start(&together, r, n),
            &both(&bound, &bound),
            [u, 0.0],
        );
    }
    Ok(())
}

/// Masked padding on both sides of a row changes nothing of the formula's.
fn padding<R: Formula>(case: &mut Case) -> Result<()> {
    let own = Own::<R>::random(&mut case.draw)?;
    let (plain, u) = formula(&own)?;
    let bounds = own.conditioning()?;
    for (r, row) in own.model.rows.iter().enumerate() {
        let (left, n) = (case.draw.size(1, 3), row.ids.len());
        let right = case.draw.size(1, 3);
        let pad = |ids: &[u32]| [&vec![0; left][..], ids, &vec![0; right]].concat();
        let padded = TextRow {
            ids: pad(&row.ids),
            segments: row.segments.as_deref().map(pad),
            labels: Vec::new(),
        };
        let mask: Vec<bool> = (0..left + n + right)
            .map(|t| case.control || (left..left + n).contains(&t))
            .collect();
        let found = own.row(&own.lifted::<f64>(), &padded, Some(&mask))?;
        let found = Computed {
            logits: vec![found.slice(s![left..left + n, ..]).to_owned()],
            gates: vec![Vec::new()],
            loss: None,
        };
        let bound = start(&bounds, r, n);
        compare(
            case,
            &format!(
                "{}, row {r}, {left} + {right} padding",
                own.model.describe()
            ),
            &found,
            &start(&plain, r, n),
            &both(&bound, &bound),
            [u, 0.0],
        );
    }
    Ok(())
}
