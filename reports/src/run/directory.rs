//! A run's directory: `run.json` (the resolved configuration), `metrics.jsonl`, `checkpoint/`,
//! `adapter/` (the last), `best/`, `outputs.txt` and, when all is done, `result.json`.

use super::config::RunConfig;
use super::record::RunResult;
use crate::files::{self, At, read_json};
use anyhow::{Context, Result, bail};
use inducer_gpu::files::write_json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A run's directory.
pub struct RunDir(PathBuf);

impl RunDir {
    /// The directory of a run; an unfinished run of the same configuration there goes on.
    ///
    /// # Errors
    /// The directory holds a run of another configuration.
    pub fn open(dir: &Path, config: &RunConfig) -> Result<Self> {
        let path = dir.join("run.json");
        if path.exists() {
            let before: Value = read_json(&path)?;
            let version = before["version"].as_str().unwrap_or("unknown").to_string();
            let read: RunConfig = serde_json::from_value(before)
                .with_context(|| format!("{}: a run of inducer {version}", path.display()))?;
            let (old, new) = (serde_json::to_value(&read)?, serde_json::to_value(config)?);
            if let Some((field, old, new)) = difference(&old, &new, "") {
                bail!(
                    "{}: the directory holds another run, of inducer {version}: field `{field}` \
                     differs (expected {new}, found {old}); give another --out or remove the \
                     directory",
                    path.display()
                );
            }
        } else {
            files::create_dir(dir)?;
            write_json(&path, config)?;
        }
        Ok(Self(dir.to_path_buf()))
    }

    /// The result, when the run is done.
    ///
    /// # Errors
    /// A broken file.
    pub fn result(&self) -> Result<Option<RunResult>> {
        let path = self.0.join("result.json");
        path.exists().then(|| read_json(&path)).transpose()
    }
}

/// The result of a run, when it is done; none where there is no such directory.
///
/// # Errors
/// The directory holds a run of another configuration; a broken file.
pub fn finished(dir: &Path, config: &RunConfig) -> Result<Option<RunResult>> {
    match dir.join("run.json").exists() {
        true => RunDir::open(dir, config)?.result(),
        false => Ok(None),
    }
}

/// The first field in which two JSON values differ, and what it is in each.
fn difference<'a>(a: &'a Value, b: &'a Value, at: &str) -> Option<(String, &'a Value, &'a Value)> {
    let (Some(x), Some(y)) = (a.as_object(), b.as_object()) else {
        return (a != b).then(|| (at.to_string(), a, b));
    };
    let keys: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
    keys.into_iter().find_map(|k| {
        let [x, y] = [x, y].map(|fields| fields.get(k).unwrap_or(&Value::Null));
        let dot = if at.is_empty() { "" } else { "." };
        difference(x, y, &format!("{at}{dot}{k}"))
    })
}

/// The test texts of a finished run.
///
/// # Errors
/// The file cannot be read.
pub fn outputs(dir: &Path) -> Result<Vec<String>> {
    let text = files::read(&dir.join("outputs.txt"))?;
    Ok(text.lines().map(str::to_string).collect())
}

/// A number by step.
pub type Curve = Vec<(usize, f64)>;

/// What a run wrote down on its way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// Training loss.
    #[serde(rename = "train_curve")]
    pub train: Curve,
    /// Validation loss.
    #[serde(rename = "validation_curve")]
    pub validation: Curve,
    /// KL(frozen ‖ tuned) of the next token, nats.
    #[serde(rename = "drift_curve", default)]
    pub drift: Curve,
}

/// Reads the curves of a run.
///
/// # Errors
/// The file cannot be read.
pub fn curves(dir: &Path) -> Result<Curves> {
    let path = dir.join("metrics.jsonl");
    let mut out = Curves::default();
    for line in files::read(&path)?.lines() {
        let value: Value = serde_json::from_str(line).at(&path)?;
        let step = value["step"].as_u64().unwrap_or(0) as usize;
        for (name, curve) in [
            ("loss", &mut out.train),
            ("validation_loss", &mut out.validation),
            ("drift", &mut out.drift),
        ] {
            curve.extend(value[name].as_f64().map(|x| (step, x)));
        }
    }
    Ok(out)
}
