//! The checks of your variant: those of the built-in methods, on its own formula and part.

use super::model::{Stated, Trained, changed, random};
use super::{Formula, TrainablePart};
use crate::cases::{Corner, ModelCase};
use crate::claims::models::agreement::same_as;
use crate::claims::models::gradients::{reached, reverse};
use crate::claims::models::invariance::{causal, packed, padded};
use crate::engines::{Candle, External, Reference, Specification};
use crate::{Case, Claim, Engine, Result, Target};

/// Every check of a variant, as claims.
#[must_use]
pub fn suite<F: Formula, P: TrainablePart>() -> Vec<Claim> {
    let trained = |candles: &[Candle]| -> Vec<Box<dyn Engine>> {
        let engine = |candle: &Candle| Trained::<F, P>::new(candle.clone(), true);
        let boxed = |candle| -> Box<dyn Engine> { Box::new(engine(candle)) };
        candles.iter().map(boxed).collect()
    };
    let [double, single, tensors] = [Candle::cpu_f64(), Candle::cpu_f32(), Candle::tensors()];
    let both = trained(&[double.clone(), single.clone()]);
    vec![
        Claim::new("custom-agree")
            .on_each_one_sided(
                trained(&[double.clone(), single.clone(), tensors.clone()]),
                |engine, case| agrees::<F>(engine, case),
            )
            .on_each_one_sided(
                vec![Box::new(Reference::<f32, Stated<F>>::default())],
                |engine, case| agrees::<F>(engine, case),
            ),
        Claim::new("custom-gradients").on_each_one_sided(
            trained(&[double.clone(), tensors]),
            |engine, case| {
                let (model, other) = pair::<F>(case)?;
                reverse::<Stated<F>>(engine, case, &model, &other)
            },
        ),
        Claim::new("custom-reaches").on_one_sided(Target::CpuF64, reaches::<F, P>),
        Claim::new("custom-causal")
            .on_each_one_sided(
                vec![Box::new(Reference::<f64, Stated<F>>::default())],
                |engine, case| causality::<F>(engine, case),
            )
            .on_each_one_sided(both, |engine, case| causality::<F>(engine, case)),
        Claim::new("custom-packing").on_each_one_sided(
            trained(&[double, single]),
            |engine, case| {
                let model = random::<F>(&mut case.draw)?;
                packed::<Stated<F>>(engine, case, &model)
            },
        ),
        Claim::new("custom-padding").on_one_sided(Target::ReferenceF64, |case| {
            let model = random::<F>(&mut case.draw)?;
            padded::<Stated<F>, f64>(case, &model)
        }),
    ]
}

/// The checks of a program that has a variant, against its formula.
#[must_use]
pub fn program_suite<F: Formula>(program: &External) -> Vec<Claim> {
    let program = || vec![Box::new(program.clone())];
    vec![
        Claim::new("custom-agree")
            .on_each_one_sided(program(), |engine, case| agrees::<F>(engine, case)),
        Claim::new("custom-gradients").on_each_one_sided(program(), |engine, case| {
            let (model, other) = pair::<F>(case)?;
            reverse::<Stated<F>>(engine, case, &model, &other)
        }),
        Claim::new("custom-causal")
            .on_each_one_sided(program(), |engine, case| causality::<F>(engine, case)),
        Claim::new("custom-packing").on_each_one_sided(program(), |engine, case| {
            let model = random::<F>(&mut case.draw)?;
            packed::<Stated<F>>(engine, case, &model)
        }),
    ]
}

/// A model, and what the formula is given: in the control with one tensor changed.
fn pair<F: Formula>(case: &mut Case) -> Result<(ModelCase, ModelCase)> {
    let model = random::<F>(&mut case.draw)?;
    let other = match case.control {
        true => changed::<F>(&model, case.draw.index),
        false => model.clone(),
    };
    Ok((model, other))
}

fn agrees<F: Formula>(engine: &dyn Engine, case: &mut Case) -> Result<()> {
    let (model, other) = pair::<F>(case)?;
    same_as::<Stated<F>>(engine, case, &model, &other)
}

fn causality<F: Formula>(engine: &dyn Engine, case: &mut Case) -> Result<()> {
    let model = random::<F>(&mut case.draw)?;
    causal::<Stated<F>>(engine, case, &model)
}

/// No tensor is cut off from the loss. In the control the engine has the variant's tensors frozen.
fn reaches<F: Formula, P: TrainablePart>(case: &mut Case) -> Result<()> {
    case.draw.force(Corner::Plain);
    let mut model = random::<F>(&mut case.draw)?;
    model.label_all(&mut case.draw);
    // where a gate or a tanh is saturated there is no gradient by right
    model.change("", |x| 0.3 * x);
    let expected = Stated::<F>::gradients(&model)?;
    let engine = Trained::<F, P>::new(Candle::cpu_f64(), !case.control);
    reached(&engine, case, &model, &expected, |_| false)
}
