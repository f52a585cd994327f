//! The settings of a training run.

use super::optimiser::AdamWConfig;
use super::schedule::Schedule;
use crate::error::{Error, Result};
use crate::ranges as r;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Seed of initial values, order and masks.
    pub seed: u64,
    /// Optimiser steps.
    pub steps: usize,
    /// Batches whose gradients make one step.
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
    /// The micro-batches of a step weigh alike, as in the authors' code, however many labels each
    /// has. Otherwise each weighs as many labels as it has, so that a step is that of one large
    /// batch.
    #[serde(default)]
    pub equal_micro_batches: bool,
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
    /// Checks every field against its range, and those that go together; errors name `path`.
    ///
    /// # Errors
    /// The field, what it should be, and what it is.
    pub fn check(&self, path: &Path) -> Result<()> {
        let refuse = |field: &str, message| Err(Error::config(path, field, message));
        let (steps, o) = (self.steps, &self.optimiser);
        let patience = self.patience.map(|n| n as f64);
        for (field, range, value) in [
            ("accumulation", r::BATCH, Some(self.accumulation as f64)),
            ("learning_rate", r::LEARNING_RATE, Some(self.learning_rate)),
            ("clip", r::POSITIVE, self.clip),
            ("label_smoothing", r::SMOOTHING, Some(self.label_smoothing)),
            ("dropout", r::DROPOUT, Some(self.dropout)),
            ("optimiser.beta1", r::BETA, Some(o.beta1)),
            ("optimiser.beta2", r::BETA, Some(o.beta2)),
            ("optimiser.eps", r::EPS, Some(o.eps)),
            (
                "optimiser.weight_decay",
                r::WEIGHT_DECAY,
                Some(o.weight_decay),
            ),
            ("validate_every", r::EVERY, Some(self.validate_every as f64)),
            ("patience", r::PATIENCE, patience),
            (
                "checkpoint_every",
                r::EVERY,
                Some(self.checkpoint_every as f64),
            ),
        ] {
            if let Some(Err(message)) = value.map(|x| range.check(x)) {
                return refuse(field, message);
            }
        }
        if let Schedule::Polynomial { power, end } = self.schedule {
            let found = r::POSITIVE.check(power).and_then(|_| r::SHARE.check(end));
            found.or_else(|message| refuse("schedule", message).map(|()| 0.0))?;
        }
        if steps > 0 && self.warmup > steps {
            let found = format!("expected at most the {steps} steps, found {}", self.warmup);
            return refuse("warmup", found);
        }
        Ok(())
    }

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
            equal_micro_batches: false,
            label_smoothing: 0.1,
            dropout: 0.1,
            optimiser: AdamWConfig::default(),
            validate_every: (steps / 6).max(1),
            patience: Some(5),
            checkpoint_every: 50,
        }
    }

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
