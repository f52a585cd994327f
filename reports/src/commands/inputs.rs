//! Task, data and backbone: what every command reads that puts a model to use.

use super::options::{model_directory, surface, task};
use super::own::{OwnData, located};
use crate::inference;
use crate::progress::{Progress, note, say};
use crate::run::{Prepared, Source};
use anyhow::{Context, Result, ensure};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use inducer_datasets::{Malformed, Reading, Splits, Surface, Task, directory, own};
use inducer_gpu::{AdapterConfig, hub};
use std::path::{Path, PathBuf};

/// Task, data and backbone.
#[derive(Args, Clone, Debug)]
pub struct Inputs {
    /// Task
    #[arg(long, default_value = "webnlg", value_parser = task())]
    pub task: Task,
    /// Directory with the task's official files or the Hub's tables, or a name in the hub's cache;
    /// for generate and classify your own: train, dev and test as .jsonl, .csv or .parquet, or one
    /// file (--split; to generate, inputs alone)
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
    /// Data of one's own
    #[command(flatten)]
    pub own: OwnData,
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

/// Reads a task's data.
type Read = fn(Task, &Path, Malformed, &Reading) -> inducer_datasets::Result<Splits>;

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

    /// The same for a saved adapter, or the backbone alone: classes have the ids that it learnt.
    ///
    /// # Errors
    /// As [`Inputs::prepare`]; a class that the adapter does not know.
    pub fn prepare_for(&self, adapter: Option<&Path>) -> Result<Prepared> {
        let splits = self.known(self.splits()?, adapter)?;
        self.encoded(splits, &inference::parts(adapter, &self.backbone)?)
    }

    /// The same of what is to be written or classified alone, where the data are one's own: no
    /// targets, no labels.
    ///
    /// # Errors
    /// As [`Inputs::prepare_for`]; classes that nothing names.
    pub fn prepare_inputs(&self, adapter: Option<&Path>) -> Result<Prepared> {
        if !self.task.is_own() {
            return self.prepare_for(adapter);
        }
        let mut splits = self.known(self.read(own::load_inputs)?, adapter)?;
        if !self.task.generates() && splits.classes.is_empty() {
            splits.classes = inference::head_names(&self.backbone)?.with_context(|| {
                format!(
                    "the classes have no names: {} has no {}, and the backbone's config.json no \
                     `id2label`; give data with labels",
                    adapter.unwrap_or(&self.backbone).display(),
                    crate::run::CLASSES
                )
            })?;
        }
        self.encoded(splits, &inference::parts(adapter, &self.backbone)?)
    }

    /// Data whose classes have the ids that an adapter learnt.
    ///
    /// # Errors
    /// A class that it does not know.
    pub fn known(&self, splits: Splits, adapter: Option<&Path>) -> Result<Splits> {
        let names = match adapter.filter(|_| self.task.is_own()) {
            Some(dir) => inference::class_names(dir)?,
            None => None,
        };
        match names {
            Some(names) => splits.with_classes(&names).context("--data"),
            None => Ok(splits),
        }
    }

    /// The data alone.
    ///
    /// # Errors
    /// As [`Inputs::prepare`].
    pub fn splits(&self) -> Result<Splits> {
        self.read(directory::load_as)
    }

    /// How the data are read.
    fn reading(&self) -> Reading {
        Reading {
            language: self.language.clone(),
            ..self.own.reading()
        }
    }

    fn read(&self, load: Read) -> Result<Splits> {
        let malformed = match self.skip_malformed {
            true => Malformed::Skip,
            false => Malformed::Refuse,
        };
        let data = located(&self.data);
        ensure!(
            data.exists(),
            "--data {}: there is no such file or directory, and no tables of such a data set in \
             {} or {}",
            data.display(),
            hub::cache().display(),
            hub::datasets_cache().display()
        );
        let reading = self.reading();
        reading.check(self.task)?;
        let _progress = Progress::new(0, "", "reading the data");
        let splits = load(self.task, &data, malformed, &reading).context("--data")?;
        say_notes(&splits.notes);
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
            data: located(&self.data),
            backbone: self.backbone.clone(),
            surface: self.surface,
            reading: self.reading(),
        };
        let before = splits.notes.len();
        let prepared = Prepared::new(source, splits, std::slice::from_ref(adapter))?;
        say_notes(&prepared.splits.notes[before..]);
        Ok(prepared)
    }
}

fn say_notes(notes: &[String]) {
    notes.iter().for_each(|n| note(format_args!("note: {n}")));
}
