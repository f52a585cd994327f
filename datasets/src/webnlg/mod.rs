//! WebNLG: a directory of three parts, in the official JSON ([`json`]) or in the challenge's
//! original XML ([`xml`]), of 2017 or of releases 2.1, 3.0 and 2023, or as the Hub has them
//! (`hub`).
//!
//! All formats follow the same rules. Only modified triples are read, and only texts whose comment
//! is `good` or empty and whose language is asked for; an entry that is left without a text is set
//! aside and listed in [`crate::Skipped`]. An entry is known by its position in its part, since
//! `xml_id` and `eid` restart. The fields of a triple are kept as they stand in the file: how a
//! model reads them is the layout's matter ([`crate::Surface`]).

mod hub;
pub mod json;
mod parts;
pub mod xml;

use std::collections::BTreeSet;
use std::path::Path;

use crate::{Error, Malformed, Part, Result, Splits, Triple, table};

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

/// The language of release 2017.
pub const ENGLISH: &str = "en";

/// Whether a text is used: its comment is `good`, or empty as in releases 3.0 and 2023, and its
/// language is the one asked for; releases with one language do not name it.
fn is_used(comment: Option<&str>, of: Option<&str>, language: &str) -> bool {
    let good = comment.is_none_or(|c| c.trim().is_empty() || c == "good");
    let of = of.filter(|of| !of.trim().is_empty()).unwrap_or(ENGLISH);
    good && of.eq_ignore_ascii_case(language)
}

/// Loads the three parts of a directory of any release: `train`, `dev` and `test`, each a JSON or
/// XML file or a directory of XML files; below a directory of the language's name where there is
/// one (`parts`). A category is seen when a training entry has it.
///
/// # Errors
/// A file is missing or has another format, or an entry lacks something and such entries are not
/// skipped: the error names file, line, entry and field. A part without any text in the language.
pub fn load(dir: &Path, malformed: Malformed) -> Result<Splits> {
    load_in(dir, malformed, ENGLISH)
}

/// The same with the texts of a language: `en`, `ru`, `ga` and so on.
///
/// # Errors
/// As [`load`].
pub fn load_in(dir: &Path, malformed: Malformed, language: &str) -> Result<Splits> {
    let of_language = dir.join(language);
    let dir = match of_language.is_dir() {
        true => of_language.as_path(),
        false => dir,
    };
    of_parts(dir, language, &|name| {
        let files = parts::find(dir, name, language)?;
        let mut part = match &files.found[..] {
            [one] if one.extension().is_some_and(|e| e == "json") => {
                json::load_in(one, malformed, language)?
            }
            all => xml::load(all, malformed, language)?,
        };
        part.notes.extend(files.note);
        Ok(part)
    })
}

/// Whether a directory holds the official files of a part.
pub(crate) fn has_part(dir: &Path, part: &str, language: &str) -> bool {
    let of_language = dir.join(language);
    let mut folders = [dir, of_language.as_path()].into_iter();
    folders.any(|dir| parts::find(dir, part, language).is_ok_and(|files| !files.found.is_empty()))
}

/// Loads the three parts of a directory of tables.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_tables(dir: &Path, malformed: Malformed, language: &str) -> Result<Splits> {
    of_parts(dir, language, &|name| {
        let files = table::parts::find(dir, name)?;
        if files.is_empty() {
            let expected = table::parts::expected(name);
            let message = format!("{}: {expected} is missing", dir.display());
            return Err(Error::Invalid(message));
        }
        hub::load(&files, malformed, language)
    })
}

/// Puts the parts together; a category is seen when a training entry has it.
fn of_parts(dir: &Path, language: &str, load: &dyn Fn(&str) -> Result<Part>) -> Result<Splits> {
    let part = |name: &str| -> Result<Part> {
        let part = load(name)?;
        if part.examples.is_empty() && !part.without_text.is_empty() {
            return Err(Error::Invalid(format!(
                "{}: part {name}: none of its {} entries has a text in \"{language}\" (see \
                 --language)",
                dir.display(),
                part.without_text.len()
            )));
        }
        Ok(part)
    };
    let mut parts = [part("train")?, part("dev")?, part("test")?];
    let categories = parts[0].examples.iter().map(|e| e.category.clone());
    let seen: BTreeSet<String> = categories.collect();
    for example in parts.iter_mut().flat_map(|part| &mut part.examples) {
        example.seen = seen.contains(&example.category);
    }
    Ok(Splits::of_parts(parts, Vec::new()))
}

/// `subject | property | object`.
fn triple(text: &str) -> Option<Triple> {
    let mut fields = text.split('|').map(str::trim).filter(|f| !f.is_empty());
    let (subject, property, object) = (fields.next()?, fields.next()?, fields.next()?);
    if text.matches('|').count() != 2 {
        return None;
    }
    Some(Triple {
        subject: subject.to_owned(),
        property: property.to_owned(),
        object: object.to_owned(),
    })
}

/// Moves the entries without a text from the examples to the list of their positions.
fn set_aside(mut part: Part) -> Part {
    let empty = part.examples.extract_if(.., |e| e.references.is_empty());
    part.without_text = empty.map(|e| e.position).collect();
    part
}
