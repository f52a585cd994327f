//! `inducer explain`: a trained adapter on one text, as a page and as numbers.

use super::inputs::Inputs;
use super::options::{
    Compute, Pictures, Span, adapter_directory, model_directory, numbers, surface, task, whole,
};
use super::own::OwnData;
use crate::explain::{Input, Request, explain, page};
use crate::{files, inference, pictures};
use anyhow::{Context, Result};
use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args};
use inducer_datasets::{Surface, Task};
use inducer_gpu::ranges;
use std::path::{Path, PathBuf};

/// `inducer explain`.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("row").required(true).args(["text", "data"]))]
pub struct ExplainArgs {
    /// Hugging Face directory, or the name of a model in the hub's cache (HF_HUB_CACHE, HF_HOME)
    /// [default: the one that the adapter names]
    #[arg(long, value_parser = model_directory(), value_name = "DIR or NAME")]
    pub backbone: Option<PathBuf>,
    /// Adapter directory
    #[arg(long, value_parser = adapter_directory(), value_name = "DIR")]
    pub adapter: PathBuf,
    /// A second adapter, beside the first on the same text
    #[arg(long, value_parser = adapter_directory(), value_name = "DIR")]
    pub compare: Option<PathBuf>,
    /// A text of your own
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub text: Option<String>,
    /// Directory with the task's files, or your own data (see `inducer train --help`), for an entry
    /// of the test part
    #[arg(long, requires = "entry", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Number of the entry
    #[arg(long, requires = "data", value_name = ranges::COUNT.text,
        value_parser = whole(ranges::COUNT))]
    pub entry: Option<usize>,
    /// Task: how an entry is written, and the names of classes
    #[arg(long, default_value = "webnlg", value_parser = task())]
    pub task: Task,
    /// How the pieces of an entry are written
    #[arg(long, default_value = "raw", value_parser = surface())]
    pub surface: Surface,
    /// The language of the texts, of a WebNLG release with several (en, ru, ga, …)
    #[arg(long, default_value = "en", value_parser = NonEmptyStringValueParser::new())]
    pub language: String,
    /// Data of one's own
    #[command(flatten)]
    pub own: OwnData,
    /// Page to write
    #[arg(long, default_value = "explain.html")]
    pub out: PathBuf,
    /// Write the page's numbers to this file as well
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Layers whose queries and keys are carried, from 1, as in 1,4-6 [default: all]
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    pub layers: Vec<Span>,
    /// Heads, likewise [default: all]
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    pub heads: Vec<Span>,
    /// Pictures
    #[command(flatten)]
    pub pictures: Pictures,
    /// Compute
    #[command(flatten)]
    pub compute: Compute,
}

impl ExplainArgs {
    fn request(&self, backbone: &Path) -> Result<Request> {
        let places = |spans: &[Span]| numbers(spans).into_iter().map(|n| n as usize).collect();
        let adapters = std::iter::once(&self.adapter).chain(&self.compare);
        Ok(Request {
            backbone: backbone.to_path_buf(),
            adapters: adapters.cloned().collect(),
            layers: places(&self.layers),
            heads: places(&self.heads),
            thin: false,
            device: self.compute.device.open()?,
        })
    }

    fn input(&self, backbone: &Path) -> Result<Input> {
        match (&self.text, &self.data, self.entry) {
            (Some(text), ..) => Input::text(backbone, &self.adapter, self.task, text),
            (None, Some(data), Some(entry)) => self.entry(backbone, data, entry),
            _ => anyhow::bail!("expected --text, or --data and --entry"),
        }
    }

    /// An entry of the test part; of the other parts nothing is encoded.
    fn entry(&self, backbone: &Path, data: &Path, entry: usize) -> Result<Input> {
        let inputs = Inputs {
            task: self.task,
            data: data.to_path_buf(),
            backbone: backbone.to_path_buf(),
            surface: self.surface,
            language: self.language.clone(),
            skip_malformed: false,
            own: self.own.clone(),
        };
        let config = inference::parts(Some(&self.adapter), backbone)?;
        let mut splits = inputs.known(inputs.splits()?, Some(&self.adapter))?;
        splits.train.clear();
        splits.dev.clear();
        Input::entry(&inputs.encoded(splits, &config)?, entry)
    }
}

/// Runs the command.
///
/// # Errors
/// Files that are missing or do not fit each other; a text that is empty or too long; an entry that
/// is not there; a file that cannot be written.
pub fn run(args: &ExplainArgs) -> Result<()> {
    let backbone = match &args.backbone {
        Some(given) => given.clone(),
        None => inference::named_backbone(&args.adapter)?,
    };
    let request = args.request(&backbone)?;
    let input = args.input(&backbone)?;
    let found = args.compute.pool()?.install(|| explain(&request, input))?;
    if let Some(path) = &args.json {
        files::write(path, &found.json()?)?;
    }
    let page = page::html(&found).context("the page")?;
    files::write_page(&args.out, &page)?;
    pictures::of_page(&page, args.pictures.places())
}
