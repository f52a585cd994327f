//! tercom's text files: `text (id)` a line, lines of one id are references of one segment.

use std::path::Path;

use crate::error::read;
use crate::{Error, Result};

/// Segments in the order of their first line: id and texts.
pub type Segments = Vec<(String, Vec<String>)>;

/// Reads such a file.
///
/// # Errors
/// The file is missing, or as [`parse`].
pub fn load(path: &Path) -> Result<Segments> {
    parse(path, &read(path)?)
}

/// Parses such a file's bytes; blank lines are skipped, `path` is for messages only.
///
/// # Errors
/// A line is not UTF-8 or does not end with an id in parentheses.
///
/// ```
/// use inducer_datasets::metrics::ter::trans;
/// let s = trans::parse("x".as_ref(), b"a b (id1)\n c (d) (id1)\n").unwrap();
/// assert_eq!(s, [("id1".to_string(), vec!["a b".to_string(), "c (d)".to_string()])]);
/// ```
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Segments> {
    let mut segments: Segments = Vec::new();
    let mut index = std::collections::HashMap::new();
    for (number, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let wrong = |found: &str| Error::Line {
            path: path.to_owned(),
            line: number + 1,
            field: "id".into(),
            expected: "a text and an id in parentheses",
            found: found.into(),
        };
        let line = std::str::from_utf8(line).map_err(|_| wrong("bytes that are not UTF-8"))?;
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let (text, id) = line
            .strip_suffix(')')
            .and_then(|l| l.rsplit_once('('))
            .filter(|(_, id)| !id.is_empty() && !id.contains(')'))
            .ok_or_else(|| wrong("a line without one"))?;
        let at = *index.entry(id.to_owned()).or_insert_with(|| {
            segments.push((id.to_owned(), Vec::new()));
            segments.len() - 1
        });
        segments[at].1.push(text.trim_ascii().to_owned());
    }
    Ok(segments)
}
