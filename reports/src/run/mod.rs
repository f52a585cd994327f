//! A run: one method, one seed, one directory. It can be stopped at any moment and goes on where it
//! stood.
//!
//! `run.json` (the resolved configuration), `metrics.jsonl`, `checkpoint/`, `adapter/` (the last),
//! `best/`, `outputs.txt` and, when all is done, `result.json`.

mod card;
mod mechanism;
mod prepared;
mod scores;

pub use mechanism::REACHED;
pub use prepared::{Prepared, TaskData};
pub use scores::{class_named, classes, coqa_scores, glue_scores, headline, named, scores, texts};

use crate::cli::Precision;
use crate::compute;
use crate::memory::Memory;
use crate::study::{Bleu, LayerGates, LengthBin, PositionGates};
use anyhow::{Context, Result, ensure};
use candle_core::Device;
use inducer_datasets::batches::pack;
use inducer_datasets::files::write_atomic;
use inducer_datasets::fingerprint;
use inducer_datasets::metrics::{Accuracy, Coqa, webnlg};
use inducer_datasets::{Encoded, Example, Surface, Task};
use inducer_gpu::drift::Frozen;
use inducer_gpu::train::{Event, TrainConfig, train};
use inducer_gpu::{AdapterConfig, BackboneConfig, Model, files::write_json, hub};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Everything that decides a run's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Version of this program.
    pub version: String,
    /// Task.
    pub task: String,
    /// Data directory.
    pub data: PathBuf,
    /// SHA-256 of the data files.
    pub data_fingerprint: String,
    /// Backbone directory.
    pub backbone: PathBuf,
    /// SHA-256 of the backbone's files.
    pub backbone_fingerprint: String,
    /// Name of the method.
    pub method: String,
    /// Its parts.
    pub adapter: AdapterConfig,
    /// Training.
    pub train: TrainConfig,
    /// Rows a batch.
    pub batch_size: usize,
    /// How the pieces of an input are written.
    pub surface: Surface,
    /// Validation entries used.
    pub validation_entries: usize,
    /// Most new tokens in decoding.
    pub max_new_tokens: usize,
    /// Test entries scored; none for all.
    pub test_limit: Option<usize>,
    /// Device.
    pub device: String,
    /// Scalar type of the computation.
    #[serde(default)]
    pub dtype: Precision,
}

/// What a run found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunResult {
    /// BLEU.
    pub bleu: Bleu,
    /// METEOR, 0 to 1, and the matchers that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meteor: Option<(f64, Vec<String>)>,
    /// TER, 0 is perfect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ter: Option<f64>,
    /// CoQA's exact match and F1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coqa: Option<Coqa>,
    /// Accuracy on the test part of a classification task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Accuracy>,
    /// Validation loss of the adapter that was scored.
    pub validation_loss: f64,
    /// Its step.
    pub best_step: usize,
    /// Validation loss after the last step.
    pub last_validation_loss: f64,
    /// Steps done.
    pub steps: usize,
    /// Tokens seen.
    pub tokens: u64,
    /// Seconds of training.
    pub train_seconds: f64,
    /// Seconds of decoding.
    pub decode_seconds: f64,
    /// Gates by layer.
    pub gates: Vec<LayerGates>,
    /// Gates by position.
    #[serde(default)]
    pub by_position: Vec<PositionGates>,
    /// Score and gates by length of the input.
    #[serde(default)]
    pub by_length: Vec<LengthBin>,
    /// Most bytes held at once; none where they were not counted, or the run was stopped in
    /// between.
    #[serde(default)]
    pub peak_bytes: Option<u64>,
}

impl RunResult {
    /// Its score in words: `BLEU seen 59.80, unseen –, all 46.10`, `exact match 1.2, F1 3.4`,
    /// `accuracy 83.0 % (332 of 400)`.
    pub fn words(&self) -> String {
        match (&self.coqa, &self.accuracy) {
            (Some(c), _) => format!(
                "exact match {:.1}, F1 {:.1}",
                c.overall.exact_match, c.overall.f1
            ),
            (None, Some(a)) => format!(
                "accuracy {:.1} % ({} of {})",
                100.0 * a.score,
                a.correct,
                a.total
            ),
            (None, None) => self.bleu.words(),
        }
    }
}

/// Validation rows on which the drift from the frozen model is measured.
const DRIFT_ROWS: usize = 16;

/// SHA-256 of a backbone's files.
///
/// # Errors
/// One cannot be read.
pub fn backbone_fingerprint(dir: &Path) -> Result<String> {
    let mut all = String::new();
    for name in [
        "config.json",
        "model.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "vocab.json",
        "merges.txt",
    ] {
        let path = dir.join(name);
        if path.exists() {
            all += &format!("{name} {}\n", fingerprint::of_file(&path)?);
        }
    }
    Ok(fingerprint::of_bytes(all.as_bytes()))
}

/// The dropout rate that a backbone's `config.json` asks for (`resid_pdrop`, RoBERTa's
/// `hidden_dropout_prob`; 0.1 when absent), as in transformers.
///
/// # Errors
/// A missing or broken file.
pub fn backbone_dropout(dir: &Path) -> Result<f64> {
    let path = dir.join("config.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let value: serde_json::Value =
        serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let rate = value
        .get("resid_pdrop")
        .or_else(|| value.get("hidden_dropout_prob"))
        .and_then(serde_json::Value::as_f64)
        .unwrap_or(0.1);
    ensure!(
        (0.0..1.0).contains(&rate),
        "{}: field `resid_pdrop` or `hidden_dropout_prob`: expected a number in [0, 1), found \
         {rate}",
        path.display()
    );
    Ok(rate)
}

/// A named method for a run: its backbone by name, and LoRA's dropout at the run's rate (one switch
/// for the paper's four places).
pub fn resolved(adapter: &AdapterConfig, backbone: &Path, rate: f64) -> AdapterConfig {
    let mut adapter = AdapterConfig {
        base_model_name_or_path: hub::name(backbone),
        ..adapter.clone()
    };
    if let Some(lora) = &mut adapter.lora {
        lora.dropout = rate;
    }
    adapter
}

/// A run's place on disk.
pub struct RunDir(PathBuf);

impl RunDir {
    /// The directory of a run; an unfinished run of the same configuration there goes on.
    ///
    /// # Errors
    /// The directory holds a run of another configuration.
    pub fn open(dir: &Path, config: &RunConfig) -> Result<Self> {
        let path = dir.join("run.json");
        if path.exists() {
            let before: RunConfig = read_json(&path)?;
            if let Some(field) = difference(
                &serde_json::to_value(&before)?,
                &serde_json::to_value(config)?,
                "",
            ) {
                anyhow::bail!(
                    "{}: the directory holds another run: field `{field}` differs; give another \
                     --out or remove the directory",
                    path.display()
                );
            }
        } else {
            std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
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
        if !path.exists() {
            return Ok(None);
        }
        Ok(Some(read_json(&path)?))
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

/// Reads a JSON file; errors name it.
///
/// # Errors
/// A missing or broken file.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// The test texts of a finished run.
///
/// # Errors
/// The file cannot be read.
pub fn outputs(dir: &Path) -> Result<Vec<String>> {
    let path = dir.join("outputs.txt");
    Ok(std::fs::read_to_string(&path)
        .with_context(|| path.display().to_string())?
        .lines()
        .map(str::to_string)
        .collect())
}

/// The first field in which two JSON values differ.
fn difference(a: &serde_json::Value, b: &serde_json::Value, at: &str) -> Option<String> {
    match (a.as_object(), b.as_object()) {
        (Some(x), Some(y)) => {
            let keys: std::collections::BTreeSet<&String> = x.keys().chain(y.keys()).collect();
            let null = serde_json::Value::Null;
            keys.into_iter().find_map(|k| {
                difference(
                    x.get(k).unwrap_or(&null),
                    y.get(k).unwrap_or(&null),
                    &if at.is_empty() {
                        k.clone()
                    } else {
                        format!("{at}.{k}")
                    },
                )
            })
        }
        _ if a == b => None,
        _ => Some(at.to_string()),
    }
}

/// The backbone that a task needs: GPT-2 to generate, RoBERTa to classify; a RoBERTa without a head
/// for this task gets one.
///
/// # Errors
/// A directory that cannot be read; a backbone of the other kind, or with another number of
/// classes.
pub fn load(task: Task, dir: &Path, seed: u64, dtype: Precision, device: &Device) -> Result<Model> {
    let count = task.classes().len();
    let classes = (!task.generates()).then_some(count);
    let model = Model::load_for(dir, classes, seed, compute::dtype(dtype), device)?;
    match model.backbone.config() {
        BackboneConfig::Gpt2(_) => ensure!(
            task.generates(),
            "{}: --task {task} needs a RoBERTa, found a GPT-2",
            dir.display()
        ),
        BackboneConfig::Roberta(c) => {
            ensure!(
                !task.generates(),
                "{}: --task {task} needs a GPT-2, found a RoBERTa",
                dir.display()
            );
            ensure!(
                c.classes() == count,
                "{}: the head has {} classes, --task {task} has {count}",
                dir.display(),
                c.classes()
            );
        }
    }
    Ok(model)
}

/// Trains (or goes on), decodes, scores. A finished run is read, not repeated.
///
/// # Errors
/// Data that do not fit, files that cannot be written, a loss that is not finite.
pub fn execute(
    dir: &Path,
    config: &RunConfig,
    prepared: &Prepared,
    device: &Device,
    on_event: &mut dyn FnMut(&Event),
) -> Result<RunResult> {
    let place = RunDir::open(dir, config)?;
    if let Some(result) = place.result()? {
        return Ok(result);
    }
    let memory = Memory::here();
    let special = prepared.task.special_tokens().len();
    let mut model = load(
        prepared.task,
        &config.backbone,
        config.train.seed,
        config.dtype,
        device,
    )?;
    model.attach(&AdapterConfig::none(), special, config.train.seed)?;
    let fixed: Vec<&Encoded> = prepared.dev.iter().take(DRIFT_ROWS).collect();
    let frozen = Frozen::of(&model, fixed.chunks(4).map(pack).collect())?;
    model.attach(&config.adapter, special, config.train.seed)?;
    let data = TaskData::new(prepared, config.batch_size, config.train.seed, Some(frozen));
    let mut resumed = false;
    let summary = train(&mut model, &data, &config.train, Some(dir), &mut |e| {
        resumed |= matches!(e, Event::Resumed { .. });
        on_event(e);
    })?;
    let peak_bytes = memory.peak().filter(|_| !resumed);
    let (best_loss, best_step) = summary.best;
    if best_step != summary.steps && dir.join("best").exists() {
        model.attach_saved(&dir.join("best"))?;
    }
    let examples = test_examples(prepared, config.test_limit);
    let start = std::time::Instant::now();
    let outputs = if prepared.task.generates() {
        let limit = config.max_new_tokens;
        texts(&model, prepared, &examples, limit, &mut |_| {})?
    } else {
        let predicted = classes(&model, prepared, &examples)?;
        named(prepared.task, &predicted)
    };
    let decode_seconds = start.elapsed().as_secs_f64();
    let found = mechanism::measure(&model, prepared, &examples, &outputs)?;
    let mut result = RunResult {
        bleu: Bleu::default(),
        meteor: None,
        ter: None,
        coqa: None,
        accuracy: None,
        validation_loss: best_loss,
        best_step,
        last_validation_loss: summary.validation_loss,
        steps: summary.steps,
        tokens: summary.tokens,
        train_seconds: summary.seconds,
        decode_seconds,
        gates: found.gates,
        by_position: found.by_position,
        by_length: found.by_length,
        peak_bytes,
    };
    match prepared.task {
        Task::WebNlg => {
            let files = crate::commands::score::resources(&Default::default());
            let all = webnlg::scores(&outputs, &examples, &files)?;
            let matchers = all.meteor.all.matchers;
            result.bleu = scores(&outputs, &examples);
            result.ter = Some(all.ter.all.score);
            result.meteor = Some((
                all.meteor.all.score,
                matchers.into_iter().map(String::from).collect(),
            ));
        }
        Task::Coqa => result.coqa = Some(coqa_scores(&outputs, &examples)?),
        Task::Mnli | Task::Sst2 => {
            result.accuracy = Some(scores::accuracy(prepared.task, &outputs, &examples)?)
        }
    }
    let mut lines = outputs.join("\n");
    lines.push('\n');
    write_atomic(&dir.join("outputs.txt"), lines.as_bytes())?;
    let card = card::text(config, &result, &model);
    for adapter in ["adapter", "best"].map(|name| dir.join(name)) {
        if adapter.exists() {
            write_atomic(&adapter.join("README.md"), card.as_bytes())?;
        }
    }
    write_json(&dir.join("result.json"), &result)?;
    Ok(result)
}

/// The test examples that are scored: all, or an even choice of `limit` of them.
pub fn test_examples(prepared: &Prepared, limit: Option<usize>) -> Vec<Example> {
    let all = &prepared.splits.test;
    match limit {
        Some(n) if n < all.len() => (0..n).map(|i| all[i * all.len() / n].clone()).collect(),
        _ => all.clone(),
    }
}

/// A number by step.
pub type Curve = Vec<(usize, f64)>;

/// What a run wrote down on its way.
#[derive(Clone, Debug, Default)]
pub struct Curves {
    /// Training loss.
    pub train: Curve,
    /// Validation loss.
    pub validation: Curve,
    /// KL(frozen ‖ tuned), nats.
    pub drift: Curve,
}

/// Reads the curves of a run.
///
/// # Errors
/// The file cannot be read.
pub fn curves(dir: &Path) -> Result<Curves> {
    let path = dir.join("metrics.jsonl");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut out = Curves::default();
    for line in text.lines() {
        let value: serde_json::Value =
            serde_json::from_str(line).with_context(|| path.display().to_string())?;
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
