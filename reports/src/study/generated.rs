//! What the report runs on when it is given nothing: generated data, and a small backbone
//! pretrained once on generated prose.
//!
//! The backbone is cached under `$INDUCER_CACHE`, else `$XDG_CACHE_HOME/inducer`, else
//! `~/.cache/inducer`, in a directory named by the fingerprint of everything that decides it.

use crate::compute::{self, Precision};
use crate::files::{self, At, create_dir};
use crate::pretraining::{Kind, PretrainConfig, Stored, pretrain};
use crate::progress::{Progress, note};
use crate::run::lock::Lock;
use anyhow::Result;
use candle_core::Device;
use inducer_datasets::synthetic::{self, CoqaConfig, GlueConfig, SyntheticConfig};
use inducer_datasets::{Task, fingerprint};
use inducer_gpu::train::Event;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The prose's seed and size in bytes.
const PROSE: (u64, usize) = (1, 4_000_000);

/// The embedded backbone of a task: GPT-2 to generate, RoBERTa to classify.
pub fn backbone_config(task: Task) -> PretrainConfig {
    if !task.generates() {
        return PretrainConfig {
            kind: Kind::Roberta,
            batch_size: 16,
            length: 48,
            steps: 2500,
            learning_rate: 1e-3,
            ..backbone_config(Task::WebNlg)
        };
    }
    PretrainConfig {
        kind: Kind::Gpt2,
        vocabulary: 1536,
        layers: 3,
        hidden: 128,
        heads: 4,
        positions: 384,
        length: 192,
        batch_size: 8,
        steps: 3000,
        learning_rate: 2e-3,
        seed: 1,
        dtype: Precision::F32,
        save_dtype: Stored::F32,
    }
}

/// Words a passage of the long part: from the shortest to the longest.
const LONG_WORDS: (usize, usize) = (15, 110);

/// Writes the generated data of a task to `dir`, unless they are there already; their name.
///
/// # Errors
/// The directory cannot be written.
pub fn data(task: Task, dir: &Path) -> Result<String> {
    let triples = SyntheticConfig::default();
    let (coqa, glue) = (CoqaConfig::default(), GlueConfig::default());
    once(dir, |dir| match task {
        Task::WebNlg => synthetic::write(dir, triples),
        Task::Coqa => synthetic::write_coqa(dir, coqa),
        Task::Mnli => synthetic::write_mnli(dir, glue),
        Task::Sst2 => synthetic::write_sst2(dir, glue),
    })?;
    Ok(name(task))
}

/// What the generated data of a task are called.
pub fn name(task: Task) -> String {
    let seed = match task {
        Task::WebNlg => SyntheticConfig::default().seed,
        Task::Coqa => CoqaConfig::default().seed,
        Task::Mnli | Task::Sst2 => GlueConfig::default().seed,
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
        ..CoqaConfig::default()
    };
    once(dir, |dir| synthetic::write_coqa(dir, config))?;
    Ok(long_name())
}

/// What the generated conversations are called.
pub fn long_name() -> String {
    let (shortest, longest) = LONG_WORDS;
    format!(
        "generated conversations over passages of {shortest} to {longest} words, seed {}",
        CoqaConfig::default().seed
    )
}

/// Makes a directory whole or not at all; another process may be making the same one.
fn once(dir: &Path, write: impl FnOnce(&Path) -> inducer_datasets::Result<()>) -> Result<()> {
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

/// The directory of the embedded backbone for a task; made when it is not cached.
///
/// # Errors
/// The cache cannot be written.
pub fn backbone(task: Task, threads: usize) -> Result<PathBuf> {
    let config = backbone_config(task);
    let text = synthetic::pretraining_text(PROSE.0, PROSE.1);
    let of_text = fingerprint::of_bytes(text.as_bytes());
    let settings = serde_json::to_string(&config)?;
    let all = format!("{}{of_text}{settings}", env!("CARGO_PKG_VERSION"));
    let key = fingerprint::of_bytes(all.as_bytes());
    let dir = files::cache().join(format!("backbone-{}", &key[..16]));
    if dir.exists() {
        return Ok(dir);
    }
    let partial = dir.with_extension("partial");
    // one process pretrains, the others wait for it
    let begun = dir.with_extension("begun");
    let _lock = Lock::wait(&begun, |busy| {
        note(format_args!(
            "waiting: {} pretrains the embedded backbone",
            busy.holder
        ));
        std::thread::sleep(Duration::from_secs(2));
    })?;
    if dir.exists() {
        return Ok(dir);
    }
    create_dir(&partial)?;
    note(format_args!(
        "Pretraining the embedded backbone, once: {} steps, kept in {}",
        config.steps,
        dir.display()
    ));
    let progress = Progress::new(config.steps as u64, "steps", "pretraining");
    let mut follow = |event: &Event| progress.follow(event);
    let pool = compute::pool(threads)?;
    pool.install(|| pretrain(&text, &config, &partial, &Device::Cpu, &mut follow))?;
    std::fs::rename(&partial, &dir).at(&dir)?;
    Ok(dir)
}
