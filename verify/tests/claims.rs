//! Every claim of the ledger, one test each; the test's name is the claim's, with `_` for `-`:
//! `cargo test -p inducer-verify --test claims eq09_extended`.
//!
//! The tests are made from the ledger, so no claim can be without one and no test without a claim.

#![allow(clippy::unwrap_used)]

use inducer_verify::regressions;
use inducer_verify::{Ledger, Options, ReportRow, Verdict, render, run};
use libtest_mimic::{Arguments, Failed, Trial};
use std::path::Path;
use std::process::ExitCode;

/// Cases of a small check in one test run; `inducer verify --cases` takes more.
const CASES: usize = 30;
const SEED: u64 = 1;

/// Fails with every failed row; rows of which none was checked are no success either.
fn passed(rows: &[&ReportRow]) -> Result<(), Failed> {
    let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    let wanted = match count(Verdict::Failed) {
        0 if count(Verdict::Passed) > 0 => return Ok(()),
        0 => Verdict::NotRun,
        _ => Verdict::Failed,
    };
    let rows = rows.iter().filter(|row| row.verdict == wanted);
    rows.clone().try_for_each(|row| keep(row))?;
    let lines: Vec<String> = rows.map(|row| render::line(row)).collect();
    Err(lines.join("\n").into())
}

/// Keeps the smallest case of a failed row.
fn keep(row: &ReportRow) -> Result<(), Failed> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("proptest-regressions/ledger.txt");
    Ok(regressions::keep_smallest(&file, row)?)
}

fn holds(id: &str) -> Result<(), Failed> {
    let report = run(&Options::new(CASES, SEED).only(id), &|_| {})?;
    let own = report.rows.iter().filter(|row| row.claim == id);
    passed(&own.collect::<Vec<_>>())
}

fn every_claim_passes_at_the_few_cases_of_a_report_too() -> Result<(), Failed> {
    let report = run(&Options::new(4, SEED), &|_| {})?;
    passed(&report.rows.iter().collect::<Vec<_>>())
}

/// The command line. Several names may be given, as to the standard harness: the test harness used
/// here takes one, so the others are returned.
fn arguments() -> (Arguments, Vec<String>) {
    const WITH_VALUE: [&str; 6] = [
        "--test-threads",
        "--logfile",
        "--skip",
        "--color",
        "--format",
        "-Z",
    ];
    let (mut options, mut names): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut words = std::env::args();
    options.extend(words.next());
    while let Some(word) = words.next() {
        if WITH_VALUE.contains(&word.as_str()) {
            options.push(word);
            options.extend(words.next());
        } else if word.starts_with('-') {
            options.push(word);
        } else {
            names.push(word);
        }
    }
    if names.len() == 1 {
        options.append(&mut names);
    }
    (Arguments::from_iter(options), names)
}

fn main() -> ExitCode {
    let (arguments, names) = arguments();
    let claim = |row: &inducer_verify::ledger::Row| {
        let id = row.id.clone();
        // what the report measures is no test here: it is listed as ignored
        Trial::test(id.replace('-', "_"), move || holds(&id))
            .with_ignored_flag(row.measured.is_some())
    };
    let mut tests: Vec<Trial> = Ledger::read().unwrap().claim.iter().map(claim).collect();
    tests.push(Trial::test(
        "every_claim_passes_at_the_few_cases_of_a_report_too",
        every_claim_passes_at_the_few_cases_of_a_report_too,
    ));
    let wanted = |test: &Trial| {
        let name = test.name();
        let matches = |wanted: &String| match arguments.exact {
            true => name == wanted,
            false => name.contains(wanted.as_str()),
        };
        names.is_empty() || names.iter().any(matches)
    };
    tests.retain(wanted);
    libtest_mimic::run(&arguments, tests).exit_code()
}
