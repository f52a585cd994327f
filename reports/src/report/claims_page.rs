//! The claims ledger as a page: what is claimed, what came out on every engine, with which bound
//! and control.

use crate::document::format::count;
use crate::document::table::{Cell, Mark, Table};
use crate::document::{self, Block, Document, Role, Section, Span, Text};
use inducer_verify::claim::Worst;
use inducer_verify::ledger::{Kind, Row};
use inducer_verify::proofs::{Index, Theorem};
use inducer_verify::render::number;
use inducer_verify::{Ledger, Report, ReportRow, Target, Verdict};

/// What a check is.
const CHECK: &str = "A check compares two sides, number by number. Its bound is the unit round-off \
 times what the formula’s own derivatives say about how rounding reaches each number, or, for an \
 inequality, the margin that the row states. The negative control is the same check with one term \
 changed: where it passes, the check is worth nothing and the row fails. A row that was not run \
 never counts as passed.";

/// What the proofs are.
const PROOFS: &str = "Theorems over the real numbers, for every number of keys, every dimension \
 and every weight, checked by the proof assistant Coq. The comment above a theorem is its \
 sentence; what stands between Proof and Qed is for the machine. They say nothing about rounding: \
 the other engines do.";

/// What claims rest on, in the page's order: id, heading, what that means.
const GROUPS: [(Kind, &str, &str, &str); 7] = [
    (
        Kind::Exact,
        "exact",
        "Exact",
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
         tensors” is the engine in double precision without its CPU kernels: on candle's tensor \
         operations.",
    ),
    (
        Kind::Gradients,
        "gradients",
        "Gradients",
        "The engine's backward pass against reverse mode, dual numbers and central differences \
         over the reference.",
    ),
    (
        Kind::Definitions,
        "definitions",
        "Data, scores, runs and reports",
        "What is read from files, how texts are scored, what a run reports and what a report makes \
         of its runs, each against its definition, written a second time and without haste.",
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

impl<'a> Entry<'a> {
    fn of(claim: &'a Row, report: &'a Report) -> Self {
        let rows = report.rows.iter().filter(|row| row.claim == claim.id);
        let rows = rows.collect();
        Self { claim, rows }
    }

    fn count(&self, verdict: Verdict) -> usize {
        let rows = self.rows.iter();
        rows.filter(|row| row.verdict == verdict).count()
    }

    /// The verdict over all engines, in words; one failure is a failure.
    fn verdict(&self) -> String {
        let (passed, failed) = (self.count(Verdict::Passed), self.count(Verdict::Failed));
        let missing = self.count(Verdict::NotRun);
        let measured = |row: &&&ReportRow| row.verdict == Verdict::Measured;
        if let Some(note) = self
            .rows
            .iter()
            .find(measured)
            .and_then(|r| r.note.as_ref())
        {
            let word = note
                .split_once(": ")
                .map_or(note.as_str(), |(word, _)| word);
            return format!("measured: {word}");
        }
        if self.count(Verdict::NotMeasured) > 0 {
            return Verdict::NotMeasured.label().into();
        }
        match (passed, failed, missing) {
            (_, 1.., _) => format!("FAILED on {failed} of {}", self.rows.len()),
            (0, 0, _) => "not run".into(),
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
    let entries = ledger.claim.iter().map(|claim| Entry::of(claim, report));
    let mut entries: Vec<Entry<'_>> = entries.collect();
    entries.retain(|entry| !entry.rows.is_empty());
    let groups = GROUPS.iter().filter_map(|(kind, id, heading, what)| {
        let in_group = |entry: &&Entry<'_>| entry.claim.kind() == *kind;
        let entries: Vec<&Entry<'_>> = entries.iter().filter(in_group).collect();
        let blocks = group(heading, what, &entries);
        (!entries.is_empty()).then(|| Section::new(id, heading, heading, blocks))
    });
    let document = Document {
        title: "Inducer-tuning, claim by claim".into(),
        kind: "Claims ledger",
        what: what(report, &entries),
        skip: "Skip to what came out",
        sections: std::iter::once(outcome(report))
            .chain(groups)
            .chain(proofs(&entries))
            .collect(),
        foot: foot(report.version),
    };
    document::html::render(&document)
}

fn what(report: &Report, entries: &[Entry<'_>]) -> String {
    format!(
        "{} claims, {} rows of a claim on an engine; {} random cases asked for, seed {}; {:.0} s.",
        entries.len(),
        report.rows.len(),
        count(report.cases),
        report.seed,
        report.seconds
    )
}

fn foot(version: &str) -> Text {
    Text(vec![
        Span::Plain(format!("inducer {version}. The same numbers: ")),
        Span::Code("inducer verify --json".into()),
        Span::Plain(". Claims in words: ".into()),
        Span::Code("verify/claims.toml".into()),
        Span::Plain(" and ".into()),
        Span::Code("reports/claims.toml".into()),
        Span::Plain(".".into()),
    ])
}

/// The rows with this verdict, those on one engine for one reason together.
fn together(report: &Report, verdict: Verdict, caption: &str) -> Table {
    let mut groups: Vec<(String, &str, Vec<&str>)> = Vec::new();
    for row in report.rows.iter().filter(|row| row.verdict == verdict) {
        let (why, engine) = (row.why(), row.engine.as_str());
        let same = |group: &&mut (String, &str, _)| (&group.0, group.1) == (&why, engine);
        match groups.iter_mut().find(same) {
            Some((_, _, claims)) => claims.push(&row.claim),
            None => groups.push((why, engine, vec![&row.claim])),
        }
    }
    Table::of(caption, groups)
        .text("Engine", |group| group.1)
        .text("Claims", |group| group.2.join(", "))
        .sentence("Why", |group| group.0.clone())
        .finish()
}

/// The verdict in a sentence, and every row that did not pass.
fn outcome(report: &Report) -> Section {
    let [passed, failed, missing] =
        [Verdict::Passed, Verdict::Failed, Verdict::NotRun].map(|v| report.count(v));
    let lead = match (failed, passed) {
        (0, 0) => "Nothing was checked.".to_owned(),
        (0, _) => format!(
            "{passed} checks hold, and the negative control of each was caught; {missing} rows \
             were not run."
        ),
        _ => format!("{failed} checks FAILED, {passed} hold, {missing} rows were not run."),
    };
    let mut blocks = vec![
        Block::Paragraph(Role::Lead, lead.into()),
        Block::body(CHECK),
    ];
    for (verdict, caption) in [
        (Verdict::Failed, "Failed"),
        (Verdict::Measured, "Measured by a study"),
        (Verdict::NotMeasured, "Not measured by the study"),
        (Verdict::NotRun, "Not run"),
    ] {
        if report.count(verdict) > 0 {
            blocks.push(Block::Table(together(report, verdict, caption)));
        }
    }
    Section {
        id: "outcome",
        name: None,
        heading: "What came out",
        blocks,
    }
}

/// One line a claim, then everything about each.
fn group(heading: &str, what: &str, entries: &[&Entry<'_>]) -> Vec<Block> {
    let id = |e: &&&Entry<'_>| Cell::marked_if(true, Mark::Link, e.claim.id.clone());
    let verdict = |e: &&&Entry<'_>| {
        let failed = e.count(Verdict::Failed) > 0;
        Cell::marked_if(failed, Mark::Strong, e.verdict())
    };
    let overview = Table::of(format!("Claims: {heading}"), entries)
        .text("Claim", id)
        .sentence("Statement", |e| e.claim.statement.clone())
        .number("Verdict", verdict)
        .number("Worst error", |e| error(e.worst()))
        .number("Its bound", |e| number(e.worst().map(|w| w.bound)))
        .number("Control’s error", |e| error(e.control()))
        .finish();
    let mut blocks = vec![Block::body(what), Block::Table(overview)];
    blocks.push(Block::heading("Each of them"));
    blocks.extend(entries.iter().map(|entry| details(entry)));
    blocks
}

fn error(worst: Option<&Worst>) -> String {
    number(worst.map(|w| w.error))
}

fn details(entry: &Entry<'_>) -> Block {
    let claim = entry.claim;
    let mut about = vec![
        ("In the paper", claim.citation.clone()),
        ("About", claim.functions.join(", ")),
        ("Control", claim.control.clone()),
    ];
    about.extend(claim.measured.iter().map(|file| ("Measured", file.clone())));
    about.retain(|(_, value)| !value.is_empty());
    let about = about
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()));
    let mut blocks = vec![
        Block::body(claim.statement.as_str()),
        Block::body(Text(vec![Span::Code(claim.formula.clone())])),
        Block::Definitions(["Of the claim", "What"], about.collect()),
    ];
    if entry.rows.iter().any(|row| row.comparisons > 0) {
        blocks.push(Block::Table(engines(entry)));
    }
    blocks.extend(theorems(entry).map(Block::Table));
    Block::Details {
        id: claim.id.clone(),
        summary: format!("{}: {}", claim.id, entry.verdict()),
        blocks,
    }
}

/// What came out on every engine, with the reason of the bound and where the worst error is.
fn engines(entry: &Entry<'_>) -> Table {
    Table::of(format!("{} on each engine", entry.claim.id), &entry.rows)
        .text("Engine", |row| row.engine.clone())
        .number("Verdict", |row| row.verdict.label())
        .number("Cases", |row| count(row.cases))
        .number("Numbers", |row| count(row.comparisons))
        .number("Worst error", |row| error(row.worst.as_ref()))
        .number("Bound", |row| number(row.worst.as_ref().map(|w| w.bound)))
        .number("Control’s error", |row| error(row.control.as_ref()))
        .number("Caught", |row| format!("{}/{}", row.caught.0, row.caught.1))
        .text("Why the bound is that large", |row| why(row))
        .text("Where the worst error is", |row| error_at(row))
        .finish()
}

/// The engine that checks proofs.
fn is_proved(row: &&&ReportRow) -> bool {
    row.engine == Target::Proved.name()
}

/// The theorems of a claim, each with a link to its text, where they are part of the report.
fn theorems(entry: &Entry<'_>) -> Option<Table> {
    let row = entry.rows.iter().find(is_proved)?;
    let index = Index::read().ok()?;
    let theorems = index.theorems(&entry.claim.id);
    let link = |t: &&Theorem| Cell::marked_if(true, Mark::Link, t.name.clone());
    let caption = format!("{} for all inputs: {}", entry.claim.id, row.verdict.label());
    let table = Table::of(caption, theorems)
        .text("Theorem", link)
        .text("File", |t| format!("verify/proofs/{}", t.file))
        .text("In the paper", |t| t.equation.clone())
        .finish();
    Some(table)
}

/// The text of every theorem that a claim of the report names.
fn proofs(entries: &[Entry<'_>]) -> Option<Section> {
    let index = Index::read().ok()?;
    let proved = entries
        .iter()
        .filter(|entry| entry.rows.iter().any(|row| is_proved(&row)));
    let ids: Vec<&str> = proved.map(|entry| entry.claim.id.as_str()).collect();
    let named = |t: &&Theorem| t.claims.iter().any(|id| ids.contains(&id.as_str()));
    let texts: Vec<Block> = index.theorem.iter().filter(named).map(proof).collect();
    let mut blocks = vec![Block::body(PROOFS)];
    blocks.extend(texts);
    (!ids.is_empty()).then(|| Section::new("proofs", "Proofs", "The proofs", blocks))
}

/// A theorem's text, folded away under its name.
fn proof(theorem: &Theorem) -> Block {
    let text = inducer_verify::proofs::text(&theorem.file, &theorem.name);
    Block::Details {
        id: theorem.name.clone(),
        summary: format!("{} ({}, {})", theorem.name, theorem.equation, theorem.file),
        blocks: vec![Block::Code(text.unwrap_or_default().into())],
    }
}

fn why(row: &ReportRow) -> String {
    match (row.chance, &row.worst) {
        (Some(chance), _) => format!(
            "exact; a false identity of degree {} passes with probability below 1e{:.0}",
            chance.degree,
            chance.log10.ceil()
        ),
        (None, worst) => worst.as_ref().map_or(String::new(), |w| w.why.clone()),
    }
}

/// Where the worst error is, or why nothing was compared.
fn error_at(row: &ReportRow) -> String {
    let worst = row.worst.as_ref();
    let found = worst.map(|worst| format!("case {}, {}", worst.case, worst.location));
    row.note.clone().or(found).unwrap_or_default()
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
            origin: Default::default(),
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
            theorems: Vec::new(),
            note: None,
            smallest: None,
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
    fn every_claim_has_its_details_and_the_page_asks_for_nothing() {
        let page = page(&passed());
        for claim in Ledger::read().unwrap().claim {
            let details = format!("<div id=\"{}\"", claim.id);
            assert_eq!(page.matches(&details).count(), 1, "{}", claim.id);
            assert!(page.contains(&format!("href=\"#{}\"", claim.id)));
        }
        for forbidden in [
            "http://", "https://", "<script", "@import", "url(", "src=", "<κ>",
        ] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn a_claim_links_to_the_text_of_each_theorem_that_proves_it() {
        let page = page(&passed());
        for theorem in Index::read().unwrap().theorem {
            let stands = page
                .matches(&format!("<div id=\"{}\"", theorem.name))
                .count();
            assert_eq!(
                stands,
                usize::from(!theorem.claims.is_empty()),
                "{}",
                theorem.name
            );
            let links = page.matches(&format!("href=\"#{}\"", theorem.name)).count();
            assert_eq!(links, theorem.claims.len(), "{}", theorem.name);
        }
        assert!(page.contains("Theorem eq07_eq08"), "the text itself");
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
