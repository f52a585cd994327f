//! The checks of your variant: those of the built-in methods, on its own formula and part.

use super::Formula;
use super::model::{Stated, Trained, changed, random};
use crate::cases::{Corner, ModelCase, gpt2, roberta};
use crate::claims::models::agreement::same_as;
use crate::claims::models::gradients::{reached, reverse};
use crate::claims::models::greedy::{decodes, prompts, short};
use crate::claims::models::invariance::{causal, packed, padded};
use crate::engines::{Candle, External, Reference, Specification};
use crate::{Case, Claim, Engine, Result, Target};
use candle_core::{DType, Device};
use inducer_gpu::parts::CustomMethod;

/// What is claimed of a variant: the end of the claim's id, what holds, and the control.
pub(super) const WORDS: [(&str, &str, &str); 13] = [
    (
        "agree",
        "logits and loss are those of the formula in f64",
        "one tensor changed",
    ),
    (
        "roberta-agree",
        "on RoBERTa logits and loss are those of the formula in f64",
        "one tensor changed",
    ),
    (
        "gradients",
        "every coordinate of every gradient is that of the formula",
        "one tensor changed",
    ),
    (
        "roberta-gradients",
        "on RoBERTa every coordinate of every gradient is that of the formula",
        "one tensor changed",
    ),
    (
        "reaches",
        "no tensor is cut off from the loss",
        "the tensors are frozen",
    ),
    (
        "roberta-reaches",
        "on RoBERTa no tensor is cut off from the loss",
        "the tensors are frozen",
    ),
    (
        "causal",
        "no output depends on a later token",
        "the token itself changes",
    ),
    (
        "packing",
        "a text gives the same alone as in its batch",
        "a text of other tokens stands before it",
    ),
    (
        "roberta-packing",
        "on RoBERTa a text gives the same alone as in its batch",
        "a text of other tokens stands before it",
    ),
    (
        "padding",
        "masked keys change nothing (in the formula)",
        "the padding is not masked",
    ),
    (
        "roberta-padding",
        "on RoBERTa masked keys change nothing (in the formula)",
        "the padding is not masked",
    ),
    (
        "decoding",
        "each decoded token, with cached keys and values, is the likeliest by the formula",
        "another first token of each prompt",
    ),
    (
        "files",
        "an adapter that was written computes the same when it is read",
        "every tensor is written changed",
    ),
];

/// Every check of a variant, as claims. Its configuration is read from files, so it has to be
/// registered.
#[must_use]
pub fn suite<F: Formula>(method: &'static dyn CustomMethod) -> Vec<Claim> {
    WORDS
        .iter()
        .map(|(id, ..)| claim::<F>(id, method))
        .collect()
}

/// One of [`WORDS`] with its checks.
fn claim<F: Formula>(id: &'static str, method: &'static dyn CustomMethod) -> Claim {
    let [double, single, tensors] = [Candle::cpu_f64(), Candle::cpu_f32(), Candle::tensors()];
    let mixed = Candle::bf16(&Device::Cpu);
    let on = |candles: &[&Candle]| -> Vec<Box<Trained>> {
        let of = |candle: &&Candle| Box::new(Trained::new((*candle).clone(), method));
        candles.iter().map(of).collect()
    };
    let claim = match id.starts_with("roberta-") {
        true => Claim::new(id).about(roberta),
        false => Claim::new(id).about(gpt2),
    };
    match id.trim_start_matches("roberta-") {
        "agree" => claim
            .on_each_one_sided(on(&[&double, &single, &tensors, &mixed]), agrees::<F>)
            .on_each_one_sided(
                vec![Box::new(Reference::<f32, Stated<F>>::default())],
                agrees::<F>,
            ),
        "gradients" => claim.on_each_one_sided(on(&[&double, &tensors]), gradients::<F>),
        "reaches" => claim.on_one_sided(Target::CpuF64, move |case| reaches::<F>(method, case)),
        "causal" => claim
            .on_each_one_sided(
                vec![Box::new(Reference::<f64, Stated<F>>::default())],
                causality::<F>,
            )
            .on_each_one_sided(on(&[&double, &single]), causality::<F>),
        "packing" => claim.on_each_one_sided(on(&[&double, &single]), packing::<F>),
        "padding" => claim.on_one_sided(Target::ReferenceF64, |case| {
            let model = random::<F>(&mut case.draw, case.family)?;
            padded::<Stated<F>, f64>(case, &model)
        }),
        "decoding" => claim.on_each_one_sided(on(&[&double, &single]), decoding::<F>),
        _ => claim.on_each_one_sided(on(&[&double, &single]), files::<F>),
    }
}

/// The checks of a program that has a variant, against its formula.
#[must_use]
pub fn program_suite<F: Formula>(program: &External) -> Vec<Claim> {
    let program = || vec![Box::new(program.clone())];
    vec![
        Claim::new("agree").on_each_one_sided(program(), agrees::<F>),
        Claim::new("gradients").on_each_one_sided(program(), gradients::<F>),
        Claim::new("causal").on_each_one_sided(program(), causality::<F>),
        Claim::new("packing").on_each_one_sided(program(), packing::<F>),
    ]
}

/// A model, and what the formula is given: in the control with one tensor changed, in mixed
/// precision with all of them.
fn pair<F: Formula>(engine: &dyn Engine, case: &mut Case) -> Result<(ModelCase, ModelCase)> {
    let mut model = random::<F>(&mut case.draw, case.family)?;
    model.round(|x| engine.representable(x));
    let mut other = match case.control {
        true => changed::<F>(&model, case.draw.turn),
        false => model.clone(),
    };
    if case.control && engine.target().is_mixed() {
        other.round(|x| 2.0 - 9.0 * x); // its bound is too wide for one term, or one part
    }
    Ok((model, other))
}

fn agrees<F: Formula>(engine: &impl Engine, case: &mut Case) -> Result<()> {
    let (model, other) = pair::<F>(engine, case)?;
    same_as::<Stated<F>>(engine, case, &model, &other)
}

fn gradients<F: Formula>(engine: &impl Engine, case: &mut Case) -> Result<()> {
    let (model, other) = pair::<F>(engine, case)?;
    reverse::<Stated<F>>(engine, case, &model, &other)
}

fn causality<F: Formula>(engine: &impl Engine, case: &mut Case) -> Result<()> {
    let model = random::<F>(&mut case.draw, case.family)?;
    causal::<Stated<F>>(engine, case, &model)
}

fn packing<F: Formula>(engine: &impl Engine, case: &mut Case) -> Result<()> {
    let model = random::<F>(&mut case.draw, case.family)?;
    packed::<Stated<F>>(engine, case, &model)
}

/// No tensor is cut off from the loss. In the control the engine has the variant's tensors frozen.
fn reaches<F: Formula>(method: &'static dyn CustomMethod, case: &mut Case) -> Result<()> {
    case.draw.force(Corner::Plain);
    let mut model = random::<F>(&mut case.draw, case.family)?;
    model.label_all(&mut case.draw);
    // where a gate or a tanh is saturated there is no gradient by right
    model.change("", |x| 0.3 * x);
    let expected = Stated::<F>::gradients(&model)?;
    let engine = Trained {
        trainable: !case.control,
        ..Trained::new(Candle::cpu_f64(), method)
    };
    reached(&engine, case, &model, &expected, |_| false)
}

/// Greedy decoding of prompts of different lengths.
fn decoding<F: Formula>(engine: &Trained, case: &mut Case) -> Result<()> {
    case.draw.force(Corner::Plain);
    let mut model = random::<F>(&mut case.draw, short)?;
    let segment = prompts(case, &mut model);
    let built = engine.model(&model)?;
    decodes::<Stated<F>>(&built, engine.roundoff(), case, &model, segment)
}

/// The same logits from the adapter's files, on either backbone in turn.
fn files<F: Formula>(engine: &Trained, case: &mut Case) -> Result<()> {
    let family = *case.draw.in_turn(&[gpt2, roberta]);
    let model = random::<F>(&mut case.draw, family)?;
    let mut built = engine.model(&model)?;
    let batch = crate::engines::candle::batch(&model);
    let expected = built.logits(&batch)?;
    if case.control {
        for parameter in built.trainable_mut() {
            parameter.tensor = (&parameter.tensor * 1.25)?;
        }
    }
    let dir = crate::scratch::folder()?;
    built.save_adapter(dir.path())?;
    let mut again = engine.candle.backbone(&model)?;
    again.attach_saved(dir.path())?;
    let numbers = |x: &candle_core::Tensor| -> Result<Vec<f64>> {
        Ok(x.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
    };
    let found = numbers(&again.logits(&batch)?)?;
    case.same(found == numbers(&expected)?, true, || {
        format!("{}: logits of what was read", model.describe())
    });
    Ok(())
}
