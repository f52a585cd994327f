//! The ledger's rows as JUnit XML, which CI servers read: a suite a claim, a case an engine.

use inducer_verify::{Report, ReportRow, Verdict};

/// A text as XML's character data and attribute values need it.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn case(row: &ReportRow) -> String {
    let note = escaped(&row.why());
    let inside = match row.verdict {
        Verdict::Failed => format!("<failure message=\"{note}\"/>"),
        Verdict::NotRun => format!("<skipped message=\"{note}\"/>"),
        Verdict::Measured | Verdict::NotMeasured => format!("<system-out>{note}</system-out>"),
        Verdict::Passed => String::new(),
    };
    format!(
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\">{inside}</testcase>\n",
        escaped(&row.claim),
        escaped(&row.engine),
        row.seconds
    )
}

/// The whole report.
pub fn xml(report: &Report) -> String {
    let mut claims: Vec<&str> = report.rows.iter().map(|r| r.claim.as_str()).collect();
    claims.dedup();
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"inducer verify\" \
         tests=\"{}\" failures=\"{}\" skipped=\"{}\" time=\"{:.3}\">\n",
        report.rows.len(),
        report.count(Verdict::Failed),
        report.count(Verdict::NotRun),
        report.seconds
    );
    for claim in claims {
        let rows: Vec<_> = report.rows.iter().filter(|r| r.claim == claim).collect();
        let count = |v| rows.iter().filter(|r| r.verdict == v).count();
        out += &format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\">\n",
            escaped(claim),
            rows.len(),
            count(Verdict::Failed),
            count(Verdict::NotRun)
        );
        rows.iter().for_each(|row| out += &case(row));
        out += "  </testsuite>\n";
    }
    out + "</testsuites>\n"
}
