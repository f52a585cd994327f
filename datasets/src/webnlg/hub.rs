//! WebNLG as the Hub's tables have it.
//!
//! ```text
//! web_nlg       category, modified_triple_sets: {mtriple_set: [[triple, …]]},
//!               lex: {comment: […], text: […], lang: […]}
//! GEM/web_nlg   category, input: [triple, …], target, references: […], webnlg_id
//! ```
//!
//! A triple is `subject | property | object`. GEM's training part has a row for each text of an
//! entry: neighbouring rows of one `webnlg_id` and one input become one entry again. Its other
//! parts have an entry's texts in `references`.

use std::path::PathBuf;

use serde_json::Value;

use super::{SEEN_CATEGORIES, is_used, set_aside, triple};
use crate::table::{self, Row};
use crate::{Example, Input, Malformed, Part, Result, Triple};

const WANTED: [&str; 7] = [
    "category",
    "modified_triple_sets",
    "lex",
    "input",
    "target",
    "references",
    "webnlg_id",
];

/// Loads the tables of a part.
pub(super) fn load(files: &[PathBuf], malformed: Malformed, language: &str) -> Result<Part> {
    let mut of_gem = false;
    let part = table::part(files, &WANTED, malformed, &mut |row, number| {
        of_gem = !row.has("modified_triple_sets");
        let (triples, references) = match of_gem {
            true => gem(row)?,
            false => web_nlg(row, language)?,
        };
        let category = row.full_text("category")?;
        Ok(vec![Example {
            position: number,
            seen: SEEN_CATEGORIES.contains(&category.as_str()),
            category,
            input: Input::Triples(triples),
            references,
            class: None,
            id: match of_gem {
                true => row.name("webnlg_id")?,
                false => None,
            },
        }])
    })?;
    Ok(set_aside(match of_gem {
        true => merged(part),
        false => part,
    }))
}

/// One entry of neighbouring rows that are the same one, counted anew.
fn merged(mut part: Part) -> Part {
    part.examples.dedup_by(|next, entry| {
        let same = next.id.is_some()
            && (&next.id, &next.input, &next.category)
                == (&entry.id, &entry.input, &entry.category);
        if same {
            entry.references.append(&mut next.references);
        }
        same
    });
    for (i, entry) in part.examples.iter_mut().enumerate() {
        (entry.position, entry.id) = (i + 1, None);
    }
    part
}

fn gem(row: &Row<'_>) -> Result<(Vec<Triple>, Vec<String>)> {
    let triples = triples(row, "input", row.texts("input")?)?;
    let references = match row.get("references") {
        Some(list) => row.texts_of("references", list)?,
        None => Vec::new(),
    };
    let references = match references.is_empty() {
        true => vec![row.full_text("target")?],
        false => references,
    };
    Ok((triples, references))
}

fn web_nlg(row: &Row<'_>, language: &str) -> Result<(Vec<Triple>, Vec<String>)> {
    let column = "modified_triple_sets";
    let sets = row.members(column, "mtriple_set")?.unwrap_or_default();
    let field = format!("{column}.mtriple_set");
    let mut texts = Vec::new();
    for set in &sets {
        texts.extend(row.texts_of(&field, set)?);
    }
    Ok((
        triples(row, &field, texts)?,
        lexicalisations(row, language)?,
    ))
}

fn triples(row: &Row<'_>, field: &str, texts: Vec<String>) -> Result<Vec<Triple>> {
    if texts.is_empty() {
        return Err(row.wrong(field, "at least one triple", "an empty list"));
    }
    let one = |(i, text): (usize, &String)| {
        let field = format!("{field}[{i}]");
        let wrong = || row.wrong(&field, "subject | property | object", format!("{text:?}"));
        triple(text).ok_or_else(wrong)
    };
    texts.iter().enumerate().map(one).collect()
}

/// The texts of an entry that are used.
fn lexicalisations(row: &Row<'_>, language: &str) -> Result<Vec<String>> {
    let texts = row.members("lex", "text")?.unwrap_or_default();
    let texts = row.texts_of("lex.text", &texts.into())?;
    let of = |member: &str| -> Result<Vec<Value>> {
        let found = row.members("lex", member)?.filter(|all| !all.is_empty());
        let found = found.unwrap_or_else(|| vec![Value::Null; texts.len()]);
        match found.len() == texts.len() {
            true => Ok(found),
            false => {
                let expected = format!("{} values, one for each text", texts.len());
                Err(row.wrong(&format!("lex.{member}"), &expected, found.len().to_string()))
            }
        }
    };
    let (comments, languages) = (of("comment")?, of("lang")?);
    let mut used = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        let wrong = || {
            row.wrong(
                &format!("lex.text[{i}]"),
                "a text that is not empty",
                "none",
            )
        };
        if !is_used(comments[i].as_str(), languages[i].as_str(), language) {
            continue;
        }
        if text.trim().is_empty() {
            return Err(wrong());
        }
        used.push(text.clone());
    }
    Ok(used)
}
