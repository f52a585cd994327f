//! Where the authors' training departs from the paper's settings, on the engine: clipping within a
//! step, rows padded to the longest.
//!
//! ```text
//! once a step       c Σ_k g_k,                 c = min(1, C/‖Σ_k g_k‖)
//! the authors'      Σ_k (Π_{j ≥ k} c_j) g_k,   c_j = min(1, C/‖P_j‖),  P_j = c_{j−1} P_{j−1} + g_j
//! ```
//!
//! The difference is Σ_k (Π_{j ≥ k} c_j − c) g_k: early micro-batches count less, unless no partial
//! sum exceeds C.

use super::agreement::compare;
use crate::cases::{Corner, ModelCase, gpt2};
use crate::engines::candle::batch;
use crate::engines::{Candle, Paper, Specification, candles, engines};
use crate::{Case, Claim, Engine, Present, Result, Tolerance};
use inducer_datasets::batch::Batch;
use inducer_gpu::Method;
use inducer_gpu::train::{AdamWConfig, Data, TrainConfig, train};
use inducer_reference::TensorMap;
use inducer_reference::files::tensors::read_tensors;
use std::path::Path;

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    vec![
        Claim::new("authors-clipping")
            .one_case_in(32)
            .at_least(12)
            .on_each_one_sided(candles(present), clipped),
        Claim::new("authors-longest-row")
            .one_case_in(8)
            .at_least(13)
            .on_each_one_sided(engines(present), padded),
    ]
}

/// The micro-batches of one step.
struct Micro(Vec<Batch>);

impl Data for Micro {
    fn epoch(&self, _: usize) -> Vec<Batch> {
        self.0.clone()
    }

    fn validation(&self) -> &[Batch] {
        &self.0[..1]
    }
}

/// One step on so many micro-batches, without dropout and smoothing.
fn step(micro_batches: usize, limit: f64, each: bool) -> TrainConfig {
    TrainConfig {
        accumulation: micro_batches,
        clip: Some(limit),
        clip_micro_batches: each,
        equal_micro_batches: true,
        label_smoothing: 0.0,
        dropout: 0.0,
        warmup: 0,
        checkpoint_every: 1,
        ..TrainConfig::generation(1e-3, 1)
    }
}

/// The gradient that reached the optimiser in the first step: its first moment over 1 − β₁.
fn used(dir: &Path) -> Result<TensorMap<f64>> {
    let state = read_tensors::<f64>(&dir.join("checkpoint/state.safetensors"), |name| {
        !name.starts_with("first.")
    })?;
    let share = 1.0 - AdamWConfig::default().beta1;
    Ok(state
        .into_iter()
        .filter_map(|(name, m)| {
            let name = name.strip_prefix("first.")?.to_owned();
            Some((name, m.mapv(|m| m / share)))
        })
        .collect())
}

fn norm(gradient: &TensorMap<f64>) -> f64 {
    gradient
        .values()
        .flatten()
        .map(|g| g * g)
        .sum::<f64>()
        .sqrt()
}

/// Σ of both, times a factor each.
fn sum(a: f64, x: &TensorMap<f64>, b: f64, y: &TensorMap<f64>) -> TensorMap<f64> {
    x.iter()
        .map(|(name, x)| (name.clone(), x * a + &y[name] * b))
        .collect()
}

/// The formulas of the module's text.
fn expected(gradients: &[TensorMap<f64>], limit: f64, each: bool) -> TensorMap<f64> {
    let factor = |x: &TensorMap<f64>| (limit / norm(x)).min(1.0);
    let mut partial = sum(0.0, &gradients[0], 0.0, &gradients[0]);
    for g in gradients {
        partial = sum(1.0, &partial, 1.0, g);
        if each {
            partial = sum(factor(&partial), &partial, 0.0, &partial);
        }
    }
    sum(factor(&partial), &partial, 0.0, &partial)
}

/// Both ways of clipping give what their formula says; in the control each is held against the
/// other's.
fn clipped(engine: &Candle, case: &mut Case) -> Result<()> {
    case.draw.force(Corner::Plain);
    let methods = [Method::Inducer, Method::InducerLora, Method::MamInducer];
    let which = *case.draw.in_turn(&methods);
    let mut given = ModelCase::with(&mut case.draw, gpt2, which)?;
    given.smoothing = 0.0;
    let count = case.draw.size(2, 4);
    let micro: Vec<_> = (0..count)
        .map(|_| given.on(given.more_rows(&mut case.draw)))
        .collect();
    let gradients: Vec<TensorMap<f64>> = micro
        .iter()
        .map(|given| {
            let g = engine.gradients(given)?;
            Ok(g.into_iter()
                .map(|(name, g)| (name, g / count as f64))
                .collect())
        })
        .collect::<Result<_>>()?;
    let limit = norm(&gradients[0]) / 2.0;
    let data = Micro(micro.iter().map(batch).collect());
    for each in [false, true] {
        let run = crate::scratch::folder()?;
        let mut built = engine.model(&given)?;
        let config = step(count, limit, each);
        train(&mut built, &data, &config, Some(run.path()), &mut |_| {})?;
        let formula = expected(&gradients, limit, each != case.control);
        let what = if each { "each micro-batch" } else { "once" };
        same(case, engine, &gradients, &used(run.path())?, &formula, what);
    }
    Ok(())
}

/// Every coordinate within (N/2 + 4 K + 8) u Σ_k |g_k|: K sums and products, and K norms of N
/// squares each.
fn same(
    case: &mut Case,
    engine: &Candle,
    gradients: &[TensorMap<f64>],
    found: &TensorMap<f64>,
    expected: &TensorMap<f64>,
    what: &str,
) {
    let numbers: usize = expected.values().map(ndarray::ArrayBase::len).sum();
    let roundings = numbers as f64 / 2.0 + 4.0 * gradients.len() as f64 + 8.0;
    for (name, expected) in expected {
        let Some(found) = found.get(name) else {
            case.same(false, true, || format!("{name}: has a first moment"));
            continue;
        };
        for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
            let size: f64 = gradients
                .iter()
                .filter_map(|g| g[name].iter().nth(index))
                .map(|g| g.abs())
                .sum();
            let tolerance = Tolerance::stated(
                roundings * engine.roundoff() * size,
                format!("(N/2 + 4 K + 8) u Σ_k |g_k| with N = {numbers}"),
            );
            case.close(*found, *expected, &tolerance, || {
                format!("clipped after {what}: {name}, element {index}")
            });
        }
    }
}

/// Tokens behind a row change none of its outputs, so padding to the longest row of a data set only
/// costs positions: Σ (longest − n) of them. In the control the padding stands before the text.
fn padded(engine: &(impl Engine + ?Sized), case: &mut Case) -> Result<()> {
    let model = ModelCase::random(&mut case.draw, gpt2)?;
    let lengths: Vec<usize> = model.rows.iter().map(|row| row.ids.len()).collect();
    let longest = lengths.iter().max().copied().unwrap_or(0) + case.draw.size(1, 3);
    let pad = case.draw.size(0, model.ids() as usize - 1) as u32;
    let mut rows = model.rows.clone();
    for row in &mut rows {
        let more = longest - row.ids.len();
        let at = case.or_control(row.ids.len(), 0);
        row.ids.splice(at..at, vec![pad; more]);
        row.labels.splice(at..at, vec![-100; more]);
        if let Some(segments) = &mut row.segments {
            segments.splice(at..at, vec![pad; more]);
        }
    }
    let cost: usize = lengths.iter().map(|n| longest - n).sum();
    let wide = model.on(rows);
    case.same(batch(&wide).tokens() - batch(&model).tokens(), cost, || {
        "positions computed in vain".into()
    });
    let (found, expected) = (engine.compute(&wide)?, engine.compute(&model)?);
    let bounds = Paper::conditioning(&model)?;
    for (r, n) in lengths.iter().enumerate() {
        let bound = bounds.part(r, 0..*n);
        compare(
            case,
            &format!("{}, row {r} padded to {longest}", model.describe()),
            &found.part(r, 0..*n),
            &expected.part(r, 0..*n),
            &bound.and(&bound),
            [engine.roundoff(), 0.0],
        );
    }
    Ok(())
}
