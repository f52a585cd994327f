//! A report as a text table and as JSON.

use crate::error::Result;
use crate::report::{Report, ReportRow, Verdict};
use std::fmt::Write;

/// The report as JSON.
///
/// # Errors
/// None in practice.
pub fn json(report: &Report) -> Result<String> {
    Ok(serde_json::to_string_pretty(report)?)
}

/// A number of a table, an en dash where there is none.
#[must_use]
pub fn number(x: Option<f64>) -> String {
    match x {
        None => "–".into(),
        Some(0.0) => "0".into(),
        Some(x) => format!("{x:.1e}"),
    }
}

/// One line of the table.
#[must_use]
pub fn line(row: &ReportRow) -> String {
    let worst = row.worst.as_ref();
    let control = row.control.as_ref();
    let caught = if row.caught.1 == 0 {
        "–".into()
    } else {
        format!("{}/{}", row.caught.0, row.caught.1)
    };
    let mut text = format!(
        "{:<28} {:<14} {:>6} {:>9} {:>9} {:>9} {:>7}  {}",
        row.claim,
        row.engine,
        row.cases,
        number(worst.map(|w| w.error)),
        number(worst.map(|w| w.bound)),
        number(control.map(|w| w.error)),
        caught,
        row.verdict.label()
    );
    if let Some(chance) = row.chance {
        let _ = write!(
            text,
            ", chance of error < 1e{:.0} (degree {})",
            chance.log10.ceil(),
            chance.degree
        );
    }
    if !row.theorems.is_empty() {
        let _ = write!(text, ", {}", row.theorems.join(", "));
    }
    if let Some(note) = &row.note {
        let _ = write!(text, ": {note}");
    }
    if let Some(found) = &row.smallest {
        let _ = write!(text, "\n  {}", found.says());
        let _ = write!(text, "\n  {}", found.again(&row.claim, &row.engine));
    }
    text
}

/// The whole report as a table.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut out = format!(
        "{:<28} {:<14} {:>6} {:>9} {:>9} {:>9} {:>7}  {}\n",
        "claim", "engine", "cases", "error", "bound", "control", "caught", "verdict"
    );
    for row in &report.rows {
        out.push_str(&line(row));
        out.push('\n');
    }
    let count = |verdict| report.count(verdict);
    let _ = writeln!(
        out,
        "{} passed, {} failed, {} not run{}{}; seed {}, {:.1} s",
        count(Verdict::Passed),
        count(Verdict::Failed),
        count(Verdict::NotRun),
        match count(Verdict::Measured) {
            0 => String::new(),
            n => format!(", {n} measured by a study"),
        },
        match count(Verdict::NotMeasured) {
            0 => String::new(),
            n => format!(", {n} not measured by it"),
        },
        report.seed,
        report.seconds
    );
    out
}
