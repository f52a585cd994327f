//! Tables as files have them: JSON lines, CSV, Parquet and Arrow, read row by row into named
//! values.
//!
//! ```text
//! .jsonl, .ndjson   an object a line
//! .csv              the first line names the columns; quoted as in RFC 4180; an empty cell is none
//! .parquet          texts, numbers, and lists and groups of them; snappy, gzip or no compression
//! .arrow            the same, as `datasets` has it in its cache and writes it by `save_to_disk`
//! ```
//!
//! What a row lacks, or has in another type than is asked for, is an error that names file, line
//! (in Parquet the row) and column. Columns that nobody asks for are not read.

mod arrow;
mod budget;
mod csv;
mod guard;
mod lines;
mod pages;
mod parquet;
pub mod parts;
mod thrift;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Place, describe};
use crate::{Error, Malformed, Part, Result};

/// The endings of files that are tables.
pub const ENDINGS: [&str; 5] = ["jsonl", "ndjson", "csv", "parquet", "arrow"];

/// Columns that a message lists.
const MOST_LISTED: usize = 40;

/// What a file says of its columns beside their values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    /// All of them; empty where each row names its own.
    all: Vec<String>,
    /// The names of a column's class numbers, which `datasets` keeps in Parquet's metadata.
    classes: BTreeMap<String, Vec<String>>,
}

/// The names of class numbers by column, from what `datasets` writes beside a schema.
fn class_names(text: &str) -> BTreeMap<String, Vec<String>> {
    let parsed: Value = serde_json::from_str(text).unwrap_or_default();
    let features = parsed["info"]["features"].as_object();
    let names = |feature: &Value| -> Option<Vec<String>> {
        let names = feature["names"]
            .as_array()
            .filter(|_| feature["_type"] == "ClassLabel")?;
        names
            .iter()
            .map(|n| n.as_str().map(str::to_owned))
            .collect()
    };
    let of = |(column, feature): (&String, &Value)| Some((column.clone(), names(feature)?));
    features.into_iter().flatten().filter_map(of).collect()
}

/// The error on a column that cannot be read.
fn unreadable(path: &Path, column: &str, kind: impl std::fmt::Display) -> Error {
    let expected = "texts, numbers or lists of them";
    Error::Table {
        path: path.to_owned(),
        message: format!("field `{column}`: expected {expected}, found {kind}"),
    }
}

/// The error on a file that has none of the columns that are asked for.
fn without_columns(path: &Path, wanted: &[&str], columns: &Columns) -> Error {
    Error::Cell {
        path: path.to_owned(),
        place: Place::Row(1),
        field: wanted.first().copied().unwrap_or_default().to_owned(),
        expected: "a column of this name".into(),
        found: listed(columns.all.iter()),
    }
}

/// The columns there are, in words; of very many the first, since each row may have a message.
fn listed<'n>(names: impl ExactSizeIterator<Item = &'n String>) -> String {
    let count = names.len();
    let first: Vec<&str> = names.take(MOST_LISTED).map(String::as_str).collect();
    match count {
        0 => "no column".into(),
        1..=MOST_LISTED => format!("the columns {}", first.join(", ")),
        n => format!(
            "the columns {} and {} more",
            first.join(", "),
            n - MOST_LISTED
        ),
    }
}

/// One row.
pub(crate) struct Row<'a> {
    /// The file.
    pub path: &'a Path,
    /// Where it is in the file.
    pub place: Place,
    columns: &'a Columns,
    values: Map<String, Value>,
}

impl Row<'_> {
    /// A column's value; none where there is none, or nothing in it.
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.values.get(column).filter(|v| !v.is_null())
    }

    /// Whether the row has the column, whatever is in it.
    pub fn has(&self, column: &str) -> bool {
        self.values.contains_key(column)
    }

    /// The first of some columns that the row has.
    pub fn first<'c>(&self, columns: &[&'c str]) -> Option<&'c str> {
        columns.iter().find(|c| self.has(c)).copied()
    }

    /// A value, whatever it is.
    ///
    /// # Errors
    /// The column is missing, or nothing is in it; `expected` says what should be.
    pub fn needed(&self, column: &str, expected: &str) -> Result<&Value> {
        match (self.has(column), self.get(column)) {
            (_, Some(value)) => Ok(value),
            (true, None) => Err(self.wrong(column, expected, "nothing")),
            (false, None) => {
                let found = match self.columns.all.is_empty() {
                    true => listed(self.values.keys()),
                    false => listed(self.columns.all.iter()),
                };
                Err(self.wrong(
                    column,
                    &format!("{expected} in a column of this name"),
                    found,
                ))
            }
        }
    }

    /// A text.
    ///
    /// # Errors
    /// The column is missing, or holds something else.
    pub fn text(&self, column: &str) -> Result<&str> {
        let value = self.needed(column, "a text")?;
        let text = value.as_str();
        text.ok_or_else(|| self.wrong(column, "a text", describe(value)))
    }

    /// A text with more than white space in it.
    ///
    /// # Errors
    /// As [`Row::text`]; it is empty.
    pub fn full_text(&self, column: &str) -> Result<String> {
        let text = self.text(column)?;
        match text.trim().is_empty() {
            true => Err(self.wrong(column, "a text that is not empty", "an empty text")),
            false => Ok(text.to_owned()),
        }
    }

    /// A name: a text, or a whole number as one; none where there is nothing.
    ///
    /// # Errors
    /// It is something else.
    pub fn name(&self, column: &str) -> Result<Option<String>> {
        let Some(value) = self.get(column) else {
            return Ok(None);
        };
        let found = match value {
            Value::String(s) if !s.trim().is_empty() => Some(s.clone()),
            Value::Number(n) if n.is_i64() || n.is_u64() => Some(n.to_string()),
            _ => None,
        };
        let wrong = || self.wrong(column, "a text or a whole number", describe(value));
        found.map(Some).ok_or_else(wrong)
    }

    /// A class by its name; a number is the name's place where the file names its classes, and −1
    /// is then none.
    ///
    /// # Errors
    /// As [`Row::name`]; a number that is no class.
    pub fn label(&self, column: &str) -> Result<Option<String>> {
        let (found, names) = (self.name(column)?, self.class_names(column));
        let number = self.get(column).and_then(Value::as_i64);
        let (Some(names), Some(number)) = (names, number) else {
            return Ok(found);
        };
        if number == -1 {
            return Ok(None);
        }
        let name = usize::try_from(number).ok().and_then(|i| names.get(i));
        let expected = || format!("0 to {}, or -1 for none", names.len().saturating_sub(1));
        let wrong = || self.wrong(column, &expected(), number.to_string());
        name.cloned().map(Some).ok_or_else(wrong)
    }

    /// The names of a column's classes, where the file has them.
    pub fn class_names(&self, column: &str) -> Option<&[String]> {
        self.columns.classes.get(column).map(Vec::as_slice)
    }

    /// A list of texts; in a cell of CSV a list as JSON writes it.
    ///
    /// # Errors
    /// The column is missing, holds something else, or a text of it is none.
    pub fn texts(&self, column: &str) -> Result<Vec<String>> {
        let value = self.needed(column, "a list of texts")?;
        self.texts_of(column, &unquoted(value))
    }

    /// The texts of a list at `field`.
    ///
    /// # Errors
    /// It is no list, or a text of it is none.
    pub fn texts_of(&self, field: &str, value: &Value) -> Result<Vec<String>> {
        let Some(items) = value.as_array() else {
            return Err(self.wrong(field, "a list of texts", describe(value)));
        };
        let text = |(i, item): (usize, &Value)| {
            let found = item.as_str().map(str::to_owned);
            let wrong = || self.wrong(&format!("{field}[{i}]"), "a text", describe(item));
            found.ok_or_else(wrong)
        };
        items.iter().enumerate().map(text).collect()
    }

    /// The member `member` of every record of a column: of a list of records, or of a record of
    /// lists, as `datasets` turns the former into the latter; in a cell of CSV as JSON writes it.
    /// None where no record has it.
    ///
    /// # Errors
    /// The column is missing or neither of the two.
    pub fn members(&self, column: &str, member: &str) -> Result<Option<Vec<Value>>> {
        let expected = "a list of records, or a record of lists";
        let value = self.needed(column, expected)?;
        let field = || format!("{column}.{member}");
        match &*unquoted(value) {
            Value::Object(lists) => match lists.get(member) {
                None | Some(Value::Null) => Ok(None),
                Some(Value::Array(items)) => Ok(Some(items.clone())),
                Some(other) => Err(self.wrong(&field(), "a list", describe(other))),
            },
            Value::Array(records) if records.iter().all(Value::is_object) => {
                let of = |r: &Value| r.get(member).cloned().unwrap_or_default();
                let all: Vec<Value> = records.iter().map(of).collect();
                Ok(all.iter().any(|v| !v.is_null()).then_some(all))
            }
            other => Err(self.wrong(column, expected, describe(other))),
        }
    }

    /// The error on a column of this row.
    pub fn wrong(&self, field: &str, expected: &str, found: impl Into<String>) -> Error {
        Error::Cell {
            path: self.path.to_owned(),
            place: self.place,
            field: field.to_owned(),
            expected: expected.to_owned(),
            found: found.into(),
        }
    }
}

/// A cell of CSV that holds JSON as what it says; any other value as it is.
fn unquoted(value: &Value) -> Cow<'_, Value> {
    let parsed = value.as_str().and_then(|s| serde_json::from_str(s).ok());
    parsed.map_or(Cow::Borrowed(value), Cow::Owned)
}

/// Takes rows as they are read; a row that is none comes as its error.
type Each<'e> = dyn FnMut(Result<Row<'_>>) -> Result<()> + 'e;

/// Whether a file is a table, by its ending.
pub fn is_table(path: &Path) -> bool {
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| ENDINGS.contains(&e.to_ascii_lowercase().as_str()))
}

/// Hands every row of a file to `each`, with the columns of `wanted` as far as the file has them.
///
/// # Errors
/// The file cannot be read, or is no table; otherwise what `each` gives.
pub(crate) fn read(path: &Path, wanted: &[&str], each: &mut Each<'_>) -> Result<()> {
    let ending = path.extension().and_then(|e| e.to_str());
    match ending.map(str::to_ascii_lowercase).as_deref() {
        Some("csv") => csv::read(path, each),
        Some("parquet") => parquet::read(path, wanted, each),
        Some("arrow") => arrow::read(path, wanted, each),
        Some("jsonl" | "ndjson") => lines::read(path, each),
        _ => Err(Error::Table {
            path: path.to_owned(),
            message: format!("expected a file that ends in .{}", ENDINGS.join(", .")),
        }),
    }
}

/// The examples of a part's files, whose rows count from 1 through all of them.
///
/// # Errors
/// As [`read`]; what `example` finds wrong, unless such rows are to be skipped.
pub(crate) fn part(
    files: &[PathBuf],
    wanted: &[&str],
    malformed: Malformed,
    example: &mut dyn FnMut(&Row<'_>, usize) -> Result<Vec<crate::Example>>,
) -> Result<Part> {
    let (mut part, mut number) = (Part::default(), 0);
    for path in files {
        read(path, wanted, &mut |row| {
            number += 1;
            part.take(row.and_then(|row| example(&row, number)), malformed)
        })?;
    }
    Ok(part)
}
