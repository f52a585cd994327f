//! Length sensitivity: what the length of the input does to score, loss and mechanism, on the
//! study's own inputs and on long ones.

use super::by_method;
use crate::document::format::{
    capitalised, count, fixed, list, optional, signed, signed_interval, spread,
};
use crate::document::table::Table;
use crate::document::{Block, Figure, Section};
use crate::report::figures::chart::{Chart, Curve};
use crate::stats::contrast::{Contrast, Judgement, MARGIN};
use crate::stats::{Summary, differences, mean, paired};
use crate::study::constant::Constant;
use crate::study::measure::Measure;
use crate::study::paper::{LONG_METHODS, ON_LENGTH};
use crate::study::{BackboneSource, LengthBin, Row, Run, Study};
use inducer_datasets::Task;

/// The section.
pub fn section(study: &Study) -> Section {
    let own = Lengths {
        id: "lengths",
        name: &study.provenance.data.name,
        backbone: None,
        task: study.task,
        rows: &study.rows,
        constant: None,
        slopes: &[],
    };
    let long = study.long.as_ref().map(|long| Lengths {
        id: "long",
        name: &long.data.name,
        backbone: long
            .backbone
            .as_ref()
            .filter(|b| **b != study.provenance.backbone),
        task: Task::Coqa,
        rows: &long.rows,
        constant: long.constant.as_ref(),
        slopes: &long.slopes,
    });
    let blocks = std::iter::once(own)
        .chain(long)
        .flat_map(|part| part.blocks())
        .collect();
    Section::new("lengths", "Length", "What long inputs do", blocks)
}

/// A number of a bin, where it was measured.
type Number = fn(&LengthBin) -> Option<f64>;

/// The methods on one data set.
struct Lengths<'a> {
    /// Unique in the page.
    id: &'static str,
    name: &'a str,
    /// Their backbone, where it is not the study's.
    backbone: Option<&'a BackboneSource>,
    task: Task,
    rows: &'a [Row],
    /// What always giving one answer scores, where it is known.
    constant: Option<&'a Constant>,
    /// The inducer's loss beside each prefix's, by length.
    slopes: &'a [Contrast],
}

impl Lengths<'_> {
    fn blocks(&self) -> Vec<Block> {
        let mut blocks = vec![Block::heading(capitalised(self.name))];
        blocks.extend(self.backbone.map(|b| {
            let parameters = count(b.parameters);
            Block::body(format!(
                "These runs have a backbone of their own, {}, with {parameters} parameters.",
                b.name
            ))
        }));
        if self.bins().is_empty() {
            blocks.push(Block::body(
                "Score by length was not measured in these runs.",
            ));
            return blocks;
        }
        let said = self.growth().or_else(|| self.gap());
        blocks.extend(said.into_iter().chain(self.reach()).map(Block::body));
        let figure = Figure {
            title: "Score by length of the input",
            meaning: "Test inputs in quartiles of their length in tokens, each at the middle of \
                      its span.",
            signs: "Line: mean over seeds; band, where there are at most four lines: from the \
                    lowest to the highest seed."
                .into(),
            picture: self.chart(),
            table: self.table(),
        };
        blocks.extend(figure.block());
        let mechanism = self.mechanism();
        if !mechanism.rows.is_empty() {
            let summary = "λ, μ and distances by length of the input";
            blocks.push(Block::details(summary, vec![Block::Table(mechanism)]));
        }
        blocks
    }

    fn row(&self, method: &str) -> Option<&Row> {
        self.rows.iter().find(|r| r.method == method)
    }

    fn unit(&self) -> &'static str {
        Measure::first(self.task).named().unit
    }

    /// Score by length; empty when it was not measured on two lengths.
    fn chart(&self) -> String {
        let points = |run: &Run| {
            let point = |b: &LengthBin| Some((0.5 * (b.from + b.to) as f64, b.score?));
            run.result
                .mechanism
                .by_length
                .iter()
                .filter_map(point)
                .collect()
        };
        let shown = |r: &&Row| !matches!(r.method.as_str(), "none" | "bitfit");
        let rows = self.rows.iter().filter(shown);
        Chart {
            id: self.id,
            title: "Score by length of the input",
            axis: format!("tokens of the input (score, {})", self.unit()),
            digits: 2,
            logarithmic: false,
            curves: Curve::all(rows, points),
        }
        .draw()
    }

    /// The bins, which all runs share.
    fn bins(&self) -> &[LengthBin] {
        let mut runs = self.rows.iter().flat_map(|r| &r.runs);
        let measured = runs.find(|r| !r.result.mechanism.by_length.is_empty());
        measured.map_or(&[], |r| &r.result.mechanism.by_length)
    }

    fn summary(row: &Row, bin: usize, of: Number) -> Option<Summary> {
        let values: Vec<f64> = row.of_length(bin, of).iter().map(|x| x.1).collect();
        Summary::of(&values)
    }

    /// Score and loss by length, a row for each method.
    fn table(&self) -> Table {
        let mut table = by_method("Score and loss by length of the input", self.rows);
        let title = |b: &LengthBin| format!("{} to {} tokens ({})", b.from, b.to, count(b.entries));
        let score: Number = |b| b.score;
        let loss: Number = |b| Some(b.loss);
        for (group, digits, of) in [
            ("Score", 2, score),
            ("Loss of the first reference, nats", 3, loss),
        ] {
            for (i, bin) in self.bins().iter().enumerate() {
                let cell = |row: &&Row| spread(Self::summary(row, i, of), digits);
                table = table.under(group, &title(bin), cell);
            }
        }
        table.finish()
    }

    /// Gate, distance and unreached queries by length, a row for each method that has a gate and
    /// each bin.
    fn mechanism(&self) -> Table {
        let bins = || self.bins().iter().enumerate();
        let rows = self
            .rows
            .iter()
            .flat_map(|row| bins().map(move |(i, bin)| (row, i, bin)));
        let gated = rows.filter(|(row, i, _)| Self::summary(row, *i, |b| b.gate).is_some());
        Table::of("λ and μ by length of the input", gated)
            .text("Method", |r| r.0.title.clone())
            .text("Tokens of the input", |r| {
                format!("{} to {}", r.2.from, r.2.to)
            })
            .number("mean λ or μ", |r| {
                spread(Self::summary(r.0, r.1, |b| b.gate), 3)
            })
            .number("below 0.01, %", |r| {
                spread(Self::summary(r.0, r.1, unreached_per_cent), 1)
            })
            .number("median distance", |r| {
                spread(Self::summary(r.0, r.1, |b| b.distance), 2)
            })
            .finish()
    }

    /// What the study says about the paper's claim that a fixed prefix loses more as inputs grow,
    /// by the slopes of the losses; none where they were not compared.
    fn growth(&self) -> Option<String> {
        let [first, others @ ..] = self.slopes else {
            return None;
        };
        let floor = self.floor();
        let said = |c: &Contrast| {
            let verdict = match (&floor, Judgement::of(c, c.p())) {
                (Some(_), _) => "no verdict on the length",
                (None, Judgement::Appears) => "the gap grows with the length, as the paper says",
                (None, Judgement::Reversed) => "the gap shrinks with the length, against the paper",
                (None, Judgement::Equivalent) => "the gap does not change with the length",
                (None, _) => "undecided",
            };
            let (low, high) = c.interval(0.05);
            format!(
                "{} nats a token (95 % interval {} to {}; {} and {} runs, {} passages): {verdict}",
                signed(c.difference, 3),
                signed(low, 3),
                signed(high, 3),
                c.seeds[0],
                c.seeds[1],
                count(c.entries)
            )
        };
        let beside = |c: &Contrast| {
            let title = self.row(&c.lower).map_or(&*c.lower, |row| &row.title);
            format!(" Beside {title}: {}.", said(c))
        };
        let others: String = others.iter().map(beside).collect();
        Some(format!(
            "What each doubling of the input's length adds to the loss of Inducer-tuning, less \
             what it adds to that of Prefix-tuning: {}.{others}{}{} No change means less than \
             {MARGIN} nats a token.",
            said(first),
            floor.clone().unwrap_or_default(),
            self.left_out().unwrap_or_default()
        ))
    }

    /// The runs that the slopes are not of, since they have not learnt the task.
    fn left_out(&self) -> Option<String> {
        let constant = self.constant?;
        let unlearnt = |row: &Row| {
            let runs = row.runs.iter();
            let below = runs.filter(|run| !constant.is_beaten_by(&run.result.scores));
            let (below, title) = (below.count(), &row.title);
            (below > 0).then(|| format!("{below} of {} runs of {title}", row.runs.len()))
        };
        let rows = LONG_METHODS.iter().filter_map(|method| self.row(method));
        let parts: Vec<String> = rows.filter_map(unlearnt).collect();
        (!parts.is_empty()).then(|| {
            format!(
                " Left out, since they have not learnt the task: {}, whose F1 is less than twice \
                 the {} of always answering “{}”.",
                list(&parts),
                fixed(constant.score, 1),
                constant.answer
            )
        })
    }

    /// The same by the scores of the shortest and the longest inputs. None when either side was not
    /// measured.
    fn gap(&self) -> Option<String> {
        let (prefix, inducer) = (self.row(ON_LENGTH[0])?, self.row(ON_LENGTH[1])?);
        let bins = self.bins();
        let last = bins.len().checked_sub(1)?;
        let lead = |bin: usize| {
            let [a, b] = [prefix, inducer].map(|row| row.of_length(bin, |b| b.score));
            differences(&a, &b)
        };
        let (short, long) = (lead(0), lead(last));
        let growth = paired(&short, &long)?;
        let mean = |x: &[(u64, f64)]| mean(&x.iter().map(|v| v.1).collect::<Vec<f64>>());
        let span = |i: usize| format!("{} to {} tokens", bins[i].from, bins[i].to);
        let floor = self.floor();
        let verdict = match growth.interval {
            _ if floor.is_some() => "no verdict on the length",
            None => "one seed gives no interval",
            Some((low, _)) if low > 0.0 => "the gap grows with the length, as the paper says",
            Some((_, high)) if high < 0.0 => "the gap shrinks with the length, against the paper",
            Some(_) => "within the spread over seeds: neither for the paper nor against it",
        };
        let range = signed_interval(Some(growth), 2);
        let range = range.map_or(String::new(), |i| format!(", 95 % interval {i}"));
        Some(format!(
            "Inducer-tuning less prefix-tuning: {} {} on the shortest inputs ({}), {} on the \
             longest ({}); from one to the other {}{range}: {verdict}.{}{}",
            signed(mean(&short), 2),
            self.unit(),
            span(0),
            signed(mean(&long), 2),
            span(last),
            signed(growth.mean, 2),
            floor.unwrap_or_default(),
            retention(prefix, inducer, last).unwrap_or_default()
        ))
    }

    /// Where one of the sides does not score more than the best constant answer.
    fn floor(&self) -> Option<String> {
        let constant = self.constant?;
        let sides: Vec<&Row> = ON_LENGTH.iter().filter_map(|m| self.row(m)).collect();
        let unlearnt = constant.unbeaten_by(&sides)?;
        let bin = self.bins().get(unlearnt.bin)?;
        Some(format!(
            " {} scores {} {} on inputs of {} to {} tokens, where always answering “{}” scores {}: \
             it has not learnt the task.",
            unlearnt.row.title,
            fixed(unlearnt.score, 2),
            self.unit(),
            bin.from,
            bin.to,
            constant.answer,
            fixed(unlearnt.least, 2)
        ))
    }

    /// Queries that the prefix does not reach, shortest and longest inputs.
    fn reach(&self) -> Option<String> {
        let last = self.bins().len().checked_sub(1)?;
        let part = |(method, symbol): (&str, &str)| {
            let row = self.row(method)?;
            let share = |bin| {
                let summary = Self::summary(row, bin, unreached_per_cent);
                optional(summary.map(|s| s.mean), 1)
            };
            Some(format!(
                "{}: {symbol} < 0.01 at {} % of the queries in the shortest inputs and {} % in the \
                 longest",
                row.title,
                share(0),
                share(last)
            ))
        };
        let parts: Vec<String> = ON_LENGTH
            .into_iter()
            .zip(["μ", "λ"])
            .filter_map(part)
            .collect();
        (!parts.is_empty()).then(|| format!("{}.", list(&parts)))
    }
}

fn unreached_per_cent(bin: &LengthBin) -> Option<f64> {
    bin.unreached.map(|share| 100.0 * share)
}

/// What share of their score on the shortest inputs both sides keep on the longest.
fn retention(prefix: &Row, inducer: &Row, last: usize) -> Option<String> {
    let share = |row: &Row| {
        let mean = |bin| Lengths::summary(row, bin, |b| b.score).map(|s| s.mean);
        let (short, long) = (mean(0)?, mean(last)?);
        (short > 0.0).then(|| fixed(100.0 * long / short, 0))
    };
    Some(format!(
        " Of its score on the shortest inputs prefix-tuning keeps {} % on the longest, \
         inducer-tuning {} %.",
        share(prefix)?,
        share(inducer)?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;
    use crate::run::Scores;
    use crate::study::Long;
    use inducer_datasets::metrics::coqa::Coqa;

    fn of(rows: &[Row]) -> Lengths<'_> {
        Lengths {
            id: "lengths",
            name: "invented",
            backbone: None,
            task: Task::WebNlg,
            rows,
            constant: None,
            slopes: &[],
        }
    }

    #[test]
    fn the_slopes_of_the_losses_say_whether_the_gap_grows() {
        let study = testing::study();
        let said = |first: f64, second: f64, constant: Option<&Constant>| {
            let slopes = [
                testing::slope("prefix", first),
                testing::slope("prefix-no-offset", second),
            ];
            let lengths = Lengths {
                slopes: &slopes,
                constant,
                ..of(&study.rows)
            };
            lengths.growth().unwrap()
        };
        let text = said(-0.05, 0.05, None);
        assert!(
            text.contains("Prefix-tuning: −0.050 nats a token (95 % interval −0.0"),
            "{text}"
        );
        assert!(text.contains("as the paper says. Beside"), "{text}");
        assert!(text.contains("against the paper"), "{text}");
        assert!(said(0.001, 0.0, None).contains("does not change with the length"));
        assert!(said(0.01, 0.0, None).contains("undecided"));
        let high = Constant {
            answer: "yes".into(),
            score: 100.0,
            scores: vec![100.0; 4],
        };
        let text = said(-0.05, 0.05, Some(&high));
        assert!(text.contains("no verdict on the length"), "{text}");
        assert!(text.contains("it has not learnt the task"), "{text}");
        assert_eq!(of(&study.rows).growth(), None);
    }

    #[test]
    fn runs_that_have_not_learnt_the_task_are_counted() {
        let mut study = testing::study();
        let of_each = [
            ("prefix", [9.4, 57.0, 20.9]),
            ("inducer", [60.0, 21.0, 58.0]),
        ];
        for (method, scores) in of_each {
            let row = study.rows.iter_mut().find(|r| r.method == method).unwrap();
            for (run, f1) in row.runs.iter_mut().zip(scores) {
                let mut scores = Coqa::default();
                scores.overall.f1 = f1;
                run.result.scores = Scores::Coqa { scores };
            }
        }
        let constant = |score: f64| Constant {
            answer: "no".into(),
            score,
            scores: vec![0.0; 4],
        };
        let said = |constant: &Constant| {
            let lengths = Lengths {
                constant: Some(constant),
                ..of(&study.rows)
            };
            lengths.left_out()
        };
        let text = said(&constant(10.5)).unwrap();
        assert!(
            text.contains("2 of 3 runs of Prefix-tuning, whose F1"),
            "{text}"
        );
        assert!(
            text.contains("twice the 10.5 of always answering “no”"),
            "{text}"
        );
        assert_eq!(said(&constant(4.7)), None);
    }

    #[test]
    fn a_backbone_of_the_long_inputs_is_named_where_it_is_not_the_studys() {
        let mut study = testing::study();
        let same = study.provenance.backbone.clone();
        let other = BackboneSource {
            name: "reader".into(),
            ..same.clone()
        };
        let mut page = |backbone| {
            study.long = Some(Long {
                backbone,
                ..testing::on_long_inputs(&study)
            });
            crate::report::markdown(&study)
        };
        let named = "These runs have a backbone of their own, reader, with 2,680,000 parameters.";
        assert!(page(Some(other)).contains(named));
        for silent in [Some(same), None] {
            assert!(!page(silent).contains("backbone of their own"));
        }
    }

    #[test]
    fn the_sentence_follows_the_gap_between_shortest_and_longest() {
        let mut study = testing::study();
        let set = |study: &mut Study, method: &str, scores: [f64; 4]| {
            let row = study.rows.iter_mut().find(|r| r.method == method).unwrap();
            for run in &mut row.runs {
                for (bin, score) in run.result.mechanism.by_length.iter_mut().zip(scores) {
                    bin.score = Some(score + 0.01 * run.seed as f64);
                }
            }
        };
        set(&mut study, "prefix", [30.0, 20.0, 10.0, 5.0]);
        set(&mut study, "inducer", [31.0, 25.0, 20.0, 20.0]);
        let said = of(&study.rows).gap().unwrap();
        assert!(said.contains("+1.00 BLEU on the shortest"), "{said}");
        assert!(said.contains("+15.00 on the longest"), "{said}");
        assert!(said.contains("as the paper says"), "{said}");
        assert!(
            said.contains("keeps 17 % on the longest, inducer-tuning 65 %"),
            "{said}"
        );
        set(&mut study, "inducer", [31.0, 25.0, 20.0, 4.0]);
        let said = of(&study.rows).gap().unwrap();
        assert!(said.contains("against the paper"), "{said}");
        // a prefix that has not learnt the task says nothing about the length
        let constant = |score: f64| Constant {
            answer: "yes".into(),
            score,
            scores: vec![score; 4],
        };
        let beside = |score: f64| {
            let constant = constant(score);
            let lengths = Lengths {
                constant: Some(&constant),
                ..of(&study.rows)
            };
            lengths.gap().unwrap()
        };
        let said = beside(6.0);
        assert!(said.contains("no verdict on the length"), "{said}");
        assert!(
            said.contains("always answering “yes” scores 6.00"),
            "{said}"
        );
        assert!(beside(3.0).contains("against the paper"), "{said}");
    }

    #[test]
    fn without_bins_nothing_is_said_or_drawn() {
        let mut study = testing::study();
        for run in study.rows.iter_mut().flat_map(|r| &mut r.runs) {
            run.result.mechanism.by_length.clear();
        }
        let lengths = of(&study.rows);
        assert!(lengths.gap().is_none() && lengths.reach().is_none());
        assert!(lengths.chart().is_empty());
        assert!(lengths.mechanism().rows.is_empty());
    }

    #[test]
    fn every_method_with_a_gate_has_a_line_for_each_bin() {
        let study = testing::study();
        let table = of(&study.rows).mechanism();
        assert_eq!(table.rows.len(), 6 * 4);
        assert_eq!(of(&study.rows).table().rows.len(), study.rows.len());
    }
}
