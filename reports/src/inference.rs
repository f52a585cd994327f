//! A saved adapter, or the backbone alone, put to use: its texts and its scores on the test part.

use crate::compute::Precision;
use crate::files::read_json;
use crate::progress::Progress;
use crate::run::{self, CLASSES, Prepared, Scores, TaskData};
use anyhow::{Result, ensure};
use candle_core::Device;
use inducer_datasets::metrics::meteor::Files;
use inducer_datasets::{Example, Task};
use inducer_gpu::files::backbone::has_head;
use inducer_gpu::train::{Data, evaluate};
use inducer_gpu::{AdapterConfig, BackboneConfig, Model, hub};
use rayon::ThreadPool;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Limits of decoding and scoring.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most new tokens of a text; the task's usual number where none is given.
    pub new_tokens: Option<usize>,
    /// Test entries, at even distances; all where none are given.
    pub entries: Option<usize>,
}

/// The parts of a saved adapter of this backbone; none for the backbone alone.
///
/// # Errors
/// A file that is missing or broken.
pub fn parts(adapter: Option<&Path>, backbone: &Path) -> Result<AdapterConfig> {
    let backbone = BackboneConfig::read(backbone)?;
    let read = |dir: &Path| AdapterConfig::read(&dir.join("adapter_config.json"), &backbone);
    Ok(adapter
        .map(read)
        .transpose()?
        .unwrap_or_else(AdapterConfig::none))
}

/// The backbone that an adapter names as its own, a directory or a model of the hub's cache.
///
/// # Errors
/// The adapter's configuration cannot be read, or names no backbone that is here.
pub fn named_backbone(adapter: &Path) -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(default)]
        base_model_name_or_path: Option<String>,
    }
    let file = adapter.join("adapter_config.json");
    let named: Named = read_json(&file)?;
    let name = named.base_model_name_or_path.unwrap_or_default();
    ensure!(
        !name.is_empty(),
        "{}: field `base_model_name_or_path` names no backbone; give one with --backbone",
        file.display()
    );
    let found = hub::directory(&name, &hub::cache());
    ensure!(
        found.exists(),
        "{}: field `base_model_name_or_path`: `{name}` is neither a directory nor in the hub's \
         cache; give the backbone with --backbone",
        file.display()
    );
    Ok(found)
}

/// The names of the classes that an adapter on data of one's own learnt, in the order of their ids;
/// none where it holds no such file.
///
/// # Errors
/// A broken file.
pub fn class_names(adapter: &Path) -> Result<Option<Vec<String>>> {
    let path = adapter.join(CLASSES);
    path.exists().then(|| read_json(&path)).transpose()
}

/// The names of the classes that a backbone's own head tells apart; none where it has no head, or
/// its classes no names.
///
/// # Errors
/// A broken backbone.
pub fn head_names(dir: &Path) -> Result<Option<Vec<String>>> {
    let BackboneConfig::Roberta(config) = BackboneConfig::read(dir)? else {
        return Ok(None);
    };
    let names = config
        .class_names()
        .filter(|_| has_head(dir).unwrap_or(false));
    Ok(names.map(|names| names.into_iter().map(str::to_owned).collect()))
}

/// A backbone for a task with a saved adapter, or untuned: then its rows for the special tokens, or
/// its classification head, are random.
///
/// # Errors
/// Files that are missing or do not fit each other.
pub fn model(prepared: &Prepared, adapter: Option<&Path>, device: &Device) -> Result<Model> {
    let task = prepared.source.task;
    let dir = &prepared.source.backbone;
    let mut model = run::load(prepared.head(), dir, UNTUNED_SEED, Precision::F32, device)?;
    let special = prepared.special;
    let Some(adapter) = adapter else {
        model.attach(&AdapterConfig::none(), special, UNTUNED_SEED)?;
        return Ok(model);
    };
    model.attach_saved(adapter)?;
    ensure!(
        model.special() == special,
        "{}: tensor `transformer.wte.added` has {} rows; the task {task} on this backbone needs \
         {special}",
        adapter.display(),
        model.special()
    );
    Ok(model)
}

/// Seed of what an untuned backbone has no values for.
const UNTUNED_SEED: u64 = 1;

/// What a model says of the test part.
pub struct Generated {
    /// What was put into words.
    pub examples: Vec<Example>,
    /// The texts, or the classes' names.
    pub texts: Vec<String>,
}

/// Decodes the test part.
///
/// # Errors
/// More new tokens than the positions leave; a row that does not fit the model.
pub fn decode(
    model: &Model,
    prepared: &Prepared,
    limits: Limits,
    pool: &ThreadPool,
) -> Result<Generated> {
    let examples = run::test_examples(prepared, limits.entries);
    let max_new = prepared.new_tokens(limits.new_tokens)?;
    let progress = Progress::new(examples.len() as u64, "texts", "decoding");
    let mut on_done = |n| progress.add(n as u64, "");
    let texts = pool.install(|| run::outputs(model, prepared, &examples, max_new, &mut on_done))?;
    Ok(Generated { examples, texts })
}

/// The scores of a model.
#[derive(Serialize)]
pub struct Evaluation {
    /// The task.
    pub task: Task,
    /// Loss on the validation part, nats.
    pub validation_loss: f64,
    /// Test entries that were scored.
    pub test_entries: usize,
    /// Entries that `--skip-malformed` left out.
    pub malformed: usize,
    /// How the parts of the data came about.
    pub notes: Vec<String>,
    /// The scores.
    #[serde(flatten)]
    pub scores: Scores,
}

/// Scores what a model says of the test part.
///
/// # Errors
/// As [`decode`]; resources of METEOR that cannot be read.
pub fn evaluation(
    model: &Model,
    prepared: &Prepared,
    limits: Limits,
    files: &Files,
    pool: &ThreadPool,
) -> Result<Evaluation> {
    let Generated { examples, texts } = decode(model, prepared, limits, pool)?;
    let _progress = Progress::new(0, "", "scoring");
    let data = TaskData::new(prepared, 32, 0, None);
    let task = prepared.source.task;
    let splits = &prepared.splits;
    Ok(Evaluation {
        task,
        validation_loss: pool.install(|| evaluate(model, data.validation()))?,
        test_entries: examples.len(),
        malformed: splits.malformed.len(),
        notes: splits.notes.clone(),
        scores: Scores::of(prepared, &texts, &examples, files)?,
    })
}
