//! WebNLG 2017 in its official JSON layout.
//!
//! ```text
//! {"entries": [{"1": {"category": …, "modifiedtripleset": [{"subject", "property", "object"}, …],
//!                     "lexicalisations": [{"comment": "good", "lex": …}, …], …}}, {"2": …}, …]}
//! ```
//!
//! Every entry is an object of one key. Entries are known by their position in the file, since
//! `xml_id` restarts. Only texts whose comment is `good` count; an entry left without a text is set
//! aside and listed in [`crate::Skipped`]. Fields of a triple are kept as they stand; how they are
//! written for a model is the layout's matter ([`crate::Surface`]).

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::entries::{self, Entry};
use crate::{Error, Example, Input, Malformed, Part, Result, Splits, Triple, webnlg_xml};

/// The ten categories that the challenge's training file covers.
pub const SEEN_CATEGORIES: [&str; 10] = [
    "Airport",
    "Astronaut",
    "Building",
    "City",
    "ComicsCharacter",
    "Food",
    "Monument",
    "SportsTeam",
    "University",
    "WrittenWork",
];

/// Loads the three parts of a directory, each a file `train.json` or, in the challenge's XML,
/// `train.xml` or the XML files of a directory `train` ([`crate::webnlg_xml`]). A category is seen
/// when a training entry has it.
///
/// # Errors
/// A file is missing, is not JSON, or an entry lacks something and such are not skipped: the error
/// names file, line, entry and field.
pub fn load(dir: &Path, malformed: Malformed) -> Result<Splits> {
    let part = |name: &str| {
        let path = dir.join(format!("{name}.json"));
        match webnlg_xml::files(dir, name)? {
            files if !files.is_empty() && !path.exists() => webnlg_xml::load(&files, malformed),
            _ => load_file(&path, malformed),
        }
    };
    Ok(join([part("train")?, part("dev")?, part("test")?]))
}

/// Loads one file in JSON; a category is seen when it is one of [`SEEN_CATEGORIES`].
///
/// # Errors
/// As [`load`].
pub fn load_file(path: &Path, malformed: Malformed) -> Result<Part> {
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
    parse(path, file, malformed)
}

/// Three parts as one data set: `seen` is taken anew from the first.
pub fn join(mut parts: [Part; 3]) -> Splits {
    let categories = parts[0].examples.iter().map(|e| e.category.clone());
    let seen: BTreeSet<String> = categories.collect();
    for part in &mut parts {
        let examples = part.examples.iter_mut();
        examples.for_each(|e| e.seen = seen.contains(&e.category));
    }
    Splits::of_parts(parts, Vec::new())
}

/// Parses a file, entry by entry; `path` is for messages only.
///
/// # Errors
/// As [`load`]; arbitrary bytes give an error, never a panic.
///
/// ```
/// use inducer_datasets::{Malformed, webnlg};
/// let json = br#"{"entries": [{"1": {"category": "Food",
///     "modifiedtripleset": [{"subject": "Ajoblanco", "property": "country", "object": "Spain"}],
///     "lexicalisations": [{"comment": "good", "lex": "Ajoblanco is from Spain."}]}}]}"#;
/// let part = webnlg::parse("x.json".as_ref(), &json[..], Malformed::Refuse).unwrap();
/// assert_eq!((part.examples[0].references.len(), part.without_text.len()), (1, 0));
/// let bad = br#"{"entries": [{"1": {"category": 3}}]}"#;
/// let e = webnlg::parse("x.json".as_ref(), &bad[..], Malformed::Refuse).unwrap_err();
/// assert_eq!(e.to_string(), "x.json:1: entry 1: field `category`: expected a text, found a number");
/// let part = webnlg::parse("x.json".as_ref(), &bad[..], Malformed::Skip).unwrap();
/// assert_eq!(part.malformed, [e.to_string()]);
/// ```
pub fn parse(path: &Path, reader: impl Read, malformed: Malformed) -> Result<Part> {
    let mut part = Part::default();
    entries::stream(path, reader, "entries", &mut |entry| {
        let read = entry.value().and_then(|value| example(&entry, &value));
        part.take(read.map(|e| vec![e]), malformed)
    })?;
    Ok(set_aside(part))
}

/// Moves the entries without a text from the examples to the list of their positions.
pub(crate) fn set_aside(mut part: Part) -> Part {
    let empty = part.examples.extract_if(.., |e| e.references.is_empty());
    part.without_text = empty.map(|e| e.position).collect();
    part
}

fn example(entry: &Entry, value: &Value) -> Result<Example> {
    let members = value
        .as_object()
        .filter(|o| o.len() == 1)
        .and_then(|o| o.values().next());
    let body = members.ok_or_else(|| entry.wrong("", "an object with one key", value))?;
    let category = text(entry, body, "", "category")?;
    let seen = SEEN_CATEGORIES.contains(&category.as_str());
    Ok(Example {
        position: entry.position,
        category,
        seen,
        input: Input::Triples(triples(entry, body)?),
        references: references(entry, body)?,
        class: None,
    })
}

fn triples(entry: &Entry, body: &Value) -> Result<Vec<Triple>> {
    let name = "modifiedtripleset";
    let triples = list(entry, body, name)?;
    if triples.is_empty() {
        return Err(entry.wrong(name, "at least one triple", &body[name]));
    }
    let triple = |(i, t): (usize, &Value)| {
        let at = format!("{name}[{i}]");
        Ok(Triple {
            subject: text(entry, t, &at, "subject")?,
            property: text(entry, t, &at, "property")?,
            object: text(entry, t, &at, "object")?,
        })
    };
    triples.iter().enumerate().map(triple).collect()
}

fn references(entry: &Entry, body: &Value) -> Result<Vec<String>> {
    let mut references = Vec::new();
    for (i, lex) in list(entry, body, "lexicalisations")?.iter().enumerate() {
        let at = format!("lexicalisations[{i}]");
        let comment = text(entry, lex, &at, "comment")?;
        let said = text(entry, lex, &at, "lex")?;
        if comment == "good" {
            references.push(said);
        }
    }
    Ok(references)
}

fn list<'v>(entry: &Entry, body: &'v Value, field: &str) -> Result<&'v [Value]> {
    let value = body.get(field).unwrap_or(&Value::Null);
    let items = value.as_array().map(Vec::as_slice);
    items.ok_or_else(|| entry.wrong(field, "a list", value))
}

/// A text that says something.
fn text(entry: &Entry, body: &Value, at: &str, field: &str) -> Result<String> {
    let value = body.get(field).unwrap_or(&Value::Null);
    let place = match at {
        "" => field.to_owned(),
        at => format!("{at}.{field}"),
    };
    match value.as_str() {
        Some(text) if !text.trim().is_empty() => Ok(text.to_owned()),
        Some(_) => Err(entry.wrong(&place, "a text that is not empty", value)),
        None => Err(entry.wrong(&place, "a text", value)),
    }
}
