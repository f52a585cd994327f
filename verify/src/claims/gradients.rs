//! Gradients of every trainable tensor: the engine's against the reference's, by three routes.
//!
//! Reverse mode over the reference (traced numbers) gives every coordinate; dual numbers give directions, with a rounding bound of
//! their own; central differences need nothing but the loss.

use super::models::sabotage;
use crate::claim::{Case, Claim};
use crate::engine::reference::{compute_with, gradients, lift_all, no_label};
use crate::engine::{Candle, Engine, On};
use crate::error::{Error, Result};
use crate::random::{Corner, ModelCase, method, model};
use crate::tolerance::Tolerance;
use crate::traced::{Traced, record};
use candle_core::{DType, Device};
use inducer_gpu::Method;
use inducer_reference::{Dual, Real};
use ndarray::{ArrayD, Dimension};

/// The claims of this file.
#[must_use]
pub fn claims() -> Vec<Claim> {
    vec![
        Claim::new("gradients-reverse")
            .weighing(2, 26)
            .loosely_on(On::CpuF64, reverse),
        Claim::new("gradients-dual")
            .weighing(8, 13)
            .on(On::CpuF64, |case| dual(&Candle::cpu_f64(), case))
            .loosely_on(On::CpuF32, |case| dual(&Candle::cpu_f32(), case))
            .loosely_on(On::CpuBf16, |case| dual(&Candle::bf16(&Device::Cpu), case)),
        Claim::new("gradients-central")
            .weighing(8, 13)
            .on(On::CpuF64, central),
        Claim::new("gradient-reaches")
            .weighing(4, 13)
            .loosely_on(On::CpuF64, |case| reaches(&Candle::cpu_f64(), case))
            .loosely_on(On::CpuF32, |case| reaches(&Candle::cpu_f32(), case)),
    ]
}

/// A model with something to train, and what the reference is given (in the control with one term changed).
fn pair(case: &mut Case) -> Result<(ModelCase, ModelCase)> {
    let trainable: Vec<Method> = Method::ALL
        .into_iter()
        .filter(|m| *m != Method::None)
        .collect();
    let which = trainable[case.draw.index % trainable.len()];
    let model = ModelCase::with(&mut case.draw, which)?;
    let mut other = model.clone();
    if case.control {
        sabotage(&mut other, &mut case.draw);
    }
    Ok((model, other))
}

/// Every coordinate of every tensor, within 1e-10 of the tensor's greatest.
fn reverse(case: &mut Case) -> Result<()> {
    let (model, other) = pair(case)?;
    let (_, found) = Candle::cpu_f64().gradients(&model)?;
    let (_, expected) = gradients(&other)?;
    let greatest = expected
        .values()
        .flatten()
        .fold(0.0_f64, |most, x| most.max(x.abs()));
    let describe = model.describe();
    case.same(
        found.keys().collect::<Vec<_>>(),
        expected.keys().collect(),
        || format!("{describe}: tensors with a gradient"),
    );
    let tolerance = Tolerance::stated(
        1e-10 * greatest,
        format!("1e-10 of the greatest gradient, {greatest:.2e}"),
    );
    for (name, expected) in &expected {
        let Some(found) = found.get(name) else {
            continue;
        };
        for ((at, expected), found) in expected.indexed_iter().zip(found) {
            case.close(*found, *expected, &tolerance, || {
                format!("{describe}: {name} at {:?}", at.slice())
            });
        }
    }
    Ok(())
}

/// ⟨g, s⟩ over one tensor.
fn along(gradient: &ArrayD<f64>, signs: &ArrayD<f64>) -> f64 {
    gradient.iter().zip(signs).map(|(g, s)| g * s).sum()
}

/// A tensor of the model and a random direction ±1 in it.
fn direction(case: &mut Case, model: &ModelCase) -> Result<(String, ArrayD<f64>)> {
    let names: Vec<&String> = model.adapter.keys().collect();
    if names.is_empty() {
        return Err(Error::Missing("a trainable tensor".into()));
    }
    let name = names[case.draw.size(0, names.len() - 1)].clone();
    let signs = case.draw.signs(model.adapter[&name].shape());
    Ok((name, signs))
}

/// The loss of the reference with one tensor's numbers made by `number`.
fn loss<T: Real>(
    model: &ModelCase,
    name: &str,
    signs: &ArrayD<f64>,
    number: impl Fn(f64, f64) -> T,
) -> Result<T> {
    let signs: Vec<f64> = signs.iter().copied().collect();
    let adapter = lift_all(&model.adapter, |own, index, x| {
        if own == name {
            number(x, signs[index])
        } else {
            T::from_f64(x)
        }
    });
    compute_with(model, &adapter)?.loss.ok_or_else(no_label)
}

/// Directions in sampled tensors: the engine's gradient and the dual numbers' derivative, within the latter's rounding bound and
/// 2 u ‖∇L‖_∞ for each coordinate of the direction. The second term is what a backward pass may lose that forms a small factor from a
/// rounded value (1 − λ from λ, near 1): it is accurate to u of the gradient, not of each of its components.
fn dual(candle: &Candle, case: &mut Case) -> Result<()> {
    let (mut model, mut other) = pair(case)?;
    if case.control && candle.dtype == DType::BF16 {
        other.change("", |x| -3.0 * x); // its bound is too wide for one term: every trained tensor
    }
    for one in [&mut model, &mut other] {
        one.round(|x| candle.held(x));
    }
    let (_, found) = candle.gradients(&model)?;
    let greatest = found
        .values()
        .flatten()
        .fold(0.0_f64, |most, g| most.max(g.abs()));
    let (u, v) = (candle.roundoff(), f64::EPSILON / 2.0);
    for _ in 0..4 {
        let (name, signs) = direction(case, &model)?;
        let expected = loss(&other, &name, &signs, Dual::new)?.eps;
        let constants = |x, s| Dual::new(Traced::constant(x), Traced::constant(s));
        let (traced, trace) = record(|| loss(&model, &name, &signs, constants));
        let mut tolerance = Tolerance::rounding(trace.conditioning(&[traced?.eps])[0], u, v);
        tolerance.bound += 2.0 * u * greatest * signs.len() as f64;
        tolerance.why += &format!(" + 2 u ‖∇L‖_∞ × {}", signs.len());
        let found = found.get(&name).map_or(f64::NAN, |g| along(g, &signs));
        let describe = model.describe();
        case.close(found, expected, &tolerance, || {
            format!("{describe}: along {name}")
        });
    }
    Ok(())
}

/// Central differences (L(x + h s) − L(x − h s))/2h: off by h²/6 |L‴| and by the loss's rounding over h.
///
/// L‴ comes from thrice nested dual numbers at x; between x − h s and x + h s it is allowed to double. Adapters' hidden units are kept
/// away from the kink of ReLU, where there is no derivative to compare.
fn central(case: &mut Case) -> Result<()> {
    let (mut model, mut other) = pair(case)?;
    for one in [&mut model, &mut other] {
        one.change("adapter.down.bias", |x| x + 4.0 * x.signum());
    }
    let (_, found) = Candle::cpu_f64().gradients(&model)?;
    for _ in 0..2 {
        let (name, signs) = direction(case, &model)?;
        let thrice = loss(&model, &name, &signs, |x, s| {
            let inner = Dual::new(Dual::new(x, s), Dual::constant(s));
            Dual::new(inner, Dual::new(Dual::constant(s), Dual::constant(0.0)))
        })?;
        let third = thrice.eps.eps.eps.abs();
        let (traced, trace) = record(|| loss(&model, &name, &signs, |x, _| Traced::constant(x)));
        let rounding = trace.conditioning(&[traced?])[0].bound(f64::EPSILON / 2.0);
        let h = (3.0 * rounding / third.max(1e-3)).cbrt().min(1e-3);
        let at = |step: f64| loss(&other, &name, &signs, |x, s| x + step * s);
        let expected = (at(h)? - at(-h)?) / (2.0 * h);
        let bound = 2.0 * h * h / 6.0 * third + rounding / h;
        let why =
            format!("2 h²/6 |L‴| + ε_L/h with h = {h:.1e}, L‴ = {third:.1e}, ε_L = {rounding:.1e}");
        let found = found.get(&name).map_or(f64::NAN, |g| along(g, &signs));
        let describe = model.describe();
        case.close(found, expected, &Tolerance::stated(bound, why), || {
            format!("{describe}: along {name}")
        });
    }
    Ok(())
}

/// No trainable tensor is cut off from the loss. In the control every branch's last matrix is zero, as B is at LoRA's start, so
/// that what lies before it gets no gradient.
fn reaches(engine: &dyn Engine, case: &mut Case) -> Result<()> {
    case.draw.force(Corner::Plain);
    let trainable: Vec<Method> = Method::ALL
        .into_iter()
        .filter(|m| *m != Method::None)
        .collect();
    let which = trainable[case.draw.index % trainable.len()];
    let backbone = model::backbone(&mut case.draw);
    let config = method::random(&mut case.draw, which);
    let mut model = ModelCase::of(&mut case.draw, backbone, config)?;
    for row in &mut model.rows {
        row.labels
            .iter_mut()
            .zip(&row.ids)
            .for_each(|(label, id)| *label = i64::from(*id));
    }
    // a ReLU that is dead for every token has no gradient by right
    model.change("adapter.down.bias", |x| x.abs() + 3.0);
    if case.control {
        [".b", "value.up", "adapter.up.weight", "prefix.up.weight"]
            .iter()
            .for_each(|end| model.change(end, |_| 0.0));
    }
    let (_, found) = engine.gradients(&model)?;
    let describe = model.describe();
    for name in model.adapter.keys() {
        let greatest = found
            .get(name)
            .map_or(0.0, |g| g.iter().fold(0.0_f64, |most, x| most.max(x.abs())));
        case.same(greatest > 0.0, true, || {
            format!("{describe}: {name} has a gradient, the greatest {greatest:e}")
        });
    }
    Ok(())
}
