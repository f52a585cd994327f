//! Each term of (5)–(11), by name: an engine with that term broken leaves the [`witness`](crate::witness).
//!
//! The control is the breakage itself, put into the witness: √p dropped, b_2 weighted by λ, LoRA's bias forgotten, λ from a second
//! softmax over n columns, r_k and r_v exchanged, one future token leaked.

use super::models::compare;
use crate::claim::{Case, Claim};
use crate::engine::{Computed, Cuda, Engine, On, conditioning, engines};
use crate::error::Result;
use crate::random::{ModelCase, method};
use crate::witness::{Term, logits};
use inducer_gpu::{Method, shapes};
use inducer_reference::{AdapterConfig, AttentionConfig, Backbone, Gpt2Config, Variant};

/// The row of each term.
pub const TERMS: [(&str, Term); 6] = [
    ("term-scale", Term::Scale),
    ("term-shared-bias", Term::SharedBias),
    ("term-lora-bias", Term::LoraBias),
    ("term-denominator", Term::Denominator),
    ("term-widths", Term::Widths),
    ("term-future", Term::Future),
];

/// The claims of this file.
#[must_use]
pub fn claims(cuda: &Cuda) -> Vec<Claim> {
    let mut claims: Vec<Claim> = TERMS
        .iter()
        .map(|(id, term)| {
            let mut claim = Claim::new(id).weighing(8, 13);
            for engine in engines(cuda) {
                let on = engine.on();
                claim = claim.loosely_on(on, move |case| stands(engine.as_ref(), case, *term));
            }
            claim
        })
        .collect();
    claims.push(Claim::new("term-widths-count").loosely_on(On::Integers, widths));
    claims
}

/// The engine's logits are the witness's, in the control those of the witness with the term broken.
fn stands(engine: &dyn Engine, case: &mut Case, term: Term) -> Result<()> {
    let model = ModelCase::with(&mut case.draw, Method::InducerLora)?;
    let broken = case.or_control(None, Some(term));
    let found = Computed {
        gates: Vec::new(),
        loss: None,
        ..engine.compute(&model)?
    };
    let rows = model.rows.iter().map(|row| logits(&model, row, broken));
    let expected = Computed {
        logits: rows.collect::<Result<_>>()?,
        gates: Vec::new(),
        loss: None,
    };
    let bounds = conditioning(&model)?;
    compare(
        case,
        &model.describe(),
        &found,
        &expected,
        &bounds,
        [engine.roundoff(), f64::EPSILON / 2.0],
    );
    Ok(())
}

/// r_k sizes MLP_k and r_v MLP_v, in the shapes of both crates: H (p r_k + r_k + r_k p + p) + H (p r_v + r_v + r_v d) + d a layer.
fn widths(case: &mut Case) -> Result<()> {
    let (h, p, layers) = (
        case.draw.size(1, 12),
        case.draw.size(2, 64),
        case.draw.size(1, 12),
    );
    let (r_k, r_v) = (case.draw.size(1, 10), case.draw.size(11, 20));
    let backbone = Gpt2Config::new(9, 24, h * p, layers, h);
    let config = AdapterConfig {
        attention: Some(AttentionConfig::Inducer {
            variant: Variant::Inducer,
            key_bottleneck: Some(r_k),
            value_bottleneck: r_v,
        }),
        ..method::none()
    };
    let (k, v) = case.or_control((r_k, r_v), (r_v, r_k));
    let d = h * p;
    let count = layers * (h * (2 * p * k + k + p) + h * (p * v + v + v * d) + d);
    let reference = backbone.layout().adapter_size(&config);
    let engine = shapes::stored(
        &serde_json::from_value(serde_json::to_value(&config)?)?,
        &serde_json::from_value::<inducer_gpu::config::Gpt2Config>(serde_json::to_value(
            &backbone,
        )?)?,
    );
    let describe = format!("H {h}, p {p}, L {layers}, r_k {r_k}, r_v {r_v}");
    case.same(reference, count, || format!("{describe}, reference"));
    case.same(engine, count, || format!("{describe}, engine"));
    Ok(())
}
