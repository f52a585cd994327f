//! Classes of data of one's own: which there are, and which a label is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::error::Place;
use crate::table::Row;
use crate::{Error, Malformed, Part, Result, Task};

/// A part whose classes are still labels.
#[derive(Clone, Debug, Default)]
pub(super) struct Labelled {
    /// The rows.
    pub part: Part,
    /// The label of each of its examples; none for generation.
    pub labels: Vec<Option<String>>,
    /// Where each of them stands, and the column.
    pub places: Vec<(PathBuf, Place)>,
    /// The column of labels.
    pub column: String,
    /// The names of classes that the files say, in their order.
    pub names: Option<Vec<String>>,
}

impl Labelled {
    /// Keeps the label of a row that has become an example.
    pub fn remember(&mut self, row: &Row<'_>, column: &str, label: Option<String>) {
        self.labels.push(label);
        self.places.push((row.path.to_owned(), row.place));
        if self.column.is_empty() {
            column.clone_into(&mut self.column);
            self.names = row.class_names(column).map(<[String]>::to_vec);
        }
    }

    /// The rows of some numbers.
    pub fn some(&self, rows: &[usize]) -> Self {
        let of = |i: &usize| self.part.examples[*i].clone();
        Self {
            part: Part {
                examples: rows.iter().map(of).collect(),
                ..Part::default()
            },
            labels: rows.iter().map(|i| self.labels[*i].clone()).collect(),
            places: rows.iter().map(|i| self.places[*i].clone()).collect(),
            column: self.column.clone(),
            names: self.names.clone(),
        }
    }
}

/// The classes of a task by the labels of its training part.
///
/// # Errors
/// Fewer than two.
pub(super) fn names(task: Task, train: &Labelled, path: &Path) -> Result<Vec<String>> {
    if task.generates() {
        return Ok(Vec::new());
    }
    let names = match &train.names {
        Some(names) => names.clone(),
        None => {
            let found: BTreeSet<&String> = train.labels.iter().flatten().collect();
            let mut found: Vec<String> = found.into_iter().cloned().collect();
            let numbers: Option<Vec<i64>> = found.iter().map(|n| n.parse().ok()).collect();
            if numbers.is_some() {
                found.sort_by_key(|n| n.parse::<i64>().ok());
            }
            found
        }
    };
    match names.len() {
        0 | 1 => Err(Error::Invalid(format!(
            "{}: part train: field `{}`: expected at least two classes, found {}",
            path.display(),
            train.column,
            names
                .first()
                .map_or("none".into(), |n| format!("{n:?} alone"))
        ))),
        _ => Ok(names),
    }
}

/// A part with the ids of its classes.
///
/// # Errors
/// A label that is no class, unless such rows are to be skipped.
pub(super) fn resolved(labelled: Labelled, names: &[String], malformed: Malformed) -> Result<Part> {
    let Labelled {
        mut part,
        labels,
        places,
        column,
        ..
    } = labelled;
    if names.is_empty() {
        return Ok(part);
    }
    let examples = std::mem::take(&mut part.examples);
    for ((mut example, label), (path, place)) in examples.into_iter().zip(labels).zip(places) {
        let class = label
            .as_ref()
            .and_then(|l| names.iter().position(|n| n == l));
        let read = match class {
            Some(class) => {
                example.class = Some(class as u32);
                Ok(vec![example])
            }
            None => Err(Error::Cell {
                path,
                place,
                field: column.clone(),
                expected: format!("a class of the training part ({})", in_words(names)),
                found: format!("{:?}", label.unwrap_or_default()),
            }),
        };
        part.take(read, malformed)?;
    }
    Ok(part)
}

/// The first names of classes.
fn in_words(names: &[String]) -> String {
    let first = names.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
    match names.len() {
        0..=8 => first,
        n => format!("{first} and {} more", n - 8),
    }
}
