//! Two reports beside each other: the same methods' scores in both, and what differs in how they
//! were made.

use super::sections;
use crate::document::format::{optional, or_dash, signed, spread};
use crate::document::table::{Cell, Mark, Table};
use crate::document::{self, Block, Document, Section};
use crate::stats::Summary;
use crate::study::measure::Measure;
use crate::study::{Row, Study};
use inducer_datasets::significance;
use serde::Serialize;
use std::path::PathBuf;

/// One method and measure in both reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScoreLine {
    /// Name on the command line.
    pub method: String,
    /// Name in tables.
    pub title: String,
    /// The measure, in words.
    pub measure: String,
    /// Mean in the first report.
    pub a: Option<f64>,
    /// Mean in the second.
    pub b: Option<f64>,
    /// The second less the first.
    pub difference: Option<f64>,
    /// Welch's two-sided probability of so large a difference of the means over seeds; none with
    /// fewer than two seeds in either.
    pub p_value: Option<f64>,
    #[serde(skip)]
    cells: [String; 2],
    #[serde(skip)]
    digits: usize,
}

/// A setting that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// In the first report.
    pub a: String,
    /// In the second.
    pub b: String,
}

/// What two reports have in common and where they differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The two files.
    pub files: [String; 2],
    /// Scores; methods of the first report, then those that only the second has.
    pub lines: Vec<ScoreLine>,
    /// Settings and sources that differ.
    pub settings: Vec<Setting>,
}

impl Comparison {
    /// Compares two studies; of different tasks only the validation loss is comparable, and even it
    /// only in name.
    pub fn of(a: &Study, b: &Study, files: [&PathBuf; 2]) -> Self {
        let measures = Measure::main(a.task).iter().copied();
        let measures: Vec<Measure> = measures
            .filter(|m| Measure::main(b.task).contains(m))
            .collect();
        let only_b = b.rows.iter().filter(|r| a.row(&r.method).is_none());
        let lines = a.rows.iter().chain(only_b).flat_map(|row| {
            let both = [a, b].map(|study| study.row(&row.method));
            let lines = measures.iter().map(move |m| ScoreLine::of(row, *m, both));
            lines.collect::<Vec<_>>()
        });
        Self {
            files: files.map(|f| f.display().to_string()),
            lines: lines.collect(),
            settings: settings(a, b),
        }
    }

    fn scores(&self) -> Table {
        let difference = |l: &&ScoreLine| {
            let text = or_dash(l.difference.map(|d| signed(d, l.digits)));
            Cell::marked_if(l.p_value.is_some_and(|p| p < 0.05), Mark::Strong, text)
        };
        Table::of(
            "Scores in both reports, mean ± deviation over seeds",
            &self.lines,
        )
        .text("Method", |l| l.title.clone())
        .text("Measure", |l| l.measure.clone())
        .number("A", |l| l.cells[0].clone())
        .number("B", |l| l.cells[1].clone())
        .number("B − A", difference)
        .number("p", |l| optional(l.p_value, 3))
        .finish()
    }

    fn differences(&self) -> Vec<Block> {
        if self.settings.is_empty() {
            return vec![Block::body("Settings, data and backbone are the same.")];
        }
        let table = Table::of("Settings and sources that differ", &self.settings)
            .text("What", |s| s.name.clone())
            .text("A", |s| s.a.clone())
            .text("B", |s| s.b.clone())
            .finish();
        vec![
            Block::body("These differ, so a difference of scores may be theirs:"),
            Block::Table(table),
        ]
    }

    fn document(&self) -> Document {
        let scores = vec![Block::note(KEY), Block::Table(self.scores())];
        let differences = self.differences();
        Document {
            title: "Two reports compared".into(),
            kind: "Comparison",
            what: format!("A is {}, B is {}.", self.files[0], self.files[1]),
            skip: "Skip to the scores",
            sections: vec![
                Section::new("scores", "Scores", "Scores", scores),
                Section::new("settings", "Settings", "Settings and sources", differences),
            ],
            foot: format!("inducer {}.", env!("CARGO_PKG_VERSION")).into(),
        }
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        document::markdown::render(&self.document())
    }

    /// As one HTML file.
    pub fn html(&self) -> String {
        document::html::render(&self.document())
    }
}

const KEY: &str = "p: Welch's t-test over seeds, two-sided, each for its line alone; a difference \
 with p < 0.05 is marked as in the report's tables. Runs of both reports need not share seeds' \
 data order, so nothing is paired.";

impl ScoreLine {
    fn of(row: &Row, m: Measure, both: [Option<&Row>; 2]) -> Self {
        let values = both.map(|row| {
            let by_seed = row.map(|r| m.by_seed(r)).unwrap_or_default();
            by_seed.into_iter().map(|x| x.1).collect::<Vec<f64>>()
        });
        let summaries = [Summary::of(&values[0]), Summary::of(&values[1])];
        let [a, b] = summaries.map(|s| s.map(|s| s.mean));
        let welch = significance::welch(&values[0], &values[1]).ok();
        Self {
            method: row.method.clone(),
            title: row.title.clone(),
            measure: m.named().sentence.into(),
            a,
            b,
            difference: a.zip(b).map(|(a, b)| b - a),
            p_value: welch.map(|t| t.p).filter(|p| p.is_finite()),
            cells: summaries.map(|s| spread(s, m.named().digits)),
            digits: m.named().digits,
        }
    }
}

/// Names that differ in any two reports and say nothing.
const ALWAYS: [&str; 2] = ["Command", "Time"];

fn settings(a: &Study, b: &Study) -> Vec<Setting> {
    let (x, y) = (sections::sources(a), sections::sources(b));
    let rows = x.rows.iter().zip(&y.rows);
    rows.filter(|(a, b)| a[1].text != b[1].text && !ALWAYS.contains(&a[0].text.as_str()))
        .map(|(a, b)| Setting {
            name: a[0].text.clone(),
            a: a[1].text.clone(),
            b: b[1].text.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;
    use approx::assert_abs_diff_eq;

    #[test]
    fn a_report_beside_itself_differs_in_nothing() {
        let study = testing::study();
        let files = [&PathBuf::from("a.json"), &PathBuf::from("b.json")];
        let found = Comparison::of(&study, &study, files);
        assert!(found.settings.is_empty());
        assert!(
            found
                .lines
                .iter()
                .all(|l| l.difference.is_none_or(|d| d == 0.0))
        );
        assert!(found.html().contains("are the same"));
    }

    #[test]
    fn a_method_that_only_one_has_is_there_without_a_difference() {
        let (a, mut b) = (testing::study(), testing::study());
        b.rows.retain(|r| r.method != "gating");
        b.provenance.settings.steps += 1;
        for run in b.rows.iter_mut().flat_map(|r| &mut r.runs) {
            run.result.training.validation_loss += 1.0;
        }
        let files = [&PathBuf::from("a.json"), &PathBuf::from("b.json")];
        let found = Comparison::of(&a, &b, files);
        let of = |method: &str| -> Vec<&ScoreLine> {
            found.lines.iter().filter(|l| l.method == method).collect()
        };
        let alone = |l: &&ScoreLine| l.a.is_some() && l.b.is_none() && l.difference.is_none();
        assert!(of("gating").iter().all(alone));
        let inducer = of("inducer");
        let loss = inducer
            .iter()
            .find(|l| l.measure == "validation loss")
            .unwrap();
        assert_abs_diff_eq!(loss.difference.unwrap(), 1.0, epsilon = 1e-12);
        assert!(loss.p_value.unwrap() < 0.001);
        assert_eq!(found.settings.len(), 1);
        assert!(found.markdown().contains("Steps"));
    }
}
