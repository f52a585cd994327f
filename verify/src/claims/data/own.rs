//! Data of one's own as JSON lines and CSV have them.

use super::{given, parts_are, prose};
use crate::cases::Draw;
use crate::{Case, Result};
use inducer_datasets::{Example, Input, Malformed, Reading, Task, directory};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Labels that are texts, and labels that are numbers, which their order knows.
const LABELS: [[&str; 3]; 2] = [["no", "Yes", "maybe"], ["10", "9", "-1"]];
const GROUPS: [&str; 4] = ["", "news", "7", "a, \"b\""];

/// What all rows of a directory have in common.
#[derive(Clone, Copy)]
struct Kind {
    generate: bool,
    /// Of generation a list of targets, of classification a second text.
    several: bool,
    /// Which of [`LABELS`].
    labels: usize,
    ids: bool,
    csv: bool,
    /// The columns have names of one's own.
    renamed: bool,
    /// A byte-order mark stands before the columns of CSV, as Excel writes it.
    marked: bool,
}

struct Row {
    texts: [String; 2],
    targets: Vec<String>,
    label: &'static str,
    group: &'static str,
}

/// A text that may go over a line end, which a quoted cell of CSV may have in it.
fn text(draw: &mut Draw) -> String {
    let (before, after) = (prose(draw, 1, 3), prose(draw, 1, 2));
    format!("{before}{}{after}", draw.pick(&[" ", "\n", " \t"]))
}

impl Row {
    /// The first rows of a part have a label each, so that training has all of them.
    fn draw(draw: &mut Draw, kind: Kind, number: usize, groups: usize) -> Self {
        let targets = if kind.several { draw.size(1, 3) } else { 1 };
        let label = draw.size(0, 2);
        Self {
            texts: [text(draw), text(draw)],
            targets: (0..targets).map(|_| text(draw)).collect(),
            label: LABELS[kind.labels][if number < 3 { number } else { label }],
            group: GROUPS[draw.size(0, groups)],
        }
    }

    /// The columns with what they hold.
    fn columns(&self, kind: Kind, number: usize) -> Vec<(&'static str, Value)> {
        let mut columns = Vec::new();
        let [first, second] = self.texts.each_ref().map(|text| Value::from(text.as_str()));
        if kind.generate {
            columns.push(("input", first));
            let target = match kind.several {
                true => ("targets", Value::from(self.targets.clone())),
                false => ("target", Value::from(self.targets[0].as_str())),
            };
            columns.push(target);
        } else {
            columns.push(("text", first));
            if kind.several {
                columns.push(("text_pair", second));
            }
            let label = match self.label.parse::<i64>() {
                // a number as a number and as a text, by turns
                Ok(label) if number.is_multiple_of(2) => label.into(),
                _ => self.label.into(),
            };
            columns.push(("label", label));
        }
        let group = if self.group.is_empty() {
            Value::Null
        } else {
            self.group.into()
        };
        columns.push(("group", group));
        if kind.ids {
            columns.push(("id", format!("row {number}").into()));
        }
        columns
    }

    fn example(&self, kind: Kind, number: usize, seen: bool, classes: &[&str]) -> Example {
        let [first, second] = self.texts.clone();
        let class = classes.iter().position(|name| *name == self.label);
        Example {
            position: number + 1,
            category: self.group.into(),
            seen,
            input: match !kind.generate && kind.several {
                true => Input::Pair(first, second),
                false => Input::Sentence(first),
            },
            references: if kind.generate {
                self.targets.clone()
            } else {
                Vec::new()
            },
            class: class.filter(|_| !kind.generate).map(|class| class as u32),
            id: kind.ids.then(|| format!("row {number}")),
        }
    }
}

/// The name of a column in the files.
fn named(kind: Kind, of: &str) -> String {
    if kind.renamed {
        format!("my {of}")
    } else {
        of.to_owned()
    }
}

/// A cell: quoted where it has to be, its quotation marks twice.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

fn file(kind: Kind, rows: &[Row]) -> String {
    let all: Vec<_> = rows
        .iter()
        .enumerate()
        .map(|(i, row)| row.columns(kind, i))
        .collect();
    let line = |row: &Vec<(&str, Value)>| match kind.csv {
        true => row
            .iter()
            .map(|(_, value)| cell(value))
            .collect::<Vec<_>>()
            .join(","),
        false => {
            let pairs = row
                .iter()
                .map(|(name, value)| (named(kind, name), value.clone()));
            Value::from(pairs.collect::<Map<_, _>>()).to_string()
        }
    };
    let names = all
        .first()
        .into_iter()
        .flatten()
        .map(|(name, _)| named(kind, name));
    let header = kind.csv.then(|| names.collect::<Vec<_>>().join(","));
    let lines: Vec<String> = header.into_iter().chain(all.iter().map(line)).collect();
    let mark = if kind.csv && kind.marked {
        "\u{feff}"
    } else {
        ""
    };
    format!("{mark}{}\n", lines.join("\n"))
}

/// Rows that were written are the examples that are read: texts, targets, second texts, groups and
/// ids to the letter, groups seen where training has them, classes in the order of numbers or of
/// the alphabet. In the control every group counts as seen.
pub(super) fn own(case: &mut Case) -> Result<()> {
    let dir = crate::scratch::folder()?;
    let [generate, several, ids, csv, renamed, marked] = [(); 6].map(|()| case.draw.chance(0.5));
    let labels = case.draw.size(0, 1);
    let kind = Kind {
        generate,
        several,
        labels,
        ids,
        csv,
        renamed,
        marked,
    };
    let task = if generate {
        Task::Generate
    } else {
        Task::Classify
    };
    let columns: BTreeMap<String, String> = task
        .columns()
        .iter()
        .filter(|of| {
            renamed
                && match **of {
                    "target" => !several,
                    "targets" | "text_pair" => several,
                    "id" => ids,
                    _ => true,
                }
        })
        .map(|of| ((*of).to_owned(), named(kind, of)))
        .collect();
    // training has fewer groups than there are
    let parts = [
        ("train", 1),
        (case.draw.pick(&["dev", "validation"]), 3),
        ("test", 3),
    ];
    let mut all = Vec::new();
    for (name, groups) in parts {
        let rows = case.draw.size(3, 6);
        let rows: Vec<Row> = (0..rows)
            .map(|i| Row::draw(&mut case.draw, kind, i, groups))
            .collect();
        let ending = if csv { "csv" } else { "jsonl" };
        fs::write(
            dir.path().join(format!("{name}.{ending}")),
            file(kind, &rows),
        )?;
        all.push(rows);
    }
    let reading = Reading {
        columns,
        ..Reading::default()
    };
    let found = given(directory::load_as(
        task,
        dir.path(),
        Malformed::Refuse,
        &reading,
    ))?;
    let classes = [["Yes", "maybe", "no"], ["-1", "9", "10"]][labels];
    let none: &[&str] = &[];
    let names = if generate { none } else { &classes };
    case.same(found.classes.iter().eq(names), true, || {
        "names of classes".into()
    });
    let of_train: BTreeSet<&str> = all[0].iter().map(|row| row.group).collect();
    let control = case.control;
    let expected = [0, 1, 2].map(|part: usize| {
        let example = |(i, row): (usize, &Row)| {
            row.example(kind, i, control || of_train.contains(row.group), &classes)
        };
        all[part].iter().enumerate().map(example).collect()
    });
    parts_are(case, &found, expected);
    Ok(())
}
