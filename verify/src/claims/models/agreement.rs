//! Whole models: two engines, or two models of one engine, give the same logits, gates and loss.

use crate::bounds::{Conditioning, UNIT_ROUNDOFF_F64};
use crate::cases::draw::PAIRS;
use crate::cases::{Draw, ModelCase, method, roberta};
use crate::engines::candle::array;
use crate::engines::{Candle, Computed, Paper, Reference, Specification, external, training};
use crate::{Case, Claim, Engine, Present, Result, Target, Tolerance};
use inducer_reference::files::adapter_config::Reparametrisation;
use inducer_reference::{AdapterConfig, AttentionConfig, FfnConfig};
use ndarray::{Array2, Dimension};

/// A claim whose cases meet every pair of a method and a corner.
pub(super) fn every_pair(id: &'static str) -> Claim {
    Claim::new(id).one_case_in(2).at_least(PAIRS)
}

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    let agree = |claim: Claim| {
        claim
            .on_each(training(present), |engine, case| agrees(engine, case))
            .on_each(
                vec![Box::new(Reference::<f32>::default())],
                |engine, case| agrees(engine, case),
            )
            .on_each_one_sided(external(present), |engine, case| agrees(engine, case))
    };
    vec![
        agree(every_pair("models-agree")),
        agree(every_pair("roberta-agree").about(roberta)),
        reparametrised("prefix-reparametrised"),
        reparametrised("roberta-prefix-reparametrised").about(roberta),
    ]
}

/// The engine's results on a random model are the reference's; of numbers that the engine can
/// represent, so that what is compared is the arithmetic and not the rounding of what is given.
fn agrees(engine: &dyn Engine, case: &mut Case) -> Result<()> {
    let mut model = ModelCase::random(&mut case.draw, case.family)?;
    model.round(|x| engine.representable(x));
    let mut other = model.clone();
    if case.control {
        sabotage(&mut other, &mut case.draw);
        if engine.target().is_mixed() {
            other.round(|x| 0.5 - 3.0 * x); // its bound is too wide for one term
        }
    }
    same_as::<Paper>(engine, case, &model, &other)
}

/// The engine's results on a model are the specification's on another one (the same, but for a
/// control) in `f64`: within the derived bound, and for the engine in `f64` within 1e-10 as well.
///
/// # Errors
/// One of them refuses a model.
pub fn same_as<S: Specification>(
    engine: &dyn Engine,
    case: &mut Case,
    model: &ModelCase,
    other: &ModelCase,
) -> Result<()> {
    let found = engine.compute(model)?;
    let expected = S::computed_in::<f64>(other)?;
    let bounds = S::conditioning(model)?;
    let describe = model.describe();
    let units = [engine.roundoff(), UNIT_ROUNDOFF_F64];
    compare(case, &describe, &found, &expected, &bounds, units);
    if engine.target() == Target::CpuF64 {
        within(case, &describe, &found, &expected, 1e-10);
    }
    Ok(())
}

fn reparametrised(id: &'static str) -> Claim {
    let claim = Claim::new(id).one_case_in(4).at_least(8);
    claim.on_one_sided(Target::CpuF32, reparametrisation)
}

/// What is stored after training gives the function that was trained through the network. (In
/// `f32`: files hold `f32`.) In the control the network's first bias is another one.
fn reparametrisation(case: &mut Case) -> Result<()> {
    let backbone = (case.family)(&mut case.draw);
    let network = Some(Reparametrisation {
        width: case.draw.size(2, 6),
    });
    let (length, offset_positions) = (case.draw.size(1, 4), case.draw.chance(0.5));
    let config = AdapterConfig {
        attention: Some(AttentionConfig::Prefix {
            length,
            offset_positions,
            reparametrisation: network,
        }),
        ..method::none()
    };
    let mut trained = ModelCase::of(&mut case.draw, backbone, config)?;
    let engine = Candle::cpu_f32();
    let mut stored = trained.clone();
    method::without_network(&mut stored.method);
    stored.adapter.clear();
    for (name, tensor) in engine.model(&trained)?.stored()? {
        stored.adapter.insert(name, array(&tensor)?);
    }
    if case.control {
        trained.change("prefix.down.bias", |x| x + 1.0);
    }
    equal(case, &engine, &trained, &stored)
}

/// Both models on one engine, within the bounds of both.
///
/// # Errors
/// An engine refuses a model.
pub fn equal(
    case: &mut Case,
    engine: &dyn Engine,
    left: &ModelCase,
    right: &ModelCase,
) -> Result<()> {
    let (found, expected) = (engine.compute(left)?, engine.compute(right)?);
    let bounds = Paper::conditioning(left)?.and(&Paper::conditioning(right)?);
    let units = [engine.roundoff(), 0.0];
    let found = found.without_gates();
    compare(case, &left.describe(), &found, &expected, &bounds, units);
    Ok(())
}

/// Holds every number against its own bound, `found` computed at the unit round-off u and
/// `expected` at v.
pub fn compare(
    case: &mut Case,
    describe: &str,
    found: &Computed<f64>,
    expected: &Computed<f64>,
    bounds: &Computed<Conditioning>,
    [u, v]: [f64; 2],
) {
    let texts = [found, expected].map(|computed| computed.logits.len());
    case.same(texts[0], texts[1], || format!("{describe}: texts"));
    for (r, found) in found.logits.iter().enumerate() {
        let what = || format!("{describe}: logits of row {r}");
        let expected = [found, &expected.logits[r]];
        matrix(case, &what, expected, &bounds.logits[r], [u, v]);
    }
    for (r, layers) in found.gates.iter().enumerate() {
        case.same(layers.len(), expected.gates[r].len(), || {
            format!("{describe}: layers with gates")
        });
        for (layer, gate) in layers.iter().enumerate() {
            let what = || format!("{describe}: gate of row {r}, layer {layer}");
            let expected = [gate, &expected.gates[r][layer]];
            matrix(case, &what, expected, &bounds.gates[r][layer], [u, v]);
        }
    }
    if let (Some(found), Some(expected), Some(bound)) = (found.loss, expected.loss, bounds.loss) {
        case.close(found, expected, &Tolerance::rounding(bound, u, v), || {
            format!("{describe}: loss")
        });
    }
}

fn matrix(
    case: &mut Case,
    what: &dyn Fn() -> String,
    [found, expected]: [&Array2<f64>; 2],
    bounds: &Array2<Conditioning>,
    [u, v]: [f64; 2],
) {
    case.same(found.shape(), expected.shape(), || {
        format!("{}: shape", what())
    });
    if found.shape() != expected.shape() {
        return;
    }
    for (at, found) in found.indexed_iter() {
        let tolerance = Tolerance::rounding(bounds[at], u, v);
        case.close(*found, expected[at], &tolerance, || {
            format!("{} at {at:?}", what())
        });
    }
}

/// Every logit within `relative` of the greatest magnitude.
fn within(
    case: &mut Case,
    describe: &str,
    found: &Computed<f64>,
    expected: &Computed<f64>,
    relative: f64,
) {
    let all = expected.logits.iter().flatten();
    let greatest = all.fold(0.0_f64, |most, x| most.max(x.abs()));
    let tolerance = Tolerance::stated(
        relative * greatest,
        format!("{relative:e} of the greatest logit, {greatest:.2}"),
    );
    for (r, found) in found.logits.iter().enumerate() {
        for (found, expected) in found.iter().zip(&expected.logits[r]) {
            case.close(*found, *expected, &tolerance, || {
                format!("{describe}: logits of row {r}")
            });
        }
    }
}

/// Changes one term of a model: of its method, where it has one.
pub fn sabotage(model: &mut ModelCase, draw: &mut Draw) {
    let mut choices: Vec<fn(&mut ModelCase)> = Vec::new();
    match &model.method.attention {
        Some(AttentionConfig::Inducer { variant, .. }) => {
            choices.push(|model| model.change("value.up_bias", |x| x / 2.0));
            choices.push(|model| model.change("value.down_bias", |_| 0.0));
            if variant.has_key_network() {
                choices.push(|model| model.change("key.up_bias", |_| 0.0));
            }
        }
        Some(AttentionConfig::Prefix { .. }) => {
            choices.push(|model| {
                ["prefix.value", "prefix.up.bias"]
                    .iter()
                    .for_each(|end| model.change(end, |x| x / 2.0))
            });
            choices.push(|model| {
                if let Some(AttentionConfig::Prefix {
                    offset_positions, ..
                }) = &mut model.method.attention
                {
                    *offset_positions = !*offset_positions;
                }
            });
        }
        Some(AttentionConfig::Adapter { .. }) => {
            choices.push(|model| model.change("attn.adapter.up.bias", |_| 0.0))
        }
        None => {}
    }
    if let Some(lora) = &model.method.lora {
        choices.push(|model| {
            if let Some(lora) = &mut model.method.lora {
                lora.alpha *= 1.5;
            }
        });
        if lora.bias {
            choices.push(|model| {
                ["q", "k", "v"]
                    .iter()
                    .for_each(|t| model.change(&format!("lora.{t}.bias"), |_| 0.0))
            });
        }
    }
    if model.method.ffn.is_some() {
        choices.push(|model| {
            if let Some(FfnConfig::Adapter { scale, .. }) = &mut model.method.ffn {
                *scale *= 1.5;
            }
        });
    }
    if model.method.full || model.method.bitfit {
        choices.push(|model| model.change("bias", |x| x / 2.0));
    }
    if choices.is_empty() {
        choices.push(|model| *model.backbone.epsilon_mut() = 0.1);
        if model.backbone.head_width() > 1 {
            choices.push(drop_sqrt_p);
        }
    }
    draw.pick(&choices)(model);
}

/// Scores without √p: W^q and b^q times √p in every layer.
fn drop_sqrt_p(model: &mut ModelCase) {
    let d = model.backbone.hidden();
    let root = (model.backbone.head_width() as f64).sqrt();
    let tensors = model.weights.iter_mut().chain(&mut model.adapter);
    for (name, tensor) in tensors {
        // GPT-2 has q, k and v side by side in one tensor
        let fused = name.contains("attn.c_attn.");
        if !fused && !name.contains("attention.self.query.") {
            continue;
        }
        for (at, x) in tensor.indexed_iter_mut() {
            let column = at.as_array_view().last().copied();
            if !fused || column.is_some_and(|column| column < d) {
                *x *= root;
            }
        }
    }
}
