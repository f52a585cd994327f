//! What the claims ledger said when the report was made.

use super::table::{Cell, Column, Table};
use super::words::{NOTHING, count};
use crate::study::{ClaimLine, Ledger, Study};
use inducer_verify::Verdict;

/// One sentence, and what was not run.
pub fn sentence(study: &Study) -> String {
    let Some(ledger) = &study.ledger else {
        return "The claims ledger was not run with this report: `inducer verify` runs it.".into();
    };
    let of = |verdict| {
        let lines = ledger.claims.iter();
        lines.filter(|c| c.verdict() == verdict).count()
    };
    let (passed, failed, not_run) = (
        of(Verdict::Passed),
        of(Verdict::Failed),
        of(Verdict::NotRun),
    );
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
        count(cases as u64),
        ledger.command
    )
}

/// All claims.
pub fn table(ledger: &Ledger) -> Table {
    let columns = vec![
        Column::words("Claim"),
        Column::words("Statement"),
        Column::words("Place"),
        Column::words("Verdict"),
        Column::number("passed").under("Engines"),
        Column::number("failed").under("Engines"),
        Column::number("not run").under("Engines"),
        Column::number("Cases"),
        Column::number("Worst error / bound"),
    ];
    let mut table = Table::new("The claims ledger", columns);
    table.rows = ledger.claims.iter().map(line).collect();
    table
}

fn line(c: &ClaimLine) -> Vec<Cell> {
    vec![
        c.id.as_str().into(),
        c.statement.as_str().into(),
        c.place.as_str().into(),
        c.verdict().label().into(),
        c.passed.to_string().into(),
        c.failed.to_string().into(),
        c.not_run.to_string().into(),
        count(c.cases as u64).into(),
        c.worst
            .map_or(NOTHING.into(), |w| format!("{w:.1e}"))
            .into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_failed_claim_is_said_first_and_one_not_run_is_never_passed() {
        let mut study = fixture::study();
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
