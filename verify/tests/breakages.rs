//! Breaking any one term of (5)–(11) makes a named claim fail, on both engines.

#![allow(clippy::unwrap_used)]

use inducer_verify::claims::{self, models::mutations::TERMS};
use inducer_verify::runner::{mutated, row};
use inducer_verify::{Ledger, Target, Verdict};

/// The breakages that the project promises to notice, each with the row that does.
const BREAKAGES: [(&str, &str); 7] = [
    ("√p is dropped", "term-scale"),
    ("b_2 is weighted by Σ_h λ^(h)", "term-shared-bias"),
    ("b_lora is forgotten", "term-lora-bias"),
    (
        "λ from a second softmax over the text's n columns",
        "term-denominator",
    ),
    ("r_k and r_v are exchanged", "term-widths"),
    ("one future token leaks", "term-future"),
    ("the prefix's offset is ignored", "term-prefix-offset"),
];

/// Cases of one check: the corners, and some that are none.
const CASES: usize = 13;

#[test]
fn the_ledger_names_every_breakage_as_a_control_on_both_engines() {
    let ledger = Ledger::read().unwrap();
    let named: Vec<(&str, &str)> = ledger
        .claim
        .iter()
        .filter_map(|row| {
            row.breaks
                .as_deref()
                .map(|breaks| (breaks, row.id.as_str()))
        })
        .collect();
    assert_eq!(named, BREAKAGES);
    for row in ledger.claim.iter().filter(|row| row.breaks.is_some()) {
        assert_eq!(row.breaks.as_deref(), Some(row.control.as_str()));
        for engine in [
            Target::ReferenceF64,
            Target::ReferenceF32,
            Target::CpuF64,
            Target::CpuF32,
        ] {
            assert!(
                row.engines.iter().any(|name| name == engine.name()),
                "{}: not on {engine}",
                row.id
            );
        }
    }
    assert_eq!(BREAKAGES.map(|(_, id)| id), TERMS.map(|(id, _)| id));
}

#[test]
fn every_broken_term_fails_its_claim_on_every_engine() {
    let all = claims::all();
    for (what, id) in BREAKAGES {
        let claim = all.iter().find(|claim| claim.id == id).unwrap();
        for check in &claim.checks {
            let found = mutated(claim, check, CASES, 1);
            assert_eq!(
                found.verdict,
                Verdict::Failed,
                "{what}: {id} on {} passed",
                check.target
            );
            let note = found.note.unwrap_or_default();
            assert!(
                note.contains("beyond their bound"),
                "{what}: {id} on {} failed for another reason: {note}",
                check.target
            );
        }
    }
}

#[test]
fn the_same_rows_pass_with_the_term_in_its_place() {
    let all = claims::all();
    for (_, id) in BREAKAGES {
        let claim = all.iter().find(|claim| claim.id == id).unwrap();
        for check in &claim.checks {
            let found = row(claim, check, CASES, 1);
            assert_eq!(
                found.verdict,
                Verdict::Passed,
                "{id} on {}: {:?}",
                check.target,
                found.note
            );
        }
    }
}
