//! The distribution of initial values (§5 of the project's statement), from below as well: a start
//! at zero, one that is too narrow, and one that is not cut all fail.
//!
//! The empirical distribution of n numbers is nowhere further than 4/√n from the stated one, but
//! with a probability of 2.5e-14 (Dvoretzky, Kiefer, Wolfowitz, Massart); that no number lies
//! beyond the stated range needs no probability.

use crate::cases::{BackboneConfig, Corner, ModelCase, gpt2, method, roberta};
use crate::engines::candle::array;
use crate::engines::{Candle, translate};
use crate::{Case, Claim, Error, Result, Target, Tolerance};
use inducer_gpu::Method;
use inducer_reference::{Gpt2Config, Real, RobertaConfig};
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// The claims of this file.
#[must_use]
pub fn claims() -> Vec<Claim> {
    let share = |id| Claim::new(id).one_case_in(16).at_least(5);
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
}

impl Stated {
    /// Of a tensor with this name in a backbone of hidden size `d`; none where nothing is stated.
    fn of(name: &str, d: usize) -> Option<Self> {
        let ends = |end: &str| name.ends_with(end);
        if name.contains(".inducer.") {
            return Some(Self::Cut(0.01));
        }
        if name.contains(".adapter.layer_norm.") {
            return Some(Self::Constant(f64::from(u8::from(ends("weight")))));
        }
        if name.contains(".adapter.") {
            return Some(Self::Cut(0.01));
        }
        if name.contains(".lora.") {
            return Some(match ends(".a") {
                true => Self::Uniform(1.0 / (d as f64).sqrt()),
                false => Self::Constant(0.0),
            });
        }
        name.contains(".ia3.").then_some(Self::Constant(1.0))
    }

    /// The greatest magnitude.
    fn range(self) -> f64 {
        match self {
            Self::Constant(x) => x.abs(),
            Self::Cut(sigma) => 2.0 * sigma,
            Self::Uniform(a) => a,
        }
    }

    /// The probability of at most `x`.
    fn below(self, x: f64) -> f64 {
        match self {
            Self::Constant(c) => f64::from(u8::from(x >= c)),
            Self::Uniform(a) => (0.5 + 0.5 * x / a).clamp(0.0, 1.0),
            Self::Cut(sigma) => {
                let normal = |z: f64| 0.5 * (1.0 + Real::erf(z / std::f64::consts::SQRT_2));
                let z = (x.abs() / sigma).min(2.0);
                let folded = (0..4).map(|k| f64::from(2 * k));
                let half: f64 = folded.map(|from| normal(z + from) - normal(from)).sum();
                0.5 + half.copysign(x)
            }
        }
    }
}

/// A backbone large enough for thousands of numbers.
fn large(classifies: bool) -> BackboneConfig {
    match classifies {
        false => BackboneConfig::Gpt2(Gpt2Config::new(20, 16, 48, 2, 4)),
        true => BackboneConfig::Roberta(RobertaConfig::new(20, 16, 48, 2, 4, 2)),
    }
}

/// Every part's tensors start as stated, those of one distribution taken together, and no two
/// alike. In the control every number is 5/4 of what it is.
fn distributed(case: &mut Case) -> Result<()> {
    const METHODS: [Method; 6] = [
        Method::Inducer,
        Method::MamInducer,
        Method::Adaptive,
        Method::Adapter,
        Method::Lora,
        Method::Gating,
    ];
    case.draw.force(Corner::Plain);
    let backbone = large((case.family)(&mut case.draw).classifies());
    let d = backbone.hidden();
    let given = ModelCase::of(&mut case.draw, backbone, method::none())?;
    let which = *case.draw.in_turn(&METHODS);
    let config = method::random(&mut case.draw, which);
    let mut built = Candle::cpu_f64().backbone(&given)?;
    built.attach(&translate(&config)?, 0, case.draw.bits())?;
    let mut groups: BTreeMap<String, (Stated, Vec<f64>)> = BTreeMap::new();
    let mut all: Vec<(String, ArrayD<f64>)> = Vec::new();
    let factor = case.or_control(1.0, 1.25);
    for (name, tensor) in built.stored()? {
        let Some(stated) = Stated::of(&name, d) else {
            continue;
        };
        let numbers = array(&tensor)?.mapv(|x| factor * x);
        let group = groups
            .entry(format!("{stated:?}"))
            .or_insert_with(|| (stated, Vec::new()));
        group.1.extend(numbers.iter());
        all.push((name, numbers));
    }
    if groups.is_empty() {
        return Err(Error::Missing("a tensor with a stated start".into()));
    }
    for (stated, numbers) in groups.values_mut() {
        within(case, &format!("{which:?}"), *stated, numbers);
    }
    for (i, (name, x)) in all.iter().enumerate() {
        let random = !matches!(Stated::of(name, d), Some(Stated::Constant(_)));
        let twin = all[..i].iter().find(|(_, y)| random && y == x);
        case.same(twin.map(|(name, _)| name.as_str()), None, || {
            format!("{which:?}: {name} has the numbers of another tensor")
        });
    }
    Ok(())
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
