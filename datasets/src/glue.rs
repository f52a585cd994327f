//! MNLI and SST-2 in GLUE's tab-separated layout (Wang et al. 2019), and as the Hub has them.
//!
//! The first line names the columns, and they are found by name: `sentence1`, `sentence2`,
//! `gold_label` of MNLI's wide files or of files that hold nothing else, `sentence`, `label` of
//! SST-2's. There is no quoting: a quotation mark is a character like any other, and a field is
//! kept exactly as it stands, trailing spaces included. Only the carriage return of a line end is
//! dropped. MNLI's `genre`, where there is one, becomes the category. A label column may be
//! missing, as in GLUE's test files; the class is then unknown.
//!
//! The Hub's tables (`nyu-mll/glue`, `nyu-mll/multi_nli`, `stanfordnlp/sst2`) have `premise`,
//! `hypothesis` and `label`, or `sentence` and `label`, the label as a number, −1 for none.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use crate::table::{self, Row};
use crate::{Error, Example, Input, Malformed, Part, Result, Task};

/// Loads one file of [`Task::Mnli`] or [`Task::Sst2`], line by line.
///
/// # Errors
/// The file is missing, or as [`parse`].
pub fn load_file(task: Task, path: &Path, malformed: Malformed) -> Result<Part> {
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
    parse(task, path, std::io::BufReader::new(file), malformed)
}

/// Parses a table; `path` is for messages only.
///
/// # Errors
/// The task is none of GLUE's; a column is missing; a row has too few fields, a label that is none,
/// or bytes that are not UTF-8: the error names file, line and field. Arbitrary bytes give an
/// error, never a panic.
///
/// ```
/// use inducer_datasets::{Input, Malformed, Task, glue};
/// let tsv = "sentence\tlabel\n\"quoted\" and kept \t1\n";
/// let t = glue::parse(Task::Sst2, "x.tsv".as_ref(), tsv.as_bytes(), Malformed::Refuse).unwrap();
/// assert_eq!(t.examples[0].input, Input::Sentence("\"quoted\" and kept ".into()));
/// ```
pub fn parse(
    task: Task,
    path: &Path,
    mut reader: impl BufRead,
    malformed: Malformed,
) -> Result<Part> {
    let (mut part, mut columns, mut bytes) = (Part::default(), None, Vec::new());
    let (mut blank, mut undecided) = (None, 0);
    for line in 1.. {
        bytes.clear();
        let read = reader.read_until(b'\n', &mut bytes);
        if read.map_err(|e| Error::io(path, e))? == 0 {
            break;
        }
        let at = Location { path, line };
        let text = at.text(&bytes);
        let Some(columns) = &columns else {
            let header = text?;
            let header = header.strip_prefix('\u{feff}').unwrap_or(header);
            columns = Some(Columns::of(task, &at, header)?);
            continue;
        };
        // blank lines at the end are none; one before a row is a row without fields
        if text.as_ref().is_ok_and(|t| t.is_empty()) {
            blank.get_or_insert(line);
            continue;
        }
        if let Some(line) = blank.take() {
            let empty = Location { path, line }.wrong("row", "fields", "an empty line");
            part.take(Err(empty), malformed)?;
        }
        match text.and_then(|text| columns.example(&at, text)) {
            Ok(None) => undecided += 1,
            row => part.take(row.map(|e| e.into_iter().collect()), malformed)?,
        }
    }
    part.notes.extend(left_out(path, undecided));
    match columns {
        Some(_) => Ok(part),
        None => Err(Location { path, line: 1 }.wrong("header", "the names of columns", "nothing")),
    }
}

/// Where we are, for messages.
struct Location<'a> {
    path: &'a Path,
    line: usize,
}

impl Location<'_> {
    fn wrong(&self, field: &str, expected: &'static str, found: impl Into<String>) -> Error {
        Error::Line {
            path: self.path.to_owned(),
            line: self.line,
            field: field.to_owned(),
            expected,
            found: found.into(),
        }
    }

    /// The line without its end.
    fn text<'b>(&self, bytes: &'b [u8]) -> Result<&'b str> {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        std::str::from_utf8(bytes).map_err(|e| {
            self.wrong(
                "row",
                "UTF-8",
                format!("another byte at {}", e.valid_up_to()),
            )
        })
    }
}

/// Which column holds what.
struct Columns {
    task: Task,
    texts: Vec<(&'static str, usize)>,
    label: Option<usize>,
    genre: Option<usize>,
}

impl Columns {
    fn of(task: Task, at: &Location, header: &str) -> Result<Self> {
        let names: Vec<&str> = header.split('\t').collect();
        let find = |name: &str| names.iter().position(|n| *n == name);
        let (texts, label): (&[&'static str], _) = match task {
            Task::Mnli => (
                &["sentence1", "sentence2"],
                find("gold_label").or_else(|| find("label")),
            ),
            Task::Sst2 => (&["sentence"], find("label")),
            _ => {
                let message = format!("{task} is no classification task of GLUE's");
                return Err(Error::Invalid(message));
            }
        };
        let found = |name: &&'static str| {
            let missing = || at.wrong(name, "a column of this name", format!("{names:?}"));
            find(name).map(|i| (*name, i)).ok_or_else(missing)
        };
        Ok(Self {
            task,
            texts: texts.iter().map(found).collect::<Result<_>>()?,
            label,
            genre: find("genre"),
        })
    }

    /// A row's example; none where MNLI's annotators did not agree.
    fn example(&self, at: &Location, row: &str) -> Result<Option<Example>> {
        let fields: Vec<&str> = row.split('\t').collect();
        let field = |name: &str, i: usize| {
            let missing = || at.wrong(name, "a field", format!("{} fields", fields.len()));
            fields.get(i).copied().ok_or_else(missing)
        };
        let mut texts = Vec::with_capacity(2);
        for (name, i) in &self.texts {
            texts.push(field(name, *i)?.to_owned());
        }
        let class = match self.label {
            None => None,
            Some(i) => match field("label", i)? {
                "-" if self.task == Task::Mnli => return Ok(None),
                "-1" => None,
                label => Some(self.class(at, label)?),
            },
        };
        let input = match (texts.pop(), texts.pop()) {
            (Some(second), Some(first)) => Input::Pair(first, second),
            (Some(only), None) => Input::Sentence(only),
            (None, _) => return Err(at.wrong("row", "a text", "none")),
        };
        let genre = self.genre.and_then(|i| fields.get(i));
        Ok(Some(Example {
            position: at.line - 1,
            category: genre.map(|g| (*g).to_owned()).unwrap_or_default(),
            seen: true,
            input,
            references: Vec::new(),
            class,
            id: None,
        }))
    }

    fn class(&self, at: &Location, label: &str) -> Result<u32> {
        let wrong = || at.wrong("label", classes(self.task), format!("{label:?}"));
        class(self.task, label).ok_or_else(wrong)
    }
}

/// The classes of a task in words.
fn classes(task: Task) -> &'static str {
    match task {
        Task::Mnli => "entailment, neutral or contradiction",
        _ => "0 or 1",
    }
}

/// A class by its name or number.
fn class(task: Task, label: &str) -> Option<u32> {
    let classes = task.classes();
    let named = |c: &&str| c.eq_ignore_ascii_case(label);
    let numbered = label.parse().ok().filter(|i| *i < classes.len());
    let id = classes.iter().position(named).or(numbered);
    id.map(|i| i as u32)
}

/// What the Hub calls SST-2's classes, beside GLUE's own 0 and 1.
fn of_hub(task: Task, label: &str) -> Option<u32> {
    match (task, label) {
        (Task::Sst2, "negative") => Some(0),
        (Task::Sst2, "positive") => Some(1),
        _ => class(task, label),
    }
}

/// Loads the tables of a part of [`Task::Mnli`] or [`Task::Sst2`].
///
/// # Errors
/// As [`parse`].
pub(crate) fn load_tables(task: Task, files: &[PathBuf], malformed: Malformed) -> Result<Part> {
    let wanted = [
        "sentence",
        "premise",
        "hypothesis",
        "sentence1",
        "sentence2",
        "label",
        "gold_label",
        "genre",
    ];
    let mut undecided = 0;
    let mut part = table::part(files, &wanted, malformed, &mut |row, number| {
        let example = of_row(task, row, number)?;
        undecided += usize::from(example.is_none());
        Ok(example.into_iter().collect())
    })?;
    part.notes.extend(left_out(&files[0], undecided));
    Ok(part)
}

/// A row's example; none where MNLI's annotators did not agree.
fn of_row(task: Task, row: &Row<'_>, position: usize) -> Result<Option<Example>> {
    let text = |names: [&'static str; 2]| -> Result<String> {
        let column = row.first(&names).unwrap_or(names[0]);
        Ok(row.text(column)?.to_owned())
    };
    let input = match task {
        Task::Mnli => Input::Pair(
            text(["premise", "sentence1"])?,
            text(["hypothesis", "sentence2"])?,
        ),
        _ => Input::Sentence(text(["sentence", "sentence"])?),
    };
    let column = row.first(&["gold_label", "label"]).unwrap_or("label");
    let class = match row.label(column)?.as_deref() {
        Some("-") if task == Task::Mnli => return Ok(None),
        None | Some("-1") => None,
        Some(label) => {
            let wrong = || row.wrong(column, classes(task), format!("{label:?}"));
            Some(of_hub(task, label).ok_or_else(wrong)?)
        }
    };
    Ok(Some(Example {
        position,
        category: row.name("genre")?.unwrap_or_default(),
        seen: true,
        input,
        references: Vec::new(),
        class,
        id: None,
    }))
}

/// How many rows of a file have no label that the annotators agreed on.
fn left_out(path: &Path, undecided: usize) -> Option<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    (undecided > 0).then(|| {
        format!("{name}: {undecided} rows left out whose annotators did not agree (label `-`)")
    })
}
