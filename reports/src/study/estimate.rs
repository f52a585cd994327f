//! How long the runs of a study will take here, from measured steps.

use super::plan::{Part, Plan};
use super::planned::Planned;
use super::schedule::Workers;
use crate::compute;
use crate::run::directory::is_finished;
use crate::run::{TaskData, load, outputs, test_examples};
use anyhow::{Context, Result};
use candle_core::Device;
use inducer_gpu::LossOptions;
use inducer_gpu::ops::dropout::Dropout;
use inducer_gpu::train::{AdamW, Data};
use std::time::Instant;

/// Steps that are timed, after one that is not.
const TIMED: usize = 2;

/// Test entries that are decoded for the estimate.
const DECODED: usize = 16;

/// What one run takes.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    /// Seconds of a step on rows of the usual length.
    pub step: f64,
    /// Seconds of all steps.
    pub training: f64,
    /// Seconds of decoding the test entries.
    pub decoding: f64,
}

/// Of the runs with these numbers, from 0, those that are not finished.
///
/// # Errors
/// A directory that holds another run, or files that cannot be read.
pub fn unfinished<'a>(plan: &'a Plan, numbers: &[usize]) -> Result<Vec<(&'a Planned, &'a Part)>> {
    let (all, mut left) = (plan.runs(), Vec::new());
    for (run, part) in numbers.iter().map(|i| all[*i]) {
        // a run whose learning rate is still to be chosen has not begun
        if part.is_open(run) || !is_finished(&run.dir, &run.config)? {
            left.push((run, part));
        }
    }
    Ok(left)
}

/// The estimate of each method's first run among these, by the method's name, and the seconds that
/// all of them take.
///
/// # Errors
/// A run that could not begin.
pub fn estimate(
    runs: &[(&Planned, &Part)],
    workers: Workers<'_>,
) -> Result<(Vec<(String, Estimate)>, f64)> {
    let (mut known, mut total): (Vec<(String, Estimate)>, f64) = (Vec::new(), 0.0);
    for (planned, part) in runs {
        let name = planned.name();
        let found = known.iter().find(|(n, _)| *n == name).map(|(_, e)| *e);
        let one = match found {
            Some(one) => one,
            None => {
                let pool = compute::pool(workers.threads_each())?;
                let one = pool
                    .install(|| measured(planned, part, workers.device))
                    .context(name.clone())?;
                known.push((name, one));
                one
            }
        };
        total += one.training + one.decoding;
    }
    Ok((known, total / workers.at_once as f64))
}

/// The steps and the decoding of one run, a few of them.
fn measured(planned: &Planned, part: &Part, device: &Device) -> Result<Estimate> {
    let (config, prepared) = (&planned.config, &part.prepared);
    let seed = config.train.seed;
    let mut model = load(
        prepared.head(),
        &config.backbone,
        seed,
        config.dtype,
        device,
    )?;
    model.attach(&config.adapter, prepared.special, seed)?;
    let mut step = 0.0;
    if config.train.steps > 0 {
        model.cast_frozen_weights()?;
        let mut batches = TaskData::new(prepared, config.batch_size, seed, None).epoch(0);
        batches.sort_by_key(|b| b.tokens());
        let batch = &batches[batches.len() / 2];
        let mut optimiser = AdamW::new(config.train.optimiser);
        let mut take = || -> Result<f64> {
            let start = Instant::now();
            let options = LossOptions {
                smoothing: config.train.label_smoothing,
                dropout: Some(Dropout::new(config.train.dropout, seed)),
            };
            let (loss, gradients) = model.loss_and_gradients(batch, options)?;
            let (trained, clip) = (model.trainable_mut(), config.train.clip);
            optimiser
                .clipped_step(trained, &gradients, loss, 0.0, clip)?
                .read()?;
            Ok(start.elapsed().as_secs_f64())
        };
        take()?;
        for _ in 0..TIMED {
            step += take()? / TIMED as f64;
        }
    }
    let examples = test_examples(prepared, config.test_limit);
    let some = test_examples(prepared, Some(DECODED.min(examples.len())));
    let start = Instant::now();
    outputs(&model, prepared, &some, config.max_new_tokens, &mut |_| {})?;
    let share = examples.len() as f64 / some.len().max(1) as f64;
    Ok(Estimate {
        step,
        training: step * (config.train.steps * config.train.accumulation) as f64,
        decoding: start.elapsed().as_secs_f64() * share,
    })
}
