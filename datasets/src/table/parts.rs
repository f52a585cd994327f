//! Which tables of a directory are which part.
//!
//! ```text
//! train.jsonl                        .csv, .parquet
//! train-00000-of-00002.parquet, …    the Hub's shards, all of them
//! train/0000.parquet, …              the Hub's conversions, and `save_to_disk`
//! glue-train.arrow                   the cache of `datasets`
//! data/…                             the same one folder down
//! ```
//!
//! A development part may be called `dev`, `validation`, `valid` or `val`.

use std::path::{Path, PathBuf};

use super::is_table;
use crate::files::entries;
use crate::{Error, Result};

/// So many folders deep a table is looked for: the cache of `datasets` has
/// `<configuration>/<version>/<hash>`.
const DEPTH: usize = 3;

/// What a part may be called.
fn names(part: &str) -> Vec<String> {
    match part.strip_prefix("dev") {
        Some(rest) => {
            let names = ["dev", "validation", "valid", "val"];
            names.map(|d| format!("{d}{rest}")).into()
        }
        None => vec![part.to_owned()],
    }
}

/// What is looked for, in words: `dev.jsonl, .csv or .parquet`.
pub fn expected(part: &str) -> String {
    format!("{}.jsonl, .csv or .parquet", names(part).join(" or "))
}

fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// A stem without its end `-00001-of-00002`, and number and count of the shard.
fn without_shard(stem: &str) -> (&str, Option<(usize, usize)>) {
    let shard = || {
        let at = stem.rfind("-of-")?;
        let start = at.checked_sub(6)?;
        let (number, count) = (stem.get(start + 1..at)?, stem.get(at + 4..at + 9)?);
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        let plain = stem.get(start..=start) == Some("-") && digits(number) && digits(count);
        let both = number.parse().ok().zip(count.parse().ok());
        Some((stem.get(..start)?, both.filter(|_| plain)?))
    };
    shard().map_or((stem, None), |(base, shard)| (base, Some(shard)))
}

fn tables(dir: &Path) -> Result<Vec<PathBuf>> {
    let all = entries(dir)?.into_iter();
    Ok(all
        .filter(|path| path.is_file() && is_table(path))
        .collect())
}

/// The folder of a directory that holds tables of parts: the directory itself, one of `named` in
/// it, or the only other one; none where there is none.
///
/// # Errors
/// Two could be meant; the directory cannot be read.
pub fn folder(dir: &Path, named: &[&str]) -> Result<Option<PathBuf>> {
    within(dir, named, DEPTH)
}

fn within(dir: &Path, named: &[&str], depth: usize) -> Result<Option<PathBuf>> {
    if !dir.is_dir() {
        return Ok(None);
    }
    for part in ["train", "test"] {
        if !find(dir, part)?.is_empty() {
            return Ok(Some(dir.to_path_buf()));
        }
    }
    for name in named {
        let found = within(&dir.join(name), &[], depth.saturating_sub(1))?;
        if found.is_some() {
            return Ok(found);
        }
    }
    if depth == 0 {
        return Ok(None);
    }
    let mut found = Vec::new();
    for below in entries(dir)? {
        found.extend(within(&below, &[], depth - 1)?);
    }
    match &found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        [one, two, ..] => Err(Error::Invalid(format!(
            "{}: which folder is meant: {} or {}? Give its path.",
            dir.display(),
            one.display(),
            two.display()
        ))),
    }
}

/// The files of a part of a directory, in their order; none where there is no such part.
///
/// # Errors
/// Two could be meant; a shard is missing; the directory cannot be read.
pub fn find(dir: &Path, part: &str) -> Result<Vec<PathBuf>> {
    for dir in [dir.to_path_buf(), dir.join("data")] {
        if !dir.is_dir() {
            continue;
        }
        let found = in_folder(&dir, part)?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

fn in_folder(dir: &Path, part: &str) -> Result<Vec<PathBuf>> {
    let all = tables(dir)?;
    let mut groups: Vec<Vec<PathBuf>> = Vec::new();
    for name in names(part) {
        for ending in super::ENDINGS {
            // the cache of `datasets` has the data set's name in front
            let mine = |base: &str| {
                base == name || ending == "arrow" && base.ends_with(&format!("-{name}"))
            };
            let mut shards = Vec::new();
            for path in all
                .iter()
                .filter(|p| p.extension().is_some_and(|e| e == ending))
            {
                let stem = stem(path);
                match without_shard(&stem) {
                    (base, Some(shard)) if mine(base) => shards.push((shard, path.clone())),
                    (base, None) if mine(base) => groups.push(vec![path.clone()]),
                    _ => {}
                }
            }
            groups.extend(whole(dir, &name, shards)?);
        }
        let folder = dir.join(&name);
        if folder.is_dir() {
            groups.extend(all_of(&folder, &name)?);
        }
    }
    match &groups[..] {
        [] => Ok(Vec::new()),
        [one] => Ok(one.clone()),
        [one, two, ..] => Err(Error::Invalid(format!(
            "{}: which file is part {part}: {} or {}? Rename one.",
            dir.display(),
            one[0].display(),
            two[0].display()
        ))),
    }
}

/// All tables of a folder that is called as a part.
fn all_of(folder: &Path, name: &str) -> Result<Option<Vec<PathBuf>>> {
    let inside = tables(folder)?;
    let shard = |path: &PathBuf| Some((without_shard(&stem(path)).1?, path.clone()));
    let shards: Vec<((usize, usize), PathBuf)> = inside.iter().filter_map(shard).collect();
    match shards.is_empty() {
        true => Ok((!inside.is_empty()).then_some(inside)),
        false => whole(folder, name, shards),
    }
}

/// The shards in their order, once all of them are there.
fn whole(
    dir: &Path,
    name: &str,
    mut shards: Vec<((usize, usize), PathBuf)>,
) -> Result<Option<Vec<PathBuf>>> {
    let Some(((_, count), _)) = shards.first().cloned() else {
        return Ok(None);
    };
    shards.sort();
    let numbers: Vec<usize> = shards.iter().map(|((n, _), _)| *n).collect();
    let wrong = shards.iter().any(|((_, c), _)| *c != count);
    if wrong || numbers != (0..count).collect::<Vec<_>>() {
        return Err(Error::Invalid(format!(
            "{}: part {name}: expected the shards 0 to {} of {count}, found {numbers:?}",
            dir.display(),
            count.saturating_sub(1)
        )));
    }
    Ok(Some(shards.into_iter().map(|(_, path)| path).collect()))
}
