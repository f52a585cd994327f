//! The rows of the ledger that stand in this crate: words and checks belong together, every row
//! passes, and its control is caught.
#![allow(clippy::unwrap_used)] // tests

use inducer_reports::ledger::claims;
use inducer_verify::{Ledger, Options, Verdict, regressions, render, run};
use std::collections::BTreeSet;
use std::path::Path;

/// Where the smallest case of a row that failed is kept, to be tried from now on.
const REGRESSIONS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../verify/proptest-regressions/ledger.txt"
);

/// Cases of a small check.
const CASES: usize = 30;

#[test]
fn every_row_of_this_crate_passes_and_its_control_is_caught() {
    claims::register().unwrap();
    claims::register().unwrap();
    let rows = toml::from_str::<Ledger>(include_str!("../claims.toml")).unwrap();
    let all = Ledger::read().unwrap().claim;
    let rows: Vec<_> = rows.claim.iter().collect();
    let count = |id: &str| all.iter().filter(|row| row.id == id).count();
    assert!(
        rows.iter().all(|row| count(&row.id) == 1),
        "a row is not there, or twice"
    );
    let ids: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids.len(), rows.len(), "a row stands there twice");
    assert!(ids.len() >= 8, "{ids:?}");
    for row in rows {
        let report = run(&Options::new(CASES, 1).only(&row.id), &|_| {}).unwrap();
        // an id may be a part of others
        let own: Vec<_> = report.rows.iter().filter(|r| r.claim == row.id).collect();
        let engines: Vec<&str> = own.iter().map(|r| r.engine.as_str()).collect();
        assert_eq!(engines, row.engines, "{}: engines", row.id);
        for found in own {
            regressions::keep_smallest(Path::new(REGRESSIONS), found).unwrap();
            assert_eq!(found.verdict, Verdict::Passed, "{}", render::line(found));
            assert!(found.caught.0 > 0, "{}: control", row.id);
        }
    }
}
