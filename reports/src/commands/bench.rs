//! `inducer bench`: times a training step, or decoding.

use crate::bench::{Preset, decode, method, train};
use crate::cli::{Compute, model_directory, precision};
use crate::compute::Precision;
use crate::files;
use anyhow::{Context, Result, bail};
use candle_core::DType;
use clap::Args;
use clap::builder::TypedValueParser;
use inducer_gpu::backbone::Gpt2;
use inducer_gpu::{Method, Model};
use std::path::PathBuf;

/// `inducer bench`.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Size of the backbone
    #[arg(long, value_enum, default_value = "gpt2")]
    pub preset: Preset,
    /// Method by name, with the paper's sizes
    #[arg(long, default_value = "inducer")]
    pub method: String,
    /// Rows
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..).map(|n| n as usize))]
    pub batch: usize,
    /// Length of the longest row (with --decode: of every prompt)
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(4..).map(|n| n as usize))]
    pub length: usize,
    /// Timed steps (with --decode: repeats)
    #[arg(long, default_value_t = 8)]
    pub steps: usize,
    /// Steps before the clock starts
    #[arg(long, default_value_t = 2)]
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
    #[arg(long, default_value_t = 40, requires = "decode")]
    pub new_tokens: usize,
    /// Hugging Face directory to decode with, instead of random weights
    #[arg(long, requires = "decode", value_parser = model_directory(), value_name = "DIR or NAME")]
    pub backbone: Option<PathBuf>,
    /// Write the prompts to this file as JSON, for another program
    #[arg(long, requires = "decode")]
    pub prompts_out: Option<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
    /// Compute
    #[command(flatten)]
    pub compute: Compute,
}

/// Runs the command.
///
/// # Errors
/// An unknown method, a backbone that cannot be read, rows that do not fit.
pub fn run(args: &BenchArgs) -> Result<()> {
    let Some(method) = Method::named(&args.method) else {
        let names = Method::ALL.map(Method::name).join(", ");
        bail!("--method {}: expected one of {names}", args.method);
    };
    let threads = args.compute.threads();
    let pool = args.compute.pool()?;
    if args.decode {
        return pool.install(|| decoding(args, method));
    }
    let options = train::Options {
        preset: args.preset,
        method,
        batch: args.batch,
        length: args.length,
        steps: args.steps,
        warmup: args.warmup,
        seed: args.seed,
        threads,
        dtype: args.dtype.dtype(),
        device: args.compute.device.open()?,
    };
    let report = pool.install(|| train::run(&options))?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
        return Ok(());
    }
    println!(
        "{} on {}, {} {}, {} × {} tokens, {} threads\n",
        report.method,
        report.preset,
        report.device,
        report.dtype,
        report.batch,
        report.length,
        threads
    );
    println!(
        "step            {:>10.2} ms   (shortest {:.2} ms)",
        report.step_ms, report.step_ms_min
    );
    println!("tokens          {:>10.1} /s", report.tokens_per_s);
    if let Some(peak) = report.peak_mib {
        println!("peak memory     {peak:>10.1} MiB");
    }
    if let (Some(rate), Some(share)) = (report.product_gflops, report.share) {
        println!(
            "arithmetic      {:>10.1} GFLOP a step: {:.0} % of the {rate:.0} GFLOP/s of this \
             machine's own matrix product",
            report.step_gflop,
            100.0 * share
        );
    }
    println!(
        "trained         {:>10} parameters, loss {}",
        report.trainable, report.loss
    );
    Ok(())
}

fn decoding(args: &BenchArgs, kind: Method) -> Result<()> {
    let device = args.compute.device.open()?;
    let (mut model, name) = match &args.backbone {
        Some(dir) => (
            Model::load(dir, DType::F32, &device)?,
            dir.file_name()
                .map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
        ),
        None => {
            let backbone = Gpt2::random(args.preset.config(), args.seed, DType::F32, &device)?;
            (
                Model::new(backbone, DType::F32, &device),
                args.preset.name().to_string(),
            )
        }
    };
    model
        .attach(&method(kind), 0, args.seed)
        .context("attaching the method")?;
    let options = decode::Options {
        batch: args.batch,
        length: args.length,
        new_tokens: args.new_tokens,
        steps: args.steps,
        seed: args.seed,
    };
    if let Some(path) = &args.prompts_out {
        let prompts = options.prompts(model.backbone.vocabulary());
        files::write(path, &serde_json::to_string(&prompts)?)?;
    }
    let report = decode::run(&model, kind.name(), &name, &options)?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
        return Ok(());
    }
    println!(
        "{} on {}, {} prompts of {} tokens, {} new tokens each\n",
        report.method, report.backbone, report.batch, report.length, report.new_tokens
    );
    println!(
        "decoding        {:>10.2} ms   (shortest {:.2} ms)",
        report.decode_ms, report.decode_ms_min
    );
    println!("new tokens      {:>10.1} /s", report.tokens_per_s);
    Ok(())
}
