//! Files: what the engine writes the reference reads as the same function, and a tensor of another
//! shape is refused by both.

use super::models::compare;
use crate::claim::{Case, Claim};
use crate::engine::candle::{array, pack};
use crate::engine::{Candle, Computed, Cuda, Engine, candles, conditioning};
use crate::error::Result;
use crate::random::{ModelCase, method, model};
use candle_core::{DType, Device, Tensor};
use inducer_reference::{Adapter, AttentionConfig, Gpt2};
use std::collections::HashMap;
use std::path::Path;

/// The claims of this file.
#[must_use]
pub fn claims(cuda: &Cuda) -> Vec<Claim> {
    vec![
        Claim::new("adapter-files")
            .weighing(4, 13)
            .loosely_on_each(candles(cuda), written),
        Claim::new("adapter-files-shape")
            .weighing(4, 13)
            .loosely_on_each(vec![Candle::cpu_f32()], refused),
    ]
}

/// A model with something to store. (A prefix behind its network is stored in f32 whatever it was
/// trained in; that is another claim.)
fn given(case: &mut Case) -> Result<ModelCase> {
    let which = method::trained(case.draw.index);
    let backbone = model::backbone(&mut case.draw);
    let mut config = method::random(&mut case.draw, which);
    if let Some(AttentionConfig::Prefix {
        reparametrisation, ..
    }) = &mut config.attention
    {
        *reparametrisation = None;
    }
    ModelCase::of(&mut case.draw, backbone, config)
}

/// The reference on what it reads from `dir`, against the engine that wrote it. In the control one
/// tensor is written changed.
fn written(engine: &Candle, case: &mut Case) -> Result<()> {
    let given = given(case)?;
    let dir = tempfile::tempdir()?;
    let mut built = engine.model(&given)?;
    let found = engine.compute(&given)?;
    if case.control {
        for p in built.trainable_mut() {
            p.tensor = (&p.tensor * 1.25)?;
        }
    }
    built.save_adapter(dir.path())?;
    let backbone = Gpt2::from_tensors(given.backbone.clone(), &given.weights)?;
    let adapter = Adapter::<f64>::load(dir.path(), &given.backbone)?;
    let mut expected = Computed {
        logits: Vec::new(),
        gates: Vec::new(),
        loss: None,
    };
    for row in &given.rows {
        let one = backbone.forward(&row.ids, row.segments.as_deref(), None, Some(&adapter))?;
        expected.logits.push(one.logits);
        expected.gates.push(one.lambda);
    }
    let found = Computed {
        loss: None,
        ..found
    };
    compare(
        case,
        &given.describe(),
        &found,
        &expected,
        &conditioning(&given)?,
        [engine.roundoff(), f64::EPSILON / 2.0],
    );
    Ok(())
}

/// Twice as many rows in one tensor of the file: both crates refuse it and name it. In the control
/// the tensor is as it was.
fn refused(engine: &Candle, case: &mut Case) -> Result<()> {
    let given = given(case)?;
    let dir = tempfile::tempdir()?;
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
    let logits = array(&built.logits(&pack(&given.rows))?)?;
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
