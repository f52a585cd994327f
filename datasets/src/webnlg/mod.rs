//! WebNLG 2017: a directory of three parts, in the official JSON ([`json`]) or in the challenge's
//! original XML ([`xml`]).
//!
//! Both formats follow the same rules. Only modified triples are read, and only texts whose comment
//! is `good`; an entry that is left without a text is set aside and listed in [`crate::Skipped`].
//! An entry is known by its position in its part, since `xml_id` and `eid` restart. The fields of a
//! triple are kept as they stand in the file: how a model reads them is the layout's matter
//! ([`crate::Surface`]).

pub mod json;
pub mod xml;

use std::collections::BTreeSet;
use std::path::Path;

use crate::{Malformed, Part, Result, Splits};

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

/// Loads the three parts of a directory, each a file `train.json` or, in XML, `train.xml` or the
/// XML files of a directory `train`. A category is seen when a training entry has it.
///
/// # Errors
/// A file is missing or has another format, or an entry lacks something and such entries are not
/// skipped: the error names file, line, entry and field.
pub fn load(dir: &Path, malformed: Malformed) -> Result<Splits> {
    let part = |name: &str| {
        let path = dir.join(format!("{name}.json"));
        match xml::files(dir, name)? {
            files if !files.is_empty() && !path.exists() => xml::load(&files, malformed),
            _ => json::load(&path, malformed),
        }
    };
    let mut parts = [part("train")?, part("dev")?, part("test")?];
    let categories = parts[0].examples.iter().map(|e| e.category.clone());
    let seen: BTreeSet<String> = categories.collect();
    for example in parts.iter_mut().flat_map(|part| &mut part.examples) {
        example.seen = seen.contains(&example.category);
    }
    Ok(Splits::of_parts(parts, Vec::new()))
}

/// Moves the entries without a text from the examples to the list of their positions.
fn set_aside(mut part: Part) -> Part {
    let empty = part.examples.extract_if(.., |e| e.references.is_empty());
    part.without_text = empty.map(|e| e.position).collect();
    part
}
