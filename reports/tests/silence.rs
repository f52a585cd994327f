//! Nothing goes on in silence where standard error is a file: a study, its ledger, pretraining,
//! the rows of the ledger.
#![allow(clippy::unwrap_used)]

use crate::common::{Fixture, INPUTS, said, spawn, succeeds, words};
use inducer_datasets::fingerprint;
use std::io::BufRead as _;
use std::path::Path;

const STUDY: &str = "--no-long --methods none,lora --seeds 1 --steps 2 --jobs 1";

#[test]
fn the_log_of_a_study_names_every_run_and_what_it_does() {
    let f = Fixture::new();
    let line = format!("report {INPUTS} {STUDY} --ledger-cases 0");
    let (_, log) = succeeds(&f, &line);
    for part in [
        "reading data and backbone",
        "study of 2 runs: ",
        "  1 of 2: none           seed 1: validation loss ",
        "  2 of 2: lora           seed 1: validation loss ",
        " on 8 test entries (",
        "assembling the report",
    ] {
        assert!(log.contains(part), "no `{part}` in: {log}");
    }
    // what was made before is said to have been
    let (_, log) = succeeds(&f, &line);
    assert_eq!(log.matches("(made before)").count(), 2, "{log}");
}

#[test]
fn the_ledger_of_a_report_is_told_and_not_made_again() {
    let f = Fixture::new();
    let line = format!("report {INPUTS} {STUDY} --ledger-cases 1");
    let mut child = spawn(&f, &words(&line));
    let log = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut told = log.lines().map(Result::unwrap);
    let told = told.find(|line| line.starts_with("claims ledger: "));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(told.is_some_and(|line| line.ends_with(" rows")));
    // a ledger of this program that stands there is read; this one has no claims
    let binary = fingerprint::of_file(Path::new(env!("CARGO_BIN_EXE_inducer"))).unwrap();
    let compiler = std::env::var("CXX").unwrap_or_default();
    let key = fingerprint::of_bytes(format!("{binary} 1 1 {compiler}").as_bytes());
    let kept = serde_json::json!({
        "fingerprint": key,
        "ledger": { "command": "none", "cases": 1, "claims": [] },
    });
    std::fs::write(f.path("out/ledger.json"), kept.to_string()).unwrap();
    let (_, log) = succeeds(&f, &line);
    assert!(!log.contains("claims ledger"), "{log}");
    let report = std::fs::read_to_string(f.path("out/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["ledger"]["command"], "none");
}

#[test]
fn pretraining_says_how_far_it_is() {
    let f = Fixture::new();
    let line = "pretrain --prose 60000 --out made --vocabulary 300 --layers 1 --hidden 24 \
                --heads 3 --positions 32 --length 16 --batch-size 4 --steps 2 --threads 1";
    let (_, log) = succeeds(&f, line);
    assert!(log.contains("pretraining: 2 steps"), "{log}");
}

#[test]
fn a_row_of_the_ledger_is_told_as_it_comes() {
    let f = Fixture::new();
    let line = "verify --claim eq07-eq08 --engine reference --cases 1";
    let rows = |more: &str| {
        let out = f.inducer(&words(&format!("{line} {more}")));
        let log = said(&out);
        assert!(out.status.success(), "{log}");
        log.lines().filter(|l| l.contains("passed")).count()
    };
    let (table, _) = succeeds(&f, line);
    let all = table
        .lines()
        .filter(|l| l.starts_with("eq07-eq08 "))
        .count();
    assert!(all > 1, "{table}");
    assert_eq!((rows("-v"), rows("")), (all, 0));
}
