//! The ladder on whole models (§6.2): a method under a restriction is another method, on every
//! engine.

use super::ladder_field;
use super::models::equal;
use crate::claim::{Case, Claim};
use crate::engine::{Cuda, Engine, candles, engines};
use crate::error::Result;
use crate::random::{Draw, ModelCase, method, model};
use inducer_gpu::Method;
use inducer_reference::{AdapterConfig, AttentionConfig, Projection, Variant};
use ndarray::IxDyn;

/// Two models that a claim says are the same function.
type Step = fn(&mut Draw, bool) -> Result<(ModelCase, ModelCase)>;

/// Identities of the reference that a restriction of whole models shows on the training engine:
/// what is left is the backbone.
const BACKBONE: [(&str, Step); 3] = [
    ("eq08-zero-value", zero_value),
    ("eq10-identity", zero_update),
    ("prefix-empty", no_prefix),
];

/// The claims of this file.
#[must_use]
pub fn claims(cuda: &Cuda) -> Vec<Claim> {
    let on_engines = |claim: Claim, step: Step| {
        claim
            .weighing(4, 10)
            .loosely_on_each(engines(cuda), move |engine, case| same(engine, case, step))
    };
    vec![
        on_engines(
            Claim::new("ladder-extension").algebra::<ladder_field::Extension>(),
            extension,
        ),
        on_engines(Claim::new("ladder-adaptive"), adaptive),
        on_engines(
            Claim::new("ladder-lora").algebra::<ladder_field::WithoutLora>(),
            lora,
        ),
        on_engines(
            Claim::new("ladder-mam").algebra::<ladder_field::WithoutAdapter>(),
            mam,
        ),
        on_engines(Claim::new("ladder-own-tensors"), own_tensors),
    ]
}

/// The claim, with a check on each device and scalar of the training engine if it is one of those
/// whose restriction is the backbone.
#[must_use]
pub fn on_models(claim: Claim, cuda: &Cuda) -> Claim {
    let Some((_, step)) = BACKBONE.into_iter().find(|(id, _)| *id == claim.id) else {
        return claim;
    };
    claim
        .weighing(4, 10)
        .loosely_on_each(candles(cuda), move |engine, case| same(engine, case, step))
}

fn same(engine: &dyn Engine, case: &mut Case, step: Step) -> Result<()> {
    let (left, right) = step(&mut case.draw, case.control)?;
    equal(case, engine, &left, &right)
}

/// The model with these tensors taken away, for another configuration.
fn without(case: &ModelCase, method: AdapterConfig, part: &str) -> ModelCase {
    let mut smaller = case.clone();
    smaller.method = method;
    smaller.adapter.retain(|name, _| !name.contains(part));
    smaller
}

/// Sets tensors to zero, or in the control only all but those that end so.
fn zero(case: &mut ModelCase, endings: &[&str]) {
    endings
        .iter()
        .for_each(|ending| case.change(ending, |_| 0.0));
}

/// Inducer with C = c = 0 is Extension.
fn extension(draw: &mut Draw, control: bool) -> Result<(ModelCase, ModelCase)> {
    let mut inducer = ModelCase::with(draw, Method::Inducer)?;
    zero(
        &mut inducer,
        if control {
            &["key.up"]
        } else {
            &["key.up", "key.up_bias"]
        },
    );
    let mut config = inducer.method.clone();
    if let Some(AttentionConfig::Inducer {
        variant,
        key_bottleneck,
        ..
    }) = &mut config.attention
    {
        (*variant, *key_bottleneck) = (Variant::Extension, None);
    }
    let extension = without(&inducer, config, ".inducer.key.");
    Ok((inducer, extension))
}

/// A multiple of 1/8, so that products of two and sums of a few products are exact in f32.
fn coarse(x: f64) -> f64 {
    (x * 8.0).round().clamp(-16.0, 16.0) / 8.0
}

/// Extension with W_2 = U W^{o(h)} and b_2 = 0 is Adaptive with b_2 = 0.
fn adaptive(draw: &mut Draw, control: bool) -> Result<(ModelCase, ModelCase)> {
    let mut adaptive = ModelCase::with(draw, Method::Adaptive)?;
    adaptive.change("value.up", coarse);
    zero(&mut adaptive, &["value.up_bias"]);
    let mut extension = adaptive.clone();
    if let Some(AttentionConfig::Inducer { variant, .. }) = &mut extension.method.attention {
        *variant = Variant::Extension;
    }
    let (h, d) = (adaptive.backbone.n_head, adaptive.backbone.n_embd);
    let p = d / h;
    for i in 0..adaptive.backbone.n_layer {
        let name = format!("transformer.h.{i}.attn.c_proj.weight");
        let w_o = adaptive.weights[&name].mapv(coarse);
        let up = format!("transformer.h.{i}.attn.inducer.value.up");
        let u = adaptive.adapter[&up].clone();
        let shift = usize::from(control);
        let w_2 = ndarray::ArrayD::from_shape_fn(IxDyn(&[h, u.shape()[1], d]), |at| {
            (0..p)
                .map(|a| {
                    u[[at[0], at[1], a]] * w_o[[((at[0] + shift) % h) * p + (a + shift) % p, at[2]]]
                })
                .sum()
        });
        extension.adapter.insert(up.clone(), w_2);
        extension
            .adapter
            .insert(format!("{up}_bias"), ndarray::ArrayD::zeros(IxDyn(&[d])));
        adaptive.weights.insert(name.clone(), w_o.clone());
        extension.weights.insert(name, w_o);
    }
    Ok((extension, adaptive))
}

/// Inducer + LoRA with a zero update is Inducer.
fn lora(draw: &mut Draw, control: bool) -> Result<(ModelCase, ModelCase)> {
    let mut with = ModelCase::with(draw, Method::InducerLora)?;
    zero(
        &mut with,
        if control {
            &["lora.q.b"]
        } else {
            &["lora.q.b", "lora.q.bias"]
        },
    );
    let config = AdapterConfig {
        lora: None,
        ..with.method.clone()
    };
    let smaller = without(&with, config, ".lora.");
    Ok((with, smaller))
}

/// MAM inducer with a zero FFN adapter is Inducer + LoRA.
fn mam(draw: &mut Draw, control: bool) -> Result<(ModelCase, ModelCase)> {
    let mut with = ModelCase::with(draw, Method::MamInducer)?;
    zero(
        &mut with,
        if control {
            &["adapter.up.weight"]
        } else {
            &["adapter.up.weight", "adapter.up.bias"]
        },
    );
    let config = AdapterConfig {
        ffn: None,
        ..with.method.clone()
    };
    let smaller = without(&with, config, ".mlp.adapter.");
    Ok((with, smaller))
}

/// MLP_v = 0 is the backbone, for every MLP_k.
fn zero_value(draw: &mut Draw, control: bool) -> Result<(ModelCase, ModelCase)> {
    let which = draw.pick(&[Method::Adaptive, Method::Extension, Method::Inducer]);
    let mut with = ModelCase::with(draw, which)?;
    zero(
        &mut with,
        if control {
            &["value.up"]
        } else {
            &["value.up", "value.up_bias"]
        },
    );
    let smaller = without(&with, method::none(), ".inducer.");
    Ok((with, smaller))
}

/// LoRA with B = 0 and b = 0 on any projections is the backbone.
fn zero_update(draw: &mut Draw, control: bool) -> Result<(ModelCase, ModelCase)> {
    let backbone = model::backbone(draw);
    let targets: &[Projection] = draw.pick(&[
        &[Projection::Q][..],
        &[Projection::Q, Projection::V],
        &[Projection::Q, Projection::K, Projection::V],
    ]);
    let config = AdapterConfig {
        lora: Some(method::lora(draw, targets, true)),
        ..method::none()
    };
    let mut with = ModelCase::of(draw, backbone, config)?;
    for target in ["q", "k", "v"] {
        with.change(&format!("lora.{target}.b"), |_| 0.0);
        if !control {
            with.change(&format!("lora.{target}.bias"), |_| 0.0);
        }
    }
    let smaller = without(&with, method::none(), ".lora.");
    Ok((with, smaller))
}

/// A prefix of length 0 is the backbone.
fn no_prefix(draw: &mut Draw, control: bool) -> Result<(ModelCase, ModelCase)> {
    let backbone = model::backbone(draw);
    let config = AdapterConfig {
        attention: Some(AttentionConfig::Prefix {
            length: usize::from(control),
            offset_positions: draw.chance(0.5),
            reparametrisation: None,
        }),
        ..method::none()
    };
    let mut with = ModelCase::of(draw, backbone, config)?;
    zero(&mut with, &["prefix.key", "prefix.value"]);
    let smaller = without(&with, method::none(), ".prefix.");
    Ok((with, smaller))
}

/// Full fine-tuning or BitFit whose tensors are the backbone's own is the backbone.
fn own_tensors(draw: &mut Draw, control: bool) -> Result<(ModelCase, ModelCase)> {
    let which = draw.pick(&[Method::Full, Method::Bitfit]);
    let backbone = model::backbone(draw);
    let config = method::random(draw, which);
    let mut with = ModelCase::of(draw, backbone, config)?;
    let names: Vec<String> = with
        .adapter
        .keys()
        .filter(|name| with.weights.contains_key(*name))
        .cloned()
        .collect();
    let plain = without(&with, method::none(), "transformer.h.");
    let mut plain = plain;
    plain
        .adapter
        .retain(|name, _| name == "transformer.wte.added");
    if !control {
        for name in names {
            let own = with.weights[&name].clone();
            with.adapter.insert(name, own);
        }
    }
    Ok((with, plain))
}
