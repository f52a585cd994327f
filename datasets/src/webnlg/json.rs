//! WebNLG in its official JSON layout.
//!
//! ```text
//! {"entries": [
//!   {"1": {"category": …,
//!          "modifiedtripleset": [{"subject": …, "property": …, "object": …}, …],
//!          "lexicalisations": [{"comment": "good", "lex": …}, …], …}},
//!   {"2": …}, …]}
//! ```
//!
//! Every entry is an object of one key.

use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::{ENGLISH, SEEN_CATEGORIES, is_used, set_aside};
use crate::entries::{self, Entry};
use crate::{Error, Example, Input, Malformed, Part, Result, Triple};

/// Loads one file; a category is seen when it is one of [`SEEN_CATEGORIES`].
///
/// # Errors
/// As [`super::load`].
pub fn load(path: &Path, malformed: Malformed) -> Result<Part> {
    load_in(path, malformed, ENGLISH)
}

/// The same with the texts of a language.
///
/// # Errors
/// As [`super::load`].
pub fn load_in(path: &Path, malformed: Malformed, language: &str) -> Result<Part> {
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
    parse_in(path, file, malformed, language)
}

/// Parses a file, entry by entry; `path` is for messages only.
///
/// # Errors
/// As [`super::load`]; arbitrary bytes give an error, never a panic.
///
/// ```
/// use inducer_datasets::{Malformed, webnlg::json};
/// let text = br#"{"entries": [{"1": {"category": "Food",
///     "modifiedtripleset": [{"subject": "Ajoblanco", "property": "country", "object": "Spain"}],
///     "lexicalisations": [{"comment": "good", "lex": "Ajoblanco is from Spain."}]}}]}"#;
/// let part = json::parse("x.json".as_ref(), &text[..], Malformed::Refuse).unwrap();
/// assert_eq!((part.examples[0].references.len(), part.without_text.len()), (1, 0));
/// let bad = br#"{"entries": [{"1": {"category": 3}}]}"#;
/// let e = json::parse("x.json".as_ref(), &bad[..], Malformed::Refuse).unwrap_err();
/// let message = "x.json:1: entry 1: field `category`: expected a text, found a number";
/// assert_eq!(e.to_string(), message);
/// let part = json::parse("x.json".as_ref(), &bad[..], Malformed::Skip).unwrap();
/// assert_eq!(part.malformed, [message]);
/// ```
pub fn parse(path: &Path, reader: impl Read, malformed: Malformed) -> Result<Part> {
    parse_in(path, reader, malformed, ENGLISH)
}

fn parse_in(path: &Path, reader: impl Read, malformed: Malformed, language: &str) -> Result<Part> {
    let mut part = Part::default();
    entries::stream(path, reader, "entries", &mut |entry| {
        let read = entry
            .value()
            .and_then(|value| example(&entry, &value, language));
        part.take(read.map(|e| vec![e]), malformed)
    })?;
    Ok(set_aside(part))
}

fn example(entry: &Entry, value: &Value, language: &str) -> Result<Example> {
    let members = value
        .as_object()
        .filter(|o| o.len() == 1)
        .and_then(|o| o.values().next());
    let body = members.ok_or_else(|| entry.wrong("", "an object with one key", value))?;
    let category = entry.full_text(body, "", "category")?;
    let seen = SEEN_CATEGORIES.contains(&category.as_str());
    Ok(Example {
        position: entry.position,
        category,
        seen,
        input: Input::Triples(triples(entry, body)?),
        references: references(entry, body, language)?,
        class: None,
        id: None,
    })
}

fn triples(entry: &Entry, body: &Value) -> Result<Vec<Triple>> {
    let name = "modifiedtripleset";
    let triples = entry.list(&body[name], name)?;
    if triples.is_empty() {
        return Err(entry.wrong(name, "at least one triple", &body[name]));
    }
    let triple = |(i, t): (usize, &Value)| {
        let at = format!("{name}[{i}]");
        Ok(Triple {
            subject: entry.full_text(t, &at, "subject")?,
            property: entry.full_text(t, &at, "property")?,
            object: entry.full_text(t, &at, "object")?,
        })
    };
    triples.iter().enumerate().map(triple).collect()
}

fn references(entry: &Entry, body: &Value, language: &str) -> Result<Vec<String>> {
    let mut references = Vec::new();
    let name = "lexicalisations";
    for (i, lex) in entry.list(&body[name], name)?.iter().enumerate() {
        let at = format!("{name}[{i}]");
        let optional = |field: &str| match &lex[field] {
            Value::Null => Ok(None),
            _ => entry.text(lex, &at, field).map(Some),
        };
        let (comment, of) = (optional("comment")?, optional("lang")?);
        // a text that is not used has to be one all the same
        let text = entry.full_text(lex, &at, "lex")?;
        if is_used(comment.as_deref(), of.as_deref(), language) {
            references.push(text);
        }
    }
    Ok(references)
}
