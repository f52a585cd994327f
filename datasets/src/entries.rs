//! The elements of a list inside a JSON file, one at a time: a file may be larger than memory.
//!
//! Official files are an object with one long list in it. The list is never held: each element is
//! handed over as text with its position and its line, and forgotten.

use std::cell::Cell;
use std::io::{BufRead as _, Read};
use std::path::Path;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::{Error, Result};

/// An element of the list.
pub(crate) struct Entry<'a> {
    /// The file, for messages.
    pub path: &'a Path,
    /// Line on which it starts, from 1.
    pub line: usize,
    /// Its position in the list, from 1.
    pub position: usize,
    /// Its text.
    pub text: &'a str,
}

impl Entry<'_> {
    /// The element as a value.
    ///
    /// # Errors
    /// It is no JSON: the error's line is the file's.
    pub fn value(&self) -> Result<Value> {
        serde_json::from_str(self.text).map_err(|e| broken(self.path, &e, self.line - 1))
    }

    /// A text inside the element: the member `field` of `body`, which stands at `at`.
    ///
    /// # Errors
    /// There is no such member, or it is not a text.
    pub fn text(&self, body: &Value, at: &str, field: &str) -> Result<String> {
        let value = &body[field];
        let text = value.as_str().map(str::to_owned);
        text.ok_or_else(|| self.wrong(&path(at, field), "a text", value))
    }

    /// A text that has more than white space in it.
    ///
    /// # Errors
    /// As [`Entry::text`]; it is empty.
    pub fn full_text(&self, body: &Value, at: &str, field: &str) -> Result<String> {
        let text = self.text(body, at, field)?;
        match text.trim().is_empty() {
            true => {
                let expected = "a text that is not empty";
                Err(self.wrong(&path(at, field), expected, &body[field]))
            }
            false => Ok(text),
        }
    }

    /// The items of a list at `at`.
    ///
    /// # Errors
    /// It is not a list.
    pub fn list<'v>(&self, value: &'v Value, at: &str) -> Result<&'v [Value]> {
        let items = value.as_array().map(Vec::as_slice);
        items.ok_or_else(|| self.wrong(at, "a list", value))
    }

    /// The error on a field of this element.
    pub fn wrong(&self, field: &str, expected: &'static str, found: &Value) -> Error {
        self.differs(field, expected, crate::error::describe(found))
    }

    /// The error on a field of this element, what was found in words.
    pub fn differs(&self, field: &str, expected: &'static str, found: String) -> Error {
        Error::Field {
            path: self.path.to_owned(),
            line: self.line,
            entry: self.position,
            field: field.to_owned(),
            expected,
            found,
        }
    }
}

fn path(at: &str, field: &str) -> String {
    match at {
        "" => field.to_owned(),
        at => format!("{at}.{field}"),
    }
}

fn broken(path: &Path, e: &serde_json::Error, before: usize) -> Error {
    Error::Json {
        path: path.to_owned(),
        line: before + e.line(),
        column: e.column(),
        message: e.to_string(),
    }
}

/// Hands every element of the list `field` to `each`, in order.
///
/// # Errors
/// The file is not an object with such a list, or ends early; otherwise what `each` gives.
pub(crate) fn stream(
    path: &Path,
    reader: impl Read,
    field: &'static str,
    each: &mut dyn FnMut(Entry) -> Result<()>,
) -> Result<()> {
    let lines = Cell::new(1);
    let mut reader = std::io::BufReader::new(reader);
    let start = reader.fill_buf().map_err(|e| Error::io(path, e))?;
    if start.starts_with(b"\xEF\xBB\xBF") {
        reader.consume(3);
    }
    let reader = Counted {
        inner: reader,
        lines: &lines,
    };
    let mut failed = None;
    let object = Object {
        path,
        field,
        lines: &lines,
        each,
        failed: &mut failed,
    };
    let mut json = serde_json::Deserializer::from_reader(reader);
    let read = object.deserialize(&mut json).and_then(|()| json.end());
    match (failed, read) {
        (Some(e), _) => Err(e),
        (None, Ok(())) => Ok(()),
        (None, Err(e)) if e.is_io() => Err(Error::io(path, e.into())),
        (None, Err(e)) => Err(broken(path, &e, 0)),
    }
}

/// Counts line ends as they are read. The parser asks for one byte at a time and is never more than
/// one byte ahead.
struct Counted<'a, R> {
    inner: R,
    lines: &'a Cell<usize>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(out)?;
        let ends = out[..n].iter().filter(|b| **b == b'\n').count();
        self.lines.set(self.lines.get() + ends);
        Ok(n)
    }
}

/// The object around the list.
struct Object<'a, 'b> {
    path: &'a Path,
    field: &'static str,
    lines: &'a Cell<usize>,
    each: &'b mut dyn FnMut(Entry) -> Result<()>,
    failed: &'b mut Option<Error>,
}

impl<'de> DeserializeSeed<'de> for Object<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(
        self,
        json: D,
    ) -> std::result::Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "an object with a list `{}`", self.field)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> std::result::Result<(), A::Error> {
        let mut found = false;
        while let Some(key) = map.next_key::<String>()? {
            if key != self.field {
                map.next_value::<IgnoredAny>()?;
            } else if std::mem::replace(&mut found, true) {
                return Err(A::Error::duplicate_field(self.field));
            } else {
                map.next_value_seed(List(&mut self))?;
            }
        }
        match found {
            true => Ok(()),
            false => Err(A::Error::missing_field(self.field)),
        }
    }
}

/// The list.
struct List<'a, 'b, 'c>(&'c mut Object<'a, 'b>);

impl<'de> DeserializeSeed<'de> for List<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(
        self,
        json: D,
    ) -> std::result::Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "a list in `{}`", self.0.field)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        let mut position = 0;
        while let Some((line, text)) = list.next_element_seed(At(self.0.lines))? {
            position += 1;
            let entry = Entry {
                path: self.0.path,
                line,
                position,
                text: text.get(),
            };
            if let Err(e) = (self.0.each)(entry) {
                *self.0.failed = Some(e);
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// An element with the line on which it starts.
struct At<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = (usize, Box<RawValue>);

    fn deserialize<D: serde::Deserializer<'de>>(
        self,
        json: D,
    ) -> std::result::Result<Self::Value, D::Error> {
        let line = self.0.get();
        Ok((line, serde::Deserialize::deserialize(json)?))
    }
}
