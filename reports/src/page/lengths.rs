//! Length sensitivity: what the length of the input does to score, loss and mechanism.

use super::chart::{Chart, Line, Series};
use super::table::{Column, Table};
use super::words::{NOTHING, count, first_upper, fixed, interval, list, signed, spread};
use crate::page::measure::Measure;
use crate::stats::{Summary, paired};
use crate::study::{LengthBin, Row, Study};
use inducer_datasets::Task;

/// What a bin is.
pub const KEY: &str = "Test inputs in quartiles of their length in tokens, each at the middle of \
 its span. Line: mean over seeds; band, where there are at most four lines: from the lowest to the \
 highest seed.";

/// The methods that the paper's claim is about.
const SIDES: [&str; 2] = ["prefix", "inducer"];

/// Said where a part has no bins.
pub const NOT_MEASURED: &str = "Score by length was not measured in these runs.";

/// The study's own inputs, and the long ones when there are any, each with a heading.
pub fn parts(study: &Study) -> Vec<(String, Lengths<'_>)> {
    let own = Lengths {
        id: "lengths",
        task: study.task,
        rows: &study.rows,
    };
    let mut out = vec![(first_upper(&study.provenance.data.name), own)];
    out.extend(study.long.iter().map(|long| {
        let long_inputs = Lengths {
            id: "long",
            task: Task::Coqa,
            rows: &long.rows,
        };
        (first_upper(&long.data.name), long_inputs)
    }));
    out
}

/// Rows on one data set, and its task.
#[derive(Clone, Copy)]
pub struct Lengths<'a> {
    /// Unique in the page.
    pub id: &'static str,
    /// The task.
    pub task: Task,
    /// Methods.
    pub rows: &'a [Row],
}

fn middle(bin: &LengthBin) -> f64 {
    0.5 * (bin.from + bin.to) as f64
}

impl Lengths<'_> {
    fn row(&self, method: &str) -> Option<&Row> {
        self.rows.iter().find(|r| r.method == method)
    }

    fn line(&self, row: &Row, of: fn(&LengthBin) -> Option<f64>) -> Option<Line> {
        let runs: Vec<Series> = row
            .runs
            .iter()
            .map(|r| {
                let bins = r.mechanism.by_length.iter();
                bins.filter_map(|b| Some((middle(b), of(b)?))).collect()
            })
            .collect();
        Line::of(&row.method, &row.title, &runs)
    }

    /// Score by length, prefix and inducer and what lies between; empty when it was not measured.
    pub fn scores(&self) -> String {
        let unit = Measure::first(self.task).unit();
        let kept = |m: &str| !matches!(m, "none" | "bitfit");
        let rows = self.rows.iter().filter(|r| kept(&r.method));
        Chart {
            id: self.id,
            title: "Score by length of the input".into(),
            axis: format!("tokens of the input (score, {unit})"),
            digits: 2,
            logarithmic: false,
            lines: rows.filter_map(|r| self.line(r, |b| b.score)).collect(),
        }
        .draw()
    }

    /// The bins, which all runs share.
    fn bins(&self) -> Vec<(usize, usize, usize)> {
        let run = self
            .rows
            .iter()
            .flat_map(|r| &r.runs)
            .find(|r| !r.mechanism.by_length.is_empty());
        run.map_or(Vec::new(), |r| {
            let bins = r.mechanism.by_length.iter();
            bins.map(|b| (b.from, b.to, b.entries)).collect()
        })
    }

    fn values(
        &self,
        row: &Row,
        bin: usize,
        of: impl Fn(&LengthBin) -> Option<f64>,
    ) -> Vec<(u64, f64)> {
        let value = |r: &crate::study::Run| Some((r.seed, of(r.mechanism.by_length.get(bin)?)?));
        row.runs.iter().filter_map(value).collect()
    }

    fn summary(
        &self,
        row: &Row,
        bin: usize,
        of: impl Fn(&LengthBin) -> Option<f64>,
    ) -> Option<Summary> {
        let values: Vec<f64> = self.values(row, bin, of).into_iter().map(|x| x.1).collect();
        Summary::of(&values)
    }

    /// Score and loss by length, a row for each method.
    pub fn table(&self, caption: &str) -> Table {
        let mut columns = vec![Column::words("Method")];
        let bins = self.bins();
        for group in ["Score", "Loss of the first reference, nats"] {
            for (from, to, n) in &bins {
                let title = format!("{from} to {to} tokens ({})", count(*n as u64));
                columns.push(Column::number(&title).under(group));
            }
        }
        let mut table = Table::new(caption, columns);
        for row in self.rows {
            let mut cells = vec![row.title.as_str().into()];
            for i in 0..bins.len() {
                cells.push(spread(self.summary(row, i, |b| b.score).as_ref(), 2).into());
            }
            for i in 0..bins.len() {
                cells.push(spread(self.summary(row, i, |b| Some(b.loss)).as_ref(), 3).into());
            }
            table.rows.push(cells);
        }
        table
    }

    /// Gate, distance and unreached queries by length, a row for each method that has a gate and
    /// each bin.
    pub fn mechanism(&self, caption: &str) -> Table {
        let columns = vec![
            Column::words("Method"),
            Column::words("Tokens of the input"),
            Column::number("mean λ or μ"),
            Column::number("below 0.01, %"),
            Column::number("median distance"),
        ];
        let mut table = Table::new(caption, columns);
        for row in self.rows {
            for (i, (from, to, _)) in self.bins().iter().enumerate() {
                let Some(gate) = self.summary(row, i, |b| b.gate) else {
                    continue;
                };
                let per_cent = self.summary(row, i, |b| b.unreached.map(|u| 100.0 * u));
                let distance = self.summary(row, i, |b| b.distance);
                table.rows.push(vec![
                    row.title.as_str().into(),
                    format!("{from} to {to}").into(),
                    spread(Some(&gate), 3).into(),
                    spread(per_cent.as_ref(), 1).into(),
                    spread(distance.as_ref(), 2).into(),
                ]);
            }
        }
        table
    }

    /// What the study says about the paper's claim that a fixed prefix loses more as inputs grow.
    /// None when either side was not measured.
    pub fn sentence(&self) -> Option<String> {
        let [prefix, inducer] = SIDES.map(|m| self.row(m));
        let (prefix, inducer) = (prefix?, inducer?);
        let bins = self.bins();
        let last = bins.len().checked_sub(1)?;
        let unit = Measure::first(self.task).unit();
        let lead = |i: usize| {
            let (a, b) = (
                self.values(prefix, i, |b| b.score),
                self.values(inducer, i, |b| b.score),
            );
            let lead: Vec<(u64, f64)> = b
                .iter()
                .filter_map(|(s, y)| a.iter().find(|x| x.0 == *s).map(|x| (*s, y - x.1)))
                .collect();
            lead
        };
        let (short, long) = (lead(0), lead(last));
        let growth = paired(&short, &long)?;
        let mean = |x: &[(u64, f64)]| x.iter().map(|v| v.1).sum::<f64>() / x.len().max(1) as f64;
        let at = |i: usize| format!("{} to {} tokens", bins[i].0, bins[i].1);
        let verdict = match growth.interval {
            None => "one seed gives no interval".to_string(),
            Some((low, _)) if low > 0.0 => {
                "the gap grows with the length, as the paper says".into()
            }
            Some((_, high)) if high < 0.0 => {
                "the gap shrinks with the length, against the paper".into()
            }
            Some(_) => "within the spread over seeds: neither for the paper nor against it".into(),
        };
        let range = interval(&growth, 2).map_or(String::new(), |i| format!(", 95 % interval {i}"));
        let kept = |row: &Row| {
            let mean = |i: usize| self.summary(row, i, |b| b.score).map(|s| s.mean);
            let (short, long) = (mean(0)?, mean(last)?);
            (short > 0.0).then(|| fixed(100.0 * long / short, 0))
        };
        let kept = match (kept(prefix), kept(inducer)) {
            (Some(p), Some(i)) => format!(
                " Of its score on the shortest inputs prefix-tuning keeps {p} % on the longest, \
                 inducer-tuning {i} %."
            ),
            _ => String::new(),
        };
        Some(format!(
            "Inducer-tuning less prefix-tuning: {} {unit} on the shortest inputs ({}), {} on the \
             longest ({}); from one to the other {}{range}: {verdict}.{kept}",
            signed(mean(&short), 2),
            at(0),
            signed(mean(&long), 2),
            at(last),
            signed(growth.mean, 2),
        ))
    }

    /// Everything that is said.
    pub fn sentences(&self) -> Vec<String> {
        self.sentence().into_iter().chain(self.reached()).collect()
    }

    /// Queries that the prefix does not reach, in words, shortest and longest inputs.
    pub fn reached(&self) -> Option<String> {
        let last = self.bins().len().checked_sub(1)?;
        let mut parts = Vec::new();
        for (method, symbol) in SIDES.into_iter().zip(["μ", "λ"]) {
            let Some(row) = self.row(method) else {
                continue;
            };
            let at = |i: usize| {
                let s = self.summary(row, i, |b| b.unreached.map(|u| 100.0 * u));
                s.map_or(NOTHING.into(), |s| fixed(s.mean, 1))
            };
            parts.push(format!(
                "{}: {symbol} < 0.01 at {} % of the queries in the shortest inputs and {} % in the \
                 longest",
                row.title,
                at(0),
                at(last)
            ));
        }
        (!parts.is_empty()).then(|| format!("{}.", list(&parts)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    fn of(rows: &[Row]) -> Lengths<'_> {
        Lengths {
            id: "lengths",
            task: Task::WebNlg,
            rows,
        }
    }

    #[test]
    fn the_sentence_follows_the_gap_between_shortest_and_longest() {
        let mut study = fixture::study();
        let set = |study: &mut crate::study::Study, method: &str, scores: [f64; 4]| {
            let row = study.rows.iter_mut().find(|r| r.method == method).unwrap();
            for run in &mut row.runs {
                for (bin, score) in run.mechanism.by_length.iter_mut().zip(scores) {
                    bin.score = Some(score + 0.01 * run.seed as f64);
                }
            }
        };
        set(&mut study, "prefix", [30.0, 20.0, 10.0, 5.0]);
        set(&mut study, "inducer", [31.0, 25.0, 20.0, 20.0]);
        let said = of(&study.rows).sentence().unwrap();
        assert!(said.contains("+1.00 BLEU on the shortest"), "{said}");
        assert!(said.contains("+15.00 on the longest"), "{said}");
        assert!(said.contains("as the paper says"), "{said}");
        assert!(
            said.contains("keeps 17 % on the longest, inducer-tuning 65 %"),
            "{said}"
        );
        set(&mut study, "inducer", [31.0, 25.0, 20.0, 4.0]);
        let said = of(&study.rows).sentence().unwrap();
        assert!(said.contains("against the paper"), "{said}");
    }

    #[test]
    fn without_bins_nothing_is_said_or_drawn() {
        let mut study = fixture::study();
        for run in study.rows.iter_mut().flat_map(|r| &mut r.runs) {
            run.mechanism.by_length.clear();
        }
        let lengths = of(&study.rows);
        assert!(lengths.sentence().is_none() && lengths.reached().is_none());
        assert!(lengths.scores().is_empty());
        assert!(lengths.mechanism("").rows.is_empty());
    }

    #[test]
    fn every_method_with_a_gate_has_a_line_for_each_bin() {
        let study = fixture::study();
        let table = of(&study.rows).mechanism("Mechanism");
        assert_eq!(table.rows.len(), 6 * 4);
        assert_eq!(of(&study.rows).table("Scores").rows.len(), study.rows.len());
    }
}
