//! Timing of greedy decoding with a key/value cache.

use super::{Options, ids, least, median, peak_mib, rounded, seconds};
use anyhow::{Context, Result};
use candle_core::DType;
use inducer_gpu::Model;
use inducer_gpu::backbone::Gpt2;
use inducer_gpu::decode::greedy::{Decoding, Prompt, greedy};
use serde::Serialize;
use std::path::Path;

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

impl Report {
    /// As text for people.
    pub fn text(&self) -> String {
        format!(
            "{} on {}, {} prompts of {} tokens, {} new tokens each\n\n\
             decoding        {:>10.2} ms   (shortest {:.2} ms)\n\
             new tokens      {:>10.1} /s\n",
            self.method,
            self.backbone,
            self.batch,
            self.length,
            self.new_tokens,
            self.decode_ms,
            self.decode_ms_min,
            self.tokens_per_s
        )
    }
}

/// The model, and its backbone's name: the one in `dir`, or the preset with random weights.
///
/// # Errors
/// A backbone that cannot be read.
pub fn model(options: &Options, dir: Option<&Path>) -> Result<(Model, String)> {
    let device = &options.device;
    let (mut model, name) = match dir {
        Some(dir) => {
            let name = dir.file_name().unwrap_or_default().to_string_lossy();
            (Model::load(dir, DType::F32, device)?, name.into_owned())
        }
        None => {
            let (config, seed) = (options.config.clone(), options.seed);
            let backbone = Gpt2::random(config, seed, DType::F32, device)?;
            let name = options.preset.name().to_string();
            (Model::new(backbone, DType::F32, device), name)
        }
    };
    let attached = model.attach(&options.adapter, 0, options.seed);
    attached.context("attaching the method")?;
    Ok((model, name))
}

/// The prompts: random ids below `vocabulary`.
pub fn prompts(options: &Options, vocabulary: usize) -> Vec<Vec<u32>> {
    let prompt = |i| ids(options.length, vocabulary, options.seed.wrapping_add(i));
    (0..options.batch as u64).map(prompt).collect()
}

/// Times greedy decoding; rows never end early.
///
/// # Errors
/// Rows that do not fit the model.
pub fn run(options: &Options, model: &Model, backbone: &str, new_tokens: usize) -> Result<Report> {
    let prompt = |ids| Prompt {
        ids,
        segments: None,
        next_segment: None,
    };
    let prompts = prompts(options, model.backbone.vocabulary()).into_iter();
    let prompts: Vec<Prompt> = prompts.map(prompt).collect();
    let decoding = Decoding {
        max_new: new_tokens,
        eos: u32::MAX,
        batch: options.batch,
    };
    let once = || Ok(greedy(model, &prompts, decoding, &mut |_| {})?);
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
        method: options.method.name().into(),
        backbone: backbone.into(),
        batch: options.batch,
        length: options.length,
        new_tokens,
        decode_ms: rounded(time * 1e3, 2),
        decode_ms_min: rounded(least(&times) * 1e3, 2),
        tokens_per_s: rounded((options.batch * new_tokens) as f64 / time, 1),
        peak_mib: peak_mib().map(|m| rounded(m, 1)),
        ids,
    })
}
