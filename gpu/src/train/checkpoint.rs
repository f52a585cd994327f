//! A checkpoint: everything that the next step needs, in one file that is replaced whole.
//!
//! Parameters and moments are tensors; the rest is JSON in the file's metadata. Masks, order of the
//! data and initial values are functions of the seed and the step, so the step is the whole state
//! of every generator.

use crate::error::{Error, Result};
use crate::model::{Model, write};
use crate::train::optimiser::AdamW;
use crate::weights::{Weights, metadata, serialize};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// The part of the state that is not tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Tokens seen.
    pub tokens: u64,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Validation loss of the best adapter so far and its step.
    pub best: Option<(f64, usize)>,
    /// Its score, where the task has one.
    #[serde(default)]
    pub best_score: Option<f64>,
    /// Validations since the best.
    pub stale: usize,
    /// Whether training has ended.
    pub finished: bool,
}

/// The checkpoint's file in a run's directory.
pub const FILE: &str = "checkpoint/state.safetensors";

/// Writes the state to `dir`.
///
/// # Errors
/// The file cannot be written.
pub fn save(dir: &Path, model: &Model, optimiser: &AdamW, progress: &Progress) -> Result<()> {
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    for p in model.trainable() {
        tensors.push((format!("parameter.{}", p.name), p.tensor.clone()));
        if let Some([m, v]) = optimiser.moments.get(&p.name) {
            tensors.push((format!("first.{}", p.name), m.clone()));
            tensors.push((format!("second.{}", p.name), v.clone()));
        }
    }
    let path = dir.join(FILE);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
    }
    let json = serde_json::to_string(progress).map_err(|e| Error::Json {
        path: path.clone(),
        message: e.to_string(),
    })?;
    let meta = HashMap::from([
        ("progress".to_string(), json),
        ("optimiser_step".to_string(), optimiser.step.to_string()),
    ]);
    write(&path, &serialize(&tensors, meta)?)
}

/// Reads the state of `dir` into the model and the optimiser; `None` when there is no checkpoint.
///
/// # Errors
/// A damaged checkpoint, or one of another configuration.
pub fn load(dir: &Path, model: &mut Model, optimiser: &mut AdamW) -> Result<Option<Progress>> {
    let path = dir.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let meta = metadata(&path)?;
    let field = |name: &str| {
        meta.get(name)
            .ok_or_else(|| Error::config(&path, name, "missing from the checkpoint's metadata"))
    };
    let bad = |name: &str, e: String| Error::config(&path, name, e);
    let progress: Progress =
        serde_json::from_str(field("progress")?).map_err(|e| bad("progress", e.to_string()))?;
    optimiser.step = field("optimiser_step")?
        .parse()
        .map_err(|e: std::num::ParseIntError| bad("optimiser_step", e.to_string()))?;
    let weights = Weights::open(&path)?;
    let (dtype, device) = (model.master_dtype(), model.device().clone());
    let expected: Vec<(String, Vec<usize>)> = model
        .trainable()
        .iter()
        .map(|p| (p.name.clone(), p.tensor.dims().to_vec()))
        .collect();
    let group = |kind: &str| {
        expected
            .iter()
            .map(|(n, s)| (vec![format!("{kind}.{n}")], s.clone()))
            .collect::<Vec<_>>()
    };
    let read = |kind: &str| weights.read(&group(kind), dtype, &device);
    let parameters = read("parameter")?;
    if optimiser.step > 0 {
        for (((name, _), m), v) in expected.iter().zip(read("first")?).zip(read("second")?) {
            optimiser.moments.insert(name.clone(), [m, v]);
        }
    }
    for (p, t) in model.trainable_mut().into_iter().zip(parameters) {
        p.tensor = t;
    }
    Ok(Some(progress))
}
