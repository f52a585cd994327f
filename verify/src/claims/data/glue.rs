//! MNLI and SST-2 as GLUE's tab-separated files have them.

use super::{given, parts_are, prose};
use crate::cases::Draw;
use crate::{Case, Result};
use inducer_datasets::{Example, Input, Malformed, Task, directory};
use std::fs;
use std::path::Path;

/// The classes in the order of their ids, which GLUE gives.
const MNLI: [&str; 3] = ["entailment", "neutral", "contradiction"];
const SST2: [&str; 2] = ["0", "1"];

/// One of so many rows of SST-2's training file is held out, the first among them.
const HELD_OUT: usize = 20;

/// A row: its texts, its genre, and its class, which MNLI's annotators may not have agreed on.
struct Row {
    texts: [String; 2],
    genre: &'static str,
    class: Option<usize>,
}

fn rows(draw: &mut Draw, task: Task, most: usize) -> Vec<Row> {
    let rows = draw.size(1, most);
    let row = |draw: &mut Draw| {
        // white space at the ends is part of a text, and a text may be empty
        let ends = draw.pick(&[["", ""], ["", " "], [" ", ""]]);
        let texts = [
            prose(draw, 0, 4),
            format!("{}{}{}", ends[0], prose(draw, 1, 3), ends[1]),
        ];
        let class = draw.size(0, if task == Task::Mnli { 2 } else { 1 });
        let agreed = task == Task::Sst2 || draw.chance(0.8);
        Row {
            texts,
            genre: draw.pick(&["fiction", "slate", "face to face"]),
            class: agreed.then_some(class),
        }
    };
    (0..rows).map(|_| row(draw)).collect()
}

/// Writes the rows in columns of a drawn order, of which some mean nothing.
fn write(draw: &mut Draw, task: Task, path: &Path, rows: &[Row]) -> Result<()> {
    let mut columns = match task {
        Task::Mnli => vec!["index", "sentence1", "sentence2", "genre", "gold_label"],
        _ => vec!["index", "sentence", "label"],
    };
    let last = columns.len() - 1;
    let [by, first, second] = draw.sizes([(0, last); 3]);
    columns.rotate_left(by);
    columns.swap(first, second);
    let end = draw.pick(&["\n", "\r\n"]);
    let mut text = draw.pick(&["", "\u{feff}"]).to_owned() + &columns.join("\t") + end;
    for (i, row) in rows.iter().enumerate() {
        let label = match (row.class, task) {
            (None, _) => "-",
            (Some(class), Task::Mnli) => MNLI[class],
            (Some(class), _) => SST2[class],
        };
        let cell = |column: &&str| match *column {
            "sentence1" => row.texts[0].clone(),
            "sentence2" | "sentence" => row.texts[1].clone(),
            "genre" => row.genre.to_owned(),
            "index" => i.to_string(),
            _ => label.to_owned(),
        };
        text += &columns.iter().map(cell).collect::<Vec<_>>().join("\t");
        text += end;
    }
    fs::write(path, text)?;
    Ok(())
}

/// The examples of the rows that have a class, in their order, known by their lines.
fn examples(task: Task, rows: &[Row], exchanged: bool) -> Vec<Example> {
    let example = |(i, row): (usize, &Row)| {
        let class = row.class?;
        let kinds = if task == Task::Mnli {
            MNLI.len()
        } else {
            SST2.len()
        };
        let [first, second] = row.texts.clone();
        let (category, input) = match task {
            Task::Mnli => (row.genre, Input::Pair(first, second)),
            _ => ("", Input::Sentence(second)),
        };
        Some(Example {
            position: i + 1,
            category: category.into(),
            seen: true,
            input,
            references: Vec::new(),
            class: Some(((class + usize::from(exchanged)) % kinds) as u32),
            id: None,
        })
    };
    rows.iter().enumerate().filter_map(example).collect()
}

/// Rows that were written are the examples that are read: texts to the letter, genres, classes by
/// their names, rows without an agreed class left out; dev is MNLI's matched part and test the
/// mismatched one, and of SST-2 dev is held out of train. In the control classes change places.
pub(super) fn glue(case: &mut Case) -> Result<()> {
    let dir = crate::scratch::folder()?;
    let task = *case.draw.in_turn(&[Task::Mnli, Task::Sst2]);
    let labelled_test = task == Task::Sst2 && case.draw.chance(0.3);
    let stems: &[&str] = match task {
        Task::Mnli => &["train", "dev_matched", "dev_mismatched"],
        _ if labelled_test => &["train", "dev", "test"],
        _ => &["train", "dev"],
    };
    let mut parts = Vec::new();
    for (i, stem) in stems.iter().enumerate() {
        let most = if i == 0 { 2 * HELD_OUT + 5 } else { 4 };
        let rows = rows(&mut case.draw, task, most);
        let path = dir.path().join(format!("{stem}.tsv"));
        write(&mut case.draw, task, &path, &rows)?;
        parts.push(examples(task, &rows, case.control));
    }
    let expected = match &parts[..] {
        [train, dev, test] => [train.clone(), dev.clone(), test.clone()],
        [train, test, ..] => {
            let (held, kept) = train
                .iter()
                .cloned()
                .partition(|e| e.position % HELD_OUT == 1);
            [kept, held, test.clone()]
        }
        _ => Default::default(),
    };
    let found = given(directory::load(task, dir.path(), Malformed::Refuse))?;
    let classes: &[&str] = if task == Task::Mnli { &MNLI } else { &SST2 };
    case.same(found.classes.iter().eq(classes), true, || {
        "names of classes".into()
    });
    parts_are(case, &found, expected);
    Ok(())
}
