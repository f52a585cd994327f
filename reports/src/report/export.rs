//! What people keep of a report beside its pages: its tables, and its runs as one list.

use super::document;
use crate::csv::of_records;
use crate::document::export::csv;
use crate::document::table::Table;
use crate::document::{Block, Document, Figure, Section};
use crate::study::{Row, Study};
use anyhow::Result;
use serde_json::{Map, Value, json};

/// Every table of the report, those behind its figures included: a name for the file and CSV.
pub fn tables(study: &Study) -> Vec<(String, String)> {
    let document = document(study);
    let found = of(&document);
    let named = found.iter().enumerate();
    named
        .map(|(i, (id, table))| (format!("{:02}-{id}.csv", i + 1), csv(table)))
        .collect()
}

/// The tables of a page, those behind pictures included, in order, each with its section's id.
pub(super) fn of(document: &Document) -> Vec<(&str, &Table)> {
    let mut found = Vec::new();
    for Section { id, blocks, .. } in &document.sections {
        collect(id, blocks, &mut found);
    }
    found
}

/// The figures of a page, in order.
pub(super) fn figures(document: &Document) -> Vec<&Figure> {
    let blocks = document.sections.iter().flat_map(|s| &s.blocks);
    blocks.flat_map(figures_in).collect()
}

fn figures_in(block: &Block) -> Vec<&Figure> {
    match block {
        Block::Figure(figure) => vec![figure],
        Block::Details { blocks, .. } | Block::Group(_, blocks) => {
            blocks.iter().flat_map(figures_in).collect()
        }
        _ => Vec::new(),
    }
}

fn collect<'a>(id: &'a str, blocks: &'a [Block], out: &mut Vec<(&'a str, &'a Table)>) {
    for block in blocks {
        match block {
            Block::Table(table) => out.push((id, table)),
            Block::Figure(figure) => out.push((id, &figure.table)),
            Block::Details { blocks, .. } | Block::Group(_, blocks) => collect(id, blocks, out),
            _ => {}
        }
    }
}

/// One line for each run of the study and of its part on long inputs (`part` is `main` or `long`):
/// method, seed, sizes, scores, losses, times and configuration, without its curves.
///
/// # Errors
/// None in practice.
pub fn runs(study: &Study) -> Result<String> {
    let mut records = Vec::new();
    add("main", &study.rows, &mut records)?;
    if let Some(long) = &study.long {
        add("long", &long.rows, &mut records)?;
    }
    Ok(of_records(&records))
}

/// What a run has lists of, which no cell holds, and the pair whose two scores have names here.
const LISTS: [&str; 8] = [
    "train_curve",
    "validation_curve",
    "drift_curve",
    "gates",
    "by_position",
    "by_length",
    "coqa",
    "overlap",
];

fn add(part: &str, rows: &[Row], out: &mut Vec<Value>) -> Result<()> {
    for row in rows {
        for run in &row.runs {
            let head = json!({
                "part": part, "method": row.method, "title": row.title, "trained": row.trained,
                "stored": row.stored, "share": row.share, "learning_rate": row.learning_rate,
            });
            let (mut all, found) = (Map::new(), serde_json::to_value(run)?);
            for fields in [head, found] {
                if let Value::Object(fields) = fields {
                    all.extend(fields);
                }
            }
            if let Some(pair) = run_pair(&all) {
                all.extend(pair);
            }
            all.retain(|name, _| !LISTS.contains(&name.as_str()));
            out.push(Value::Object(all));
        }
    }
    Ok(())
}

/// Exact match and F1, CoQA's or those of one's own texts, under names of their own.
fn run_pair(fields: &Map<String, Value>) -> Option<[(String, Value); 2]> {
    let pair = |name: &str| fields.get(name)?.as_array();
    let [exact_match, f1] = pair("coqa").or_else(|| pair("overlap"))?.as_slice() else {
        return None;
    };
    let named = |name: &str, value: &Value| (name.to_string(), value.clone());
    Some([named("exact_match", exact_match), named("f1", f1)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;

    #[test]
    fn every_run_is_a_line_with_its_score() {
        let study = testing::study();
        let text = runs(&study).unwrap();
        let count = |rows: &[Row]| rows.iter().map(|r| r.runs.len()).sum::<usize>();
        let long = study.long.as_ref().map_or(0, |long| count(&long.rows));
        let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let head = lines.next().unwrap();
        let at = |name: &str| head.iter().position(|h| *h == name).unwrap();
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines.len(), count(&study.rows) + long);
        let row = &study.rows[1];
        let line = lines
            .iter()
            .find(|l| {
                l[at("method")] == row.method && l[at("seed")] == row.runs[0].seed.to_string()
            })
            .unwrap();
        let expected = serde_json::to_value(&row.runs[0]).unwrap();
        assert_eq!(line[at("bleu.all")], expected["bleu"]["all"].to_string());
        assert!(!head.iter().any(|h| h.contains("curve")));
    }

    #[test]
    fn every_table_of_the_report_is_a_file() {
        let study = testing::study();
        let found = tables(&study);
        assert!(found.len() > 5, "{}", found.len());
        assert!(found.iter().any(|(_, text)| text.contains("BLEU all")));
    }
}
