//! Methods compared by the losses that their runs left on disk.

use super::paper::{FULL_METHOD, STEPS};
use super::planned::Planned;
use crate::run::test_loss;
use crate::stats::contrast::{Contrast, Nats};
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
    let losses = Losses::of(done.inspect(|planned| {
        let custom = planned.config.adapter.custom.as_ref();
        own.extend(custom.and_then(|c| Some([c.method().step()?.0, planned.method()])));
    }))?;
    let steps = STEPS.iter().map(|s| [s.lower, s.upper]);
    let others = losses
        .methods
        .iter()
        .map(|(method, _)| [FULL_METHOD, *method]);
    let mut pairs: Vec<[&str; 2]> = steps
        .chain(own)
        .chain(others)
        .chain([COMPLEMENT])
        .filter(|[a, b]| a != b)
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    let of = |[a, b]: [&str; 2]| {
        let nats = [a, b].map(|method| losses.nats(method));
        Contrast::of([a, b], [&nats[0], &nats[1]], &losses.tokens)
    };
    Ok(pairs.into_iter().filter_map(of).collect())
}

/// The losses that runs left on disk, by method.
pub struct Losses<'a> {
    /// Methods in the order of their first runs, and for each run the nats of every entry.
    methods: Vec<(&'a str, Nats)>,
    /// Target tokens of each entry.
    pub tokens: Vec<usize>,
}

impl<'a> Losses<'a> {
    /// Reads them; runs that kept none are left out.
    ///
    /// # Errors
    /// A broken file.
    pub fn of(done: impl Iterator<Item = &'a Planned>) -> Result<Self> {
        let (mut methods, mut tokens): (Vec<(&str, Nats)>, Vec<usize>) = Default::default();
        for planned in done {
            let Some(kept) = test_loss::kept(&planned.dir)? else {
                continue;
            };
            if tokens.is_empty() {
                tokens = kept.iter().map(|l| l.tokens).collect();
            }
            let nats = kept.iter().map(|l| l.nats).collect();
            let method = planned.method();
            match methods.iter_mut().find(|(name, _)| *name == method) {
                Some((_, runs)) => runs.push(nats),
                None => methods.push((method, vec![nats])),
            }
        }
        Ok(Self { methods, tokens })
    }

    /// For each run of a method the nats of every entry.
    pub fn nats(&self, method: &str) -> Nats {
        let own = self.methods.iter().find(|(name, _)| *name == method);
        own.map(|(_, runs)| runs.clone()).unwrap_or_default()
    }
}
