//! The training loop: a run is one directory, and a run that was stopped at any moment goes on
//! where its checkpoint stands.

use super::checkpoint::{self, Progress};
use super::config::TrainConfig;
use super::data::{Data, Stream, evaluate};
use super::divergence::{Place, strayed};
use super::log::{Line, Log};
use super::optimiser::{AdamW, Pending};
use super::stop;
use crate::error::{Error, Result};
use crate::files::create_dir;
use crate::gradients::Gradients;
use crate::model::{Loss, LossOptions, Model};
use crate::ops::dropout::{Dropout, mix};
use inducer_datasets::batch::Batch;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Instant;

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
    /// A validation loss lies far above the one before training.
    Strayed {
        /// After this step.
        step: usize,
        /// The loss.
        loss: f64,
        /// The loss before training.
        start: f64,
    },
}

/// Steps whose losses a device may still be computing while the host goes on: so many are read at
/// a time, and a loss that is not finite ends the run within as many steps.
const LOG_EVERY: usize = 10;

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

/// Trains the model's trainable tensors. With a directory, writes `metrics.jsonl`, `checkpoint/`,
/// `best/` and `adapter/` there and goes on from a checkpoint found there; without one, only the
/// model changes.
///
/// # Errors A setting out of its range; a loss, gradient or tensor that is not finite, of which
/// nothing is saved ([`Error::Diverged`]); [`Error::Stopped`] when the process was asked to
/// [`stop`]; data that do not fit; files that cannot be written.
pub fn train(
    model: &mut Model,
    data: &dyn Data,
    config: &TrainConfig,
    dir: Option<&Path>,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Summary> {
    config.check("training configuration".as_ref())?;
    let _section = stop::Section::enter();
    let mut run = Run::start(model, data, config, dir, on_event)?;
    if run.progress.step == 0 {
        run.progress.start = Some(run.measure()?.0);
    }
    while run.progress.step < config.steps && !run.progress.finished {
        run.step()?;
        let last = run.progress.step == config.steps;
        if last || run.progress.step.is_multiple_of(config.validate_every) {
            run.read_losses()?;
            run.validate()?;
        }
        run.progress.finished |= last;
        let stopped = stop::requested() && !run.progress.finished;
        run.save_checkpoint(stopped)?;
        if stopped {
            let (step, steps) = (run.progress.step, config.steps);
            return Err(Error::Stopped { step, steps });
        }
    }
    run.summary()
}

/// A run in progress.
struct Run<'a> {
    model: &'a mut Model,
    data: &'a dyn Data,
    config: &'a TrainConfig,
    dir: Option<&'a Path>,
    on_event: &'a mut dyn FnMut(&Event),
    stream: Stream<'a>,
    optimiser: AdamW,
    progress: Progress,
    log: Log,
    clock: Instant,
    /// Where the run stood when this process took it up.
    taken_up: Progress,
    /// Steps taken whose losses were not read.
    unread: Vec<Step>,
    validation_loss: Option<f64>,
}

/// A step that was taken.
struct Step {
    /// Its number, from 1.
    step: usize,
    learning_rate: f64,
    /// Tokens seen so far.
    tokens: u64,
    pending: Pending,
}

impl<'a> Run<'a> {
    /// Begins a run, or goes on from its checkpoint.
    fn start(
        model: &'a mut Model,
        data: &'a dyn Data,
        config: &'a TrainConfig,
        dir: Option<&'a Path>,
        on_event: &'a mut dyn FnMut(&Event),
    ) -> Result<Self> {
        dir.map_or(Ok(()), create_dir)?;
        model.cast_frozen_weights()?;
        let mut optimiser = AdamW::new(config.optimiser);
        let found = dir.map(|d| checkpoint::load(d, model, &mut optimiser));
        let found = found.transpose()?.flatten();
        if let Some(found) = &found {
            on_event(&Event::Resumed { step: found.step });
        }
        let log = Log::open(dir, found.as_ref().map(|f| f.step))?;
        let mut progress = found.unwrap_or_default();
        // a run may be given more steps than it was finished with
        progress.finished = progress.step > 0
            && (progress.step >= config.steps
                || config.patience.is_some_and(|p| progress.stale >= p));
        Ok(Self {
            stream: Stream::new(data)?,
            clock: Instant::now(),
            taken_up: progress.clone(),
            validation_loss: None,
            unread: Vec::new(),
            model,
            data,
            config,
            dir,
            on_event,
            optimiser,
            progress,
            log,
        })
    }

    /// One step of the optimiser.
    fn step(&mut self) -> Result<()> {
        let (config, step) = (self.config, self.progress.step);
        let (loss, gradients, tokens) = accumulate(self.model, &mut self.stream, config, step)?;
        let factor = config.schedule.factor(step, config.warmup, config.steps);
        let lr = config.learning_rate * factor;
        let parameters = self.model.trainable_mut();
        let pending = self
            .optimiser
            .clipped_step(parameters, &gradients, loss, lr, config.clip)?;
        self.progress.step += 1;
        self.progress.tokens += tokens;
        let wait = !pending.on_device();
        self.unread.push(Step {
            step: self.progress.step,
            learning_rate: lr,
            tokens: self.progress.tokens,
            pending,
        });
        if wait || self.unread.len() >= LOG_EVERY {
            self.read_losses()?;
        }
        Ok(())
    }

    /// Reads and logs the losses of the steps since the last time; a device that computes them is
    /// waited for.
    fn read_losses(&mut self) -> Result<()> {
        let unread = std::mem::take(&mut self.unread);
        let measured = unread
            .into_iter()
            .map(
                |Step {
                     pending,
                     step,
                     learning_rate,
                     tokens,
                 }| { Ok((step, learning_rate, tokens, pending.read()?)) },
            )
            .collect::<Result<Vec<_>>>()?;
        let elapsed = self.clock.elapsed().as_secs_f64();
        let before = self.progress.seconds;
        self.progress.seconds = self.taken_up.seconds + elapsed;
        let count = measured.len();
        for (i, (step, learning_rate, tokens, measured)) in measured.into_iter().enumerate() {
            self.place(step, learning_rate).step(measured)?;
            let share = (i + 1) as f64 / count as f64;
            self.log.line(&Line {
                step,
                loss: Some(measured.loss),
                learning_rate: Some(learning_rate),
                gradient_norm: Some(measured.norm),
                tokens: Some(tokens),
                // steps that were waited for together took as long each
                seconds: before + share * (self.progress.seconds - before),
                ..Line::default()
            })?;
            let seen = (tokens - self.taken_up.tokens) as f64;
            (self.on_event)(&Event::Step {
                step,
                loss: measured.loss,
                tokens_per_second: seen / elapsed.max(1e-9),
            });
        }
        Ok(())
    }

    /// Where the run stands, for what must be finite.
    fn place(&self, step: usize, learning_rate: f64) -> Place<'a> {
        Place {
            step,
            learning_rate,
            dir: self.dir,
        }
    }

    /// The same, behind the last step.
    fn here(&self) -> Place<'a> {
        let (config, step) = (self.config, self.progress.step);
        let last = step.saturating_sub(1);
        let factor = config.schedule.factor(last, config.warmup, config.steps);
        self.place(step, config.learning_rate * factor)
    }

    /// Validates, and keeps the adapter if it is the best so far.
    fn validate(&mut self) -> Result<()> {
        let (loss, score) = self.measure()?;
        self.here()
            .state(&self.model.trainable(), &self.optimiser)?;
        let progress = &mut self.progress;
        if let Some(start) = progress.start.filter(|start| strayed(loss, *start)) {
            let step = progress.step;
            (self.on_event)(&Event::Strayed { step, loss, start });
        }
        let better = match (score, progress.best_score) {
            (Some(score), Some(best)) => score > best,
            (Some(_), None) => true,
            (None, _) => progress.best.is_none_or(|(best, _)| loss < best),
        };
        if better {
            progress.best = Some((loss, progress.step));
            progress.best_score = score;
            progress.stale = 0;
            if let Some(dir) = self.dir {
                self.model.save_adapter(&dir.join("best"))?;
            }
        } else {
            progress.stale += 1;
            progress.finished |= self.config.patience.is_some_and(|p| progress.stale >= p);
        }
        Ok(())
    }

    /// Loss and score on the validation part, which it logs.
    fn measure(&mut self) -> Result<(f64, Option<f64>)> {
        let loss = evaluate(self.model, self.data.validation())?;
        let score = self.data.score(self.model)?;
        let step = self.progress.step;
        self.here().number("the validation loss", loss)?;
        score.map_or(Ok(()), |s| self.here().number("the validation score", s))?;
        self.validation_loss = Some(loss);
        self.log.line(&Line {
            step,
            validation_loss: Some(loss),
            validation_score: score,
            drift: self.data.drift(self.model)?,
            seconds: self.progress.seconds,
            ..Line::default()
        })?;
        (self.on_event)(&Event::Validation { step, loss });
        Ok((loss, score))
    }

    /// Writes a checkpoint when one is due or the run stops, and the adapter when it has ended.
    fn save_checkpoint(&mut self, stopped: bool) -> Result<()> {
        let progress = &self.progress;
        let due = progress.step.is_multiple_of(self.config.checkpoint_every);
        let due = due || stopped || progress.finished;
        let Some(dir) = self.dir.filter(|_| due) else {
            return Ok(());
        };
        self.read_losses()?;
        self.here()
            .state(&self.model.trainable(), &self.optimiser)?;
        let progress = &self.progress;
        if progress.finished {
            self.model.save_adapter(&dir.join("adapter"))?;
        }
        checkpoint::save(dir, self.model, &self.optimiser, progress)
    }

    fn summary(self) -> Result<Summary> {
        let validation_loss = match self.validation_loss {
            Some(loss) => loss,
            None => evaluate(self.model, self.data.validation())?,
        };
        let progress = self.progress;
        Ok(Summary {
            steps: progress.step,
            tokens: progress.tokens,
            seconds: progress.seconds,
            validation_loss,
            best: progress.best.unwrap_or((validation_loss, progress.step)),
        })
    }
}

/// Mean loss of one step's micro-batches and its gradients, and their tokens: the mean over all
/// labels, as of one large batch, or that of the micro-batches' means.
fn accumulate(
    model: &Model,
    stream: &mut Stream<'_>,
    config: &TrainConfig,
    step: usize,
) -> Result<(Loss, Gradients, u64)> {
    let k = config.accumulation.max(1);
    let batches: Vec<Batch> = (0..k).map(|j| stream.at(step * k + j).clone()).collect();
    let shares = shares(model, &batches, config.equal_micro_batches)?;
    let (mut total, mut sum, mut tokens) = (Loss::default(), Gradients::default(), 0);
    for (j, (batch, share)) in batches.iter().zip(shares).enumerate() {
        let key = mix(config.seed ^ mix((step * k + j) as u64));
        let options = LossOptions {
            smoothing: config.label_smoothing,
            dropout: Some(Dropout::new(config.dropout, key)),
        };
        let (loss, gradients) = model.loss_and_gradients(batch, options)?;
        total.add(share, loss);
        tokens += batch.tokens() as u64;
        sum.add_scaled(gradients, share)?;
        if config.clip_micro_batches {
            sum.clip(config.clip)?;
        }
    }
    Ok((total, sum, tokens))
}

/// What each micro-batch's mean weighs in the step's; together 1.
fn shares(model: &Model, batches: &[Batch], equal: bool) -> Result<Vec<f64>> {
    if equal || batches.len() == 1 {
        return Ok(vec![1.0 / batches.len() as f64; batches.len()]);
    }
    let labels = batches.iter().map(|batch| model.labelled(batch));
    let labels = labels.collect::<Result<Vec<_>>>()?;
    let all: usize = labels.iter().sum();
    Ok(labels
        .iter()
        .map(|n| *n as f64 / all.max(1) as f64)
        .collect())
}
