//! The ladder on whole models (§6.2): a method under a restriction is another method, on every
//! engine.

use super::agreement::equal;
use crate::cases::{Draw, Family, ModelCase, method, roberta};
use crate::claims::equations::ladder_field;
use crate::engines::{candles, engines, external};
use crate::{Case, Claim, Engine, Present, Result};
use inducer_gpu::Method;
use inducer_reference::{AdapterConfig, AttentionConfig, Projection, Variant};
use ndarray::{ArrayD, IxDyn};

/// Two random models that a claim says are the same function.
pub(crate) type Step = fn(&mut Draw, Family, bool) -> Pair;
pub(crate) type Pair = Result<(ModelCase, ModelCase)>;

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    let on_engines = |claim: Claim, step: Step| {
        claim
            .one_case_in(8)
            .at_least(10)
            .on_each_one_sided(engines(present), move |engine, case| {
                same(engine, case, step)
            })
    };
    let gpt2 = Claim::new;
    let roberta = |id| Claim::new(id).about(roberta);
    vec![
        on_engines(
            gpt2("ladder-extension").algebra::<ladder_field::Extension>(),
            extension,
        ),
        on_engines(gpt2("ladder-adaptive"), adaptive),
        on_engines(
            gpt2("ladder-lora").algebra::<ladder_field::WithoutLora>(),
            lora,
        ),
        on_engines(
            gpt2("ladder-mam").algebra::<ladder_field::WithoutAdapter>(),
            mam,
        ),
        on_engines(gpt2("ladder-own-tensors"), own_tensors),
        on_engines(roberta("roberta-ladder-extension"), extension),
        on_engines(roberta("roberta-ladder-lora"), lora),
        on_engines(roberta("roberta-ladder-mam"), mam),
        on_engines(roberta("roberta-ladder-own-tensors"), own_tensors),
    ]
}

impl Claim {
    /// With a check on whole models on each device and scalar of the training engine, and on a
    /// program of one's own: under the
    /// restriction what is left is the backbone.
    #[must_use]
    pub(crate) fn on_restricted_models(self, present: &Present, step: Step) -> Self {
        self.one_case_in(8)
            .at_least(10)
            .on_each_one_sided(candles(present), move |engine, case| {
                same(engine, case, step)
            })
            .on_each_one_sided(external(present), move |engine, case| {
                same(engine, case, step)
            })
    }
}

fn same(engine: &dyn Engine, case: &mut Case, step: Step) -> Result<()> {
    let (left, right) = step(&mut case.draw, case.family, case.control)?;
    equal(case, engine, &left, &right)
}

/// The model with these tensors taken away, for another configuration.
pub(crate) fn without(case: &ModelCase, method: AdapterConfig, part: &str) -> ModelCase {
    let mut smaller = case.clone();
    smaller.method = method;
    smaller.adapter.retain(|name, _| !name.contains(part));
    smaller
}

/// Sets to zero the tensors that end so, in the control only those with the first ending.
fn zero(case: &mut ModelCase, control: bool, [always, stated]: [&str; 2]) {
    case.change(always, |_| 0.0);
    if !control {
        case.change(stated, |_| 0.0);
    }
}

/// Inducer with C = c = 0 is Extension.
fn extension(draw: &mut Draw, family: Family, control: bool) -> Pair {
    let mut inducer = ModelCase::with(draw, family, Method::Inducer)?;
    zero(&mut inducer, control, ["key.up", "key.up_bias"]);
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
fn adaptive(draw: &mut Draw, family: Family, control: bool) -> Pair {
    let mut adaptive = ModelCase::with(draw, family, Method::Adaptive)?;
    adaptive.change("value.up", coarse);
    adaptive.change("value.up_bias", |_| 0.0);
    let mut extension = adaptive.clone();
    if let Some(AttentionConfig::Inducer { variant, .. }) = &mut extension.method.attention {
        *variant = Variant::Extension;
    }
    let (h, d) = (adaptive.backbone.heads(), adaptive.backbone.hidden());
    let p = d / h;
    for i in 0..adaptive.backbone.layers() {
        let name = format!("transformer.h.{i}.attn.c_proj.weight");
        let w_o = adaptive.weights[&name].mapv(coarse);
        let up = format!("transformer.h.{i}.attn.inducer.value.up");
        let u = adaptive.adapter[&up].clone();
        let shift = usize::from(control);
        let w_2 = ArrayD::from_shape_fn(IxDyn(&[h, u.shape()[1], d]), |at| {
            (0..p)
                .map(|a| {
                    u[[at[0], at[1], a]] * w_o[[((at[0] + shift) % h) * p + (a + shift) % p, at[2]]]
                })
                .sum()
        });
        extension.adapter.insert(up.clone(), w_2);
        extension
            .adapter
            .insert(format!("{up}_bias"), ArrayD::zeros(IxDyn(&[d])));
        adaptive.weights.insert(name.clone(), w_o.clone());
        extension.weights.insert(name, w_o);
    }
    Ok((extension, adaptive))
}

/// Inducer + LoRA with a zero update is Inducer.
fn lora(draw: &mut Draw, family: Family, control: bool) -> Pair {
    let mut with = ModelCase::with(draw, family, Method::InducerLora)?;
    zero(&mut with, control, ["lora.q.bias", "lora.q.b"]);
    let config = AdapterConfig {
        lora: None,
        ..with.method.clone()
    };
    let smaller = without(&with, config, ".lora.");
    Ok((with, smaller))
}

/// MAM inducer with a zero FFN adapter is Inducer + LoRA.
fn mam(draw: &mut Draw, family: Family, control: bool) -> Pair {
    let mut with = ModelCase::with(draw, family, Method::MamInducer)?;
    zero(&mut with, control, ["adapter.up.weight", "adapter.up.bias"]);
    let config = AdapterConfig {
        ffn: None,
        ..with.method.clone()
    };
    let smaller = without(&with, config, ".adapter.");
    Ok((with, smaller))
}

/// MLP_v = 0 is the backbone, for every MLP_k.
pub(crate) fn zero_value(draw: &mut Draw, family: Family, control: bool) -> Pair {
    let which = draw.pick(&[Method::Adaptive, Method::Extension, Method::Inducer]);
    let mut with = ModelCase::with(draw, family, which)?;
    zero(&mut with, control, ["value.up", "value.up_bias"]);
    let smaller = without(&with, method::none(), ".inducer.");
    Ok((with, smaller))
}

/// LoRA with B = 0 and b = 0 on any projections is the backbone.
pub(crate) fn zero_update(draw: &mut Draw, family: Family, control: bool) -> Pair {
    let backbone = family(draw);
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
        let [b, bias] = ["b", "bias"].map(|of| format!("lora.{target}.{of}"));
        zero(&mut with, control, [&b, &bias]);
    }
    let smaller = without(&with, method::none(), ".lora.");
    Ok((with, smaller))
}

/// A prefix of length 0 is the backbone.
pub(crate) fn no_prefix(draw: &mut Draw, family: Family, control: bool) -> Pair {
    let backbone = family(draw);
    let config = AdapterConfig {
        attention: Some(AttentionConfig::Prefix {
            length: usize::from(control),
            offset_positions: draw.chance(0.5),
            reparametrisation: None,
        }),
        ..method::none()
    };
    let mut with = ModelCase::of(draw, backbone, config)?;
    zero(&mut with, false, ["prefix.key", "prefix.value"]);
    let smaller = without(&with, method::none(), ".prefix.");
    Ok((with, smaller))
}

/// Full fine-tuning or BitFit whose tensors are the backbone's own is the backbone.
fn own_tensors(draw: &mut Draw, family: Family, control: bool) -> Pair {
    let which = draw.pick(&[Method::Full, Method::Bitfit]);
    let backbone = family(draw);
    let config = method::random(draw, which);
    let mut with = ModelCase::of(draw, backbone, config)?;
    let mut plain = with.clone();
    plain.method = AdapterConfig {
        full: false,
        bitfit: false,
        ..with.method.clone()
    };
    plain
        .adapter
        .retain(|name, _| !with.weights.contains_key(name));
    if !control {
        for (name, tensor) in &mut with.adapter {
            if let Some(own) = with.weights.get(name) {
                tensor.clone_from(own);
            }
        }
    }
    Ok((with, plain))
}
