//! `inducer verify`: the claims ledger, outside of cargo.

use super::options::Compute;
use crate::compute::Device;
use crate::{csv, files};
use crate::report::claims_page;
use anyhow::{Context, Result, ensure};
use clap::Args;
use inducer_verify::engines::External;
use inducer_verify::{Cuda, Ledger, Options, Target, render, runner};
use std::path::PathBuf;
use std::time::Duration;

/// `inducer verify`.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    /// Random cases a claim
    #[arg(long, default_value_t = 64)]
    pub cases: usize,
    /// Seed
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Only the claims whose id contains this
    #[arg(long)]
    pub claim: Option<String>,
    /// Only the engines whose name contains this, for example `cuda`, `proved` or `cpu f32`; or a
    /// program of your own, for example `python3 my_engine.py`, that speaks the protocol of
    /// verify/engines/README.md: the claims about whole models, on it alone
    #[arg(long, value_name = "NAME or COMMAND")]
    pub engine: Option<String>,
    /// Seconds that such a program may take for one answer
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub time_limit: u64,
    /// Print as JSON
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print as CSV
    #[arg(long)]
    pub csv: bool,
    /// Write a page with every claim, its bounds and its control
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Compute
    #[command(flatten)]
    pub compute: Compute,
}

/// Runs the command.
///
/// # Errors
/// A claim failed, a control passed, no claim has the given name, or the page cannot be written.
pub fn run(args: &VerifyArgs) -> Result<()> {
    let pool = args.compute.pool()?;
    let (engine, external) = engine(args)?;
    let options = Options {
        cases: args.cases,
        seed: args.seed,
        filter: args.claim.clone(),
        engine,
        cuda: cuda(args),
        external,
    };
    let found = pool
        .install(|| runner::run(&options, &|_| {}))
        .context("verify")?;
    if args.json {
        println!("{}", render::json(&found)?);
    } else if args.csv {
        let records: Vec<_> =
            found.rows.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        print!("{}", csv::of_records(&records));
    } else {
        print!("{}", render::text(&found));
    }
    if let Some(file) = &args.html {
        files::write_page(file, &claims_page::render(&found, &Ledger::read()?))?;
    }
    ensure!(found.passed(), "not every claim holds; see the rows above");
    Ok(())
}

/// Part of the engines' names, or a program.
fn engine(args: &VerifyArgs) -> Result<(Option<String>, Option<External>)> {
    let Some(given) = &args.engine else {
        return Ok((None, None));
    };
    if Target::ALL
        .iter()
        .any(|target| target.name().contains(given))
    {
        return Ok((Some(given.clone()), None));
    }
    let limit = Duration::from_secs(args.time_limit);
    let program = External::start(given, limit).with_context(|| {
        format!(
            "--engine `{given}`: no engine's name contains it, and it is no program that answers"
        )
    })?;
    Ok((None, Some(program)))
}

/// The GPU, or why its rows are not run.
fn cuda(args: &VerifyArgs) -> Cuda {
    match args.compute.device {
        Device::Cpu => Cuda::not_asked(),
        Device::Cuda => match args.compute.device.open() {
            Ok(device) => Cuda::Present(device),
            Err(error) => Cuda::Absent(format!("{error:#}")),
        },
    }
}
