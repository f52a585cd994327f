//! `inducer verify`: the claims ledger, outside of cargo.

use super::options::{Compute, whole};
use super::print;
use crate::compute::{self, Device};
use crate::ledger::{LedgerProgress, junit};
use crate::report::claims_page;
use crate::study::{Study, empirical};
use crate::{csv, files};
use anyhow::{Context, Result, ensure};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use inducer_gpu::ranges;
use inducer_verify::cases::CaseName;
use inducer_verify::engines::External;
use inducer_verify::{Cuda, Ledger, Options, Report, Target, Verdict, render, runner};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `inducer verify`.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    /// Random cases a claim
    #[arg(long, default_value_t = 64, value_name = ranges::COUNT.text,
        value_parser = whole(ranges::COUNT))]
    pub cases: usize,
    /// Seed
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Only the claims whose id contains this
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub claim: Option<String>,
    /// Only the engines whose name contains this, for example `cuda`, `proved` or `cpu f32`; or a
    /// program of your own, for example `python3 my_engine.py`, that speaks the protocol of
    /// verify/engines/README.md: the claims about whole models, on it alone
    #[arg(long, value_name = "NAME or COMMAND", value_parser = NonEmptyStringValueParser::new())]
    pub engine: Option<String>,
    /// This case alone of the claim with this id, without a control: its number, and the choices in
    /// it that are made otherwise, as a failing row gives them
    #[arg(long, value_name = "CASE", requires = "claim")]
    pub case: Option<CaseName>,
    /// Seconds that such a program may take for one answer
    #[arg(long, default_value_t = 120, value_name = ranges::COUNT.text,
        value_parser = whole(ranges::COUNT))]
    pub time_limit: usize,
    /// A folder with a study's report.json, for the empirical claims: what was measured there
    #[arg(long, value_name = "DIR")]
    pub study: Option<PathBuf>,
    /// List the claims and the engines that check them, and run nothing
    #[arg(long)]
    pub list: bool,
    /// Print as well how many models met each pair of method, corner, size and option
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    pub coverage: bool,
    /// Print as JSON
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print as CSV
    #[arg(long)]
    pub csv: bool,
    /// Write the rows as JUnit XML, for a CI
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
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
    if args.list {
        return list(args);
    }
    let pool = compute::uncounted_pool(args.compute.threads())?;
    let (engine, external) = engine(args)?;
    let options = Options {
        filter: args.claim.clone(),
        engine,
        cuda: cuda(args),
        external,
        case: args.case.clone(),
        measured: match &args.study {
            Some(dir) => measured(&dir.join("report.json"))?,
            None => BTreeMap::new(),
        },
        ..Options::new(args.cases, args.seed)
    };
    let found = {
        let progress = LedgerProgress::new(&options)?;
        pool.install(|| runner::run(&options, &|row| progress.row(row)))
            .context("verify")?
    };
    let written = if args.json {
        print::line(render::json(&found)?)
    } else if args.csv {
        let rows = found.rows.iter().map(serde_json::to_value);
        print::whole(csv::of_records(&rows.collect::<Result<Vec<_>, _>>()?))
    } else {
        print::whole(render::text(&failures_first(&found)))
    };
    if args.coverage {
        let table = inducer_verify::coverage::table();
        print::line(format_args!("\n{}", table.text))?;
        ensure!(
            table.least > 0 || args.claim.is_some() || args.engine.is_some(),
            "--coverage: expected every pair to be met, found one that no case has met"
        );
    }
    if let Some(file) = &args.junit {
        files::write(file, &junit::xml(&found))?;
    }
    if let Some(file) = &args.html {
        files::write_page(file, &claims_page::render(&found, &Ledger::read()?))?;
    }
    written?;
    ensure!(found.passed(), "not every claim holds; see the rows above");
    Ok(())
}

/// What a study says of the empirical claims; of those that it did not measure, why not.
fn measured(report: &Path) -> Result<BTreeMap<String, (Verdict, String)>> {
    let study = Study::read(report)?;
    let origin = empirical::origin(&study, &report.display().to_string());
    let row = |f: empirical::Finding| {
        let said = match f.is_measured() {
            true => (
                Verdict::Measured,
                format!("{}: {}; {origin}", f.verdict, f.evidence),
            ),
            false => (Verdict::NotMeasured, format!("{}; {origin}", f.evidence)),
        };
        (f.claim.into(), said)
    };
    Ok(empirical::findings(&study).into_iter().map(row).collect())
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
    let limit = Duration::from_secs(args.time_limit as u64);
    let program = External::start(given, limit).with_context(|| {
        format!(
            "--engine `{given}`: no engine's name contains it, and it is no program that answers"
        )
    })?;
    Ok((None, Some(program)))
}

/// `--list`.
fn list(args: &VerifyArgs) -> Result<()> {
    let within = |part: &Option<String>, whole: &str| {
        part.as_deref().is_none_or(|part| whole.contains(part))
    };
    let ledger = Ledger::read()?;
    let wanted: Vec<_> = ledger
        .claim
        .iter()
        .filter(|c| within(&args.claim, &c.id))
        .filter(|c| args.engine.is_none() || c.engines.iter().any(|e| within(&args.engine, e)))
        .collect();
    if args.json {
        let row = |c: &&inducer_verify::ledger::Row| {
            serde_json::json!({ "id": c.id, "statement": c.statement, "citation": c.citation,
                "control": c.control, "engines": c.engines })
        };
        return print::json(&wanted.iter().map(row).collect::<Vec<_>>());
    }
    for claim in &wanted {
        print::line(format_args!("{:<28} {}", claim.id, claim.statement))?;
    }
    Ok(())
}

/// The rows that failed before the others.
fn failures_first(found: &Report) -> Report {
    let mut sorted = found.clone();
    sorted
        .rows
        .sort_by_key(|row| row.verdict != Verdict::Failed);
    sorted
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
