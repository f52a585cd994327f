//! Whole models: two engines, or two models of one engine, give the same logits, gates and loss.

use crate::claim::{Case, Claim};
use crate::engine::candle::array;
use crate::engine::{Candle, Computed, Cuda, Engine, On, Reference, conditioning, training};
use crate::error::Result;
use crate::random::{Draw, ModelCase, method, model};
use crate::tolerance::{Conditioning, Tolerance};
use inducer_reference::files::adapter_config::Reparametrisation;
use inducer_reference::{AdapterConfig, AttentionConfig, FfnConfig};
use ndarray::{Array2, Dimension};

/// The claims of this file.
#[must_use]
pub fn claims(cuda: &Cuda) -> Vec<Claim> {
    vec![
        Claim::new("models-agree")
            .weighing(2, 26)
            .on_each(training(cuda), |engine, case| agrees(engine, case))
            .on_each(vec![Reference::<f32>::new()], |engine, case| {
                agrees(engine, case)
            }),
        Claim::new("prefix-reparametrised")
            .weighing(4, 8)
            .loosely_on(On::CpuF32, reparametrisation),
    ]
}

/// The engine's results within the derived bound of the reference's in `f64`, and in `f64` within
/// 1e-10 as well; of numbers that the engine holds, so that what is compared is the arithmetic and
/// not the rounding of what is given.
fn agrees(engine: &dyn Engine, case: &mut Case) -> Result<()> {
    let mut model = ModelCase::random(&mut case.draw)?;
    model.round(|x| engine.held(x));
    let mut other = model.clone();
    if case.control {
        sabotage(&mut other, &mut case.draw);
        if matches!(engine.on(), On::CpuBf16 | On::CudaBf16) {
            other.change("", |x| -3.0 * x); // its bound is too wide for one term
        }
    }
    let found = engine.compute(&model)?;
    let expected = Reference::<f64>::new().compute(&other)?;
    let bounds = conditioning(&model)?;
    let describe = model.describe();
    compare(
        case,
        &describe,
        &found,
        &expected,
        &bounds,
        [engine.roundoff(), f64::EPSILON / 2.0],
    );
    if engine.on() == On::CpuF64 {
        within(case, &describe, &found, &expected, 1e-10);
    }
    Ok(())
}

/// What is stored after training gives the function that was trained through the network. (In
/// `f32`: files hold `f32`.) In the control the network's first bias is another one.
fn reparametrisation(case: &mut Case) -> Result<()> {
    let backbone = model::backbone(&mut case.draw);
    let network = Some(Reparametrisation {
        width: case.draw.size(2, 6),
    });
    let (length, offset_positions) = (case.draw.size(1, 4), case.draw.chance(0.5));
    let attention = |reparametrisation| {
        Some(AttentionConfig::Prefix {
            length,
            offset_positions,
            reparametrisation,
        })
    };
    let config = AdapterConfig {
        attention: attention(network),
        ..method::none()
    };
    let mut trained = ModelCase::of(&mut case.draw, backbone, config)?;
    let engine = Candle::cpu_f32();
    let mut stored = trained.clone();
    stored.method.attention = attention(None);
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
    let u = engine.roundoff();
    let bounds = both(&conditioning(left)?, &conditioning(right)?);
    let found = Computed {
        gates: Vec::new(),
        ..found
    };
    compare(case, &left.describe(), &found, &expected, &bounds, [u, 0.0]);
    Ok(())
}

/// The conditioning of the difference of two models' logits and losses.
fn both(left: &Computed<Conditioning>, right: &Computed<Conditioning>) -> Computed<Conditioning> {
    let logits = left.logits.iter().zip(&right.logits);
    Computed {
        logits: logits
            .map(|(l, r)| Array2::from_shape_fn(l.raw_dim(), |at| l[at].and(r[at])))
            .collect(),
        gates: Vec::new(),
        loss: left.loss.zip(right.loss).map(|(l, r)| l.and(r)),
    }
}

/// Holds every number against its own bound.
pub fn compare(
    case: &mut Case,
    describe: &str,
    found: &Computed<f64>,
    expected: &Computed<f64>,
    bounds: &Computed<Conditioning>,
    [u, v]: [f64; 2],
) {
    case.same(found.logits.len(), expected.logits.len(), || {
        format!("{describe}: rows")
    });
    for (r, found) in found.logits.iter().enumerate() {
        matrix(
            case,
            &|| format!("{describe}: logits of row {r}"),
            found,
            &expected.logits[r],
            &bounds.logits[r],
            [u, v],
        );
    }
    for (r, layers) in found.gates.iter().enumerate() {
        case.same(layers.len(), expected.gates[r].len(), || {
            format!("{describe}: layers with gates")
        });
        for (layer, gate) in layers.iter().enumerate() {
            matrix(
                case,
                &|| format!("{describe}: gate of row {r}, layer {layer}"),
                gate,
                &expected.gates[r][layer],
                &bounds.gates[r][layer],
                [u, v],
            );
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
    found: &Array2<f64>,
    expected: &Array2<f64>,
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
        case.close(
            *found,
            expected[at],
            &Tolerance::rounding(bounds[at], u, v),
            || format!("{} at {at:?}", what()),
        );
    }
}

/// Every logit and the loss within `relative` of the greatest magnitude.
fn within(
    case: &mut Case,
    describe: &str,
    found: &Computed<f64>,
    expected: &Computed<f64>,
    relative: f64,
) {
    let greatest = expected
        .logits
        .iter()
        .flatten()
        .fold(0.0_f64, |most, x| most.max(x.abs()));
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

/// Changes one term of a model, one that its method has.
pub fn sabotage(model: &mut ModelCase, draw: &mut Draw) {
    let p = model.backbone.n_embd / model.backbone.n_head;
    let mut choices: Vec<fn(&mut ModelCase)> = Vec::new();
    if p > 1 && !model.method.full {
        choices.push(drop_sqrt_p);
    }
    match &model.method.attention {
        Some(AttentionConfig::Inducer { variant, .. }) => {
            choices.push(|model| model.change("value.up_bias", |x| x / 2.0));
            choices.push(|model| model.change("value.down_bias", |_| 0.0));
            if variant.has_key_network() {
                choices.push(|model| model.change("key.up_bias", |_| 0.0));
            }
        }
        Some(AttentionConfig::Prefix { .. }) => choices.push(|model| {
            if let Some(AttentionConfig::Prefix {
                offset_positions, ..
            }) = &mut model.method.attention
            {
                *offset_positions = !*offset_positions;
            }
        }),
        Some(AttentionConfig::Adapter { .. }) => {
            choices.push(|model| model.change("attn.adapter.up.bias", |_| 0.0))
        }
        None => choices.push(|model| model.backbone.layer_norm_epsilon = 0.1),
    }
    if model.method.lora.as_ref().is_some_and(|lora| lora.bias) {
        choices.push(|model| {
            ["q", "k", "v"]
                .iter()
                .for_each(|t| model.change(&format!("lora.{t}.bias"), |_| 0.0))
        });
    }
    if model.method.ffn.is_some() {
        choices.push(|model| {
            if let Some(FfnConfig::Adapter { scale, .. }) = &mut model.method.ffn {
                *scale *= 1.5;
            }
        });
    }
    draw.pick(&choices)(model);
}

/// Scores without √p: q times √p in every layer.
fn drop_sqrt_p(model: &mut ModelCase) {
    let d = model.backbone.n_embd;
    let root = ((d / model.backbone.n_head) as f64).sqrt();
    let of_q = |(name, _): &(&String, &mut ndarray::ArrayD<f64>)| name.contains("attn.c_attn.");
    for (_, tensor) in model
        .weights
        .iter_mut()
        .chain(model.adapter.iter_mut())
        .filter(of_q)
    {
        for (at, x) in tensor.indexed_iter_mut() {
            if at.as_array_view().last().is_some_and(|column| *column < d) {
                *x *= root;
            }
        }
    }
}
