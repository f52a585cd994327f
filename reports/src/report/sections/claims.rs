//! What the claims ledger said when the report was made.

use crate::document::format::count;
use crate::document::table::Table;
use crate::document::{Block, Section};
use crate::study::empirical::{self, Finding};
use crate::study::{Ledger, Study};
use inducer_verify::Verdict;
use inducer_verify::render::number;

/// The section.
pub fn section(study: &Study) -> Section {
    let mut blocks = vec![Block::body(sentence(study))];
    let found = empirical::findings(study);
    blocks.push(Block::heading("What this study says of the empirical ones"));
    blocks.push(Block::Table(measured(&found)));
    if let Some(ledger) = &study.ledger {
        blocks.push(Block::details(
            "Every claim",
            vec![Block::Table(table(ledger))],
        ));
    }
    Section::new("claims", "Claims", "What has been verified", blocks)
}

/// The paper's empirical claims, and what this study says of each.
fn measured(found: &[Finding]) -> Table {
    Table::of("The paper's empirical claims in this study", found)
        .text("Claim", |f| f.claim.to_string())
        .text("Verdict", |f| f.verdict.to_string())
        .text("By", |f| f.evidence.clone())
        .finish()
}

/// One sentence, and what was not run.
fn sentence(study: &Study) -> String {
    let Some(ledger) = &study.ledger else {
        return "The claims ledger was not run with this report: `inducer verify` runs it.".into();
    };
    let with = |verdict| {
        let lines = ledger.claims.iter();
        lines.filter(|c| c.verdict() == verdict).count()
    };
    let [passed, failed, not_run] = [Verdict::Passed, Verdict::Failed, Verdict::NotRun].map(with);
    let cases: usize = ledger.claims.iter().map(|c| c.cases).sum();
    let failures = match failed {
        0 => "none failed".to_string(),
        n => format!("{n} FAILED"),
    };
    format!(
        "Of {} claims about the paper, {passed} passed on every engine or on those that could be \
         run here, {failures}, {not_run} were not run; {} random cases in all, every claim with a \
         negative control that has to fail. From {}.",
        ledger.claims.len(),
        count(cases),
        ledger.command
    )
}

/// All claims.
fn table(ledger: &Ledger) -> Table {
    Table::of("The claims ledger", &ledger.claims)
        .text("Claim", |c| c.id.clone())
        .text("Statement", |c| c.statement.clone())
        .text("Place", |c| c.place.clone())
        .text("Verdict", |c| c.verdict().label())
        .under("Engines", "passed", |c| c.passed.to_string())
        .under("Engines", "failed", |c| c.failed.to_string())
        .under("Engines", "not run", |c| c.not_run.to_string())
        .number("Cases", |c| count(c.cases))
        .number("Worst error / bound", |c| number(c.worst))
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;

    #[test]
    fn a_failed_claim_is_said_first_and_one_not_run_is_never_passed() {
        let mut study = testing::study();
        let said = sentence(&study);
        assert!(
            said.contains("1 passed") && said.contains("none failed"),
            "{said}"
        );
        assert!(said.contains("1 were not run"), "{said}");
        study.ledger.as_mut().unwrap().claims[0].failed = 1;
        assert!(sentence(&study).contains("1 FAILED"));
        study.ledger = None;
        assert!(sentence(&study).contains("was not run"));
    }
}
