//! Each term of (1)–(11), by name: an engine with that term broken leaves the
//! [`oracle`](crate::oracle).
//!
//! The control is the breakage itself, put into the oracle: √p dropped, b_2 weighted by λ, LoRA's
//! bias forgotten, λ from a second softmax over n columns, r_k and r_v exchanged, one future token
//! leaked, a prefix's offset ignored.

use super::agreement::compare;
use crate::bounds::UNIT_ROUNDOFF_F64;
use crate::cases::{Draw, ModelCase, gpt2, method, roberta};
use crate::engines::{Computed, Paper, Specification, candles, engines, external, translate};
use crate::oracle::{Mutation, logits};
use crate::{Case, Claim, Engine, Present, Result, Target};
use inducer_gpu::{Method, counts};
use inducer_reference::{AdapterConfig, AttentionConfig, Backbone, Gpt2Config, Variant};

/// The row of each term that a fault in an engine may break.
pub const TERMS: [(&str, Mutation); 7] = [
    ("term-scale", Mutation::Scale),
    ("term-shared-bias", Mutation::SharedBias),
    ("term-lora-bias", Mutation::LoraBias),
    ("term-denominator", Mutation::Denominator),
    ("term-widths", Mutation::Widths),
    ("term-future", Mutation::Future),
    ("term-prefix-offset", Mutation::Offset),
];

/// Every method with a part of its own in the layers, and a term of it.
const METHODS: [(Method, Mutation); 11] = [
    (Method::Adapter, Mutation::Residual),
    (Method::Lora, Mutation::LoraScale),
    (Method::Prefix, Mutation::Mixture),
    (Method::MamAdapter, Mutation::Mixture),
    (Method::Adaptive, Mutation::ValueEstimate),
    (Method::Extension, Mutation::ValueEstimate),
    (Method::Gating, Mutation::Gating),
    (Method::Inducer, Mutation::KeyQuery),
    (Method::InducerLora, Mutation::LoraScale),
    (Method::MamInducer, Mutation::ValueEstimate),
    (Method::Lora, Mutation::LoraScale),
];

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    let term = |(id, mutation)| {
        Claim::new(id)
            .one_case_in(8)
            .at_least(13)
            .on_each_one_sided(engines(present), move |engine, case| {
                holds(engine, case, mutation)
            })
    };
    let mut claims: Vec<Claim> = TERMS.map(term).into();
    let witness = |claim: Claim| {
        claim
            .one_case_in(4)
            .at_least(METHODS.len())
            .on_each(engines(present), witnessed)
    };
    claims.push(witness(Claim::new("witness")));
    claims.push(witness(Claim::new("roberta-witness").about(roberta)));
    claims.push(Claim::new("term-widths-count").on_one_sided(Target::Integers, widths));
    claims
}

impl Claim {
    /// With a check on whole models on each device and scalar of the training engine, and on a
    /// program of one's own: its logits
    /// are the oracle's, which takes the form of the formula that the mutation names, and in the
    /// control has it mutated.
    #[must_use]
    pub fn on_whole_models(self, present: &Present, mutation: Mutation) -> Self {
        self.one_case_in(8)
            .at_least(13)
            .on_each_one_sided(candles(present), move |engine, case| {
                holds(engine, case, mutation)
            })
            .on_each_one_sided(external(present), move |engine, case| {
                holds(engine, case, mutation)
            })
    }
}

/// The model that shows a mutation: inducers with LoRA, Gating, a prefix or an adapter.
fn model(draw: &mut Draw, mutation: Mutation) -> Result<ModelCase> {
    match mutation {
        Mutation::Mixture | Mutation::Past | Mutation::Offset => {
            let config = AdapterConfig {
                attention: Some(AttentionConfig::Prefix {
                    length: draw.size(1, 4),
                    offset_positions: mutation == Mutation::Offset,
                    reparametrisation: None,
                }),
                ..method::none()
            };
            let backbone = gpt2(draw);
            ModelCase::of(draw, backbone, config)
        }
        Mutation::Gating => ModelCase::with(draw, gpt2, Method::Gating),
        Mutation::Residual => ModelCase::with(draw, gpt2, Method::Adapter),
        _ => ModelCase::with(draw, gpt2, Method::InducerLora),
    }
}

fn holds(engine: &dyn Engine, case: &mut Case, mutation: Mutation) -> Result<()> {
    let model = model(&mut case.draw, mutation)?;
    same(engine, case, &model, mutation)
}

/// The same of every method in turn.
fn witnessed(engine: &(dyn Engine + 'static), case: &mut Case) -> Result<()> {
    let (method, mutation) = *case.draw.in_turn(&METHODS);
    let model = ModelCase::with(&mut case.draw, case.family, method)?;
    same(engine, case, &model, mutation)
}

/// The engine's logits are the oracle's, in the control those of the mutated oracle.
fn same(engine: &dyn Engine, case: &mut Case, model: &ModelCase, mutation: Mutation) -> Result<()> {
    let found = engine.compute(model)?.without_gates();
    let rows = model.rows.iter();
    let expected = Computed {
        logits: rows
            .map(|row| logits(model, row, mutation, case.control))
            .collect::<Result<_>>()?,
        gates: Vec::new(),
        loss: None,
    };
    let bounds = Paper::conditioning(model)?;
    let units = [engine.roundoff(), UNIT_ROUNDOFF_F64];
    compare(case, &model.describe(), &found, &expected, &bounds, units);
    Ok(())
}

/// r_k sizes MLP_k and r_v MLP_v, in the shapes of both crates: H (p r_k + r_k + r_k p + p) + H (p
/// r_v + r_v + r_v d) + d a layer.
fn widths(case: &mut Case) -> Result<()> {
    let [h, p, layers] = case.draw.sizes([(1, 12), (2, 64), (1, 12)]);
    let [r_k, r_v] = case.draw.sizes([(1, 10), (11, 20)]);
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
        &translate(&config)?,
        &translate::<inducer_gpu::Gpt2Config>(&backbone)?,
    );
    let describe = format!("H {h}, p {p}, L {layers}, r_k {r_k}, r_v {r_v}");
    case.same(reference, count, || format!("{describe}, reference"));
    case.same(engine, count, || format!("{describe}, engine"));
    Ok(())
}
