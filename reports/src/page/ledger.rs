//! The claims ledger as one HTML file: what is claimed, what came out on every engine, with which
//! bound and control.

use super::palette;
use super::table::{Column, Table};
use super::words::{count, html};
use inducer_verify::claim::Worst;
use inducer_verify::ledger::{Kind, Row};
use inducer_verify::render::number;
use inducer_verify::{Ledger, Report, ReportRow, Verdict};

const STYLE: &str = include_str!("style.css");
const OWN: &str = "dl{display:grid;grid-template-columns:8rem 1fr;gap:.2rem 1rem;font-size:.9375rem;margin:.75rem 0}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}td a{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,\"Liberation Mono\",monospace;font-size:.92em}td.says{min-width:13rem}@media (max-width:40rem){dl{grid-template-columns:1fr}}\n";

/// What claims rest on, in the page's order: id, heading, what that means.
const GROUPS: [(Kind, &str, &str, &str); 6] = [
    (
        Kind::Exact,
        "exact",
        "Proved",
        "Both sides evaluated over the prime field of 2^61 − 1 at random points, or counted in \
         integers. A false identity of degree D passes k independent draws with probability at \
         most (D/p)^k. The same identities are then measured in floating point.",
    ),
    (
        Kind::Digits,
        "digits",
        "To 28 digits and more",
        "These need exp, tanh or √, so they are checked in double-double arithmetic, where a \
         number has 31 digits and an identity must hold to all but those that its own roundings \
         cost, and in f64 and f32.",
    ),
    (
        Kind::Float,
        "float",
        "In floating point",
        "Inequalities and limits, each with its own bound.",
    ),
    (
        Kind::Engines,
        "engines",
        "Reference and engine",
        "Whole models with a method attached, by two implementations that share no code. “cpu \
         tensors” is the engine in double precision without its CPU kernels: on the operations \
         that a GPU runs.",
    ),
    (
        Kind::Gradients,
        "gradients",
        "Gradients",
        "The engine's backward pass against reverse mode, dual numbers and central differences \
         over the reference.",
    ),
    (
        Kind::Empirical,
        "empirical",
        "Measured, not proved",
        "Claims of the paper that only training at full size can decide.",
    ),
];

/// A claim with its rows in the report.
struct Entry<'a> {
    claim: &'a Row,
    rows: Vec<&'a ReportRow>,
}

impl Entry<'_> {
    fn count(&self, verdict: Verdict) -> usize {
        let rows = self.rows.iter();
        rows.filter(|row| row.verdict == verdict).count()
    }

    /// The verdict over all engines, in words; one failure is a failure.
    fn verdict(&self) -> String {
        let (passed, failed) = (self.count(Verdict::Passed), self.count(Verdict::Failed));
        let missing = self.count(Verdict::NotRun);
        match (passed, failed, missing) {
            (_, 1.., _) => format!("FAILED on {failed} of {}", self.rows.len()),
            (0, 0, _) => Verdict::NotRun.label().into(),
            (1, 0, 0) => "passed on 1 engine".into(),
            (passed, 0, 0) => format!("passed on {passed} engines"),
            (passed, 0, missing) => format!("passed on {passed}, not run on {missing}"),
        }
    }

    /// The comparison of all engines that came nearest to its bound.
    fn worst(&self) -> Option<&Worst> {
        let all = self.rows.iter().filter_map(|row| row.worst.as_ref());
        all.max_by(|a, b| a.ratio().total_cmp(&b.ratio()))
    }

    /// The least that a control was beyond its bound, over the engines.
    fn control(&self) -> Option<&Worst> {
        let all = self.rows.iter().filter_map(|row| row.control.as_ref());
        all.min_by(|a, b| a.ratio().total_cmp(&b.ratio()))
    }
}

/// The page.
pub fn render(report: &Report, ledger: &Ledger) -> String {
    let entries: Vec<Entry<'_>> = ledger
        .claim
        .iter()
        .map(|claim| Entry {
            claim,
            rows: report
                .rows
                .iter()
                .filter(|row| row.claim == claim.id)
                .collect(),
        })
        .filter(|entry| !entry.rows.is_empty())
        .collect();
    let groups: Vec<(&str, &str, String)> = GROUPS
        .iter()
        .filter_map(|(kind, id, heading, what)| {
            let own = |entry: &&Entry<'_>| entry.claim.kind() == *kind;
            let own: Vec<&Entry<'_>> = entries.iter().filter(own).collect();
            (!own.is_empty()).then(|| (*id, *heading, group(heading, what, &own)))
        })
        .collect();
    let links: String = groups
        .iter()
        .map(|(id, heading, _)| format!("<li><a href=\"#{id}\">{heading}</a></li>"))
        .collect();
    let sections: String = groups
        .iter()
        .map(|(id, heading, body)| section(id, heading, body))
        .collect();
    let outcome = section("outcome", "What came out", &outcome(report));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta \
         name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\">\n<title>Inducer-tuning, claim by claim</title>\n<link rel=\"icon\" \
         href=\"data:,\">\n<style>\n{}{STYLE}{OWN}</style>\n</head>\n<body>\n<a class=\"skip\" \
         href=\"#main\">Skip to what came out</a>\n<header>\n<p class=\"kind\">Claims \
         ledger</p>\n<h1>Inducer-tuning, claim by claim</h1>\n<p class=\"what\">{}</p>\n<nav \
         aria-label=\"Contents\"><ul>{links}</ul></nav>\n</header>\n<main id=\"main\" \
         tabindex=\"-1\">\n{outcome}{sections}</main>\n<footer><p>inducer {}. The same numbers: \
         <code>inducer verify --json</code>. Claims in words: \
         <code>verify/claims.toml</code>.</p></footer>\n</body>\n</html>\n",
        palette::css(),
        html(&what(report, &entries)),
        html(report.version),
    )
}

fn what(report: &Report, entries: &[Entry<'_>]) -> String {
    format!(
        "{} claims, {} rows of a claim on an engine; {} random cases asked for, seed {}; {:.0} s.",
        entries.len(),
        report.rows.len(),
        count(report.cases as u64),
        report.seed,
        report.seconds
    )
}

fn section(id: &str, heading: &str, body: &str) -> String {
    format!(
        "<section id=\"{id}\" aria-labelledby=\"{id}-h\">\n<h2 \
         id=\"{id}-h\">{}</h2>\n{body}</section>\n",
        html(heading)
    )
}

/// The rows with this verdict, those on one engine for one reason together.
fn together(report: &Report, verdict: Verdict, caption: &str) -> Table {
    let columns = ["Why", "Engine", "Claims"].map(Column::words).to_vec();
    let mut groups: Vec<(String, &str, Vec<String>)> = Vec::new();
    for row in report.rows.iter().filter(|row| row.verdict == verdict) {
        let why = row.note.clone().unwrap_or_default();
        let of = |group: &&mut (String, &str, Vec<String>)| group.0 == why && group.1 == row.engine;
        match groups.iter_mut().find(of) {
            Some((_, _, claims)) => claims.push(row.claim.clone()),
            None => groups.push((why, &row.engine, vec![row.claim.clone()])),
        }
    }
    let mut table = Table::new(caption, columns);
    for (why, engine, claims) in groups {
        table
            .rows
            .push(vec![why.into(), engine.into(), claims.join(", ").into()]);
    }
    table
}

/// The verdict in a sentence, and every row that did not pass.
fn outcome(report: &Report) -> String {
    let of = |verdict| report.count(verdict);
    let (passed, failed, missing) = (
        of(Verdict::Passed),
        of(Verdict::Failed),
        of(Verdict::NotRun),
    );
    let lead = match (failed, passed) {
        (0, 0) => "Nothing was checked.".to_owned(),
        (0, _) => format!(
            "{passed} checks hold, and the negative control of each was caught; {missing} rows \
             were not run."
        ),
        _ => format!("{failed} checks FAILED, {passed} hold, {missing} rows were not run."),
    };
    let mut body = format!("<p class=\"lead\">{}</p>\n", html(&lead));
    body += "<p>A check compares two sides, number by number. Its bound is the unit round-off \
     times what the formula’s own derivatives say about how rounding reaches each number, or, for \
     an inequality, the margin that the row states. The negative control is the same check with \
     one term changed: where it passes, the check is worth nothing and the row fails. A row that \
     was not run never counts as passed.</p>\n";
    for (verdict, caption) in [(Verdict::Failed, "Failed"), (Verdict::NotRun, "Not run")] {
        if report.count(verdict) > 0 {
            body += &together(report, verdict, caption).html();
        }
    }
    body
}

/// One line a claim, then everything about each.
fn group(heading: &str, what: &str, entries: &[&Entry<'_>]) -> String {
    let label = html(&format!("Claims: {heading}"));
    let lines: String = entries.iter().map(|entry| line(entry)).collect();
    let details: String = entries.iter().map(|entry| details(entry)).collect();
    format!(
        "<p>{}</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"group\" \
         aria-label=\"{label}\"><table><caption>{label}</caption>\n<thead><tr><th scope=\"col\" \
         class=\"w\">Claim</th><th scope=\"col\" class=\"w\">Statement</th><th \
         scope=\"col\">Verdict</th><th scope=\"col\">Worst error</th><th scope=\"col\">Its \
         bound</th><th scope=\"col\">Control’s \
         error</th></tr></thead>\n<tbody>\n{lines}</tbody></table></div>\n<h3>Each of \
         them</h3>\n{details}",
        html(what)
    )
}

fn line(entry: &Entry<'_>) -> String {
    let id = html(&entry.claim.id);
    let worst = entry.worst();
    let verdict = html(&entry.verdict());
    let verdict = match entry.count(Verdict::Failed) {
        0 => verdict,
        _ => format!("<strong>{verdict}</strong>"),
    };
    format!(
        "<tr><th scope=\"row\" class=\"w\"><a href=\"#{id}\">{id}</a></th><td class=\"w \
         says\">{}</td><td>{verdict}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
        html(&entry.claim.statement),
        number(worst.map(|w| w.error)),
        number(worst.map(|w| w.bound)),
        number(entry.control().map(|w| w.error)),
    )
}

fn details(entry: &Entry<'_>) -> String {
    let claim = entry.claim;
    let mut pairs = vec![
        ("In the paper", claim.citation.clone()),
        ("About", claim.functions.join(", ")),
        ("Control", claim.control.clone()),
    ];
    pairs.extend(
        claim
            .measured
            .iter()
            .map(|place| ("Measured", place.clone())),
    );
    let pairs: String = pairs
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>", html(value)))
        .collect();
    let table = match entry.rows.iter().any(|row| row.comparisons > 0) {
        true => engines(entry).html(),
        false => String::new(),
    };
    format!(
        "<details><summary>{}: {}</summary>\n<p \
         id=\"{}\">{}</p>\n<p><code>{}</code></p>\n<dl>{pairs}</dl>\n{table}</details>\n",
        html(&claim.id),
        html(&entry.verdict()),
        html(&claim.id),
        html(&claim.statement),
        html(&claim.formula),
    )
}

/// What came out on every engine, with the reason of the bound and the place of the worst error.
fn engines(entry: &Entry<'_>) -> Table {
    let columns = vec![
        Column::words("Engine"),
        Column::number("Verdict"),
        Column::number("Cases"),
        Column::number("Numbers"),
        Column::number("Worst error"),
        Column::number("Bound"),
        Column::number("Control’s error"),
        Column::number("Caught"),
        Column::words("Why the bound is that large"),
        Column::words("Where the worst error is"),
    ];
    let mut table = Table::new(&format!("{} on each engine", entry.claim.id), columns);
    for row in &entry.rows {
        let worst = row.worst.as_ref();
        let place = match (&row.note, worst) {
            (Some(note), _) => note.clone(),
            (None, Some(worst)) => format!("case {}, {}", worst.case, worst.location),
            (None, None) => String::new(),
        };
        let why = match row.chance {
            Some(chance) => format!(
                "exact; a false identity of degree {} passes with probability below 1e{:.0}",
                chance.degree,
                chance.log10.ceil()
            ),
            None => worst.map_or_else(String::new, |worst| worst.why.clone()),
        };
        table.rows.push(vec![
            row.engine.as_str().into(),
            row.verdict.label().into(),
            count(row.cases as u64).into(),
            count(row.comparisons as u64).into(),
            number(worst.map(|w| w.error)).into(),
            number(worst.map(|w| w.bound)).into(),
            number(row.control.as_ref().map(|w| w.error)).into(),
            format!("{}/{}", row.caught.0, row.caught.1).into(),
            why.into(),
            place.into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report in which every row of the ledger passed, with numbers of no meaning.
    fn passed() -> Report {
        let worst = |error| Worst {
            error,
            bound: 1e-14,
            why: "2 u <κ>".into(),
            location: "row 0".into(),
            case: 3,
        };
        let row = |claim: &str, engine: &str| ReportRow {
            claim: claim.into(),
            engine: engine.into(),
            verdict: Verdict::Passed,
            cases: 4,
            comparisons: 4,
            worst: Some(worst(1e-15)),
            control: Some(worst(0.5)),
            caught: (4, 4),
            chance: None,
            note: None,
            seconds: 0.1,
        };
        let ledger = Ledger::read().unwrap();
        let rows = ledger.claim.iter().flat_map(|claim| {
            let engines = claim.engines.iter().map(|engine| row(&claim.id, engine));
            let nowhere = claim.measured.iter().map(|place| ReportRow {
                verdict: Verdict::NotRun,
                comparisons: 0,
                note: Some(place.clone()),
                ..row(&claim.id, "–")
            });
            engines.chain(nowhere).collect::<Vec<_>>()
        });
        Report {
            version: "0",
            seed: 1,
            cases: 4,
            seconds: 1.0,
            rows: rows.collect(),
        }
    }

    fn page(report: &Report) -> String {
        render(report, &Ledger::read().unwrap())
    }

    #[test]
    fn a_failed_row_stands_at_the_top_and_in_its_claim() {
        let mut report = passed();
        let good = page(&report);
        assert!(good.contains("checks hold") && !good.contains("FAILED"));
        report.rows[0].verdict = Verdict::Failed;
        report.rows[0].note = Some("one <bias> less".into());
        let bad = page(&report);
        assert!(bad.contains("1 checks FAILED") && bad.contains("<caption>Failed</caption>"));
        let engines = Ledger::read().unwrap().claim[0].engines.len();
        assert!(bad.contains(&format!("<strong>FAILED on 1 of {engines}</strong>")));
        assert!(bad.contains("one &lt;bias&gt; less"));
    }

    #[test]
    fn every_claim_has_its_place_and_the_page_asks_for_nothing() {
        let page = page(&passed());
        for claim in Ledger::read().unwrap().claim {
            let place = format!("<p id=\"{}\"", claim.id);
            assert_eq!(page.matches(&place).count(), 1, "{}", claim.id);
            assert!(page.contains(&format!("href=\"#{}\"", claim.id)));
        }
        for forbidden in [
            "http://", "https://", "<script", "@import", "url(", "src=", "<κ>",
        ] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn what_was_not_run_is_never_said_to_have_passed() {
        let mut report = passed();
        for row in &mut report.rows {
            row.verdict = Verdict::NotRun;
            row.note = Some("no machine".into());
        }
        let page = page(&report);
        assert!(page.contains("Nothing was checked.") && !page.contains("passed on"));
    }

    #[test]
    fn the_worst_error_of_a_claim_is_the_nearest_to_its_bound_and_its_control_the_weakest() {
        let mut report = passed();
        let id = report.rows[0].claim.clone();
        if let Some(worst) = &mut report.rows[1].worst {
            worst.error = 7e-15;
        }
        if let Some(control) = &mut report.rows[1].control {
            control.error = 0.25;
        }
        let page = page(&report);
        let line = page
            .lines()
            .find(|line| line.contains(&format!("<a href=\"#{id}\"")))
            .unwrap();
        assert!(
            line.contains("<td>7.0e-15</td><td>1.0e-14</td><td>2.5e-1</td>"),
            "{line}"
        );
    }
}
