//! Gradients of every trainable tensor: the engine's against the reference's, by three routes.
//!
//! Reverse mode over the reference (traced numbers) gives every coordinate; dual numbers give
//! directions, with a rounding bound of their own; central differences need nothing but the loss.

use super::agreement::{every_pair, sabotage};
use crate::bounds::{Traced, UNIT_ROUNDOFF_F64, gradient_floor, record};
use crate::cases::{Corner, ModelCase, roberta};
use crate::engines::derived::derived;
use crate::engines::specification::{Gradients, lift_each, no_label};
use crate::engines::{Candle, Paper, Specification, candles, external, training};
use crate::{Case, Claim, Engine, Error, Present, Result, Target, Tolerance};
use inducer_reference::{Dual, Real};
use ndarray::{ArrayD, Dimension};

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    let eighth = |id| Claim::new(id).one_case_in(8).at_least(13);
    let reverse = |claim: Claim| {
        claim
            .on_each(candles(present), |engine, case| in_reverse(engine, case))
            .on_each_one_sided(external(present), |engine, case| in_reverse(engine, case))
    };
    let dual = |claim: Claim| {
        claim
            .on_each(training(present), |engine, case| dual(engine, case))
            .on_each_one_sided(external(present), |engine, case| dual(engine, case))
    };
    let reaches = |claim: Claim| {
        claim
            .one_case_in(4)
            .at_least(13)
            .on_each_one_sided(candles(present), |engine, case| reaches(engine, case))
            .on_each_one_sided(external(present), |engine, case| reaches(engine, case))
    };
    vec![
        reverse(every_pair("gradients-reverse")),
        reverse(every_pair("roberta-gradients").about(roberta)),
        dual(eighth("gradients-dual")),
        dual(eighth("roberta-gradients-dual").about(roberta)),
        eighth("gradients-central").on(Target::CpuF64, central),
        eighth("roberta-gradients-central")
            .about(roberta)
            .on(Target::CpuF64, central),
        reaches(Claim::new("gradient-reaches")),
        reaches(Claim::new("roberta-gradient-reaches").about(roberta)),
    ]
}

fn in_reverse(engine: &dyn Engine, case: &mut Case) -> Result<()> {
    let (model, other) = pair(case)?;
    reverse::<Paper>(engine, case, &model, &other)
}

/// A model with something to train, and what the reference is given (in the control with one term
/// changed).
fn pair(case: &mut Case) -> Result<(ModelCase, ModelCase)> {
    let model = ModelCase::trainable(&mut case.draw, case.family)?;
    let mut other = model.clone();
    if case.control {
        sabotage(&mut other, &mut case.draw);
    }
    Ok((model, other))
}

/// Every coordinate of every tensor, within [`Tolerance::gradient`]; a tensor without a gradient
/// has zeros.
///
/// # Errors
/// Engine or specification refuses a model.
pub fn reverse<S: Specification>(
    engine: &dyn Engine,
    case: &mut Case,
    model: &ModelCase,
    other: &ModelCase,
) -> Result<()> {
    let found = engine.gradients(model)?;
    let (u, describe, expected) = (engine.roundoff(), model.describe(), S::gradients(other)?);
    let (greatest, tokens) = (expected.greatest, expected.tokens);
    for (name, expected, spread) in expected.iter() {
        let zeros = ArrayD::zeros(expected.raw_dim());
        let found = found.get(name).unwrap_or(&zeros);
        case.same(found.shape(), expected.shape(), || {
            format!("{describe}: {name}: shape")
        });
        let pairs = expected.indexed_iter().zip(found.iter().zip(spread));
        for ((at, expected), (found, spread)) in pairs {
            let tolerance = Tolerance::gradient(*spread, greatest, tokens, u, UNIT_ROUNDOFF_F64);
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
    let adapter = lift_each(&model.adapter, |own, index, x| {
        if own == name {
            number(x, signs[index])
        } else {
            T::from_f64(x)
        }
    });
    Paper::compute(model, &adapter)?.loss.ok_or_else(no_label)
}

/// The direction in which the loss rises most: that of the gradient of the tensor whose gradient is
/// the greatest in all.
fn steepest(gradients: &Gradients) -> Result<(String, ArrayD<f64>)> {
    let total = |x: &ArrayD<f64>| x.iter().map(|g| g.abs()).sum::<f64>();
    let all = gradients.iter();
    let most = all.max_by(|a, b| total(a.1).total_cmp(&total(b.1)));
    let (name, gradient, _) = most.ok_or_else(|| Error::Missing("a trainable tensor".into()))?;
    Ok((name.to_owned(), gradient.mapv(|g| 1.0_f64.copysign(g))))
}

/// The steepest direction and some in sampled tensors: the engine's gradient and the dual numbers'
/// derivative, within the latter's rounding bound and 2 u G for each coordinate of the direction
/// (see [`gradient_floor`]).
fn dual(engine: &dyn Engine, case: &mut Case) -> Result<()> {
    if engine.target().is_mixed() && matches!(case.draw.corner(), Corner::OneKey | Corner::Repeated)
    {
        // a loss at single keys, or at keys that are all the same, may depend on nothing trained
        case.draw.force(Corner::Plain);
    }
    let (mut model, mut other) = pair(case)?;
    // a bound of mixed precision may be ten times the steepest slope, too wide for one term; and
    // where few tokens are labels, nothing that is trained may have a slope at all
    let falls = case.control && engine.target().is_mixed();
    if engine.target().is_mixed() {
        model.label_all(&mut case.draw);
        other = model.clone();
    }
    for one in [&mut model, &mut other] {
        one.round(|x| engine.representable(x));
    }
    let found = engine.gradients(&model)?;
    let formula = Paper::gradients(&model)?;
    let down = formula.greatest;
    let (u, v) = (engine.roundoff(), UNIT_ROUNDOFF_F64);
    for at in 0..4 {
        let (name, signs) = match at {
            0 => steepest(&formula)?,
            _ => direction(case, &model)?,
        };
        let slope = loss(&other, &name, &signs, Dual::new)?.eps;
        let expected = if falls { -31.0 * slope } else { slope };
        let bits: Vec<u64> = signs.iter().map(|sign| sign.to_bits()).collect();
        let conditioning = *derived::<Paper, _>(
            &model,
            (&name, bits),
            |_| 4,
            || {
                let constants = |x, s| Dual::new(Traced::constant(x), Traced::constant(s));
                let (traced, trace) = record(|| loss(&model, &name, &signs, constants));
                Ok(trace.conditioning(&[traced?.eps])[0])
            },
        )?;
        let tolerance = Tolerance::direction(conditioning, down, signs.len(), u, v);
        let found = found.get(&name).map_or(f64::NAN, |g| along(g, &signs));
        let describe = model.describe();
        case.close(found, expected, &tolerance, || {
            format!("{describe}: along {name}")
        });
    }
    Ok(())
}

/// Central differences (L(x + h s) − L(x − h s))/2h: off by h²/6 |L‴| and by the loss's rounding
/// over h.
///
/// L‴ comes from thrice nested dual numbers at x; between x − h s and x + h s it is allowed to
/// double. Adapters' hidden units are kept away from the kink of ReLU, where there is no derivative
/// to compare.
fn central(case: &mut Case) -> Result<()> {
    let (mut model, mut other) = pair(case)?;
    for one in [&mut model, &mut other] {
        one.change("adapter.down.bias", |x| x + 4.0 * x.signum());
    }
    let found = Candle::cpu_f64().gradients(&model)?;
    for _ in 0..2 {
        let (name, signs) = direction(case, &model)?;
        let thrice = loss(&model, &name, &signs, |x, s| {
            let inner = Dual::new(Dual::new(x, s), Dual::constant(s));
            Dual::new(inner, Dual::new(Dual::constant(s), Dual::constant(0.0)))
        })?;
        let third = thrice.eps.eps.eps.abs();
        let (traced, trace) = record(|| loss(&model, &name, &signs, |x, _| Traced::constant(x)));
        let rounding = trace.conditioning(&[traced?])[0].bound(UNIT_ROUNDOFF_F64);
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

/// No trainable tensor is cut off from the loss, but for the one that the loss does not depend on.
/// In the control every branch's last matrix is zero, as B is at LoRA's start, so that what lies
/// before it gets no gradient from the engine.
fn reaches(engine: &dyn Engine, case: &mut Case) -> Result<()> {
    case.draw.force(Corner::Plain);
    let mut model = ModelCase::trainable(&mut case.draw, case.family)?;
    model.label_all(&mut case.draw);
    // by right there is no gradient where a gate or a tanh is saturated, and where a ReLU is dead
    // for every token
    model.change("", |x| 0.3 * x);
    model.change("adapter.down.bias", |x| x.abs() + 3.0);
    model.round(|x| engine.representable(x));
    let expected = Paper::gradients(&model)?;
    if case.control {
        [
            ".b",
            "value.up",
            "adapter.up.weight",
            "prefix.up.weight",
            "out_proj.weight",
        ]
        .iter()
        .for_each(|end| model.change(end, |_| 0.0));
    }
    let blind = |name: &str| is_blind(&model, name);
    reached(engine, case, &model, &expected, blind)
}

/// Whether the loss does not depend on a tensor of this name: softmax is blind to what shifts all
/// scores of a query alike, as a bias of the keys does where no point beside the text is left out.
pub(super) fn is_blind(model: &ModelCase, name: &str) -> bool {
    let key_bias = ["lora.k.bias", "self.key.bias"];
    key_bias.iter().any(|end| name.ends_with(end)) && model.method.attention.is_none()
}

/// ‖g‖_∞.
fn greatest(gradient: &ArrayD<f64>) -> f64 {
    gradient.iter().fold(0.0, |most, g| most.max(g.abs()))
}

/// The gradient of every tensor stands above what rounding leaves of a zero, by the formula and by
/// the engine; by the engine where its precision can tell, that is where the formula's is four
/// times that at least. A tensor that `blind` names has the gradient 0 in both.
///
/// # Errors
/// The engine refuses the model.
pub fn reached(
    engine: &dyn Engine,
    case: &mut Case,
    model: &ModelCase,
    expected: &Gradients,
    blind: impl Fn(&str) -> bool,
) -> Result<()> {
    let (u, describe, found) = (
        engine.roundoff(),
        model.describe(),
        engine.gradients(model)?,
    );
    let floor = |u: f64| {
        let why = format!("2 u 8 √T G, u = {u:.2e}, G = {:.2e}", expected.greatest);
        Tolerance::stated(gradient_floor(expected.greatest, expected.tokens, u), why)
    };
    let (exact, rounded) = (floor(UNIT_ROUNDOFF_F64), floor(u));
    for (name, formula) in &expected.tensors {
        let (formula, engine) = (greatest(formula), found.get(name).map_or(0.0, greatest));
        if blind(name) {
            case.error(formula, &exact, || {
                format!("{describe}: {name} by the formula")
            });
            case.error(engine, &rounded, || format!("{describe}: {name}"));
            continue;
        }
        case.same(formula > exact.bound, true, || {
            format!("{describe}: {name} has a gradient by the formula, the greatest {formula:e}")
        });
        let least = (formula / 2.0).min(2.0 * rounded.bound);
        case.at_least(engine, least, &rounded, || {
            format!("{describe}: the greatest gradient of {name}")
        });
    }
    Ok(())
}
