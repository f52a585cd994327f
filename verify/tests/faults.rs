//! The catalogue of faults against the code: `make faults` takes hours, and a text that has moved
//! would be noticed no sooner.

#![allow(clippy::unwrap_used)]

mod sources;

use inducer_verify::Ledger;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// One of `verify/faults`, as `verify/checks/faults.py` reads it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    means: String,
    file: String,
    right: String,
    wrong: String,
    claim: String,
    after: Option<String>,
    #[serde(default)]
    #[allow(dead_code)]
    statement: bool,
    /// Why no row catches it.
    #[allow(dead_code)]
    missed: Option<String>,
}

impl Fault {
    /// Why the text of its file cannot be made wrong.
    fn misplaced(&self, text: &str) -> Option<&'static str> {
        let program = sources::program(text);
        let behind = match &self.after {
            Some(after) => match program.split_once(after) {
                Some((_, behind)) => behind,
                None => return Some("what it stands after is not there"),
            },
            None if program.matches(&self.right).count() > 1 => return Some("it stands twice"),
            None => program,
        };
        (!behind.contains(&self.right)).then_some("the right text is not there")
    }
}

#[test]
fn every_fault_stands_in_its_file_and_names_a_row() {
    let verify = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut ledger = Ledger::read().unwrap();
    let reports = fs::read_to_string(verify.join("../reports/claims.toml")).unwrap();
    ledger
        .claim
        .extend(toml::from_str::<Ledger>(&reports).unwrap().claim);
    let rows: BTreeSet<&str> = ledger.claim.iter().map(|row| row.id.as_str()).collect();
    let mut count = 0;
    for entry in fs::read_dir(verify.join("faults")).unwrap() {
        let path = entry.unwrap().path();
        let fault: Fault = toml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let text = fs::read_to_string(verify.join("..").join(&fault.file)).unwrap();
        let name = path.display();
        assert_eq!(fault.misplaced(&text), None, "{name}");
        assert_ne!(fault.right, fault.wrong, "{name}");
        assert!(!fault.means.is_empty(), "{name}");
        assert!(
            rows.contains(fault.claim.as_str()),
            "{name}: {}",
            fault.claim
        );
        count += 1;
    }
    assert!(count >= 120, "{count} faults");
}

#[test]
fn a_text_that_has_moved_is_noticed() {
    let fault = |after: Option<&str>| Fault {
        means: "one more".into(),
        file: "x.rs".into(),
        right: "n + 1".into(),
        wrong: "n".into(),
        claim: "x".into(),
        after: after.map(Into::into),
        statement: false,
        missed: None,
    };
    assert_eq!(fault(None).misplaced("let a = n + 1;"), None);
    assert!(fault(None).misplaced("let a = n + 2;").is_some());
    assert!(
        fault(None)
            .misplaced("let a = n + 1; let b = n + 1;")
            .is_some()
    );
    let twice = "let a = n + 1; let b = n + 1;";
    assert_eq!(fault(Some("let b")).misplaced(twice), None);
    assert!(fault(Some("let c")).misplaced(twice).is_some());
    let in_tests = "let a = n;\n#[cfg(test)]\nmod tests { n + 1 }";
    assert!(fault(None).misplaced(in_tests).is_some());
}
