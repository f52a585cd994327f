//! The distribution of initial values (§5 of the project's statement), from below as well: a start
//! at zero, one that is too narrow, and one that is not cut all fail.
//!
//! The empirical distribution of n numbers is nowhere further than 4/√n from the stated one, but
//! with a probability of 2.5e-14 (Dvoretzky, Kiefer, Wolfowitz, Massart); that no number lies
//! beyond the stated range needs no probability.

use crate::cases::model::ADDED;
use crate::cases::{BackboneConfig, Corner, ModelCase, gpt2, method, roberta};
use crate::engines::candle::array;
use crate::engines::{Candle, translate};
use crate::{Case, Claim, Error, Result, Target, Tolerance};
use candle_core::{DType, Device, Tensor};
use inducer_gpu::Method;
use inducer_gpu::backbone::{Backbone, Gpt2, Roberta};
use inducer_reference::files::adapter_config::Reparametrisation;
use inducer_reference::{AttentionConfig, Gpt2Config, Real, RobertaConfig};
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// The claims of this file.
#[must_use]
pub fn claims() -> Vec<Claim> {
    let share = |id| Claim::new(id).one_case_in(16).at_least(STARTS.len());
    vec![
        share("init-distribution")
            .about(gpt2)
            .on_one_sided(Target::CpuF64, distributed),
        share("roberta-init-distribution")
            .about(roberta)
            .on_one_sided(Target::CpuF64, distributed),
    ]
}

/// The stated distribution of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stated {
    /// All the same.
    Constant(f64),
    /// fmod(N(0,1), 2) times a deviation.
    Cut(f64),
    /// Uniform within ± a bound.
    Uniform(f64),
    /// Normal with a deviation.
    Normal(f64),
}

/// What starts depend on: the hidden size, the width of a prefix's network, the deviation that the
/// backbone's configuration gives, and its layers.
struct Sizes {
    hidden: usize,
    network: usize,
    deviation: f64,
    layers: usize,
}

impl Stated {
    /// Of a tensor with this name that a method adds, or that is trained with every one.
    fn of(name: &str, sizes: &Sizes) -> Option<Self> {
        let ends = |end: &str| name.ends_with(end);
        let norm = || Self::Constant(f64::from(u8::from(ends("weight"))));
        let linear = |inputs: usize| match ends("weight") {
            true => Self::Uniform(1.0 / (inputs as f64).sqrt()),
            false => Self::Constant(0.0),
        };
        let of: &[(&str, Self)] = &[
            (".inducer.", Self::Cut(0.01)),
            (".adapter.layer_norm.", norm()),
            (".adapter.", Self::Cut(0.01)),
            (
                ".lora.",
                match ends(".a") {
                    true => Self::Uniform(1.0 / (sizes.hidden as f64).sqrt()),
                    false => Self::Constant(0.0),
                },
            ),
            (".ia3", Self::Constant(1.0)),
            ("prefix.embedding", Self::Normal(1.0)),
            ("prefix.down.", linear(sizes.hidden)),
            ("prefix.up.", linear(sizes.network)),
            ("prefix.key", Self::Normal(sizes.deviation)),
            ("prefix.value", Self::Normal(sizes.deviation)),
            (ADDED, Self::Normal(sizes.deviation)),
        ];
        let found = of.iter().find(|(part, _)| name.contains(part));
        found.map(|(_, stated)| *stated)
    }

    /// Of a tensor with this name in a backbone that is to be pretrained.
    fn of_backbone(name: &str, sizes: &Sizes) -> Self {
        let ends = |end: &str| name.ends_with(end);
        let norm = [".ln_", "LayerNorm.", "layer_norm."];
        if norm.iter().any(|part| name.contains(part)) {
            return Self::Constant(f64::from(u8::from(ends("weight"))));
        }
        if ends("bias") {
            return Self::Constant(0.0);
        }
        // as in transformers: of 2 L branches that are summed each has its share of the variance
        match ends("c_proj.weight") {
            true => Self::Normal(sizes.deviation / (2.0 * sizes.layers as f64).sqrt()),
            false => Self::Normal(sizes.deviation),
        }
    }

    /// The greatest magnitude.
    fn range(self) -> f64 {
        match self {
            Self::Constant(x) => x.abs(),
            Self::Cut(sigma) => 2.0 * sigma,
            Self::Uniform(a) => a,
            // of 10⁶ numbers one lies beyond in 10⁹ cases
            Self::Normal(sigma) => 8.0 * sigma,
        }
    }

    /// The probability of at most `x`.
    fn below(self, x: f64) -> f64 {
        match self {
            Self::Constant(c) => f64::from(u8::from(x >= c)),
            Self::Uniform(a) => (0.5 + 0.5 * x / a).clamp(0.0, 1.0),
            Self::Normal(sigma) => normal(x / sigma),
            Self::Cut(sigma) => {
                let z = (x.abs() / sigma).min(2.0);
                let folded = (0..4).map(|k| f64::from(2 * k));
                let half: f64 = folded.map(|from| normal(z + from) - normal(from)).sum();
                0.5 + half.copysign(x)
            }
        }
    }
}

/// Φ.
fn normal(z: f64) -> f64 {
    0.5 * (1.0 + Real::erf(z / std::f64::consts::SQRT_2))
}

/// A backbone large enough for thousands of numbers.
fn large(classifies: bool) -> BackboneConfig {
    match classifies {
        false => BackboneConfig::Gpt2(Gpt2Config::new(20, 16, 48, 2, 4)),
        true => BackboneConfig::Roberta(RobertaConfig::new(20, 16, 48, 2, 4, 2)),
    }
}

/// What starts: a method, or a backbone that is to be pretrained.
const STARTS: [Option<Method>; 10] = [
    Some(Method::Inducer),
    Some(Method::MamInducer),
    Some(Method::Prefix),
    Some(Method::Adaptive),
    Some(Method::Adapter),
    None,
    Some(Method::Lora),
    Some(Method::Gating),
    Some(Method::Ia3),
    Some(Method::MamAdapter),
];

/// Special tokens, and tokens of a prefix: enough numbers to tell two distributions apart.
const MANY: usize = 100;

/// Every part's tensors start as stated, those of one distribution taken together, and no two
/// alike. In the control every number is twice what it is.
fn distributed(case: &mut Case) -> Result<()> {
    case.draw.force(Corner::Plain);
    let backbone = large((case.family)(&mut case.draw).classifies());
    let classifies = backbone.classifies();
    let given = ModelCase::of(&mut case.draw, backbone, method::none())?;
    let which = *case.draw.in_turn(&STARTS);
    let mut config = method::random(&mut case.draw, which.unwrap_or(Method::None));
    let mut sizes = Sizes {
        hidden: given.backbone.hidden(),
        network: 0,
        deviation: 0.02,
        layers: given.backbone.layers(),
    };
    if let Some(AttentionConfig::Prefix {
        length,
        reparametrisation,
        ..
    }) = &mut config.attention
    {
        *length = MANY;
        // one of the two methods with a prefix makes it by a network, the other one learns it
        sizes.network = 8;
        let network = Reparametrisation {
            width: sizes.network,
        };
        *reparametrisation = (which == Some(Method::Prefix)).then_some(network);
    }
    let (engine, seed) = (Candle::cpu_f64(), case.draw.bits());
    let all: Vec<(String, Stated, Tensor)> = match which {
        Some(_) => {
            let mut built = engine.backbone(&given)?;
            let special = if classifies { 0 } else { MANY };
            built.attach(&translate(&config)?, special, seed)?;
            let own = built.trainable().into_iter();
            own.filter_map(|p| {
                let stated = Stated::of(&p.name, &sizes)?;
                Some((p.name.clone(), stated, p.tensor.clone()))
            })
            .collect()
        }
        None => {
            let built = started(&given.backbone, seed)?;
            let own = built.parameters().into_iter();
            own.map(|p| {
                let stated = Stated::of_backbone(&p.name, &sizes);
                (p.name.clone(), stated, p.tensor.clone())
            })
            .collect()
        }
    };
    if all.is_empty() {
        return Err(Error::Missing("a tensor with a stated start".into()));
    }
    let what = format!("{which:?}");
    let factor = case.or_control(1.0, 2.0);
    let mut groups: BTreeMap<String, (Stated, Vec<f64>)> = BTreeMap::new();
    let mut random: Vec<(String, ArrayD<f64>)> = Vec::new();
    for (name, stated, tensor) in all {
        let numbers = array(&tensor)?.mapv(|x| factor * x);
        let group = groups.entry(format!("{stated:?}"));
        let (_, own) = group.or_insert_with(|| (stated, Vec::new()));
        own.extend(numbers.iter());
        if !matches!(stated, Stated::Constant(_)) {
            random.push((name, numbers));
        }
    }
    for (stated, numbers) in groups.values_mut() {
        within(case, &what, *stated, numbers);
    }
    for (i, (name, x)) in random.iter().enumerate() {
        let twin = random[..i].iter().find(|(_, y)| y == x);
        case.same(twin.map(|(name, _)| name.as_str()), None, || {
            format!("{what}: {name} has the numbers of another tensor")
        });
    }
    Ok(())
}

/// A backbone at its own start.
fn started(config: &BackboneConfig, seed: u64) -> Result<Box<dyn Backbone>> {
    let (dtype, device) = (DType::F64, &Device::Cpu);
    Ok(match config {
        BackboneConfig::Gpt2(c) => Gpt2::random(translate(c)?, seed, dtype, device)?.into(),
        BackboneConfig::Roberta(c) => Roberta::random(translate(c)?, seed, dtype, device)?.into(),
    })
}

fn within(case: &mut Case, what: &str, stated: Stated, numbers: &mut [f64]) {
    numbers.sort_by(f64::total_cmp);
    let n = numbers.len() as f64;
    let range = stated.range() * (1.0 + f64::from(f32::EPSILON));
    let strict = Tolerance::stated(range, "no number lies beyond the stated range, in f32");
    let most = numbers.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    case.error(most, &strict, || {
        format!("{what}, {stated:?}: the greatest number")
    });
    if let Stated::Constant(c) = stated {
        let same = numbers.iter().all(|x| *x == c);
        case.same(same, true, || format!("{what}, {stated:?}: all the same"));
        return;
    }
    let tolerance = Tolerance::stated(4.0 / n.sqrt(), "4/√n, for 2.5e-14");
    let ranks = numbers.iter().enumerate();
    let apart = ranks.fold(0.0_f64, |most, (i, x)| {
        let p = stated.below(*x);
        let [below, above] = [i as f64 / n, (i + 1) as f64 / n];
        most.max((p - below).abs()).max((p - above).abs())
    });
    case.error(apart, &tolerance, || {
        format!("{what}, {stated:?}: distance of distributions over {n} numbers")
    });
}
