//! Which file of a directory holds which part, and what is done where the official release lacks
//! one.
//!
//! | task | train | dev (to choose on) | test (to report on) |
//! |---|---|---|---|
//! | WebNLG | `train.json` or XML | `dev.json` or XML | `test.json` or XML |
//! | CoQA | `coqa-train-v1.0.json` | every 20th story of train | `coqa-dev-v1.0.json` |
//! | MNLI | `train.tsv` | `dev_matched.tsv` | `dev_mismatched.tsv` |
//! | SST-2 | `train.tsv` | every 20th row of train | `dev.tsv` |
//!
//! The labels of the official CoQA, MNLI and SST-2 test parts were never published, so the
//! literature reports on what is called "dev" there; choosing on the same rows would flatter every
//! method. A labelled `test.tsv` or `coqa-test.json` takes the place of the test part, and `dev` is
//! then `dev`. With one CoQA file only, its stories are divided 8 : 1 : 1. Whatever was divided
//! stands in [`Splits::notes`].
//!
//! A name need not be exact: without `train.tsv` the only file that begins with `train` and ends in
//! `.tsv` is taken.
//!
//! Where there are no official files, the same parts are taken from the Hub's tables
//! ([`crate::table::parts`]): `train`, `validation`, `test`, of MNLI `validation_matched` and
//! `validation_mismatched`. They may lie in a folder that is called as the Hub's configuration is
//! (`mnli`, `sst2`, a language of WebNLG's), or in the only folder that has such. Data of one's own
//! are [`crate::own`]'s.

use std::path::{Path, PathBuf};

use crate::table::parts;
use crate::{
    Error, Example, Input, Malformed, Part, Reading, Result, Splits, Task, coqa, glue, own, webnlg,
};

/// One of so many stories or rows of the training part is held out to choose on.
pub const HELD_OUT: usize = 20;

/// Loads a task's directory.
///
/// # Errors
/// A file is missing, or two could be meant; otherwise as the task's loader.
pub fn load(task: Task, dir: &Path, malformed: Malformed) -> Result<Splits> {
    load_as(task, dir, malformed, &Reading::default())
}

/// The same, read in another way than the usual one.
///
/// # Errors
/// As [`load`]; what is asked for is not for this task.
pub fn load_as(task: Task, dir: &Path, malformed: Malformed, reading: &Reading) -> Result<Splits> {
    reading.check(task)?;
    let language = &reading.language;
    let files = Files::of(task, dir, malformed, language)?;
    let mut data = match task {
        Task::WebNlg => match &files.tables {
            Some(tables) => webnlg::load_tables(tables, malformed, language),
            None => webnlg::load_in(dir, malformed, language),
        },
        Task::Coqa => load_coqa(&files),
        Task::Mnli => load_mnli(&files),
        Task::Sst2 => load_sst2(&files),
        Task::Generate | Task::Classify => own::load(task, dir, malformed, reading),
    }?;
    if !task.is_own() {
        data.classes = task.classes().iter().map(ToString::to_string).collect();
    }
    for (name, part) in [
        ("train", &data.train),
        ("dev", &data.dev),
        ("test", &data.test),
    ] {
        if part.is_empty() && !data.malformed.is_empty() {
            return Err(Error::Invalid(format!(
                "{}: part {name} is empty after {} malformed entries were left out, the first: {}",
                dir.display(),
                data.malformed.len(),
                data.malformed[0]
            )));
        }
        if let Some(e) = part.iter().find(|e| e.class.is_none() && !task.generates()) {
            return Err(Error::Invalid(format!(
                "{}: part {name}, row {}: expected a label, found none (a column {})",
                dir.display(),
                e.position,
                if task == Task::Mnli {
                    "`gold_label` or `label`"
                } else {
                    "`label`"
                }
            )));
        }
    }
    data.notes.extend(not_official(task, &data));
    Ok(data)
}

/// What differs from the official release in size: WebNLG's entries, CoQA's turns, GLUE's rows,
/// those left out included.
fn not_official(task: Task, data: &Splits) -> Option<String> {
    let left_out = &data.skipped;
    let [train, dev, test] = [
        data.train.len() + left_out.train.len(),
        data.dev.len() + left_out.dev.len(),
        data.test.len() + left_out.test.len(),
    ];
    // where dev is held out of train, the two together are the official file
    let sizes = match task {
        Task::WebNlg => vec![
            ("train", train, 6_940),
            ("dev", dev, 872),
            ("test", test, 1_862),
        ],
        Task::Coqa => vec![("train", train + dev, 108_647), ("test", test, 7_983)],
        Task::Mnli => vec![
            ("train", train, 392_702),
            ("dev", dev, 9_815),
            ("test", test, 9_832),
        ],
        Task::Sst2 => vec![("train", train + dev, 67_349), ("test", test, 872)],
        Task::Generate | Task::Classify => Vec::new(),
    };
    let wrong = sizes
        .iter()
        .filter(|(_, found, official)| found != official);
    let wrong: Vec<String> = wrong
        .map(|(part, found, official)| {
            format!("{part} has {found} examples, officially {official}")
        })
        .collect();
    (!wrong.is_empty()).then(|| format!("not the official release: {}", wrong.join(", ")))
}

/// The file of a part: `{stem}.{ending}`, else the only file that begins and ends so.
fn find(dir: &Path, stem: &str, ending: &str) -> Result<Option<PathBuf>> {
    let exact = dir.join(format!("{stem}.{ending}"));
    if exact.is_file() {
        return Ok(Some(exact));
    }
    let mut near = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| Error::io(dir, e))? {
        let path = entry.map_err(|e| Error::io(dir, e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(stem) && name.ends_with(&format!(".{ending}")) && path.is_file() {
            near.push(path);
        }
    }
    near.sort();
    match &near[..] {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        [one, two, ..] => Err(Error::Invalid(format!(
            "{}: which file is {stem}.{ending}: {} or {}? Rename one.",
            dir.display(),
            name_of(one),
            name_of(two)
        ))),
    }
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The files of a directory, official ones or the Hub's tables.
struct Files<'a> {
    task: Task,
    dir: &'a Path,
    malformed: Malformed,
    /// The folder of the tables, where there are no official files.
    tables: Option<PathBuf>,
}

/// A part and its file's name.
type Named = (Part, String);

impl<'a> Files<'a> {
    fn of(task: Task, dir: &'a Path, malformed: Malformed, language: &str) -> Result<Self> {
        let (official, folders) = match task {
            Task::WebNlg => (webnlg::has_part(dir, "train", language), vec![language]),
            Task::Coqa => (find(dir, "coqa-dev", "json")?.is_some(), vec![]),
            Task::Mnli | Task::Sst2 => (find(dir, "train", "tsv")?.is_some(), vec![task.name()]),
            Task::Generate | Task::Classify => (true, vec![]),
        };
        let tables = match !official && dir.is_dir() {
            true => parts::folder(dir, &folders)?,
            false => None,
        };
        Ok(Self {
            task,
            dir,
            malformed,
            tables,
        })
    }

    /// A part by the stem of its official file.
    fn part(&self, stem: &str) -> Result<Option<Named>> {
        let Some(folder) = &self.tables else {
            let ending = if self.task == Task::Coqa {
                "json"
            } else {
                "tsv"
            };
            let path = find(self.dir, stem, ending)?;
            let load = |path: PathBuf| {
                let part = match self.task {
                    Task::Coqa => coqa::load_file(&path, self.malformed),
                    task => glue::load_file(task, &path, self.malformed),
                };
                part.map(|part| (part, name_of(&path)))
            };
            return path.map(load).transpose();
        };
        let files = parts::find(folder, stem.strip_prefix("coqa-").unwrap_or(stem))?;
        let Some(first) = files.first() else {
            return Ok(None);
        };
        let part = match self.task {
            Task::Coqa => coqa::load_tables(&files, self.malformed),
            task => glue::load_tables(task, &files, self.malformed),
        };
        Ok(Some((part?, name_of(first))))
    }

    fn needed(&self, stem: &str) -> Result<Named> {
        let missing = || {
            let expected = match (&self.tables, self.task) {
                (Some(_), _) => parts::expected(stem.strip_prefix("coqa-").unwrap_or(stem)),
                (None, Task::Coqa) => format!("{stem}.json"),
                (None, _) => format!("{stem}.tsv"),
            };
            Error::Invalid(format!("{}: {expected} is missing", self.dir.display()))
        };
        self.part(stem)?.ok_or_else(missing)
    }
}

fn load_coqa(files: &Files<'_>) -> Result<Splits> {
    let (train, test) = (files.part("coqa-train")?, files.part("coqa-test")?);
    let (dev, dev_name) = files.needed("coqa-dev")?;
    match (train, test) {
        (Some((train, _)), Some((test, _))) => Ok(Splits::of_parts([train, dev, test], vec![])),
        (Some((train, name)), None) => Ok(hold_out(train, &name, dev, &dev_name, stories, "story")),
        (None, Some((test, _))) => {
            let [train, held, _] = divide(dev, stories, |i| usize::from(i % HELD_OUT == 0));
            let note = format!("dev is every {HELD_OUT}th story of {dev_name}, train the others");
            Ok(Splits::of_parts([train, held, test], vec![note]))
        }
        (None, None) => {
            let parts = divide(dev, stories, |i| match i % 10 {
                0 => 2,
                5 => 1,
                _ => 0,
            });
            let note = format!(
                "{dev_name} is the only file: of every ten of its stories the first is test, the \
                 sixth dev, the others train"
            );
            Ok(Splits::of_parts(parts, vec![note]))
        }
    }
}

fn load_mnli(files: &Files<'_>) -> Result<Splits> {
    let part = |stem: &str| -> Result<Part> { Ok(files.needed(stem)?.0) };
    let parts = [
        part("train")?,
        part("dev_matched")?,
        part("dev_mismatched")?,
    ];
    let note = "dev is MNLI's matched development part, test the mismatched one";
    Ok(Splits::of_parts(parts, vec![note.to_owned()]))
}

fn load_sst2(files: &Files<'_>) -> Result<Splits> {
    let ((train, train_name), (dev, dev_name)) = (files.needed("train")?, files.needed("dev")?);
    let test = files.part("test")?.map(|(test, _)| test);
    Ok(match test.filter(labelled) {
        Some(test) => Splits::of_parts([train, dev, test], vec![]),
        None => hold_out(train, &train_name, dev, &dev_name, rows, "row"),
    })
}

fn labelled(part: &Part) -> bool {
    !part.examples.is_empty() && part.examples.iter().all(|e| e.class.is_some())
}

/// Where each unit of a part ends that must stay together.
type Ends = fn(&[Example]) -> Vec<usize>;

fn rows(examples: &[Example]) -> Vec<usize> {
    (1..=examples.len()).collect()
}

/// A story begins with a question that has no history.
fn stories(examples: &[Example]) -> Vec<usize> {
    let first = |e: &Example| match &e.input {
        Input::Conversation { history, .. } => history.is_empty(),
        _ => false,
    };
    let starts = (1..examples.len()).filter(|&i| first(&examples[i]));
    starts.chain([examples.len()]).collect()
}

fn hold_out(
    train: Part,
    train_name: &str,
    test: Part,
    test_name: &str,
    ends: Ends,
    unit: &str,
) -> Splits {
    let [train, dev, _] = divide(train, ends, |i| usize::from(i % HELD_OUT == 0));
    let note = format!(
        "test is {test_name}, on which the literature reports; dev is every {HELD_OUT}th {unit} of \
         {train_name}, which is not trained on"
    );
    Splits::of_parts([train, dev, test], vec![note])
}

/// Deals the units of a part out to three, by their number from 0. Messages stay with the first.
fn divide(part: Part, ends: Ends, to: impl Fn(usize) -> usize) -> [Part; 3] {
    let ends = ends(&part.examples);
    let mut out: [Part; 3] = Default::default();
    out[0].malformed = part.malformed;
    out[0].without_text = part.without_text;
    let mut unit = 0;
    for (i, example) in part.examples.into_iter().enumerate() {
        unit += usize::from(ends.get(unit).is_some_and(|end| i >= *end));
        out[to(unit).min(2)].examples.push(example);
    }
    out
}
