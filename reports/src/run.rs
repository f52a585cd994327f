//! A run: one method, one seed, one directory. It can be stopped at any moment and goes on where it stood.
//!
//! `run.json` (the resolved configuration), `metrics.jsonl`, `checkpoint/`, `adapter/` (the last), `best/`, `outputs.txt` and, when all is
//! done, `result.json`.

use crate::study::{Bleu, LayerGates};
use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device};
use inducer_datasets::Batch;
use inducer_datasets::batch::Labels;
use inducer_datasets::batches::{epoch_batches, pack, sorted_batches};
use inducer_datasets::cache::training_rows;
use inducer_datasets::files::write_atomic;
use inducer_datasets::fingerprint;
use inducer_datasets::metrics::bleu::Counts;
use inducer_datasets::metrics::glue::{Glue, glue};
use inducer_datasets::metrics::webnlg::bleu_counts;
use inducer_datasets::metrics::{Accuracy, Coqa, coqa};
use inducer_datasets::{Cache, Encoded, Example, Layout, Splits, Surface, Task, Tokenizer};
use inducer_gpu::generate::{Decoding, Prompt, greedy};
use inducer_gpu::train::{Data, Event, TrainConfig, train};
use inducer_gpu::{AdapterConfig, BackboneConfig, Model, model::write_json};
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
}

/// What a run found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunResult {
    /// BLEU.
    pub bleu: Bleu,
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
}

/// From so many examples on encoded rows are cached: fewer are encoded in less than a second.
const CACHED_FROM: usize = 10_000;

/// Data ready for a backbone.
pub struct Prepared {
    /// The task.
    pub task: Task,
    /// The examples.
    pub splits: Splits,
    /// The backbone's tokenizer.
    pub tokenizer: Tokenizer,
    /// Vocabulary of the backbone.
    pub vocabulary: usize,
    /// Training rows.
    pub train: Vec<Encoded>,
    /// Validation rows.
    pub dev: Vec<Encoded>,
    /// Most positions that any method of the study leaves for the text.
    pub longest: usize,
    /// How the pieces of an input are written.
    pub surface: Surface,
}

impl Prepared {
    /// Encodes the data for a backbone directory, or takes the rows of many examples from the cache; `longest` is the longest row that every method of the study takes.
    ///
    /// # Errors
    /// Rows that are too long; a broken tokenizer.
    pub fn new(
        task: Task,
        splits: Splits,
        backbone: &Path,
        vocabulary: usize,
        longest: usize,
        validation_entries: usize,
        surface: Surface,
    ) -> Result<Self> {
        let tokenizer = Tokenizer::load(backbone)?;
        ensure!(
            tokenizer.vocab_size() <= vocabulary,
            "{}: the tokenizer has {} ids, the backbone's vocab_size is {vocabulary}",
            backbone.display(),
            tokenizer.vocab_size()
        );
        let layout = Layout::new(&tokenizer, task, vocabulary, longest)?.with_surface(surface);
        let rows = |examples: &[Example]| -> Result<Vec<Encoded>> {
            if examples.len() < CACHED_FROM {
                return Ok(training_rows(&layout, examples)?);
            }
            let cache = Cache::at(crate::embedded::cache().join("rows"));
            Ok(cache.rows(&layout, examples)?.0)
        };
        let train = rows(&splits.train)?;
        let dev = rows(&splits.dev[..validation_entries.min(splits.dev.len())])?;
        Ok(Self {
            task,
            splits,
            tokenizer,
            vocabulary,
            train,
            dev,
            longest,
            surface,
        })
    }

    /// The layout of the rows.
    ///
    /// # Errors
    /// As [`Layout::new`].
    pub fn layout(&self) -> Result<Layout<'_>> {
        Ok(
            Layout::new(&self.tokenizer, self.task, self.vocabulary, self.longest)?
                .with_surface(self.surface),
        )
    }

    /// The longest target among the validation rows, its end token included.
    pub fn longest_target(&self) -> usize {
        self.dev
            .iter()
            .map(|r| r.labels.iter().filter(|l| **l >= 0).count())
            .max()
            .unwrap_or(0)
    }
}

/// Training batches by length and validation batches; of a classification task accuracy decides which adapter is best.
pub struct TaskData<'a> {
    rows: &'a [Encoded],
    lengths: Vec<usize>,
    validation: Vec<Batch>,
    batch_size: usize,
    seed: u64,
}

impl<'a> TaskData<'a> {
    /// Batches of a prepared task.
    pub fn new(prepared: &'a Prepared, batch_size: usize, seed: u64) -> Self {
        let lengths: Vec<usize> = prepared.dev.iter().map(|r| r.ids.len()).collect();
        let dev = sorted_batches(&lengths, 32);
        Self {
            rows: &prepared.train,
            lengths: prepared.train.iter().map(|r| r.ids.len()).collect(),
            validation: dev
                .iter()
                .map(|b| pack(&b.iter().map(|i| &prepared.dev[*i]).collect::<Vec<_>>()))
                .collect(),
            batch_size,
            seed,
        }
    }
}

impl Data for TaskData<'_> {
    fn epoch(&self, epoch: usize) -> Vec<Batch> {
        let order = epoch_batches(&self.lengths, self.batch_size, self.seed, epoch as u64);
        order
            .iter()
            .map(|b| pack(&b.iter().map(|i| &self.rows[*i]).collect::<Vec<_>>()))
            .collect()
    }

    fn validation(&self) -> &[Batch] {
        &self.validation
    }

    fn score(&self, model: &Model) -> inducer_gpu::Result<Option<f64>> {
        let (mut right, mut all) = (0, 0);
        for batch in &self.validation {
            let Labels::Classes(expected) = &batch.labels else {
                return Ok(None);
            };
            let found = model.predict(batch)?;
            right += found.iter().zip(expected).filter(|(a, b)| a == b).count();
            all += expected.len();
        }
        Ok((all > 0).then(|| right as f64 / all as f64))
    }
}

/// Classes of examples, in their order.
///
/// # Errors
/// A row that does not fit the model.
pub fn classes(model: &Model, prepared: &Prepared, examples: &[Example]) -> Result<Vec<u32>> {
    let layout = prepared.layout()?;
    let rows: Vec<Encoded> = examples
        .iter()
        .map(|e| layout.prompt(e))
        .collect::<inducer_datasets::Result<_>>()?;
    let lengths: Vec<usize> = rows.iter().map(|r| r.ids.len()).collect();
    let mut out = vec![0; rows.len()];
    for batch in sorted_batches(&lengths, 64) {
        let packed = pack(&batch.iter().map(|i| &rows[*i]).collect::<Vec<_>>());
        for (i, class) in batch.iter().zip(model.predict(&packed)?) {
            out[*i] = class;
        }
    }
    Ok(out)
}

/// Accuracy of a classification, over all rows and for each genre.
///
/// # Errors
/// An example whose class is not known.
pub fn glue_scores(predicted: &[u32], examples: &[Example]) -> Result<Glue> {
    Ok(glue(predicted, examples)?)
}

/// The lines of `outputs.txt`: texts, or the classes' names.
pub fn named(task: Task, classes: &[u32]) -> Vec<String> {
    let names = task.classes();
    classes
        .iter()
        .map(|c| {
            names
                .get(*c as usize)
                .map_or_else(|| c.to_string(), |n| (*n).to_string())
        })
        .collect()
}

/// Texts for examples, in their order.
///
/// # Errors
/// A prompt that does not fit the model.
pub fn texts(
    model: &Model,
    prepared: &Prepared,
    examples: &[Example],
    max_new: usize,
    on_done: &mut dyn FnMut(usize),
) -> Result<Vec<String>> {
    let layout = prepared.layout()?;
    let mut prompts = Vec::new();
    for e in examples {
        let row = layout.prompt(e)?;
        let next_segment = row.segments.as_ref().and_then(|s| s.last().copied());
        prompts.push(Prompt {
            ids: row.ids,
            segments: row.segments,
            next_segment,
        });
    }
    let decoding = Decoding {
        max_new,
        eos: layout.eos(),
        batch: 64,
    };
    Ok(greedy(model, &prompts, decoding, on_done)?
        .iter()
        .map(|ids| layout.decode(ids).replace(['\n', '\r'], " "))
        .collect())
}

/// BLEU of texts against the examples' first three references, as the 2017 challenge computed it.
pub fn scores(texts: &[String], examples: &[Example]) -> Bleu {
    let mut sums = [Counts::default(); 3];
    let mut any = [false; 3];
    for (text, e) in texts.iter().zip(examples) {
        let counts = bleu_counts(text, e);
        for i in [if e.seen { 0 } else { 1 }, 2] {
            sums[i] += counts;
            any[i] = true;
        }
    }
    let score = |i: usize| any[i].then(|| sums[i].score().score);
    Bleu {
        seen: score(0),
        unseen: score(1),
        all: score(2),
    }
}

/// CoQA's exact match and F1 of answers, over all questions and for each domain.
///
/// # Errors
/// The lists differ in length.
pub fn coqa_scores(answers: &[String], examples: &[Example]) -> Result<Coqa> {
    let references: Vec<Vec<String>> = examples.iter().map(|e| e.references.clone()).collect();
    let domains: Vec<String> = examples.iter().map(|e| e.category.clone()).collect();
    Ok(coqa(answers, &references, &domains)?)
}

/// Summaries of the gates over some validation rows.
///
/// # Errors
/// Rows that do not fit the model.
pub fn gates(model: &Model, prepared: &Prepared) -> Result<Vec<LayerGates>> {
    let rows: Vec<&Encoded> = prepared.dev.iter().take(64).collect();
    let mut layers: Vec<Vec<Vec<f64>>> = Vec::new();
    for chunk in rows.chunks(32) {
        for (i, gate) in model.gates(&pack(chunk))?.iter().enumerate() {
            let values: Vec<Vec<f64>> = gate.to_dtype(DType::F64)?.t()?.to_vec2()?;
            if layers.len() <= i {
                layers.push(vec![Vec::new(); values.len()]);
            }
            for (all, new) in layers[i].iter_mut().zip(values) {
                all.extend(new);
            }
        }
    }
    Ok(layers
        .into_iter()
        .enumerate()
        .map(|(layer, heads)| summary(layer, &heads))
        .collect())
}

fn summary(layer: usize, heads: &[Vec<f64>]) -> LayerGates {
    let mut all: Vec<f64> = heads.concat();
    all.sort_by(f64::total_cmp);
    let count = all.len().max(1) as f64;
    let quantile = |q: f64| {
        all.get(((all.len().saturating_sub(1)) as f64 * q).round() as usize)
            .copied()
            .unwrap_or(f64::NAN)
    };
    let mut histogram = vec![0.0; 20];
    for x in &all {
        histogram[((x * 20.0) as usize).min(19)] += 1.0 / count;
    }
    LayerGates {
        layer,
        mean: all.iter().sum::<f64>() / count,
        quantiles: [0.05, 0.25, 0.5, 0.75, 0.95].map(quantile),
        histogram,
        heads: heads
            .iter()
            .map(|h| h.iter().sum::<f64>() / h.len().max(1) as f64)
            .collect(),
    }
}

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

/// The dropout rate that a backbone's `config.json` asks for (`resid_pdrop`, RoBERTa's `hidden_dropout_prob`; 0.1 when absent), as in
/// transformers.
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
        "{}: field `resid_pdrop` or `hidden_dropout_prob`: expected a number in [0, 1), found {rate}",
        path.display()
    );
    Ok(rate)
}

/// A named method for a run: its backbone by name, and LoRA's dropout at the run's rate (one switch for the paper's four places).
pub fn resolved(adapter: &AdapterConfig, backbone: &Path, rate: f64) -> AdapterConfig {
    let mut adapter = AdapterConfig {
        base_model_name_or_path: backbone.display().to_string(),
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
            let text =
                std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let before: RunConfig =
                serde_json::from_str(&text).with_context(|| path.display().to_string())?;
            if let Some(field) = difference(
                &serde_json::to_value(&before)?,
                &serde_json::to_value(config)?,
                "",
            ) {
                anyhow::bail!(
                    "{}: the directory holds another run: field `{field}` differs; give another --out or remove the directory",
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
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(Some(
            serde_json::from_str(&text).with_context(|| path.display().to_string())?,
        ))
    }
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

/// The backbone that a task needs: GPT-2 to generate, RoBERTa to classify; a RoBERTa without a head for this task gets one.
///
/// # Errors
/// A directory that cannot be read; a backbone of the other kind, or with another number of classes.
pub fn load(task: Task, dir: &Path, seed: u64, device: &Device) -> Result<Model> {
    let count = task.classes().len();
    let classes = (!task.generates()).then_some(count);
    let model = Model::load_for(dir, classes, seed, DType::F32, device)?;
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
    let special = prepared.task.special_tokens().len();
    let mut model = load(prepared.task, &config.backbone, config.train.seed, device)?;
    model.attach(&config.adapter, special, config.train.seed)?;
    let data = TaskData::new(prepared, config.batch_size, config.train.seed);
    let summary = train(&mut model, &data, &config.train, Some(dir), on_event)?;
    let (best_loss, best_step) = summary.best;
    if best_step != summary.steps && dir.join("best").exists() {
        model.attach_saved(&dir.join("best"))?;
    }
    let examples = test_examples(prepared, config.test_limit);
    let start = std::time::Instant::now();
    let mut accuracy = None;
    let outputs = if prepared.task.generates() {
        let limit = config.max_new_tokens;
        texts(&model, prepared, &examples, limit, &mut |_| {})?
    } else {
        let predicted = classes(&model, prepared, &examples)?;
        accuracy = Some(glue_scores(&predicted, &examples)?.overall);
        named(prepared.task, &predicted)
    };
    let decode_seconds = start.elapsed().as_secs_f64();
    let result = RunResult {
        bleu: match prepared.task {
            Task::WebNlg => scores(&outputs, &examples),
            _ => Bleu::default(),
        },
        coqa: match prepared.task {
            Task::Coqa => Some(coqa_scores(&outputs, &examples)?),
            _ => None,
        },
        accuracy,
        validation_loss: best_loss,
        best_step,
        last_validation_loss: summary.validation_loss,
        steps: summary.steps,
        tokens: summary.tokens,
        train_seconds: summary.seconds,
        decode_seconds,
        gates: gates(&model, prepared)?,
    };
    let mut lines = outputs.join("\n");
    lines.push('\n');
    write_atomic(&dir.join("outputs.txt"), lines.as_bytes())?;
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

/// A loss by step.
pub type Curve = Vec<(usize, f64)>;

/// Reads the curves of a run: training loss and validation loss by step.
///
/// # Errors
/// The file cannot be read.
pub fn curves(dir: &Path) -> Result<(Curve, Curve)> {
    let path = dir.join("metrics.jsonl");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let (mut train, mut validation) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let value: serde_json::Value =
            serde_json::from_str(line).with_context(|| path.display().to_string())?;
        let step = value["step"].as_u64().unwrap_or(0) as usize;
        if let Some(loss) = value["loss"].as_f64() {
            train.push((step, loss));
        }
        if let Some(loss) = value["validation_loss"].as_f64() {
            validation.push((step, loss));
        }
    }
    Ok((train, validation))
}
