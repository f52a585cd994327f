//! Data of one's own: tables with a text and what is to come of it, for [`Task::Generate`] and
//! [`Task::Classify`].
//!
//! | column | of | holds |
//! |---|---|---|
//! | `input` | generate | a text |
//! | `target` or `targets` | generate | the text to write, or a list of several that are right |
//! | `text`, `text_pair` | classify | a text; a second one, in every row or in none |
//! | `label` | classify | a class: a text or a whole number |
//! | `group` | both | a name; scores are given by group, and seen groups are those of train |
//! | `id` | both | a name that no other row of the part has |
//!
//! Other names are given by [`Reading::columns`]. The parts are files of a directory
//! ([`crate::table::parts`]), or one file is divided ([`Reading::split`]).
//!
//! The classes are the training part's labels, in the order of numbers where all are whole numbers
//! and of the alphabet otherwise; a Parquet file in which `datasets` keeps the names of its class
//! numbers has those, in its order. A label of another part that is none of them is an error.

mod classes;
mod rows;
mod split;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::table::{self, parts};
use crate::{Error, Malformed, Part, Reading, Result, Splits, Task};
use classes::Labelled;
use rows::{Answers, rows};

/// Loads the three parts of a directory, or of one file that is divided.
///
/// # Errors
/// A part or a column is missing; a row lacks something or has the wrong thing in it: the error
/// names file, line and column. A part that is empty.
pub fn load(task: Task, path: &Path, malformed: Malformed, reading: &Reading) -> Result<Splits> {
    let read = |files: &[PathBuf]| rows(task, files, malformed, reading, Answers::Needed);
    let path = &folder(path)?;
    let (parts, note) = match (path.is_dir(), reading.split) {
        (false, Some(how)) => split::divided(read(&[path.to_owned()])?, how, path)?,
        (true, Some(how)) => {
            let files = only_train(path)?;
            split::divided(read(&files)?, how, path)?
        }
        (true, None) => of_directory(path, &read)?,
        (false, None) => return Err(undivided(path)),
    };
    let names = classes::names(task, &parts[0], path)?;
    let parts = parts.map(|part| classes::resolved(part, &names, malformed));
    let [train, dev, test] = parts;
    let mut parts = [train?, dev?, test?];
    let groups = parts[0].examples.iter().map(|e| e.category.clone());
    let seen: BTreeSet<String> = groups.collect();
    for example in parts.iter_mut().flat_map(|part| &mut part.examples) {
        example.seen = seen.contains(&example.category);
    }
    let mut data = Splits::of_parts(parts, vec![note]);
    data.classes = names;
    Ok(data)
}

/// Loads what a model is to write or to classify: a file, or the test part of a directory and, for
/// the length of what is written, its dev part where it has one. Nothing needs a target or a label.
///
/// # Errors
/// As [`load`].
pub fn load_inputs(
    task: Task,
    path: &Path,
    malformed: Malformed,
    reading: &Reading,
) -> Result<Splits> {
    if reading.split.is_some() {
        return load(task, path, malformed, reading);
    }
    let path = &folder(path)?;
    let read = |files: &[PathBuf], answers| -> Result<Part> {
        let part = rows(task, files, malformed, reading, answers)?.part;
        Ok(part)
    };
    let (dev, test) = match path.is_dir() {
        false => (Part::default(), read(&[path.to_owned()], Answers::Unread)?),
        true => {
            let files = needed(path, "test")?;
            let dev = match (task.generates(), parts::find(path, "dev")?) {
                (true, files) if !files.is_empty() => read(&files, Answers::Needed)?,
                _ => Part::default(),
            };
            (dev, read(&files, Answers::Unread)?)
        }
    };
    if test.examples.is_empty() {
        return Err(Error::Invalid(format!(
            "{}: expected rows, found none",
            path.display()
        )));
    }
    Ok(Splits::of_parts([Part::default(), dev, test], Vec::new()))
}

/// The folder of the tables in a directory; a file as it is.
fn folder(path: &Path) -> Result<PathBuf> {
    std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
    let found = parts::folder(path, &[])?;
    Ok(found.unwrap_or_else(|| path.to_owned()))
}

fn needed(dir: &Path, part: &str) -> Result<Vec<PathBuf>> {
    let files = parts::find(dir, part)?;
    match files.is_empty() {
        true => Err(Error::Invalid(format!(
            "{}: expected {}, found no such file; --split 0.9,0.05,0.05 divides one file",
            dir.display(),
            parts::expected(part)
        ))),
        false => Ok(files),
    }
}

fn undivided(path: &Path) -> Error {
    let path = path.display();
    Error::Invalid(format!(
        "{path}: expected a directory with a table each for train, dev and test, found one file; \
         --split 0.9,0.05,0.05 divides it"
    ))
}

/// The training files of a directory that has no other part.
fn only_train(dir: &Path) -> Result<Vec<PathBuf>> {
    for part in ["dev", "test"] {
        if let Some(file) = parts::find(dir, part)?.first() {
            return Err(Error::Invalid(format!(
                "--split: {} is a part already; give one file, or leave --split out",
                file.display()
            )));
        }
    }
    needed(dir, "train")
}

fn of_directory(
    dir: &Path,
    read: &dyn Fn(&[PathBuf]) -> Result<Labelled>,
) -> Result<([Labelled; 3], String)> {
    let mut names = Vec::new();
    let mut part = |name: &str| -> Result<Labelled> {
        let files = needed(dir, name)?;
        let first = files[0].strip_prefix(dir).unwrap_or(&files[0]);
        names.push(match files.len() {
            1 => format!("{name} is {}", first.display()),
            n => format!("{name} is {} and {} more", first.display(), n - 1),
        });
        let found = read(&files)?;
        match found.part.examples.is_empty() && found.part.malformed.is_empty() {
            true => Err(Error::Invalid(format!(
                "{}: part {name}: expected rows, found none",
                files[0].display()
            ))),
            false => Ok(found),
        }
    };
    let parts = [part("train")?, part("dev")?, part("test")?];
    Ok((parts, names.join(", ")))
}

/// The texts of the column `output` of a file of tables, as `inducer generate` writes it.
///
/// # Errors
/// As [`load`].
pub fn outputs(path: &Path) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    table::read(path, &["output"], &mut |row| {
        texts.push(row?.text("output")?.to_owned());
        Ok(())
    })?;
    Ok(texts)
}

/// The references of a file of tables for `inducer score`: the targets or the label of each row.
///
/// # Errors
/// As [`load`].
pub fn answers(task: Task, path: &Path, reading: &Reading) -> Result<Vec<Vec<String>>> {
    let files = [path.to_owned()];
    let found = rows(task, &files, Malformed::Refuse, reading, Answers::Needed)?;
    Ok(match task.generates() {
        true => found
            .part
            .examples
            .into_iter()
            .map(|e| e.references)
            .collect(),
        false => found
            .labels
            .into_iter()
            .map(|l| l.into_iter().collect())
            .collect(),
    })
}
