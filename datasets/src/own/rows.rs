//! Rows of tables of one's own as examples, their classes still by name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::classes::Labelled;
use crate::table::{self, Row};
use crate::{Example, Input, Malformed, Reading, Result, Task};

/// Whether a row has to have a target or a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    /// Each row.
    Needed,
    /// They are not looked at.
    Unread,
}

/// Reads the rows of a part's files.
///
/// # Errors
/// A column is missing, or a row has the wrong thing in it, unless such rows are to be skipped.
pub(super) fn rows(
    task: Task,
    files: &[PathBuf],
    malformed: Malformed,
    reading: &Reading,
    answers: Answers,
) -> Result<Labelled> {
    let mut reader = Reader {
        task,
        reading,
        answers,
        ids: BTreeMap::new(),
        pairs: None,
        found: Labelled::default(),
    };
    let wanted: Vec<&str> = task.columns().iter().map(|c| reading.column(c)).collect();
    let part = table::part(files, &wanted, malformed, &mut |row, number| {
        Ok(vec![reader.example(row, number)?])
    })?;
    let mut found = reader.found;
    found.part = part;
    Ok(found)
}

struct Reader<'a> {
    task: Task,
    reading: &'a Reading,
    answers: Answers,
    /// Where each id was found.
    ids: BTreeMap<String, String>,
    /// Whether the rows have a second text, once one was read.
    pairs: Option<bool>,
    found: Labelled,
}

impl Reader<'_> {
    /// An optional column's name, where the row has it. One that was asked for by its name has to
    /// be there.
    fn column(&self, row: &Row<'_>, of: &'static str) -> Result<Option<&str>> {
        let column = self.reading.column(of);
        if !row.has(column) && self.reading.columns.contains_key(of) {
            return row.text(column).map(|_| None);
        }
        Ok(row.get(column).map(|_| column))
    }

    fn example(&mut self, row: &Row<'_>, position: usize) -> Result<Example> {
        let (input, references, label) = match self.task.generates() {
            true => (self.input(row)?, self.targets(row)?, None),
            false => (self.texts(row)?, Vec::new(), self.label(row)?),
        };
        let group = match self.column(row, "group")? {
            Some(column) => row.name(column)?.unwrap_or_default(),
            None => String::new(),
        };
        let id = self.id(row)?;
        self.found
            .remember(row, self.reading.column("label"), label);
        Ok(Example {
            position,
            category: group,
            seen: true,
            input,
            references,
            class: None,
            id,
        })
    }

    fn input(&self, row: &Row<'_>) -> Result<Input> {
        Ok(Input::Sentence(
            row.full_text(self.reading.column("input"))?,
        ))
    }

    /// The texts to write: of `target` and `targets` the one that is there, or that was asked for.
    fn targets(&self, row: &Row<'_>) -> Result<Vec<String>> {
        if self.answers == Answers::Unread {
            return Ok(Vec::new());
        }
        let [one, several] = ["target", "targets"].map(|c| self.reading.column(c));
        let asked = |c: &str| self.reading.columns.contains_key(c);
        let several_asked = match (asked("target"), asked("targets")) {
            (false, false) => None,
            (one, several) => Some(several && !one),
        };
        let both = row.get(one).is_some() && row.get(several).is_some();
        if both && several_asked.is_none() {
            let expected = "`target` or `targets` (--columns target=… or targets=… says which)";
            return Err(row.wrong(several, expected, "both"));
        }
        if !several_asked.unwrap_or(row.get(several).is_some()) {
            return Ok(vec![row.full_text(one)?]);
        }
        let texts = row.texts(several)?;
        if texts.is_empty() {
            return Err(row.wrong(several, "at least one text", "an empty list"));
        }
        if let Some(i) = texts.iter().position(|t| t.trim().is_empty()) {
            let field = format!("{several}[{i}]");
            return Err(row.wrong(&field, "a text that is not empty", "an empty text"));
        }
        Ok(texts)
    }

    fn texts(&mut self, row: &Row<'_>) -> Result<Input> {
        let text = row.full_text(self.reading.column("text"))?;
        let pair = match self.column(row, "text_pair")? {
            Some(column) => Some(row.full_text(column)?),
            None => None,
        };
        let pairs = *self.pairs.get_or_insert(pair.is_some());
        match (pairs, pair) {
            (true, Some(second)) => Ok(Input::Pair(text, second)),
            (false, None) => Ok(Input::Sentence(text)),
            (pairs, _) => {
                let (expected, found) = match pairs {
                    true => ("a text, as in the rows before", "nothing"),
                    false => ("nothing, as in the rows before", "a text"),
                };
                Err(row.wrong(self.reading.column("text_pair"), expected, found))
            }
        }
    }

    fn label(&self, row: &Row<'_>) -> Result<Option<String>> {
        let column = self.reading.column("label");
        if self.answers == Answers::Unread {
            return Ok(None);
        }
        let value = row.needed(column, "a class")?;
        let wrong = || row.wrong(column, "a class", value.to_string());
        row.label(column)?.map(Some).ok_or_else(wrong)
    }

    /// The row's id, which no row before has.
    fn id(&mut self, row: &Row<'_>) -> Result<Option<String>> {
        let Some(column) = self.column(row, "id")?.map(str::to_owned) else {
            return Ok(None);
        };
        let Some(id) = row.name(&column)? else {
            return Ok(None);
        };
        let here = format!("{}{}", row.path.display(), row.place);
        match self.ids.insert(id.clone(), here) {
            None => Ok(Some(id)),
            Some(before) => {
                let found = format!("{id:?}, as in {before}");
                Err(row.wrong(&column, "an id that no other row has", found))
            }
        }
    }
}
