//! What the report runs on when it is given nothing: generated data, and small backbones pretrained
//! on generated prose, which the program carries within it.
//!
//! The backbone's files are written under `$INDUCER_CACHE`, else `$XDG_CACHE_HOME/inducer`, else
//! `~/.cache/inducer`, in a directory named by its folder and fingerprint.

use crate::files::{self, At};
use anyhow::{Result, bail, ensure};
use inducer_datasets::synthetic::{self, CoqaConfig, GlueConfig, SyntheticConfig};
use inducer_datasets::{Task, fingerprint};
use std::path::{Path, PathBuf};

/// A backbone that the program carries.
struct Embedded {
    /// The name of its folder.
    folder: &'static str,
    /// What it is called.
    name: &'static str,
    /// Its files: name and bytes.
    files: &'static [(&'static str, &'static [u8])],
}

macro_rules! embedded {
    ($folder:literal, $name:literal: $($file:literal),*) => {
        Embedded {
            folder: $folder,
            name: $name,
            files: &[$((
                $file,
                include_bytes!(concat!("../../backbones/", $folder, "/", $file)),
            )),*],
        }
    };
}

/// The embedded GPT-2; its README.md has the command that made it.
const GPT2: Embedded = embedded!("gpt2", "a small GPT-2 pretrained on generated prose":
    "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    "generation_config.json", "pretraining.json", "README.md");

/// The embedded GPT-2 that has also seen conversations about passages.
const CONVERSATIONS: Embedded = embedded!("conversations",
    "a small GPT-2 pretrained on generated prose and conversations":
    "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    "generation_config.json", "pretraining.json", "README.md");

/// The embedded RoBERTa.
const ROBERTA: Embedded = embedded!("roberta", "a small RoBERTa pretrained on generated prose":
    "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    "pretraining.json", "README.md");

/// The embedded backbone for a task: a GPT-2 to generate, another one, which has seen
/// conversations, to answer questions, a RoBERTa to classify.
fn embedded(task: Task) -> Embedded {
    match task {
        Task::WebNlg | Task::Generate => GPT2,
        Task::Coqa => CONVERSATIONS,
        Task::Mnli | Task::Sst2 | Task::Classify => ROBERTA,
    }
}

/// Words a passage of the long part: from the shortest to the longest.
pub const LONG_WORDS: (usize, usize) = (15, 110);

/// Conversations that the long part is tested on, each about its shortest passage and about the
/// same one made longest: what a question is like does not vary with the length.
const LONG_STORIES: usize = 200;

/// Writes the generated data of a task to `dir`, unless they are there already; their name.
///
/// # Errors
/// The directory cannot be written.
pub fn data(task: Task, dir: &Path) -> Result<String> {
    let triples = SyntheticConfig::default();
    let (coqa, glue) = (CoqaConfig::default(), GlueConfig::default());
    once(dir, |dir| {
        match task {
            Task::WebNlg => synthetic::write(dir, triples),
            Task::Coqa => synthetic::write_coqa(dir, coqa),
            Task::Mnli => synthetic::write_mnli(dir, glue),
            Task::Sst2 => synthetic::write_sst2(dir, glue),
            Task::Generate | Task::Classify => bail!("--task {task}: expected --data, your data"),
        }?;
        Ok(())
    })?;
    Ok(name(task))
}

/// What the generated data of a task are called.
pub fn name(task: Task) -> String {
    let seed = match task {
        Task::WebNlg => SyntheticConfig::default().seed,
        Task::Coqa => CoqaConfig::default().seed,
        _ => GlueConfig::default().seed,
    };
    match task {
        Task::WebNlg => format!("embedded generator, seed {seed}"),
        other => format!(
            "embedded generator in the layout of {}, seed {seed}",
            other.title()
        ),
    }
}

/// Writes generated conversations over passages of many lengths to `dir`, unless they are there
/// already; their name.
///
/// # Errors
/// The directory cannot be written.
pub fn long_data(dir: &Path) -> Result<String> {
    let (shortest, longest) = LONG_WORDS;
    let config = CoqaConfig {
        passage_words: shortest,
        longest_passage_words: Some(longest),
        dev: LONG_STORIES,
        lengths: 2,
        ..CoqaConfig::default()
    };
    once(dir, |dir| Ok(synthetic::write_coqa(dir, config)?))?;
    Ok(long_name())
}

/// What the generated conversations are called.
pub fn long_name() -> String {
    let (shortest, longest) = LONG_WORDS;
    format!(
        "generated conversations over passages of {shortest} to {longest} words, tested at both \
         ends, seed {}",
        CoqaConfig::default().seed
    )
}

/// What the embedded backbone for a task is called.
pub fn backbone_name(task: Task) -> &'static str {
    embedded(task).name
}

/// Makes a directory whole or not at all; another process may be making the same one.
fn once(dir: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if dir.exists() {
        return Ok(());
    }
    let partial = dir.with_extension(format!("partial-{}", std::process::id()));
    write(&partial)?;
    match std::fs::rename(&partial, dir) {
        Err(_) if dir.exists() => std::fs::remove_dir_all(&partial),
        done => done,
    }
    .at(dir)
}

/// The directory of the embedded backbone for a task; its files are written there when they are not
/// there yet.
///
/// # Errors
/// The cache cannot be written, or one of its files is no longer the embedded one.
pub fn backbone(task: Task) -> Result<PathBuf> {
    let Embedded { folder, files, .. } = embedded(task);
    let prints = files.iter().map(|(name, bytes)| {
        let print = fingerprint::of_bytes(bytes);
        format!("{name} {print}\n")
    });
    let key = fingerprint::of_bytes(prints.collect::<String>().as_bytes());
    let dir = files::cache().join(format!("embedded-{folder}-{}", &key[..16]));
    once(&dir, |dir| {
        std::fs::create_dir_all(dir).at(dir)?;
        for (name, bytes) in files {
            let path = dir.join(name);
            std::fs::write(&path, bytes).at(&path)?;
        }
        Ok(())
    })?;
    for (name, bytes) in files {
        let path = dir.join(name);
        ensure!(
            std::fs::read(&path).at(&path)? == *bytes,
            "{}: this is no longer the embedded backbone's file; remove the folder",
            path.display()
        );
    }
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn file(name: &str, backbone: &Embedded) -> &'static [u8] {
        let of = |file: &&(&str, &'static [u8])| file.0 == name;
        backbone.files.iter().find(of).unwrap().1
    }

    #[test]
    fn embedded_backbones_are_those_that_were_pretrained_and_small() {
        let all = [GPT2, CONVERSATIONS, ROBERTA];
        for backbone in &all {
            let made: Value = serde_json::from_slice(file("pretraining.json", backbone)).unwrap();
            let weights = fingerprint::of_bytes(file("model.safetensors", backbone));
            assert_eq!(made["weights"], weights.as_str());
            // every position was trained
            assert_eq!(made["config"]["length"], made["config"]["positions"]);
        }
        let files = all.iter().flat_map(|backbone| backbone.files);
        let bytes = files.map(|(_, bytes)| bytes.len());
        assert!(bytes.sum::<usize>() < 8_000_000);
    }
}
