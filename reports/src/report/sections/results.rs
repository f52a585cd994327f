//! The methods side by side, and beside the paper's figures.

use super::by_method;
use super::verdict::measure;
use crate::document::format::{fixed, list, optional, spread};
use crate::document::table::{Cell, Mark, Table};
use crate::document::{Block, Section};
use crate::stats::excludes_zero;
use crate::study::measure::Measure;
use crate::study::paper::{FULL_METHOD, is_end};
use crate::study::{Row, Study};

/// What the marks of [`methods`] mean.
const MARKS: &str = "Mean ± sample standard deviation over seeds. Bold: best of its column, the \
 untuned backbone and full fine-tuning aside. † differs from Inducer-tuning over seeds: the 95 % \
 interval of the difference, paired by seed (Student's t), leaves out zero. * differs from it over \
 test inputs: p < 0.05 by approximate randomisation, in which an input changes sides with the \
 outputs of all common seeds; given for one score of the task. Each test stands for its cell \
 alone, without correction for their number. BLEU seen, unseen and all are multi-bleu's, as in the \
 paper: a missing reference counts as an empty one, which rewards texts that leave out facts; BLEU \
 without empty references does not. The test loss is that of all references of the scored \
 entries. The validation loss is the lowest of a run, that of the adapter whose outputs \
 are scored. ↓ less is better.";

/// The section.
pub fn section(study: &Study) -> Section {
    let mut blocks = vec![Block::Table(methods(study)), Block::note(MARKS)];
    blocks.extend(beside_paper(study).map(Block::Table));
    blocks.push(Block::heading("What is comparable with the paper"));
    blocks.extend(study.provenance.comparable.iter().map(Block::body));
    Section::new("results", "Results", "Results beside the paper's", blocks)
}

/// The main table, shaped as the paper's Tables 1 and 3.
pub fn methods(study: &Study) -> Table {
    let mut table = by_method("Methods side by side", &study.rows);
    table = table.number("Trained, %", |row| fixed(row.share, 2));
    for m in Measure::main(study.task) {
        table = table.under(m.named().group, m.named().title, |row| {
            score(study, row, *m)
        });
    }
    table.text("Seeds", |row| seeds(study, row)).finish()
}

/// Our means and the paper's figures, pair by pair; none where the paper's are not part of this
/// program.
fn beside_paper(study: &Study) -> Option<Table> {
    if study.task.is_own() {
        return None;
    }
    let mut table = by_method("Means here, and the paper's figures", &study.rows);
    for m in Measure::main(study.task) {
        if m.paper(FULL_METHOD).is_some() {
            let digits = m.named().paper_digits;
            let here = |row: &Row| m.summary(row).map(|s| s.mean);
            table = table
                .under(m.named().short, "here", |row| optional(here(row), digits))
                .under(m.named().short, "paper", |row| {
                    optional(m.paper(&row.method), digits)
                });
        }
    }
    Some(table.finish()).filter(|table| table.columns.len() > 1)
}

fn score(study: &Study, row: &Row, m: Measure) -> Cell {
    let summary = m.summary(row);
    let mut text = spread(summary, m.named().digits);
    let whole = study.row(FULL_METHOD).filter(|w| w.method != row.method);
    let difference = whole.and_then(|w| m.difference(w, row));
    if difference.is_some_and(|d| excludes_zero(&d)) {
        text += " †";
    }
    if m == measure(study) && row.p_value.is_some_and(|p| p < 0.05) {
        text += " *";
    }
    let best = summary.is_some_and(|s| is_best(study, row, m, s.mean));
    Cell::marked_if(best, Mark::Best, text)
}

fn is_best(study: &Study, row: &Row, m: Measure, mean: f64) -> bool {
    let rivals = study.rows.iter().filter(|r| !is_end(&r.method));
    let mut means = rivals.filter_map(|r| m.summary(r));
    !is_end(&row.method) && !means.any(|s| m.better(s.mean, mean))
}

/// `3`, `3, by loss 5 more`, or `2, missing: seed 3`.
fn seeds(study: &Study, row: &Row) -> String {
    let alone = row.by_loss_alone();
    let mut said = (row.runs.len() - alone).to_string();
    if alone > 0 {
        said += &format!(", by loss {alone} more");
    }
    let missing: Vec<String> = study.missing(row).iter().map(u64::to_string).collect();
    if !missing.is_empty() {
        said += &format!(", missing: seed {}", list(&missing));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{html, markdown};
    use crate::report::{self, testing};
    use inducer_datasets::Task;

    /// Every number of the main table, made again from the JSON text alone.
    #[test]
    fn every_number_of_the_main_table_is_in_both_pages_and_follows_from_the_json() {
        let study = testing::study();
        let json = serde_json::to_string_pretty(&study).unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let (page, text) = (report::html(&study), report::markdown(&study));
        let table = methods(&study);
        for (row, cells) in value["rows"].as_array().unwrap().iter().zip(&table.rows) {
            let number = |run: &serde_json::Value, m: Measure| match m {
                Measure::BleuSeen => run["bleu"]["seen"].as_f64().unwrap(),
                Measure::BleuUnseen => run["bleu"]["unseen"].as_f64().unwrap(),
                Measure::BleuAll => run["bleu"]["all"].as_f64().unwrap(),
                Measure::BleuWithoutEmpty => run["bleu"]["without_empty"].as_f64().unwrap(),
                Measure::Loss => run["best_validation_loss"].as_f64().unwrap(),
                Measure::TestLoss => run["test_loss"].as_f64().unwrap(),
                Measure::Meteor => run["meteor"].as_f64().unwrap(),
                Measure::Ter => run["ter"].as_f64().unwrap(),
                other => panic!("{other:?} is no measure of WebNLG's"),
            };
            for (m, cell) in Measure::main(Task::WebNlg).iter().copied().zip(&cells[2..]) {
                let runs = row["runs"].as_array().unwrap().iter();
                let x: Vec<f64> = runs.map(|r| number(r, m)).collect();
                let n = x.len() as f64;
                let mean = x.iter().sum::<f64>() / n;
                let sd = (x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
                let expected = format!("{mean:.*} ± {sd:.*}", m.named().digits, m.named().digits);
                let figure = cell.text.trim_end_matches(" *").trim_end_matches(" †");
                assert_eq!(figure, expected);
                assert!(page.contains(&html::escape(&expected)), "{expected}");
                assert!(text.contains(&expected), "{expected}");
            }
            let share = format!("{:.2}", row["share"].as_f64().unwrap());
            assert_eq!(cells[1].text, share);
        }
        let mut lines = text.lines();
        let last = lines.find(|l| l.starts_with("| Inducer + LoRA |")).unwrap();
        for cell in &table.rows[7] {
            assert!(last.contains(&markdown::escape(&cell.text)), "{last}");
        }
    }

    #[test]
    fn the_best_of_a_column_is_neither_end_of_the_scale() {
        let table = methods(&testing::study());
        let best: Vec<&str> = table
            .rows
            .iter()
            .filter(|r| r[4].mark == Mark::Best)
            .map(|r| r[0].text.as_str())
            .collect();
        assert_eq!(best, ["Inducer + LoRA"]);
    }
}
