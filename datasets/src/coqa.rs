//! CoQA in its official JSON layout (Reddy et al. 2019).
//!
//! ```text
//! {"version": …, "data": [
//!   {"id": …, "source": …, "story": …,
//!    "questions": [{"turn_id": 1, "input_text": …}, …],
//!    "answers": [{"turn_id": 1, "input_text": …,
//!                 "span_start": …, "span_end": …, "span_text": …}, …],
//!    "additional_answers": {"0": [an answer for each turn], …}},
//!   …]}
//! ```
//!
//! Every turn becomes an [`Example`]: the story, the two turns before it, its question; the first
//! answer is the training target, those of `additional_answers` follow as further references. Spans
//! are not used, so the negative ones that the official files hold do no harm. Questions and
//! answers belong together by `turn_id`, which must count from 1.
//!
//! The Hub's tables (`stanfordnlp/coqa`) have a row for each story and one answer a question:
//!
//! ```text
//! source, story, questions: [text, …], answers: {input_text: [text, …], …}
//! ```

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::entries::{self, Entry};
use crate::layout::HISTORY_TURNS;
use crate::table::{self, Row};
use crate::{Error, Example, Input, Malformed, Part, Result};

/// Loads one file; the examples' category is the story's source, their position counts turns over
/// the whole file.
///
/// # Errors
/// The file is missing, is not JSON, or a story lacks something and such are not skipped: the error
/// names file, line, story and field.
pub fn load_file(path: &Path, malformed: Malformed) -> Result<Part> {
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
    parse(path, file, malformed)
}

/// Parses a file, story by story; `path` is for messages only.
///
/// # Errors
/// As [`load_file`]; arbitrary bytes give an error, never a panic.
///
/// ```
/// let json = br#"{"data": [{"source": "cnn", "story": "Tom is a cat.",
///     "questions": [{"turn_id": 1, "input_text": "Who?"},
///                   {"turn_id": 2, "input_text": "What is he?"}],
///     "answers": [{"turn_id": 1, "input_text": "Tom"},
///                 {"turn_id": 2, "input_text": "a cat"}]}]}"#;
/// use inducer_datasets::{Malformed, coqa};
/// let turns = coqa::parse("x.json".as_ref(), &json[..], Malformed::Refuse).unwrap().examples;
/// assert_eq!((turns.len(), turns[1].references[0].as_str()), (2, "a cat"));
/// ```
pub fn parse(path: &Path, reader: impl Read, malformed: Malformed) -> Result<Part> {
    let mut part = Part::default();
    entries::stream(path, reader, "data", &mut |entry| {
        let first = part.examples.len() + 1;
        let turns = entry.value().and_then(|body| {
            let story = Story { entry, body: &body };
            story.turns(first)
        });
        part.take(turns, malformed)
    })?;
    Ok(part)
}

/// Loads the tables of a part, whose rows are stories.
///
/// # Errors
/// As [`load_file`].
pub(crate) fn load_tables(files: &[PathBuf], malformed: Malformed) -> Result<Part> {
    let mut first = 1;
    let wanted = ["source", "story", "questions", "answers"];
    table::part(files, &wanted, malformed, &mut |row, _| {
        let turns = of_row(row)?.turns(first);
        first += turns.len();
        Ok(turns)
    })
}

fn of_row(row: &Row<'_>) -> Result<Dialogue> {
    let questions = row.texts("questions")?;
    let field = "answers.input_text";
    let found = row.members("answers", "input_text")?;
    let answers = row.texts_of(field, &found.unwrap_or_default().into())?;
    if answers.len() != questions.len() {
        let expected = format!("{} answers, one for each question", questions.len());
        return Err(row.wrong(field, &expected, answers.len().to_string()));
    }
    Ok(Dialogue {
        source: row.text("source")?.to_owned(),
        passage: row.text("story")?.into(),
        questions,
        answers: vec![answers],
    })
}

/// A passage and what was asked about it.
struct Dialogue {
    source: String,
    passage: Arc<str>,
    questions: Vec<String>,
    /// A list for each who answered, those that are trained on first.
    answers: Vec<Vec<String>>,
}

impl Dialogue {
    /// One example for each turn, whose positions count from `first`.
    fn turns(&self, first: usize) -> Vec<Example> {
        let turn = |(i, question): (usize, &String)| {
            let past = i.saturating_sub(HISTORY_TURNS)..i;
            let history = past.map(|j| (self.questions[j].clone(), self.answers[0][j].clone()));
            Example {
                position: first + i,
                category: self.source.clone(),
                seen: true,
                input: Input::Conversation {
                    passage: self.passage.clone(),
                    history: history.collect(),
                    question: question.clone(),
                },
                references: self.answers.iter().map(|r| r[i].clone()).collect(),
                class: None,
                id: None,
            }
        };
        self.questions.iter().enumerate().map(turn).collect()
    }
}

/// One story and where it is, for messages.
struct Story<'a> {
    entry: Entry<'a>,
    body: &'a Value,
}

impl Story<'_> {
    /// One example for each turn, whose positions count from `first`.
    fn turns(&self, first: usize) -> Result<Vec<Example>> {
        let source = self.entry.text(self.body, "", "source")?;
        let passage = self.entry.text(self.body, "", "story")?.into();
        let questions = self.column(&self.body["questions"], "questions", None)?;
        let answers = self.column(&self.body["answers"], "answers", Some(questions.len()))?;
        let others = self.additional(questions.len())?;
        let answers = std::iter::once(answers).chain(others).collect();
        let dialogue = Dialogue {
            source,
            passage,
            questions,
            answers,
        };
        Ok(dialogue.turns(first))
    }

    /// Further answers, a list for each who gave them.
    fn additional(&self, turns: usize) -> Result<Vec<Vec<String>>> {
        match &self.body["additional_answers"] {
            Value::Null => Ok(Vec::new()),
            Value::Object(sets) => sets
                .iter()
                .map(|(name, set)| {
                    self.column(set, &format!("additional_answers.{name}"), Some(turns))
                })
                .collect(),
            found => Err(self
                .entry
                .wrong("additional_answers", "an object of lists", found)),
        }
    }

    /// The texts of a list of turns, which count from 1 and are as many as `turns` says.
    fn column(&self, list: &Value, at: &str, turns: Option<usize>) -> Result<Vec<String>> {
        let items = self.entry.list(list, at)?;
        if turns.is_some_and(|n| n != items.len()) {
            return Err(self.entry.wrong(at, "one answer for each question", list));
        }
        let text = |(i, item): (usize, &Value)| {
            let at = format!("{at}[{i}]");
            if item["turn_id"].as_u64() != Some(i as u64 + 1) {
                let expected = "the turn's place in its list, from 1";
                return Err(self
                    .entry
                    .wrong(&format!("{at}.turn_id"), expected, &item["turn_id"]));
            }
            // the official files hold a few texts that are empty
            self.entry.text(item, &at, "input_text")
        };
        items.iter().enumerate().map(text).collect()
    }
}
