//! A checkpoint: everything that the next step needs, in one file that is replaced whole.
//!
//! Parameters and moments are tensors; the rest is JSON in the file's metadata. Masks, order of the
//! data and initial values are functions of the seed and the step, so the step is the whole state
//! of every generator.

use super::optimiser::AdamW;
use crate::counts::shapes;
use crate::error::{Error, Result};
use crate::files::safetensors::{Weights, metadata, serialize};
use crate::files::{create_dir, write};
use crate::model::Model;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
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
    /// Validation loss before the first step.
    #[serde(default)]
    pub start: Option<f64>,
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
    let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
    for p in model.trainable() {
        tensors.insert(format!("parameter.{}", p.name), p.tensor.clone());
        if let Some([m, v]) = optimiser.moments.get(&p.name) {
            tensors.insert(format!("first.{}", p.name), m.clone());
            tensors.insert(format!("second.{}", p.name), v.clone());
        }
    }
    let path = dir.join(FILE);
    if let Some(parent) = path.parent() {
        create_dir(parent)?;
    }
    let json = serde_json::to_string(progress).map_err(|e| Error::json(&path, e))?;
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
    let expected = shapes(model.trainable());
    let read = |kind: &str| {
        let stored = |name: &str| vec![format!("{kind}.{name}")];
        weights.read(&expected, stored, dtype, &device)
    };
    let mut parameters = read("parameter")?;
    if optimiser.step > 0 {
        for ((name, m), (_, v)) in read("first")?.into_iter().zip(read("second")?) {
            optimiser.moments.insert(name, [m, v]);
        }
    }
    for p in model.trainable_mut() {
        if let Some(t) = parameters.remove(&p.name) {
            p.tensor = t;
        }
    }
    Ok(Some(progress))
}
