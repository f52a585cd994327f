//! `inducer bench`: times a training step, or decoding.

use crate::bench::{decode, method, train};
use crate::cli::BenchArgs;
use crate::compute;
use anyhow::{Context, Result, bail};
use candle_core::DType;
use inducer_datasets::files::write_atomic;
use inducer_gpu::backbone::Gpt2;
use inducer_gpu::{Method, Model};

/// Runs the command.
///
/// # Errors
/// An unknown method, a backbone that cannot be read, rows that do not fit.
pub fn run(args: &BenchArgs) -> Result<()> {
    let Some(method) = Method::named(&args.method) else {
        let names: Vec<&str> = Method::ALL.iter().map(|m| m.name()).collect();
        bail!(
            "--method {}: expected one of {}",
            args.method,
            names.join(", ")
        );
    };
    let threads = compute::threads(&args.compute);
    let pool = compute::pool(threads)?;
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
        dtype: compute::dtype(args.dtype),
        device: compute::device(&args.compute)?,
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
    let device = compute::device(&args.compute)?;
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
        write_atomic(path, serde_json::to_string(&prompts)?.as_bytes())
            .with_context(|| path.display().to_string())?;
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
