//! Which adapter a run keeps and when it ends: the validation's mean, the best by a strict
//! comparison, patience, and all of it after a stop.
//!
//! ```text
//! validation   Σ_b n_b loss_b / Σ_b n_b over the labels of all validation batches
//! best         the first of the greatest scores; without scores the first of the least losses
//! end          after `patience` validations in a row that are no new best, or the last step
//! ```

use super::dropout::with_segments_everywhere_or_nowhere;
use super::training::copy;
use crate::bounds::{DEVIATIONS, SLACK, UNIT_ROUNDOFF_F64, record};
use crate::cases::{Corner, Family, ModelCase, gpt2, roberta};
use crate::engines::candle::batch;
use crate::engines::specification::no_label;
use crate::engines::{Candle, Paper, Specification, candles};
use crate::{Case, Claim, Engine, Present, Result, Tolerance};
use inducer_datasets::batch::Batch;
use inducer_gpu::Model;
use inducer_gpu::train::{Data, Event, Summary, TrainConfig, train};
use std::cell::Cell;
use std::path::Path;

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    let mean = |id, family: Family| {
        let claim = Claim::new(id).about(family).one_case_in(16).at_least(8);
        claim.on_each(candles(present), mean_of_all)
    };
    // few cases have a new best between two validations that are none
    let share = |id, family: Family| Claim::new(id).about(family).one_case_in(8).at_least(24);
    let host = || vec![Box::new(Candle::cpu_f64()), Box::new(Candle::cpu_f32())];
    vec![
        mean("validation-mean", gpt2),
        mean("roberta-validation-mean", roberta),
        share("best-and-patience", gpt2)
            .on_each_one_sided(host(), |e, case| chosen(e, case, false)),
        share("roberta-best-and-patience", roberta)
            .on_each_one_sided(host(), |e, case| chosen(e, case, false)),
        share("best-and-patience-resumed", gpt2)
            .on_each_one_sided(host(), |e, case| chosen(e, case, true)),
        share("roberta-best-and-patience-resumed", roberta)
            .on_each_one_sided(host(), |e, case| chosen(e, case, true)),
    ]
}

/// The loss over a validation part of several batches is the mean over all of their labels. In the
/// control it is the mean of the batches' means.
fn mean_of_all(engine: &Candle, case: &mut Case) -> Result<()> {
    case.draw.force(Corner::Plain);
    let mut model = ModelCase::random(&mut case.draw, case.family)?;
    model.round(|x| engine.representable(x));
    let short = model.rows[..1].to_vec();
    let mut long = model.more_rows(&mut case.draw);
    long.extend(model.more_rows(&mut case.draw));
    model.rows = [short, long].concat();
    with_segments_everywhere_or_nowhere(&mut model);
    let (short, long) = (
        model.on(model.rows[..1].to_vec()),
        model.on(model.rows[1..].to_vec()),
    );
    let built = engine.model(&model)?;
    let found = inducer_gpu::train::evaluate(&built, &[batch(&short), batch(&long)])?;
    let plain = |case: &ModelCase| -> Result<(f64, f64)> {
        let (loss, trace) = record(|| {
            let case = ModelCase {
                smoothing: 0.0,
                ..case.clone()
            };
            Paper::computed_in::<crate::bounds::Traced>(&case)?
                .loss
                .ok_or_else(no_label)
        });
        let loss = loss?;
        Ok((loss.value(), trace.spreads(&[loss])[0]))
    };
    let (expected, spread) = match case.control {
        false => plain(&model)?,
        true => {
            let (a, b) = (plain(&short)?, plain(&long)?);
            (0.5 * (a.0 + b.0), a.1.hypot(b.1))
        }
    };
    let u = engine.roundoff() + UNIT_ROUNDOFF_F64;
    let bound = SLACK * DEVIATIONS * u * spread + 2.0 * u * expected.abs();
    let tolerance = Tolerance::stated(bound, "2 u 8 √Σ(∂y/∂z M)² + 2 u |L|");
    let describe = model.describe();
    case.close(found, expected, &tolerance, || {
        format!("{describe}: validation loss")
    });
    Ok(())
}

/// One batch an epoch, and scores that were written down before.
struct Scripted {
    batches: Vec<Batch>,
    /// Of the validation before training and of each after it; none: the loss decides.
    scores: Option<Vec<f64>>,
    next: Cell<usize>,
}

impl Data for Scripted {
    fn epoch(&self, _: usize) -> Vec<Batch> {
        self.batches.clone()
    }

    fn validation(&self) -> &[Batch] {
        &self.batches
    }

    fn score(&self, _: &Model) -> inducer_gpu::Result<Option<f64>> {
        let at = self.next.replace(self.next.get() + 1);
        Ok(self.scores.as_ref().map(|scores| scores[at]))
    }
}

/// What a run says of itself.
struct Ran {
    summary: Summary,
    /// Step and loss of each validation after the first step.
    validations: Vec<(usize, f64)>,
}

/// Best and end of a run by the formula: (step of the best, its loss, steps).
fn formula(
    ran: &[(usize, f64)],
    scores: Option<&[f64]>,
    config: &TrainConfig,
    strict: bool,
) -> (usize, f64, usize) {
    let (mut best, mut stale): (Option<(f64, f64, usize)>, usize) = (None, 0);
    for (i, (step, loss)) in ran.iter().enumerate() {
        let figure = scores.map_or(-loss, |scores| scores[i + 1]);
        let better = best.is_none_or(|(top, ..)| figure > top || (!strict && figure == top));
        match better {
            true => (best, stale) = (Some((figure, *loss, *step)), 0),
            false => stale += 1,
        }
        if config.patience == Some(stale) || *step == config.steps {
            let (_, loss, at) = best.unwrap_or((0.0, f64::NAN, 0));
            return (at, loss, *step);
        }
    }
    let (_, loss, at) = best.unwrap_or((0.0, f64::NAN, 0));
    // nothing has ended the run yet: it goes on to the next validation
    let last = ran.last().map_or(0, |(step, _)| *step);
    (at, loss, last + config.validate_every)
}

/// Best adapter and end of a run are the formula's, with scores that are tied, with losses, and
/// with steps too small to change a loss; after a stop at any checkpoint too. In the control a tie
/// counts as a new best.
fn chosen(engine: &Candle, case: &mut Case, stop: bool) -> Result<()> {
    case.draw.force(Corner::Plain);
    let model = ModelCase::trainable(&mut case.draw, case.family)?;
    let mut config = TrainConfig::generation(case.draw.pick(&[0.5, 1e-30]), 12);
    config.warmup = 0;
    config.dropout = 0.0;
    config.seed = case.draw.bits();
    config.validate_every = case.draw.size(1, 3);
    config.patience = Some(case.draw.size(1, 3));
    config.checkpoint_every = if stop { 1 } else { 1000 };
    let still = config.learning_rate < 1e-20;
    let scores = (!still && case.draw.chance(0.7)).then(|| {
        let any = (0..20).map(|_| case.draw.size(1, 3) as f64);
        any.collect::<Vec<f64>>()
    });
    let data = |from: usize| Scripted {
        batches: vec![batch(&model)],
        scores: scores.clone(),
        next: Cell::new(from),
    };
    let (whole, rest) = (crate::scratch::folder()?, crate::scratch::folder()?);
    let at = case.draw.size(1, 6);
    let ran = run(
        engine,
        &model,
        &data(0),
        &config,
        whole.path(),
        stop.then_some((at, rest.path())),
    )?;
    let taken = rest.path().join("checkpoint").exists();
    let scores = scores.as_deref();
    for (i, (step, _)) in ran.validations.iter().enumerate() {
        let due = (config.validate_every * (i + 1)).min(config.steps);
        case.same(*step, due, || format!("validation {i}"));
    }
    let (best, loss, steps) = formula(&ran.validations, scores, &config, !case.control);
    let found = match stop && taken {
        false => ran,
        true => {
            let made = ran.validations.iter().take_while(|(step, _)| *step <= at);
            let before: Vec<(usize, f64)> = made.copied().collect();
            let data = data(1 + before.len());
            let mut again = run(engine, &model, &data, &config, rest.path(), None)?;
            again.validations = [before, again.validations].concat();
            again
        }
    };
    let describe = format!(
        "{}, patience {:?}, every {}, scores {scores:?}",
        model.describe(),
        config.patience,
        config.validate_every
    );
    case.same(found.summary.best.1, best, || {
        format!("{describe}: step of the best")
    });
    case.same(found.summary.steps, steps, || format!("{describe}: steps"));
    case.same(found.summary.best.0, loss, || {
        format!("{describe}: loss of the best")
    });
    if stop {
        // where it had ended, by its last step or by patience, it stays
        let again = run(engine, &model, &data(0), &config, whole.path(), None)?;
        case.same(again.summary.steps, steps, || {
            format!("{describe}: steps of a run that had ended and was begun again")
        });
        case.same(again.summary.best.1, best, || {
            format!("{describe}: step of the best of a run that was begun again")
        });
    }
    Ok(())
}

/// Trains in a directory, and copies the checkpoint of a step to another one.
fn run(
    engine: &Candle,
    model: &ModelCase,
    data: &Scripted,
    config: &TrainConfig,
    dir: &Path,
    stop: Option<(usize, &Path)>,
) -> Result<Ran> {
    let mut built = engine.model(model)?;
    let (mut validations, mut copied) = (Vec::new(), Ok(()));
    let summary = train(
        &mut built,
        data,
        config,
        Some(dir),
        &mut |event| match event {
            Event::Validation { step, loss } if *step > 0 => validations.push((*step, *loss)),
            Event::Step { step, .. } => {
                if let Some((_, to)) = stop.filter(|(at, _)| at + 1 == *step) {
                    copied = copy(&dir.join("checkpoint"), &to.join("checkpoint"));
                }
            }
            _ => {}
        },
    )?;
    copied?;
    Ok(Ran {
        summary,
        validations,
    })
}
