//! Timing of greedy decoding with a key/value cache.

use super::{ids, least, median, peak_mib, rounded, seconds};
use anyhow::Result;
use inducer_gpu::Model;
use inducer_gpu::decode::greedy::{Decoding, Prompt, greedy};
use serde::Serialize;

/// What to time.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rows.
    pub batch: usize,
    /// Length of every prompt.
    pub length: usize,
    /// New tokens a row.
    pub new_tokens: usize,
    /// Repeats.
    pub steps: usize,
    /// Seed of the prompts.
    pub seed: u64,
}

/// One line of JSON.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Program and version.
    pub software: String,
    /// Method.
    pub method: String,
    /// Backbone.
    pub backbone: String,
    /// Rows.
    pub batch: usize,
    /// Length of every prompt.
    pub length: usize,
    /// New tokens a row.
    pub new_tokens: usize,
    /// Median time of decoding all rows in milliseconds.
    pub decode_ms: f64,
    /// Shortest time.
    pub decode_ms_min: f64,
    /// New tokens a second.
    pub tokens_per_s: f64,
    /// Largest resident set in MiB.
    pub peak_mib: Option<f64>,
    /// The new tokens of each row.
    pub ids: Vec<Vec<u32>>,
}

impl Options {
    /// The prompts: random ids below `vocabulary`.
    pub fn prompts(&self, vocabulary: usize) -> Vec<Vec<u32>> {
        (0..self.batch as u64)
            .map(|i| ids(self.length, vocabulary, self.seed.wrapping_add(i)))
            .collect()
    }
}

/// Times greedy decoding; rows never end early.
///
/// # Errors
/// Prompts that do not fit the model.
pub fn run(model: &Model, method: &str, backbone: &str, options: &Options) -> Result<Report> {
    let prompts: Vec<Prompt> = options
        .prompts(model.backbone.vocabulary())
        .into_iter()
        .map(|ids| Prompt {
            ids,
            segments: None,
            next_segment: None,
        })
        .collect();
    let decoding = Decoding {
        max_new: options.new_tokens,
        eos: u32::MAX,
        batch: options.batch,
    };
    let once = || greedy(model, &prompts, decoding, &mut |_| {});
    once()?;
    let (mut times, mut ids) = (Vec::new(), Vec::new());
    for _ in 0..options.steps.max(1) {
        let (time, made) = seconds(once)?;
        times.push(time);
        ids = made;
    }
    let time = median(&times);
    Ok(Report {
        software: format!("inducer {}", env!("CARGO_PKG_VERSION")),
        method: method.into(),
        backbone: backbone.into(),
        batch: options.batch,
        length: options.length,
        new_tokens: options.new_tokens,
        decode_ms: rounded(time * 1e3, 2),
        decode_ms_min: rounded(least(&times) * 1e3, 2),
        tokens_per_s: rounded((options.batch * options.new_tokens) as f64 / time, 1),
        peak_mib: peak_mib().map(|m| rounded(m, 1)),
        ids,
    })
}
