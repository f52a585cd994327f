//! A run from its start to its score. It can be stopped at any moment and goes on where it stood.

use super::config::RunConfig;
use super::directory::RunDir;
use super::lock::Lock;
use super::prepared::{Prepared, TaskData, evenly};
use super::record::{Mechanism, RunResult, Scores, TrainingSummary};
use super::scores::{meteor_files, outputs};
use super::{card, mechanism, test_loss};
use crate::compute::Precision;
use crate::files;
use crate::memory::Memory;
use anyhow::{Result, ensure};
use candle_core::Device;
use inducer_datasets::batches::pack;
use inducer_datasets::{Encoded, Example};
use inducer_gpu::drift::Frozen;
use inducer_gpu::files::write_json;
use inducer_gpu::train::{Event, Summary, train};
use inducer_gpu::{AdapterConfig, BackboneConfig, Model};
use std::path::Path;
use std::time::Instant;

/// The file of an adapter's directory with the names of its classes, in the order of their ids; of
/// data of one's own, whose classes no task says.
pub const CLASSES: &str = "classes.json";

/// Validation rows on which the drift from the frozen model is measured.
const DRIFT_ROWS: usize = 16;

/// The backbone for a task; a RoBERTa without a head for so many classes gets one.
///
/// # Errors
/// A directory that cannot be read; a head with another number of classes.
pub fn load(
    classes: Option<usize>,
    dir: &Path,
    seed: u64,
    dtype: Precision,
    device: &Device,
) -> Result<Model> {
    let model = Model::load_for(dir, classes, seed, dtype.begin(), device)?;
    if let BackboneConfig::Roberta(c) = model.backbone.config() {
        let count = classes.unwrap_or(0);
        ensure!(
            c.classes() == count,
            "{}: the head has {} classes, the task has {count}",
            dir.display(),
            c.classes()
        );
    }
    Ok(model)
}

/// The model of a run before its first step, and the frozen one to measure its drift from.
fn start(config: &RunConfig, prepared: &Prepared, device: &Device) -> Result<(Model, Frozen)> {
    let seed = config.train.seed;
    let special = prepared.special;
    let mut model = load(
        prepared.head(),
        &config.backbone,
        seed,
        config.dtype,
        device,
    )?;
    model.attach(&AdapterConfig::none(), special, seed)?;
    let fixed: Vec<&Encoded> = prepared.dev.iter().take(DRIFT_ROWS).collect();
    let frozen = Frozen::of(&model, fixed.chunks(4).map(pack).collect())?;
    model.attach(&config.adapter, special, seed)?;
    Ok((model, frozen))
}

/// What a run is doing now.
pub enum Stage<'a> {
    /// Training.
    Training(&'a Event),
    /// So many texts are to be decoded.
    Decoding(usize),
    /// So many more are.
    Decoded(usize),
    /// Gates, lengths and scores are measured.
    Scoring,
}

/// A finished run.
#[derive(Debug)]
pub struct Made {
    /// What it found.
    pub result: RunResult,
    /// Whether it had been finished before, so that nothing was done now.
    pub before: bool,
}

/// Trains (or goes on), decodes, scores. A finished run is read, not repeated. With `longer`, one
/// of fewer steps goes on to the number that is asked for now.
///
/// # Errors
/// [`Busy`](super::lock::Busy) when another process makes this run; data that do not fit, files
/// that cannot be written, numbers that are not finite, a stop that was asked for.
pub fn execute_run(
    dir: &Path,
    config: &RunConfig,
    prepared: &Prepared,
    device: &Device,
    longer: bool,
    on_stage: &mut dyn FnMut(Stage<'_>),
) -> Result<Made> {
    let _lock = Lock::take(dir)?;
    let run = RunDir::open(dir, config, longer)?;
    if let Some(result) = run.result()? {
        let before = true;
        return Ok(Made { result, before });
    }
    let memory = Memory::here();
    let (mut model, frozen) = start(config, prepared, device)?;
    let data = TaskData::new(prepared, config.batch_size, config.train.seed, Some(frozen));
    let mut resumed = false;
    let summary = train(&mut model, &data, &config.train, Some(dir), &mut |e| {
        resumed |= matches!(e, Event::Resumed { .. });
        on_stage(Stage::Training(e));
    })?;
    let peak_bytes = memory.peak().filter(|_| !resumed);
    if summary.best.1 != summary.steps && dir.join("best").exists() {
        model.attach_saved(&dir.join("best"))?;
    }
    let result = RunResult {
        peak_bytes,
        ..score(dir, config, prepared, &mut model, &summary, on_stage)?
    };
    let card = card::text(config, &result, &model);
    for adapter in ["adapter", "best"].map(|name| dir.join(name)) {
        if adapter.exists() {
            files::write(&adapter.join("README.md"), &card)?;
            if !config.classes.is_empty() {
                write_json(&adapter.join(CLASSES), &config.classes)?;
            }
        }
    }
    write_json(&dir.join("result.json"), &result)?;
    let before = false;
    Ok(Made { result, before })
}

/// What a run found of which nothing was decoded.
fn unscored(training: TrainingSummary) -> RunResult {
    RunResult {
        scores: Scores::none(),
        training,
        test_loss: None,
        mechanism: Mechanism::default(),
        peak_bytes: None,
    }
}

/// Decodes the test part, writes the texts and scores them; a candidate is not scored, and a run of
/// `loss_only` by its loss alone.
fn score(
    dir: &Path,
    config: &RunConfig,
    prepared: &Prepared,
    model: &mut Model,
    summary: &Summary,
    on_stage: &mut dyn FnMut(Stage<'_>),
) -> Result<RunResult> {
    let training = TrainingSummary {
        validation_loss: summary.best.0,
        best_step: summary.best.1,
        last_validation_loss: summary.validation_loss,
        steps: summary.steps,
        tokens: summary.tokens,
        train_seconds: summary.seconds,
        decode_seconds: 0.0,
    };
    if config.is_candidate() {
        return Ok(unscored(training));
    }
    let examples = test_examples(prepared, config.test_limit);
    if config.loss_only {
        on_stage(Stage::Scoring);
        let losses = test_loss::measure(model, prepared, &examples)?;
        test_loss::keep(dir, &losses)?;
        return Ok(RunResult {
            test_loss: test_loss::mean(&losses),
            ..unscored(training)
        });
    }
    let device = model.device().clone();
    let untrained = || Ok(start(config, prepared, &device)?.0);
    let clock = Instant::now();
    on_stage(Stage::Decoding(examples.len()));
    let texts = outputs(
        model,
        prepared,
        &examples,
        config.max_new_tokens,
        &mut |n| {
            on_stage(Stage::Decoded(n));
        },
    )?;
    let decode_seconds = clock.elapsed().as_secs_f64();
    on_stage(Stage::Scoring);
    let losses = test_loss::measure(model, prepared, &examples)?;
    let result = RunResult {
        mechanism: mechanism::measure(model, prepared, &examples, &texts, untrained)?,
        scores: Scores::of(prepared, &texts, &examples, &meteor_files(None, None))?,
        training: TrainingSummary {
            decode_seconds,
            ..training
        },
        test_loss: test_loss::mean(&losses),
        peak_bytes: None,
    };
    test_loss::keep(dir, &losses)?;
    files::write(&dir.join("outputs.txt"), &(texts.join("\n") + "\n"))?;
    Ok(result)
}

/// The test examples that are scored: all, or an even choice of `limit` of them.
pub fn test_examples(prepared: &Prepared, limit: Option<usize>) -> Vec<Example> {
    let all = &prepared.splits.test;
    evenly(all, limit.unwrap_or(all.len())).cloned().collect()
}
