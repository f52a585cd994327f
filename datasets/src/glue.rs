//! MNLI and SST-2 in GLUE's tab-separated layout (Wang et al. 2019).
//!
//! The first line names the columns, and they are found by name: `sentence1`, `sentence2`,
//! `gold_label` of MNLI's wide files or of files that hold nothing else, `sentence`, `label` of
//! SST-2's. There is no quoting: a quotation mark is a character like any other, and a field is
//! kept exactly as it stands, trailing spaces included. Only the carriage return of a line end is
//! dropped. MNLI's `genre`, where there is one, becomes the category. A label column may be
//! missing, as in GLUE's test files; the class is then unknown.

use std::io::BufRead;
use std::path::Path;

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
    if undecided > 0 {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        part.notes.push(format!(
            "{name}: {undecided} rows left out whose annotators did not agree (label `-`)"
        ));
    }
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
            Task::WebNlg | Task::Coqa => {
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
        }))
    }

    fn class(&self, at: &Location, label: &str) -> Result<u32> {
        let classes = self.task.classes();
        let named = |c: &&str| c.eq_ignore_ascii_case(label);
        let numbered = label.parse().ok().filter(|i| *i < classes.len());
        let id = classes.iter().position(named).or(numbered);
        let expected = match self.task {
            Task::Mnli => "entailment, neutral or contradiction",
            _ => "0 or 1",
        };
        id.map(|i| i as u32)
            .ok_or_else(|| at.wrong("label", expected, format!("{label:?}")))
    }
}
