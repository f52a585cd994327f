//! `inducer train`: one method, one seed.

use super::options::{Compute, Decode, Hyper, Inputs};
use crate::progress;
use crate::run::{BackboneFacts, Budget, MethodSpec, RunConfig, execute_run};
use anyhow::Result;
use clap::Args;
use inducer_gpu::BackboneConfig;
use std::path::PathBuf;

/// Where nothing else is asked for.
const BUDGET: Budget = Budget {
    steps: 300,
    batch_size: 8,
    test_limit: None,
};

/// `inducer train`.
#[derive(Args, Clone, Debug)]
pub struct TrainArgs {
    /// Inputs
    #[command(flatten)]
    pub inputs: Inputs,
    /// Method by name, or an adapter_config.json
    #[arg(long)]
    pub method: String,
    /// The run's directory; a run that was stopped there goes on
    #[arg(long)]
    pub out: PathBuf,
    /// Seed
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Hyperparameters
    #[command(flatten)]
    pub hyper: Hyper,
    /// Decoding
    #[command(flatten)]
    pub decode: Decode,
    /// Compute
    #[command(flatten)]
    pub compute: Compute,
}

/// Runs the command.
///
/// # Errors
/// Files that are missing or do not fit each other; a loss that is not finite.
pub fn run(args: &TrainArgs) -> Result<()> {
    let dir = &args.inputs.backbone;
    let method = MethodSpec::find(&args.method, &BackboneConfig::read(dir)?)?;
    let prepared = args.inputs.prepare(&method.adapter)?;
    let hyper = args.hyper.with(&args.decode, &args.compute);
    let facts = BackboneFacts::read(dir)?;
    let config = RunConfig::resolve(&prepared, &facts, &method, &hyper, BUDGET, args.seed);
    let device = args.compute.device.open()?;
    let (pool, steps) = (args.compute.pool()?, config.train.steps);
    let result = progress::training(&pool, steps, &method.name, |on_event| {
        execute_run(&args.out, &config, &prepared, &device, on_event)
    })?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&result)?);
    } else {
        let training = &result.training;
        println!(
            "{}: {}, {} steps, validation loss {:.4}; {} ({:.0} s training, {:.0} s decoding)",
            args.out.display(),
            method.name,
            training.steps,
            training.validation_loss,
            result.scores.as_text(),
            training.train_seconds,
            training.decode_seconds
        );
    }
    Ok(())
}
