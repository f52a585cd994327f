//! Which files of a directory are which part.
//!
//! ```text
//! 2017       train.json            or   train/1triples/Airport.xml, …
//! 2.1        webnlg_release_v2.1_train.json
//! 3.0        en/train/1triples/Airport.xml, …; en/test/ has four files, two tasks with and without
//!            references: rdf-to-text-generation-test-data-with-refs-en.xml is the test part
//! 2023       ga_train.xml, ga_dev.xml, ga_test.xml
//! ```

use std::path::{Path, PathBuf};

use crate::files::entries;
use crate::{Error, Result};

/// The files of a part.
pub(super) struct Found {
    /// One JSON file, or XML files in the order of their paths.
    pub found: Vec<PathBuf>,
    /// What was not taken, where a directory has more.
    pub note: Option<String>,
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|e| e == ending)
}

fn name(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase()
}

fn words(path: &Path) -> Vec<String> {
    let name = name(path);
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|w| !w.is_empty()).map(String::from).collect()
}

/// All XML files below a directory.
fn below(dir: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![dir.to_path_buf()]);
    while let Some(dir) = open.pop() {
        for path in entries(&dir)? {
            if path.is_dir() {
                open.push(path);
            } else if has_ending(&path, "xml") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The files of a part of a directory.
pub(super) fn find(dir: &Path, part: &str, language: &str) -> Result<Found> {
    let plain = |found: Vec<PathBuf>| Ok(Found { found, note: None });
    for ending in ["json", "xml"] {
        let exact = dir.join(format!("{part}.{ending}"));
        if exact.is_file() {
            return plain(vec![exact]);
        }
    }
    let folder = dir.join(part);
    if folder.is_dir() {
        return Ok(generation(below(&folder)?, language));
    }
    let of_part = |path: &PathBuf| {
        let data = has_ending(path, "json") || has_ending(path, "xml");
        data && path.is_file() && words(path).iter().any(|w| w == part)
    };
    let mut near: Vec<PathBuf> = entries(dir)?.into_iter().filter(of_part).collect();
    if near.len() > 1 {
        near = generation(near, language).found;
    }
    let of_language = |path: &&PathBuf| words(path).iter().any(|w| w == language);
    let own: Vec<PathBuf> = near.iter().filter(of_language).cloned().collect();
    if near.len() > 1 && !own.is_empty() {
        near = own;
    }
    match &near[..] {
        [_] => plain(near),
        [] => Err(Error::Invalid(format!(
            "{}: {part}.json is missing (or {part}.xml, a directory {part}, or a file with {part} \
             in its name)",
            dir.display()
        ))),
        [one, two, ..] => Err(Error::Invalid(format!(
            "{}: which file is {part}: {} or {}? Rename one.",
            dir.display(),
            one.display(),
            two.display()
        ))),
    }
}

/// Of the files of a part, those of generation with references, where files of several tasks lie
/// there; the others are named in a note.
fn generation(files: Vec<PathBuf>, language: &str) -> Found {
    let of_task = |path: &PathBuf| {
        let name = name(path);
        name.contains("rdf-to-text") || name.contains("semantic-parsing")
    };
    if !files.iter().any(of_task) {
        return Found {
            found: files,
            note: None,
        };
    }
    let wanted = |path: &PathBuf| {
        let (name, words) = (name(path), words(path));
        let other = words
            .last()
            .filter(|w| w.len() == 2)
            .is_some_and(|w| w != language);
        name.contains("rdf-to-text") && !name.contains("without-refs") && !other
    };
    let (found, others): (Vec<_>, Vec<_>) = files.into_iter().partition(wanted);
    let named = |path: &PathBuf| path.file_name().map(|n| n.to_string_lossy().into_owned());
    let others: Vec<String> = others.iter().filter_map(named).collect();
    let taken: Vec<String> = found.iter().filter_map(named).collect();
    let note = (!others.is_empty()).then(|| {
        format!(
            "taken: {}; not taken: {}",
            taken.join(", "),
            others.join(", ")
        )
    });
    Found { found, note }
}
