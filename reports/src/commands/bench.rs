//! `inducer bench`: times a training step, or decoding.

use super::options::{Compute, MethodSizes, model_directory, named, precision, whole};
use super::print;
use crate::bench::{self, Options, Preset, decode, train};
use crate::compute::Precision;
use crate::files;
use anyhow::{Result, bail, ensure};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use inducer_gpu::ranges;
use inducer_gpu::{Gpt2Config, Named};
use serde::Serialize;
use std::path::PathBuf;

/// `inducer bench`.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Size of the backbone
    #[arg(long, default_value = "gpt2", value_parser = named::<Preset>(&[
        ("tiny", "4 layers, hidden 128, 4 heads, 4,096 tokens"),
        ("mini", "6 layers, hidden 256, 4 heads, 8,192 tokens"),
        ("gpt2", "GPT-2 small: 12 layers, hidden 768, 12 heads, 50,257 tokens"),
    ]))]
    pub preset: Preset,
    /// Layers of the backbone in place of the preset's
    #[arg(long, value_name = ranges::LAYERS.text, value_parser = whole(ranges::LAYERS))]
    pub layers: Option<usize>,
    /// Heads of a layer in place of the preset's
    #[arg(long, value_name = ranges::SIZE.text, value_parser = whole(ranges::SIZE))]
    pub heads: Option<usize>,
    /// Positions of the backbone
    #[arg(long, default_value_t = 1024, value_name = ranges::SIZE.text,
        value_parser = whole(ranges::SIZE))]
    pub positions: usize,
    /// Method by name, with the paper's sizes
    #[arg(long, default_value = "inducer", value_parser = NonEmptyStringValueParser::new())]
    pub method: String,
    /// Rows
    #[arg(long, default_value_t = 4, value_name = ranges::BATCH.text,
        value_parser = whole(ranges::BATCH))]
    pub batch: usize,
    /// Length of the longest row (with --decode: of every prompt)
    #[arg(long, default_value_t = 128, value_name = ranges::SIZE.text,
        value_parser = whole(ranges::SIZE))]
    pub length: usize,
    /// Timed steps (with --decode: repeats)
    #[arg(long, default_value_t = 8, value_name = ranges::COUNT.text,
        value_parser = whole(ranges::COUNT))]
    pub steps: usize,
    /// Steps before the clock starts
    #[arg(long, default_value_t = 2, value_name = ranges::COUNT_OR_NONE.text,
        value_parser = whole(ranges::COUNT_OR_NONE))]
    pub warmup: usize,
    /// Seed of ids and initial values
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Scalar type
    #[arg(long, default_value = "f32", value_parser = precision())]
    pub dtype: Precision,
    /// Time greedy decoding instead
    #[arg(long)]
    pub decode: bool,
    /// New tokens a row
    #[arg(long, default_value_t = 40, requires = "decode", value_name = ranges::NEW_TOKENS.text,
        value_parser = whole(ranges::NEW_TOKENS))]
    pub new_tokens: usize,
    /// Hugging Face directory to decode with, instead of random weights
    #[arg(long, requires = "decode", value_parser = model_directory(), value_name = "DIR or NAME")]
    pub backbone: Option<PathBuf>,
    /// Write the prompts to this file as JSON, for another program
    #[arg(long, requires = "decode")]
    pub prompts_out: Option<PathBuf>,
    /// Do not measure the rate of this machine's own matrix product beside it
    #[arg(long, conflicts_with = "decode")]
    pub no_rate: bool,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
    /// Sizes of the method
    #[command(flatten)]
    pub sizes: MethodSizes,
    /// Compute
    #[command(flatten)]
    pub compute: Compute,
}

impl BenchArgs {
    /// The backbone with random weights.
    fn config(&self) -> Result<Gpt2Config> {
        let preset = self.preset.config();
        let heads = self.heads.unwrap_or(preset.n_head);
        ensure!(
            preset.n_embd.is_multiple_of(heads),
            "--heads {heads}: expected a divisor of {}, the hidden size of --preset {}",
            preset.n_embd,
            self.preset.name()
        );
        Ok(Gpt2Config {
            n_layer: self.layers.unwrap_or(preset.n_layer),
            n_head: heads,
            n_positions: self.positions,
            ..preset
        })
    }
}

/// Runs the command.
///
/// # Errors
/// An unknown method, a backbone that cannot be read, rows that do not fit.
pub fn run(args: &BenchArgs) -> Result<()> {
    let Some(method) = Named::find(&args.method) else {
        let names = Named::names();
        bail!("--method {}: expected one of {names}", args.method);
    };
    ensure!(
        args.length >= 4,
        "--length {}: expected at least 4",
        args.length
    );
    let config = args.config()?;
    let positions = args.positions;
    let longest = args.length + if args.decode { args.new_tokens } else { 0 };
    ensure!(
        longest <= positions || args.backbone.is_some(),
        "--length {}{}: expected at most {positions}, the backbone's --positions",
        args.length,
        if args.decode {
            format!(" with --new-tokens {}", args.new_tokens)
        } else {
            String::new()
        }
    );
    let options = Options {
        preset: args.preset,
        config,
        method,
        adapter: bench::method(method, &args.sizes.knobs())?,
        batch: args.batch,
        length: args.length,
        steps: args.steps,
        warmup: args.warmup,
        seed: args.seed,
        rate: !args.no_rate,
        threads: args.compute.threads(),
        precision: args.dtype,
        device: args.compute.open_for(args.dtype)?,
    };
    let pool = args.compute.pool()?;
    if !args.decode {
        let report = pool.install(|| train::run(&options))?;
        return show(args.json, &report, train::Report::text);
    }
    let report = pool.install(|| {
        let (model, name) = decode::model(&options, args.backbone.as_deref())?;
        if let Some(path) = &args.prompts_out {
            let prompts = decode::prompts(&options, model.backbone.vocabulary());
            files::write(path, &serde_json::to_string(&prompts)?)?;
        }
        decode::run(&options, &model, &name, args.new_tokens)
    })?;
    show(args.json, &report, decode::Report::text)
}

fn show<R: Serialize>(json: bool, report: &R, text: impl Fn(&R) -> String) -> Result<()> {
    match json {
        true => print::line(serde_json::to_string(report)?),
        false => print::whole(text(report)),
    }
}
