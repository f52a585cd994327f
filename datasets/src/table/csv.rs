//! CSV as RFC 4180 and Python's `csv` write it: a first line of names, cells that may be quoted.

use std::collections::HashSet;
use std::path::Path;

use csv::{ByteRecord, ReaderBuilder};
use serde_json::{Map, Value};

use super::{Columns, Each, Row};
use crate::error::Place;
use crate::{Error, Result};

/// Hands every row over; an empty cell is null.
pub(super) fn read(path: &Path, each: &mut Each<'_>) -> Result<()> {
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
    // the library passes over a byte-order mark
    let mut builder = ReaderBuilder::new();
    let mut reader = builder.has_headers(false).flexible(true).from_reader(file);
    let (mut record, mut columns) = (ByteRecord::new(), None);
    loop {
        let more = reader.read_byte_record(&mut record);
        if !more.map_err(|e| unreadable(path, e))? {
            break;
        }
        let line = record.position().map_or(0, |p| p.line() as usize);
        let at = At { path, line };
        let Some(columns) = &columns else {
            columns = Some(at.header(&record)?);
            continue;
        };
        each(at.values(columns, &record).map(|values| Row {
            path,
            place: Place::Line(line),
            columns,
            values,
        }))?;
    }
    match columns {
        Some(_) => Ok(()),
        None => Err(At { path, line: 1 }.wrong("header", "the names of columns", "nothing")),
    }
}

fn unreadable(path: &Path, e: csv::Error) -> Error {
    let message = e.to_string();
    match e.into_kind() {
        csv::ErrorKind::Io(e) => Error::io(path, e),
        _ => Error::Table {
            path: path.to_owned(),
            message,
        },
    }
}

/// Where we are, for messages.
struct At<'a> {
    path: &'a Path,
    line: usize,
}

impl At<'_> {
    fn wrong(&self, field: &str, expected: &str, found: impl Into<String>) -> Error {
        Error::Cell {
            path: self.path.to_owned(),
            place: Place::Line(self.line),
            field: field.to_owned(),
            expected: expected.to_owned(),
            found: found.into(),
        }
    }

    fn text(&self, field: &str, bytes: &[u8]) -> Result<String> {
        let text = std::str::from_utf8(bytes);
        let wrong = |e: std::str::Utf8Error| {
            self.wrong(
                field,
                "UTF-8",
                format!("another byte at {}", e.valid_up_to()),
            )
        };
        text.map(str::to_owned).map_err(wrong)
    }

    fn header(&self, record: &ByteRecord) -> Result<Columns> {
        let (mut all, mut seen) = (Vec::new(), HashSet::new());
        for name in record {
            let name = self.text("header", name)?.trim().to_owned();
            if !seen.insert(name.clone()) {
                let found = format!("`{name}` twice");
                return Err(self.wrong("header", "each name once", found));
            }
            all.push(name);
        }
        Ok(Columns {
            all,
            ..Columns::default()
        })
    }

    fn values(&self, columns: &Columns, record: &ByteRecord) -> Result<Map<String, Value>> {
        let (expected, found) = (columns.all.len(), record.len());
        if expected != found {
            let expected = format!("{expected} cells as in the header");
            return Err(self.wrong("row", &expected, found.to_string()));
        }
        let mut values = Map::new();
        for (name, cell) in columns.all.iter().zip(record) {
            let value = match cell.is_empty() {
                true => Value::Null,
                false => self.text(name, cell)?.into(),
            };
            values.insert(name.clone(), value);
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names were compared with each other, and every row's message had all of them.
    #[test]
    fn very_many_columns_take_little_time_and_no_message_lists_them_all() {
        let columns = 100_000;
        let header: Vec<String> = (0..columns).map(|i| format!("c{i}")).collect();
        let text = format!("{}\n{}\n", header.join(","), ",".repeat(columns - 1));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.csv");
        std::fs::write(&path, text).unwrap();
        let mut message = String::new();
        read(&path, &mut |row| {
            message = row?.text("input").unwrap_err().to_string();
            Ok(())
        })
        .unwrap();
        assert!(message.contains("found the columns c0, c1, "), "{message}");
        assert!(message.ends_with(", c39 and 99960 more"), "{message}");
        std::fs::write(&path, "a,b, a\n").unwrap();
        let e = read(&path, &mut |_| Ok(())).unwrap_err().to_string();
        assert!(
            e.contains("expected each name once, found `a` twice"),
            "{e}"
        );
    }
}
