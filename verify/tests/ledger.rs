//! Ledger and code against each other, both ways.

#![allow(clippy::unwrap_used)]

mod sources;

use inducer_verify::cases::draw::PAIRS;
use inducer_verify::engines::{External, Target, engines};
use inducer_verify::proofs::{self, Index};
use inducer_verify::{Claim, Cuda, Ledger, Options, Present, Verdict, claims, run};
use sources::sources;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[test]
fn no_row_is_without_a_check_and_no_check_without_a_row() {
    let ledger = Ledger::read().unwrap();
    let rows: BTreeSet<&str> = ledger
        .claim
        .iter()
        .filter(|row| row.measured.is_none())
        .map(|row| row.id.as_str())
        .collect();
    let all = claims::all();
    let checks: BTreeSet<&str> = all.iter().map(|claim| claim.id).collect();
    assert_eq!(rows, checks);
    assert_eq!(
        ledger.claim.len(),
        ledger
            .claim
            .iter()
            .map(|row| &row.id)
            .collect::<BTreeSet<_>>()
            .len(),
        "an id stands twice"
    );
    assert_eq!(all.len(), checks.len(), "an id is checked twice");
}

#[test]
fn the_engines_of_a_row_are_those_of_its_check_and_perhaps_one_that_this_machine_lacks() {
    let ledger = Ledger::read().unwrap();
    let rows: BTreeMap<&str, BTreeSet<&str>> = ledger
        .claim
        .iter()
        .map(|row| {
            (
                row.id.as_str(),
                row.engines.iter().map(String::as_str).collect(),
            )
        })
        .collect();
    let present: BTreeSet<&str> = engines(&Present::cpu())
        .iter()
        .map(|engine| engine.target().name())
        .collect();
    for claim in claims::all() {
        let checked: BTreeSet<&str> = claim
            .checks
            .iter()
            .map(|check| check.target.name())
            .collect();
        let missing: Vec<_> = rows[claim.id].difference(&checked).copied().collect();
        assert!(
            checked.is_subset(&rows[claim.id]),
            "{}: the ledger does not list {:?}",
            claim.id,
            checked.difference(&rows[claim.id])
        );
        assert!(
            missing
                .iter()
                .all(|engine| absent_here(engine) && !present.contains(engine)),
            "{}: no check on {missing:?}",
            claim.id
        );
    }
}

/// Numbers in a piece of text: of "Eqs. 5–9, 11" 5 to 9 and 11.
fn numbers(text: &str) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let words: Vec<String> = text
        .replace(['–', '-'], " to ")
        .split(|c: char| !c.is_alphanumeric())
        .map(str::to_owned)
        .collect();
    let words: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| !word.is_empty())
        .collect();
    for (i, word) in words.iter().enumerate() {
        if let Ok(number) = word.parse::<u32>() {
            let from = if i >= 2 && words[i - 1] == "to" {
                words[i - 2].parse().unwrap_or(number)
            } else {
                number
            };
            found.extend(from..=number);
        }
    }
    found
}

#[test]
fn every_equation_named_in_the_documentation_has_a_row() {
    let ledger = Ledger::read().unwrap();
    let rows: BTreeSet<u32> = ledger
        .claim
        .iter()
        .filter(|row| row.citation.contains("Eq"))
        .flat_map(|row| numbers(row.citation.split('§').next().unwrap()))
        .collect();
    assert!(
        (1..=13).all(|equation| rows.contains(&equation)),
        "equations without a row: {:?}",
        (1..=13).filter(|n| !rows.contains(n)).collect::<Vec<_>>()
    );
    for krate in ["reference", "gpu"] {
        for (path, text) in sources(krate) {
            for mention in text.split("(Eq").skip(1) {
                let mention = mention.split(')').next().unwrap_or_default();
                let unknown: Vec<u32> = numbers(mention)
                    .into_iter()
                    .filter(|n| *n <= 13 && !rows.contains(n))
                    .collect();
                assert!(
                    unknown.is_empty(),
                    "{}: (Eq{mention}) has no row",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn every_function_of_a_row_exists() {
    let code: BTreeMap<&str, String> = ["reference", "gpu", "datasets"]
        .map(|krate| {
            (
                krate,
                sources(krate).into_iter().map(|(_, text)| text).collect(),
            )
        })
        .into();
    for row in Ledger::read().unwrap().claim {
        for function in &row.functions {
            let krate = function
                .strip_prefix("inducer_")
                .and_then(|f| f.split("::").next())
                .unwrap_or_default()
                .to_owned();
            let name = function.split("::").last().unwrap_or_default();
            let text = code
                .get(krate.as_str())
                .unwrap_or_else(|| panic!("{}: `{function}` is of no known crate", row.id));
            let found = [
                format!("fn {name}("),
                format!("fn {name}<"),
                format!("struct {name}"),
            ]
            .iter()
            .any(|form| text.contains(form));
            assert!(found, "{}: `{function}` does not exist", row.id);
        }
    }
}

#[test]
fn every_row_says_something_in_every_field() {
    for row in Ledger::read().unwrap().claim {
        let fields = [&row.statement, &row.formula, &row.citation, &row.control];
        assert!(
            fields.iter().all(|field| !field.trim().is_empty()),
            "{}: an empty field",
            row.id
        );
        assert!(
            row.measured.is_some() || (!row.functions.is_empty() && !row.engines.is_empty()),
            "{}: no function or engine",
            row.id
        );
    }
}

/// Whether this machine may lack an engine: a card, a C++ compiler that builds its kernels, a
/// program of one's own or a proof assistant, which two other tests hold against the ledger.
fn absent_here(engine: &str) -> bool {
    let elsewhere = [Target::External, Target::Proved].map(Target::name);
    elsewhere.contains(&engine)
        || Target::is_gpu(engine)
        || (Target::is_emulated(engine) && !inducer_gpu::kernels::cuda::EMULATED)
}

/// The rows of the ledger that list an engine.
fn listing(engine: Target) -> BTreeSet<String> {
    let rows = Ledger::read().unwrap().claim.into_iter();
    let lists = |row: &inducer_verify::ledger::Row| row.engines.iter().any(|e| e == engine.name());
    rows.filter(lists).map(|row| row.id).collect()
}

#[test]
fn the_rows_that_are_proved_are_those_that_a_theorem_names() {
    let index = Index::read().unwrap();
    let named: BTreeSet<String> = index
        .theorem
        .iter()
        .flat_map(|theorem| theorem.claims.clone())
        .collect();
    assert_eq!(listing(Target::Proved), named);
    assert!(named.len() >= 35, "only {} rows are proved", named.len());
}

#[test]
fn every_algebraic_row_is_proved_and_every_theorem_stands_in_its_file() {
    let index = Index::read().unwrap();
    for row in Ledger::read().unwrap().claim {
        let on = |target: Target| row.engines.iter().any(|engine| engine == target.name());
        if [Target::PrimeField, Target::DoubleDouble, Target::Integers]
            .into_iter()
            .any(on)
        {
            assert!(
                on(Target::Proved),
                "{} is algebra and names no theorem",
                row.id
            );
        }
    }
    for theorem in &index.theorem {
        let text = proofs::text(&theorem.file, &theorem.name);
        assert!(
            text.is_some(),
            "{}: no theorem {}",
            theorem.file,
            theorem.name
        );
    }
}

#[test]
fn the_rows_of_a_program_are_those_that_list_one() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("stub.sh");
    let hello = r#"{"id":1,"name":"stub","dtype":"f64","features":[],"answers":[]}"#;
    std::fs::write(&script, format!("read line\necho '{hello}'\nread line\n")).unwrap();
    let command = format!("sh '{}'", script.display());
    let external = External::start(&command, Duration::from_secs(60)).unwrap();
    let with = claims::on(&Present {
        external: Some(external),
        ..Present::cpu()
    });
    let has = |claim: &&Claim| claim.checks.iter().any(|c| c.target == Target::External);
    let checked: BTreeSet<String> = with
        .iter()
        .filter(has)
        .map(|claim| claim.id.to_owned())
        .collect();
    assert_eq!(checked, listing(Target::External));
    let alone = claims::all();
    assert!(
        !alone.iter().any(|claim| has(&claim)),
        "no program, no check"
    );
}

#[test]
fn every_pair_of_a_method_and_a_corner_is_met_in_the_shortest_run() {
    for id in [
        "models-agree",
        "roberta-agree",
        "gradients-reverse",
        "roberta-gradients",
    ] {
        let options = Options {
            engine: Some("cpu f32".into()),
            ..Options::new(1, 1).only(id)
        };
        let report = run(&options, &|_| {}).unwrap();
        let own = report.rows.iter().find(|row| row.claim == id).unwrap();
        assert!(own.cases >= PAIRS, "{id}: {} cases", own.cases);
    }
}

#[test]
fn empirical_claims_are_reported_as_not_run() {
    let report = run(&Options::new(1, 1).only("gating-collapses"), &|_| {}).unwrap();
    let verdicts: Vec<_> = report.rows.iter().map(|row| row.verdict).collect();
    assert_eq!(verdicts, [Verdict::NotRun]);
}

#[test]
fn an_absent_gpu_is_reported_as_not_run_with_the_reason() {
    let mut options = Options::new(1, 1).only("roberta-agree");
    options.cuda = Cuda::Absent("this machine has none".into());
    let report = run(&options, &|_| {}).unwrap();
    let gpu: Vec<_> = report
        .rows
        .iter()
        .filter(|row| Target::is_gpu(&row.engine))
        .collect();
    assert_eq!(gpu.len(), 2);
    assert_eq!(
        (gpu[0].verdict, gpu[0].note.as_deref()),
        (Verdict::NotRun, Some("this machine has none"))
    );
    assert!(report.passed(), "not run is no failure");
    assert_eq!(report.count(Verdict::Passed), report.rows.len() - 2);
}

#[test]
fn a_name_that_no_claim_has_is_an_error() {
    let error = run(&Options::new(1, 1).only("eq99"), &|_| {}).unwrap_err();
    assert!(error.to_string().contains("`eq99`"), "{error}");
}
