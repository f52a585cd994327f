//! Each term of (1)–(11), by name: an engine with that term broken leaves the
//! [`witness`](crate::witness).
//!
//! The control is the breakage itself, put into the witness: √p dropped, b_2 weighted by λ, LoRA's
//! bias forgotten, λ from a second softmax over n columns, r_k and r_v exchanged, one future token
//! leaked.

use super::models::compare;
use crate::claim::{Case, Claim};
use crate::engine::{Computed, Cuda, Engine, On, candles, conditioning, engines};
use crate::error::Result;
use crate::random::{Draw, ModelCase, method, model};
use crate::witness::{Term, logits};
use inducer_gpu::{Method, counts};
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

/// The identities that whole models of the training engine are held against as well, each in the
/// form that the term names: the same formula, the same control.
pub const FORMS: [(&str, Term); 20] = [
    ("eq01-adapter", Term::Residual),
    ("eq03-row-normalised", Term::RowSums),
    ("eq03-scale", Term::Scale),
    ("eq03-shift", Term::Shift),
    ("eq04-row-blocks", Term::Blocks),
    ("nw-attention", Term::Normaliser),
    ("nw-permutation", Term::Order),
    ("prefix-mixture", Term::Mixture),
    ("prefix-past", Term::Past),
    ("eq05-key", Term::KeyQuery),
    ("eq06-value", Term::ValueEstimate),
    ("eq07-eq08", Term::Denominator),
    ("eq07-lambda-lse", Term::LogSumExp),
    ("eq07-one-query-prefix", Term::Once),
    ("eq09-extended", Term::Extended),
    ("eq10-merge", Term::Merged),
    ("eq11-single-product", Term::OneProduct),
    ("eq11-shared-bias", Term::SharedBias),
    ("inducer-local", Term::OwnQuery),
    ("ladder-gating", Term::Gating),
];

/// The claim, with a check on each device and scalar of the training engine if it is one of
/// [`FORMS`].
#[must_use]
pub fn on_models(claim: Claim, cuda: &Cuda) -> Claim {
    let Some((_, term)) = FORMS.iter().find(|(id, _)| *id == claim.id) else {
        return claim;
    };
    claim
        .weighing(8, 13)
        .loosely_on_each(candles(cuda), |engine, case| stands(engine, case, *term))
}

/// The claims of this file.
#[must_use]
pub fn claims(cuda: &Cuda) -> Vec<Claim> {
    let mut claims: Vec<Claim> = TERMS
        .iter()
        .map(|(id, term)| {
            Claim::new(id)
                .weighing(8, 13)
                .loosely_on_each(engines(cuda), |engine, case| stands(engine, case, *term))
        })
        .collect();
    claims.push(Claim::new("term-widths-count").loosely_on(On::Integers, widths));
    claims
}

/// The model that shows a term: inducers with LoRA, Gating, a prefix or an adapter.
fn model(draw: &mut Draw, term: Term) -> Result<ModelCase> {
    match term {
        Term::Mixture | Term::Past => {
            let config = AdapterConfig {
                attention: Some(AttentionConfig::Prefix {
                    length: draw.size(1, 4),
                    offset_positions: false,
                    reparametrisation: None,
                }),
                ..method::none()
            };
            let backbone = model::backbone(draw);
            ModelCase::of(draw, backbone, config)
        }
        Term::Gating => ModelCase::with(draw, Method::Gating),
        Term::Residual => ModelCase::with(draw, Method::Adapter),
        _ => ModelCase::with(draw, Method::InducerLora),
    }
}

/// The engine's logits are the witness's, in the control those of the witness with the term broken.
fn stands(engine: &dyn Engine, case: &mut Case, term: Term) -> Result<()> {
    let model = model(&mut case.draw, term)?;
    let broken = case.control;
    let found = Computed {
        gates: Vec::new(),
        loss: None,
        ..engine.compute(&model)?
    };
    let rows = model
        .rows
        .iter()
        .map(|row| logits(&model, row, Some(term), broken));
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

/// r_k sizes MLP_k and r_v MLP_v, in the shapes of both crates: H (p r_k + r_k + r_k p + p) + H (p
/// r_v + r_v + r_v d) + d a layer.
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
    let engine = counts::stored(
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
