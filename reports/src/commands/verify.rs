//! `inducer verify`: the claims ledger, outside of cargo.

use crate::cli::{DeviceName, VerifyArgs};
use crate::{compute, page};
use anyhow::{Context, Result, ensure};
use inducer_datasets::files::write_atomic;
use inducer_verify::{Cuda, Ledger, Options, render, runner};

/// Runs the command.
///
/// # Errors
/// A claim failed, a control passed, no claim has the given name, or the page cannot be written.
pub fn run(args: &VerifyArgs) -> Result<()> {
    let pool = compute::pool(compute::threads(&args.compute))?;
    let options = Options {
        cases: args.cases,
        seed: args.seed,
        filter: args.claim.clone(),
        cuda: cuda(args),
    };
    let found = pool
        .install(|| runner::run(&options, &|_| {}))
        .context("verify")?;
    if args.json {
        println!("{}", render::json(&found)?);
    } else {
        print!("{}", render::text(&found));
    }
    if let Some(file) = &args.html {
        let page = page::ledger::render(&found, &Ledger::read()?);
        write_atomic(file, page.as_bytes())
            .with_context(|| format!("{}: cannot be written", file.display()))?;
        eprintln!("{}: open it in a browser", file.display());
    }
    ensure!(found.passed(), "not every claim holds; see the rows above");
    Ok(())
}

/// The GPU, or why its rows are not run.
fn cuda(args: &VerifyArgs) -> Cuda {
    match args.compute.device {
        DeviceName::Cpu => Cuda::not_asked(),
        DeviceName::Cuda => match compute::device(&args.compute) {
            Ok(device) => Cuda::Present(device),
            Err(error) => Cuda::Absent(format!("{error:#}")),
        },
    }
}
