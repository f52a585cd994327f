//! JSON lines: an object a line.

use std::io::BufRead as _;
use std::path::Path;

use serde_json::Value;

use super::{Columns, Each, Row};
use crate::error::{Place, describe};
use crate::{Error, Result};

/// Hands every line's object over. Blank lines at the end are none; one before a row is a row
/// without anything in it.
pub(super) fn read(path: &Path, each: &mut Each<'_>) -> Result<()> {
    let io = |e| Error::io(path, e);
    let mut reader = std::io::BufReader::new(std::fs::File::open(path).map_err(io)?);
    if reader.fill_buf().map_err(io)?.starts_with(b"\xEF\xBB\xBF") {
        reader.consume(3);
    }
    let (mut bytes, mut blank, columns) = (Vec::new(), Vec::new(), Columns::default());
    for line in 1.. {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(io)? == 0 {
            break;
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            blank.push(line);
            continue;
        }
        for line in blank.drain(..) {
            each(Err(wrong(path, line, "an empty line")))?;
        }
        each(values(path, line, &bytes).map(|values| Row {
            path,
            place: Place::Line(line),
            columns: &columns,
            values,
        }))?;
    }
    Ok(())
}

fn values(path: &Path, line: usize, bytes: &[u8]) -> Result<serde_json::Map<String, Value>> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(values)) => Ok(values),
        Ok(other) => Err(wrong(path, line, &describe(&other))),
        Err(e) => {
            let message = e.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            Err(Error::Json {
                path: path.to_owned(),
                line,
                column: e.column(),
                message: format!("{message}; expected an object a line"),
            })
        }
    }
}

fn wrong(path: &Path, line: usize, found: &str) -> Error {
    Error::Cell {
        path: path.to_owned(),
        place: Place::Line(line),
        field: "row".into(),
        expected: "an object a line".into(),
        found: found.into(),
    }
}
