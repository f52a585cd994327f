//! Task, data and backbone: what every command reads that puts a model to use.

use super::options::{model_directory, surface, task};
use crate::progress::{Progress, note, say};
use crate::run::{Prepared, Source};
use anyhow::{Context, Result, ensure};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use inducer_datasets::{Malformed, Splits, Surface, Task, directory};
use inducer_gpu::AdapterConfig;
use std::path::{Path, PathBuf};

/// Task, data and backbone.
#[derive(Args, Clone, Debug)]
pub struct Inputs {
    /// Task
    #[arg(long, default_value = "webnlg", value_parser = task())]
    pub task: Task,
    /// Directory with the task's official files
    #[arg(long)]
    pub data: PathBuf,
    /// Hugging Face directory, or the name of a model in the hub's cache (HF_HUB_CACHE, HF_HOME)
    #[arg(long, value_parser = model_directory(), value_name = "DIR or NAME")]
    pub backbone: PathBuf,
    /// How the pieces of an input are written
    #[arg(long, default_value = "raw", value_parser = surface())]
    pub surface: Surface,
    /// The language of the texts, of a WebNLG release with several (en, ru, ga, …)
    #[arg(long, default_value = "en", value_parser = NonEmptyStringValueParser::new())]
    pub language: String,
    /// Leave out malformed entries and list them, instead of stopping at the first
    #[arg(long)]
    pub skip_malformed: bool,
}

/// The data are where the data should be, and the model where the model should be; to be asked
/// before either is read.
///
/// # Errors
/// They are swapped.
pub fn check_places(data: &Path, backbone: &Path) -> Result<()> {
    let holds_model = |dir: &Path| dir.join("config.json").exists();
    ensure!(
        holds_model(backbone) || !holds_model(data),
        "--data {} holds a model and --backbone {} does not: are the two swapped?",
        data.display(),
        backbone.display()
    );
    Ok(())
}

impl Inputs {
    /// As [`check_places`].
    ///
    /// # Errors
    /// They are swapped.
    pub fn check_places(&self) -> Result<()> {
        check_places(&self.data, &self.backbone)
    }

    /// Loads the data and encodes them for the backbone and an adapter; says on standard error how
    /// their parts came about and what was left out.
    ///
    /// # Errors
    /// Files that are missing, broken or do not fit; with `--skip-malformed`, files that cannot be
    /// read on.
    pub fn prepare(&self, adapter: &AdapterConfig) -> Result<Prepared> {
        self.encoded(self.splits()?, adapter)
    }

    /// The data alone.
    ///
    /// # Errors
    /// As [`Inputs::prepare`].
    pub fn splits(&self) -> Result<Splits> {
        let malformed = match self.skip_malformed {
            true => Malformed::Skip,
            false => Malformed::Refuse,
        };
        let _progress = Progress::new(0, "", "reading the data");
        let splits = directory::load_in(self.task, &self.data, malformed, &self.language)
            .context("--data")?;
        splits
            .notes
            .iter()
            .for_each(|n| note(format_args!("note: {n}")));
        if !splits.malformed.is_empty() {
            let entries = match splits.malformed.len() {
                1 => "1 malformed entry".into(),
                n => format!("{n} malformed entries"),
            };
            say(format_args!("{entries} left out:"));
            splits
                .malformed
                .iter()
                .for_each(|m| say(format_args!("  {m}")));
        }
        Ok(splits)
    }

    /// Data encoded for the backbone and an adapter.
    ///
    /// # Errors
    /// As [`Inputs::prepare`].
    pub fn encoded(&self, splits: Splits, adapter: &AdapterConfig) -> Result<Prepared> {
        let source = Source {
            task: self.task,
            data: self.data.clone(),
            backbone: self.backbone.clone(),
            surface: self.surface,
        };
        Prepared::new(source, splits, std::slice::from_ref(adapter))
    }
}
