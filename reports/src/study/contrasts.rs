//! Methods compared by the losses that their runs left on disk.

use super::paper::{FULL_METHOD, STEPS, is_end};
use super::planned::Planned;
use crate::run::test_loss::{self, ExampleLoss};
use crate::stats::contrast::{self, Contrast, Nats};
use anyhow::Result;

/// LoRA alone and with the inducer: "complements" means better than either alone.
pub const COMPLEMENT: [&str; 2] = ["lora", "inducer-lora"];

/// The paper's steps, those to variants of one's own, [`COMPLEMENT`] and every method with
/// Inducer-tuning, by the loss of the test part.
///
/// # Errors
/// A broken file.
pub fn of<'a>(done: impl Iterator<Item = &'a Planned>) -> Result<Vec<Contrast>> {
    let mut own: Vec<[&str; 2]> = Vec::new();
    let mut losses: Vec<(&str, Vec<Vec<ExampleLoss>>)> = Vec::new();
    for planned in done {
        let Some(kept) = test_loss::kept(&planned.dir)? else {
            continue;
        };
        let method = planned.method();
        let custom = planned.config.adapter.custom.as_ref();
        own.extend(custom.and_then(|c| Some([c.method().step()?.0, method])));
        match losses.iter_mut().find(|(name, _)| *name == method) {
            Some((_, runs)) => runs.push(kept),
            None => losses.push((method, vec![kept])),
        }
    }
    let Some(first) = losses.iter().flat_map(|(_, runs)| runs).next() else {
        return Ok(Vec::new());
    };
    let tokens: Vec<usize> = first.iter().map(|l| l.tokens).collect();
    // the two ends of the scale have seeds of another kind: of an untuned backbone only the random
    // rows of the special tokens differ, and full fine-tuning's spread is several times the others'
    let trained = losses.iter().filter(|(method, _)| !is_end(method));
    let means = trained.map(|(_, runs)| runs.iter().filter_map(|r| test_loss::mean(r)).collect());
    let means: Vec<Vec<f64>> = means.collect();
    let pooled = contrast::pooled(means.iter().map(Vec::as_slice));
    let nats = |method: &str| -> Nats {
        let own = losses.iter().filter(|(name, _)| *name == method);
        let run = |run: &Vec<ExampleLoss>| run.iter().map(|l| l.nats).collect();
        own.flat_map(|(_, runs)| runs).map(run).collect()
    };
    let steps = STEPS.iter().map(|s| [s.lower, s.upper]);
    let others = losses.iter().map(|(method, _)| [FULL_METHOD, *method]);
    let mut pairs: Vec<[&str; 2]> = steps
        .chain(own)
        .chain(others)
        .chain([COMPLEMENT])
        .filter(|[a, b]| a != b)
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    let of = |[a, b]: [&str; 2]| Contrast::of([a, b], [&nats(a), &nats(b)], &tokens, pooled);
    Ok(pairs.into_iter().filter_map(of).collect())
}
