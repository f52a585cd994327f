//! A run's directory: `run.json` (the resolved configuration), `metrics.jsonl`, `checkpoint/`,
//! `adapter/` (the last), `best/`, `outputs.txt` and, when all is done, `result.json`.

use super::config::RunConfig;
use super::record::RunResult;
use super::test_loss;
use crate::files::{self, At as _, read_json};
use anyhow::{Context, Result, bail};
use inducer_gpu::files::write_json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A run's directory.
pub struct RunDir(PathBuf);

/// Fields that decide what is scored and not what is trained.
const SCORING: [&str; 3] = ["max_new_tokens", "test_limit", "loss_only"];

/// Fields that follow from the number of steps.
const LENGTH: [&str; 4] = [
    "continued_from",
    "train.steps",
    "train.validate_every",
    "train.warmup",
];

impl RunDir {
    /// The directory of a run, for its one writer; an unfinished run of the same configuration
    /// there goes on, and a finished one is scored again where only the scored part differs. With
    /// `longer`, a run of fewer steps goes on to the new number.
    ///
    /// # Errors
    /// The directory holds a run of another configuration.
    pub fn open(dir: &Path, config: &RunConfig, longer: bool) -> Result<Self> {
        let run = Self(dir.to_path_buf());
        let Some(old) = run.config()? else {
            files::create_dir(dir)?;
            write_json(&run.0.join("run.json"), config)?;
            return Ok(run);
        };
        let all = differences(&serde_json::to_value(&old)?, &serde_json::to_value(config)?);
        let more = longer && config.train.steps >= old.train.steps;
        let may = |field: &str| SCORING.contains(&field) || (more && LENGTH.contains(&field));
        if all.iter().any(|d| !may(&d.field)) {
            bail!(run.refusal(&old, &all));
        }
        if all.iter().any(|d| d.field != "continued_from") {
            let mut config = config.clone();
            config.continued_from.clone_from(&old.continued_from);
            if config.train.steps > old.train.steps {
                config.continued_from.push(old.train.steps);
            }
            // the result first: what stands then is a run that is not finished
            let result = run.0.join("result.json");
            if result.exists() {
                std::fs::remove_file(&result).at(&result)?;
            }
            write_json(&run.0.join("run.json"), &config)?;
        }
        Ok(run)
    }

    /// The configuration that stands there, if any.
    fn config(&self) -> Result<Option<RunConfig>> {
        let path = self.0.join("run.json");
        if !path.exists() {
            return Ok(None);
        }
        let before: Value = read_json(&path)?;
        let version = before["version"].as_str().unwrap_or("unknown").to_string();
        let read: RunConfig = serde_json::from_value(before)
            .with_context(|| format!("{}: a run of inducer {version}", path.display()))?;
        read.check(&path)?;
        Ok(Some(read))
    }

    /// Why the directory is not that of the run that is asked for.
    fn refusal(&self, old: &RunConfig, all: &[Difference]) -> String {
        let of = |name: &str| all.iter().find(|d| d.field == name);
        // another method, seed or length explains every other difference
        let first = ["method", "train.seed", "train.steps"]
            .into_iter()
            .find_map(of)
            .or_else(|| all.first());
        let rest = match all.len() {
            0 | 1 => String::new(),
            2 => " (and one field more)".into(),
            n => format!(" (and {} fields more)", n - 1),
        };
        let difference = first.map(|d| {
            let Difference { field, there, here } = d;
            format!("field `{field}` is {there} there and {here} here{rest}")
        });
        format!(
            "{}: the directory holds another run, of inducer {}: {}; give another --out, or \
             --overwrite",
            self.0.join("run.json").display(),
            old.version,
            difference.unwrap_or_default()
        )
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
    let run = RunDir(dir.to_path_buf());
    let Some(old) = run.config()? else {
        return Ok(None);
    };
    let all = differences(&serde_json::to_value(&old)?, &serde_json::to_value(config)?);
    match all.is_empty() {
        true => run.result(),
        false => bail!(run.refusal(&old, &all)),
    }
}

/// Whether a run is done, or only the part that it scored is another one than is asked for.
///
/// # Errors
/// As [`finished`].
pub fn is_finished(dir: &Path, config: &RunConfig) -> Result<bool> {
    let run = RunDir(dir.to_path_buf());
    let Some(old) = run.config()? else {
        return Ok(false);
    };
    let all = differences(&serde_json::to_value(&old)?, &serde_json::to_value(config)?);
    if all.iter().all(|d| SCORING.contains(&&*d.field)) {
        return Ok(all.is_empty() && run.result()?.is_some());
    }
    bail!(run.refusal(&old, &all))
}

/// Removes what a run left in its directory, and nothing else.
///
/// # Errors
/// The system's.
pub fn clear(dir: &Path) -> Result<()> {
    for name in ["result.json", "run.json", "metrics.jsonl", "outputs.txt"] {
        let path = dir.join(name);
        if path.exists() {
            std::fs::remove_file(&path).at(&path)?;
        }
    }
    test_loss::clear(dir)?;
    for name in ["checkpoint", "best", "adapter", "tensorboard"] {
        let path = dir.join(name);
        if path.exists() {
            std::fs::remove_dir_all(&path).at(&path)?;
        }
    }
    Ok(())
}

/// A field that differs between two configurations.
struct Difference {
    field: String,
    there: Value,
    here: Value,
}

/// All fields in which two JSON values differ.
fn differences(there: &Value, here: &Value) -> Vec<Difference> {
    fn add(there: &Value, here: &Value, at: &str, all: &mut Vec<Difference>) {
        let (Some(x), Some(y)) = (there.as_object(), here.as_object()) else {
            if there != here {
                all.push(Difference {
                    field: at.to_string(),
                    there: there.clone(),
                    here: here.clone(),
                });
            }
            return;
        };
        let keys: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
        for k in keys {
            let [x, y] = [x, y].map(|fields| fields.get(k).unwrap_or(&Value::Null));
            let dot = if at.is_empty() { "" } else { "." };
            add(x, y, &format!("{at}{dot}{k}"), all);
        }
    }
    let mut all = Vec::new();
    add(there, here, "", &mut all);
    all
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

impl Curves {
    /// At most so many points of each, at even distances, the last among them.
    pub fn thinned(self, most: usize) -> Self {
        let thin = |curve: Curve| -> Curve {
            let each = curve.len().div_ceil(most.max(1)).max(1);
            let last = curve.len().saturating_sub(1);
            let kept = |(i, p): (usize, (usize, f64))| (i.abs_diff(last) % each == 0).then_some(p);
            curve.into_iter().enumerate().filter_map(kept).collect()
        };
        Self {
            train: thin(self.train),
            validation: thin(self.validation),
            drift: thin(self.drift),
        }
    }
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
