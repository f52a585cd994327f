//! The training loop: a run is one directory, and a run that was stopped at any moment goes on
//! where its checkpoint stands.

use super::checkpoint::{self, Progress};
use super::events::EventFile;
use super::optimiser::{AdamW, AdamWConfig, clip_factor, global_norm};
use super::schedule::Schedule;
use crate::error::{Error, Result};
use crate::kernels::inplace::add_block;
use crate::model::{LossOptions, Model};
use crate::ops::dropout::{Dropout, mix};
use crate::tape::Gradients;
use inducer_datasets::batch::Batch;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// How to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Seed of initial values, order and masks.
    pub seed: u64,
    /// Optimiser steps.
    pub steps: usize,
    /// Batches whose gradients are summed in one step.
    pub accumulation: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Warm-up steps.
    pub warmup: usize,
    /// After the warm-up.
    pub schedule: Schedule,
    /// Largest global norm of the gradient; none for no clipping.
    pub clip: Option<f64>,
    /// Clip after every micro-batch, as the authors' code does, and not once after accumulation.
    #[serde(default)]
    pub clip_micro_batches: bool,
    /// Label smoothing.
    pub label_smoothing: f64,
    /// Dropout rate at the paper's places.
    pub dropout: f64,
    /// AdamW.
    pub optimiser: AdamWConfig,
    /// Validate every so many steps (and at the end).
    pub validate_every: usize,
    /// Stop after so many validations without a new best.
    pub patience: Option<usize>,
    /// Save a checkpoint every so many steps (and at the end).
    pub checkpoint_every: usize,
}

impl TrainConfig {
    /// Section 6's settings for generation.
    pub fn generation(learning_rate: f64, steps: usize) -> Self {
        Self {
            seed: 1,
            steps,
            accumulation: 1,
            learning_rate,
            warmup: 500.min(steps / 6),
            schedule: Schedule::Linear,
            clip: Some(1.0),
            clip_micro_batches: false,
            label_smoothing: 0.1,
            dropout: 0.1,
            optimiser: AdamWConfig::default(),
            validate_every: (steps / 6).max(1),
            patience: Some(5),
            checkpoint_every: 50,
        }
    }
}

impl TrainConfig {
    /// Section 6's settings for classification: 6 % of the steps are warm-up.
    pub fn classification(learning_rate: f64, steps: usize) -> Self {
        Self {
            warmup: steps * 6 / 100,
            label_smoothing: 0.0,
            optimiser: AdamWConfig {
                beta1: 0.9,
                beta2: 0.98,
                eps: 1e-6,
                weight_decay: 0.1,
                coupled: false,
            },
            patience: None,
            ..Self::generation(learning_rate, steps)
        }
    }
}

/// Where batches come from.
pub trait Data {
    /// The batches of an epoch, the same ones whenever it is asked.
    fn epoch(&self, epoch: usize) -> Vec<Batch>;
    /// Validation batches.
    fn validation(&self) -> &[Batch];
    /// The task's own figure on the validation part, higher is better: what the best adapter is
    /// chosen by. `None`: by the loss.
    ///
    /// # Errors
    /// Rows that do not fit the model.
    fn score(&self, _model: &Model) -> Result<Option<f64>> {
        Ok(None)
    }
    /// How far the model has moved from the frozen one, where somebody wants to know; goes into
    /// `metrics.jsonl` and nowhere else.
    ///
    /// # Errors
    /// Rows that do not fit the model.
    fn drift(&self, _model: &Model) -> Result<Option<f64>> {
        Ok(None)
    }
}

/// What happened, for progress bars and tests.
#[derive(Clone, Debug)]
pub enum Event {
    /// A run goes on from a checkpoint.
    Resumed {
        /// Steps done.
        step: usize,
    },
    /// A step was taken.
    Step {
        /// Its number, from 1.
        step: usize,
        /// Training loss, smoothing included.
        loss: f64,
        /// Tokens a second over the run.
        tokens_per_second: f64,
    },
    /// A validation was made.
    Validation {
        /// After this step.
        step: usize,
        /// Loss without smoothing and dropout.
        loss: f64,
    },
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Steps done.
    pub steps: usize,
    /// Tokens seen.
    pub tokens: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Validation loss at the end.
    pub validation_loss: f64,
    /// Validation loss of the best adapter and its step.
    pub best: (f64, usize),
}

/// Mean loss over all labelled positions of the batches, without smoothing and dropout.
///
/// # Errors
/// As [`Model::loss`]; no batch.
pub fn evaluate(model: &Model, batches: &[Batch]) -> Result<f64> {
    let (mut total, mut count) = (0.0, 0);
    for b in batches {
        let n = model.labelled(b)?;
        total += model.loss(b, LossOptions::PLAIN)? * n as f64;
        count += n;
    }
    if count == 0 {
        return Err(Error::Batch("no validation data".into()));
    }
    Ok(total / count as f64)
}

/// One line of `metrics.jsonl`.
#[derive(Serialize, Deserialize)]
struct Line {
    step: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    learning_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gradient_norm: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_loss: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    validation_score: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drift: Option<f64>,
    seconds: f64,
}

/// `metrics.jsonl`, cut back to the checkpoint when a run goes on, and the same numbers for
/// TensorBoard.
struct Log(Option<Files>);

struct Files {
    metrics: std::fs::File,
    path: std::path::PathBuf,
    events: EventFile,
    /// When the run began, in seconds since 1970, as if it had never stopped.
    begin: f64,
}

impl Log {
    /// `resumed` is the step of the checkpoint that the run goes on from; without one nothing that
    /// stands there counts.
    fn open(dir: Option<&Path>, resumed: Option<usize>) -> Result<Self> {
        let Some(dir) = dir else {
            return Ok(Self(None));
        };
        let path = dir.join("metrics.jsonl");
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let kept: Vec<(&str, Line)> = before
            .lines()
            .filter_map(|text| Some((text, serde_json::from_str::<Line>(text).ok()?)))
            .filter(|(_, line)| resumed.is_some_and(|step| line.step <= step))
            .collect();
        let text: String = kept.iter().map(|(text, _)| format!("{text}\n")).collect();
        crate::model::write(&path, text.as_bytes())?;
        let metrics = std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(|e| Error::io(&path, e))?;
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0.0, |d| d.as_secs_f64());
        let mut files = Files {
            metrics,
            path,
            events: EventFile::create(&dir.join("tensorboard/events.out.tfevents.0"))?,
            begin: now - kept.last().map_or(0.0, |(_, line)| line.seconds),
        };
        for (_, line) in &kept {
            files.event(line)?;
        }
        Ok(Self(Some(files)))
    }

    fn line(&mut self, line: &Line) -> Result<()> {
        let Some(files) = &mut self.0 else {
            return Ok(());
        };
        let mut text = serde_json::to_string(line).map_err(|e| Error::Json {
            path: files.path.clone(),
            message: e.to_string(),
        })?;
        text.push('\n');
        files
            .metrics
            .write_all(text.as_bytes())
            .map_err(|e| Error::io(&files.path, e))?;
        files.event(line)
    }
}

impl Files {
    fn event(&mut self, line: &Line) -> Result<()> {
        let values: Vec<(&str, f64)> = [
            ("loss/train", line.loss),
            ("loss/validation", line.validation_loss),
            ("score/validation", line.validation_score),
            ("drift", line.drift),
            ("learning_rate", line.learning_rate),
            ("gradient_norm", line.gradient_norm),
        ]
        .into_iter()
        .filter_map(|(tag, value)| Some((tag, value?)))
        .collect();
        self.events
            .scalars(line.step, self.begin + line.seconds, &values)
    }
}

/// The place of a micro-batch in the endless row of epochs.
struct Stream<'a> {
    data: &'a dyn Data,
    per_epoch: usize,
    epoch: Option<usize>,
    batches: Vec<Batch>,
}

impl<'a> Stream<'a> {
    fn new(data: &'a dyn Data) -> Result<Self> {
        let batches = data.epoch(0);
        if batches.is_empty() {
            return Err(Error::Batch("no training data".into()));
        }
        Ok(Self {
            data,
            per_epoch: batches.len(),
            epoch: Some(0),
            batches,
        })
    }

    fn at(&mut self, index: usize) -> &Batch {
        let epoch = index / self.per_epoch;
        if self.epoch != Some(epoch) {
            self.batches = self.data.epoch(epoch);
            self.epoch = Some(epoch);
        }
        &self.batches[index % self.per_epoch]
    }
}

/// Trains the model's trainable tensors. With a directory, writes `metrics.jsonl`, `checkpoint/`,
/// `best/` and `adapter/` there and goes on from a checkpoint found there; without one, only the
/// model changes.
///
/// # Errors
/// A loss that is not finite (the last checkpoint is kept), data that do not fit, files that cannot
/// be written.
pub fn train(
    model: &mut Model,
    data: &dyn Data,
    config: &TrainConfig,
    dir: Option<&Path>,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Summary> {
    if let Some(dir) = dir {
        std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
    }
    model.settle()?;
    let mut optimiser = AdamW::new(config.optimiser);
    let mut progress = Progress::default();
    let mut resumed = None;
    if let Some(found) = dir
        .map(|d| checkpoint::load(d, model, &mut optimiser))
        .transpose()?
        .flatten()
    {
        on_event(&Event::Resumed { step: found.step });
        resumed = Some(found.step);
        progress = found;
    }
    let mut log = Log::open(dir, resumed)?;
    let mut stream = Stream::new(data)?;
    let (before, start) = (progress.seconds, Instant::now());
    let first = progress.tokens;
    let mut last_validation = None;
    if progress.step == 0 {
        let loss = evaluate(model, data.validation())?;
        on_event(&Event::Validation { step: 0, loss });
        log.line(&Line {
            step: 0,
            loss: None,
            learning_rate: None,
            gradient_norm: None,
            tokens: None,
            validation_loss: Some(loss),
            validation_score: data.score(model)?,
            drift: data.drift(model)?,
            seconds: 0.0,
        })?;
        last_validation = Some(loss);
    }
    while progress.step < config.steps && !progress.finished {
        let (loss, gradients, tokens) = accumulate(model, &mut stream, config, progress.step)?;
        let norm = global_norm(&gradients)?;
        if !loss.is_finite() || !norm.is_finite() {
            let checkpoint = dir.map_or_else(Default::default, |d| d.join(checkpoint::FILE));
            return Err(Error::Diverged {
                step: progress.step + 1,
                loss,
                checkpoint,
            });
        }
        let scale = clip_factor(norm, config.clip);
        let lr = config.learning_rate
            * config
                .schedule
                .factor(progress.step, config.warmup, config.steps);
        optimiser.step(model.trainable_mut(), &gradients, lr, scale)?;
        progress.step += 1;
        progress.tokens += tokens;
        progress.seconds = before + start.elapsed().as_secs_f64();
        log.line(&Line {
            step: progress.step,
            loss: Some(loss),
            learning_rate: Some(lr),
            gradient_norm: Some(norm),
            tokens: Some(progress.tokens),
            validation_loss: None,
            validation_score: None,
            drift: None,
            seconds: progress.seconds,
        })?;
        let rate = (progress.tokens - first) as f64 / start.elapsed().as_secs_f64().max(1e-9);
        on_event(&Event::Step {
            step: progress.step,
            loss,
            tokens_per_second: rate,
        });
        let last = progress.step == config.steps;
        if last || progress.step.is_multiple_of(config.validate_every) {
            let loss = validate(model, data, config, dir, &mut progress, &mut log)?;
            last_validation = Some(loss);
            on_event(&Event::Validation {
                step: progress.step,
                loss,
            });
        }
        progress.finished |= last;
        if let Some(dir) = dir
            && (progress.finished || progress.step.is_multiple_of(config.checkpoint_every))
        {
            if progress.finished {
                model.save_adapter(&dir.join("adapter"))?;
            }
            checkpoint::save(dir, model, &optimiser, &progress)?;
        }
    }
    let validation_loss = match last_validation {
        Some(loss) => loss,
        None => evaluate(model, data.validation())?,
    };
    let best = progress.best.unwrap_or((validation_loss, progress.step));
    Ok(Summary {
        steps: progress.step,
        tokens: progress.tokens,
        seconds: progress.seconds,
        validation_loss,
        best,
    })
}

fn validate(
    model: &Model,
    data: &dyn Data,
    config: &TrainConfig,
    dir: Option<&Path>,
    progress: &mut Progress,
    log: &mut Log,
) -> Result<f64> {
    let loss = evaluate(model, data.validation())?;
    let score = data.score(model)?;
    log.line(&Line {
        step: progress.step,
        loss: None,
        learning_rate: None,
        gradient_norm: None,
        tokens: None,
        validation_loss: Some(loss),
        validation_score: score,
        drift: data.drift(model)?,
        seconds: progress.seconds,
    })?;
    let better = match (score, progress.best_score) {
        (Some(score), Some(best)) => score > best,
        (Some(_), None) => true,
        (None, _) => progress.best.is_none_or(|(best, _)| loss < best),
    };
    if better {
        progress.best = Some((loss, progress.step));
        progress.best_score = score;
        progress.stale = 0;
        if let Some(dir) = dir {
            model.save_adapter(&dir.join("best"))?;
        }
    } else {
        progress.stale += 1;
        progress.finished |= config.patience.is_some_and(|p| progress.stale >= p);
    }
    Ok(loss)
}

/// Mean loss and summed gradients of one step's micro-batches, and their tokens.
fn accumulate(
    model: &Model,
    stream: &mut Stream<'_>,
    config: &TrainConfig,
    step: usize,
) -> Result<(f64, Gradients, u64)> {
    let k = config.accumulation.max(1);
    let (mut total, mut sum, mut tokens) = (0.0, Gradients::new(), 0);
    for j in 0..k {
        let index = step * k + j;
        let key = mix(config.seed ^ mix(index as u64));
        let batch = stream.at(index);
        let (loss, gradients) = model.gradients(
            batch,
            LossOptions {
                smoothing: config.label_smoothing,
                dropout: Some(Dropout {
                    rate: config.dropout,
                    key,
                }),
            },
        )?;
        total += loss / k as f64;
        tokens += batch.tokens() as u64;
        for (name, g) in gradients {
            let g = if k == 1 { g } else { (g / k as f64)? };
            let g = match sum.remove(&name) {
                Some(before) => add_block(before, &g, 0)?,
                None => g,
            };
            sum.insert(name, g);
        }
        if config.clip_micro_batches {
            let factor = clip_factor(global_norm(&sum)?, config.clip);
            if factor < 1.0 {
                for g in sum.values_mut() {
                    *g = (&*g * factor)?;
                }
            }
        }
    }
    Ok((total, sum, tokens))
}
