//! Files: what the engine writes the reference reads as the same function, and a tensor of another
//! shape is refused by both.

use super::agreement::compare;
use crate::bounds::UNIT_ROUNDOFF_F64;
use crate::cases::{ModelCase, method, roberta};
use crate::engines::candle::{array, batch};
use crate::engines::reference::Tuned;
use crate::engines::{Candle, Computed, Paper, Specification, candles};
use crate::{Case, Claim, Engine, Present, Result, Target};
use candle_core::{DType, Device, Tensor};
use inducer_reference::Adapter;
use std::collections::HashMap;
use std::path::Path;

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    let share = |id| Claim::new(id).one_case_in(8).at_least(13);
    let roberta = |id| share(id).about(roberta);
    vec![
        share("adapter-files").on_each_one_sided(candles(present), written),
        roberta("roberta-adapter-files").on_each_one_sided(candles(present), written),
        share("adapter-files-shape").on_one_sided(Target::CpuF32, refused),
        roberta("roberta-adapter-files-shape").on_one_sided(Target::CpuF32, refused),
    ]
}

/// A model with something to store. (A prefix behind its network is stored in f32 whatever it was
/// trained in; that is another claim.)
fn given(case: &mut Case) -> Result<ModelCase> {
    let backbone = (case.family)(&mut case.draw);
    let which = method::trained(case.draw.turn);
    let mut config = method::random(&mut case.draw, which);
    method::without_network(&mut config);
    ModelCase::of(&mut case.draw, backbone, config)
}

/// The reference on what it reads from `dir`, against the engine that wrote it. In the control one
/// tensor is written changed.
fn written(engine: &Candle, case: &mut Case) -> Result<()> {
    let given = given(case)?;
    let dir = crate::scratch::folder()?;
    let mut built = engine.model(&given)?;
    let found = Computed {
        loss: None,
        ..engine.compute(&given)?
    };
    if case.control {
        for p in built.trainable_mut() {
            p.tensor = (&p.tensor * 1.25)?;
        }
    }
    built.save_adapter(dir.path())?;
    let read = Tuned::<f64>::new(&given, Adapter::load(dir.path(), &given.backbone)?)?;
    let answers = given.rows.iter().map(|row| read.forward(row, None));
    let (logits, gates) = answers.collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let expected = Computed {
        logits,
        gates,
        loss: None,
    };
    let bounds = Paper::conditioning(&given)?;
    let units = [engine.roundoff(), UNIT_ROUNDOFF_F64];
    compare(case, &given.describe(), &found, &expected, &bounds, units);
    Ok(())
}

/// Twice as many rows in one tensor of the file: both crates refuse it and name it. In the control
/// the tensor is as it was.
fn refused(case: &mut Case) -> Result<()> {
    let (engine, given) = (Candle::cpu_f32(), given(case)?);
    let dir = crate::scratch::folder()?;
    let built = engine.model(&given)?;
    built.save_adapter(dir.path())?;
    let names: Vec<&String> = given
        .adapter
        .keys()
        // any number of special tokens is right
        .filter(|name| !name.ends_with("wte.added"))
        .collect();
    let name = names[case.draw.size(0, names.len() - 1)].clone();
    let stretched = case.or_control(2, 1);
    rewrite(
        &dir.path().join("adapter_model.safetensors"),
        &name,
        stretched,
    )?;
    let reference = Adapter::<f64>::load(dir.path(), &given.backbone).err();
    let mut again = engine.backbone(&given)?;
    let trained = again.attach_saved(dir.path()).err();
    let errors = [
        ("reference", reference.map(|error| error.to_string())),
        ("engine", trained.map(|error| error.to_string())),
    ];
    for (who, error) in errors {
        let names_it = error.as_ref().is_some_and(|error| error.contains(&name));
        case.same(names_it, true, || {
            format!("{who} refuses {name} of another shape and names it: {error:?}")
        });
    }
    // the case is about the file's shape, the model itself works
    let logits = array(&built.logits(&batch(&given))?)?;
    case.same(logits.iter().all(|x| x.is_finite()), true, || {
        "logits are finite".into()
    });
    Ok(())
}

/// The file with one tensor repeated along its first axis.
fn rewrite(file: &Path, name: &str, times: usize) -> Result<()> {
    let mut tensors: HashMap<String, Tensor> = candle_core::safetensors::load(file, &Device::Cpu)?;
    if let Some(tensor) = tensors.get_mut(name) {
        *tensor = Tensor::cat(&vec![&*tensor; times], 0)?.to_dtype(DType::F32)?;
    }
    candle_core::safetensors::save(&tensors, file)?;
    Ok(())
}
