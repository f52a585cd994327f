//! Two reports beside each other: the same methods' scores in both, and what differs in how they
//! were made.

use crate::page::measure::Measure;
use crate::page::table::{Cell, Column, Table};
use crate::page::words::{NOTHING, fixed, signed, spread};
use crate::page::{html, markdown, record};
use crate::stats::Summary;
use crate::study::{Row, Study};
use serde::Serialize;
use std::path::PathBuf;

/// One method and measure in both reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
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
    pub lines: Vec<Line>,
    /// Settings and sources that differ.
    pub settings: Vec<Setting>,
}

impl Comparison {
    /// Compares two studies; of different tasks only the validation loss is comparable, and even it
    /// only in name.
    pub fn of(a: &Study, b: &Study, files: [&PathBuf; 2]) -> Self {
        let measures: Vec<Measure> = Measure::main(a.task)
            .iter()
            .copied()
            .filter(|m| Measure::main(b.task).contains(m))
            .collect();
        let mut methods: Vec<&Row> = a.rows.iter().collect();
        methods.extend(b.rows.iter().filter(|r| a.row(&r.method).is_none()));
        let mut lines = Vec::new();
        for row in methods {
            for m in &measures {
                lines.push(line(row, *m, a.row(&row.method), b.row(&row.method)));
            }
        }
        Self {
            files: files.map(|f| f.display().to_string()),
            lines,
            settings: settings(a, b),
        }
    }

    fn scores(&self) -> Table {
        let columns = vec![
            Column::words("Method"),
            Column::words("Measure"),
            Column::number("A"),
            Column::number("B"),
            Column::number("B − A"),
            Column::number("p"),
        ];
        let mut table = Table::new(
            "Scores in both reports, mean ± deviation over seeds",
            columns,
        );
        for l in &self.lines {
            let significant = l.p_value.is_some_and(|p| p < 0.05);
            let difference = l.difference.map_or(NOTHING.into(), |d| signed(d, l.digits));
            table.rows.push(vec![
                l.title.as_str().into(),
                l.measure.as_str().into(),
                l.cells[0].as_str().into(),
                l.cells[1].as_str().into(),
                Cell {
                    text: difference,
                    best: significant,
                },
                l.p_value.map_or(NOTHING.into(), |p| fixed(p, 3)).into(),
            ]);
        }
        table
    }

    fn differences(&self) -> Table {
        let columns = ["What", "A", "B"].map(Column::words).to_vec();
        let mut table = Table::new("Settings and sources that differ", columns);
        for s in &self.settings {
            table.rows.push(vec![
                s.name.as_str().into(),
                s.a.as_str().into(),
                s.b.as_str().into(),
            ]);
        }
        table
    }

    fn sections(&self) -> Vec<(String, Option<Table>)> {
        let mut out = vec![
            (
                format!("A is {}, B is {}.", self.files[0], self.files[1]),
                None,
            ),
            (KEY.to_string(), Some(self.scores())),
        ];
        match self.settings.is_empty() {
            true => out.push(("Settings, data and backbone are the same.".into(), None)),
            false => out.push((
                "These differ, so a difference of scores may be theirs:".into(),
                Some(self.differences()),
            )),
        }
        out
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        markdown::plain(TITLE, &self.sections())
    }

    /// As one HTML file.
    pub fn html(&self) -> String {
        html::plain(TITLE, &self.sections())
    }
}

const TITLE: &str = "Two reports compared";

const KEY: &str = "p: Welch's t-test over seeds, two-sided, each for its line alone; a difference \
 with p < 0.05 is marked as in the report's tables. Runs of both reports need not share seeds' \
 data order, so nothing is paired.";

fn line(row: &Row, m: Measure, a: Option<&Row>, b: Option<&Row>) -> Line {
    let values = |r: Option<&Row>| -> Vec<f64> {
        r.map_or(Vec::new(), |r| {
            m.by_seed(r).into_iter().map(|x| x.1).collect()
        })
    };
    let (x, y) = (values(a), values(b));
    let (sx, sy) = (Summary::of(&x), Summary::of(&y));
    let mean = |s: &Option<Summary>| s.as_ref().map(|s| s.mean);
    Line {
        method: row.method.clone(),
        title: row.title.clone(),
        measure: m.words().into(),
        a: mean(&sx),
        b: mean(&sy),
        difference: mean(&sx).zip(mean(&sy)).map(|(x, y)| y - x),
        p_value: inducer_datasets::significance::welch(&x, &y)
            .ok()
            .map(|t| t.p)
            .filter(|p| p.is_finite()),
        cells: [
            spread(sx.as_ref(), m.digits()),
            spread(sy.as_ref(), m.digits()),
        ],
        digits: m.digits(),
    }
}

/// Names that differ in any two reports and say nothing.
const ALWAYS: [&str; 2] = ["Command", "Time"];

fn settings(a: &Study, b: &Study) -> Vec<Setting> {
    let (x, y) = (record::sources(a), record::sources(b));
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
    use crate::page::fixture;

    #[test]
    fn a_report_beside_itself_differs_in_nothing() {
        let study = fixture::study();
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
        let (a, mut b) = (fixture::study(), fixture::study());
        b.rows.retain(|r| r.method != "gating");
        b.provenance.settings.steps += 1;
        for run in b.rows.iter_mut().flat_map(|r| &mut r.runs) {
            run.training.validation_loss += 1.0;
        }
        let files = [&PathBuf::from("a.json"), &PathBuf::from("b.json")];
        let found = Comparison::of(&a, &b, files);
        let of = |method: &str| -> Vec<&Line> {
            found.lines.iter().filter(|l| l.method == method).collect()
        };
        let alone = |l: &&Line| l.a.is_some() && l.b.is_none() && l.difference.is_none();
        assert!(of("gating").iter().all(alone));
        let inducer = of("inducer");
        let loss = inducer
            .iter()
            .find(|l| l.measure == "validation loss")
            .unwrap();
        assert!((loss.difference.unwrap() - 1.0).abs() < 1e-12);
        assert!(loss.p_value.unwrap() < 0.001);
        assert_eq!(found.settings.len(), 1);
        assert!(found.markdown().contains("Steps"));
    }
}
