//! Options that several commands share, each with the value that it stands for.

use crate::compute::{self, Device, Precision};
use crate::run::{Hyperparameters, Prepared, Source, Steps, meteor_files};
use anyhow::{Context, Result};
use clap::Args;
use clap::builder::{OsStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use inducer_datasets::metrics::meteor::Files;
use inducer_datasets::{Malformed, Surface, Task, directory};
use inducer_gpu::train::Schedule;
use inducer_gpu::{AdapterConfig, hub};
use rayon::ThreadPool;
use serde::de::DeserializeOwned;
use std::path::PathBuf;

/// A value by its name in files; each name with what it means.
pub fn named<T: DeserializeOwned + Clone + Send + Sync + 'static>(
    names: &'static [(&'static str, &'static str)],
) -> impl TypedValueParser<Value = T> {
    let value = |(name, help): &(&'static str, &'static str)| PossibleValue::new(name).help(help);
    PossibleValuesParser::new(names.iter().map(value))
        .try_map(|name| serde_json::from_value(name.into()))
}

/// The tasks.
pub fn task() -> impl TypedValueParser<Value = Task> {
    named(&[
        ("webnlg", "Text from triples (WebNLG)"),
        ("coqa", "Conversational question answering (CoQA)"),
        ("mnli", "Entailment of pairs (MNLI)"),
        ("sst2", "Sentiment of sentences (SST-2)"),
    ])
}

/// The scalar types.
pub fn precision() -> impl TypedValueParser<Value = Precision> {
    named(&[
        ("f32", "Single"),
        ("f64", "Double"),
        ("tf32", "Single, with products in TF32 on a card"),
        (
            "bf16",
            "Brain float: mixed precision, what is trained stays single (slow on a CPU)",
        ),
    ])
}

/// A whole number from `least` on.
pub fn at_least(least: i64) -> impl TypedValueParser<Value = usize> {
    clap::value_parser!(u32).range(least..).map(|n| n as usize)
}

/// A directory, or the name of a model in the hub's cache.
pub fn model_directory() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(|given| match given.to_str() {
        Some(name) => hub::directory(name, &hub::cache()),
        None => given.into(),
    })
}

/// A number from 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(x) if (0.0..=1.0).contains(&x) => Ok(x),
        _ => Err(format!("expected a number from 0 to 1, found `{text}`")),
    }
}

/// A number above 0.
fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(x) if x > 0.0 && f64::is_finite(x) => Ok(x),
        _ => Err(format!("expected a number above 0, found `{text}`")),
    }
}

/// Options of every command that computes.
#[derive(Args, Clone, Debug)]
pub struct Compute {
    /// Device
    #[arg(long, default_value = "cpu", value_parser = named::<Device>(&[
        ("cpu", "The processor"),
        ("cuda", "The first CUDA device (needs the feature `cuda`)"),
    ]))]
    pub device: Device,
    /// Threads [default: all cores]
    #[arg(long)]
    pub threads: Option<usize>,
}

impl Compute {
    /// How many threads.
    pub fn threads(&self) -> usize {
        compute::threads(self.threads)
    }

    /// A pool of the threads.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn pool(&self) -> Result<ThreadPool> {
        compute::pool(self.threads())
    }
}

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
    #[arg(long, default_value = "raw", value_parser = named::<Surface>(&[
        ("raw", "As in the file: the authors' way"),
        ("plain", "As in running text: spaces for underscores, camel case split"),
    ]))]
    pub surface: Surface,
    /// Leave out malformed entries and list them, instead of stopping at the first
    #[arg(long)]
    pub skip_malformed: bool,
}

impl Inputs {
    /// Loads the data and encodes them for the backbone and an adapter; says on standard error how
    /// their parts came about and what was left out.
    ///
    /// # Errors
    /// Files that are missing, broken or do not fit; with `--skip-malformed`, files that cannot be
    /// read on.
    pub fn prepare(&self, adapter: &AdapterConfig) -> Result<Prepared> {
        let malformed = match self.skip_malformed {
            true => Malformed::Skip,
            false => Malformed::Refuse,
        };
        let splits = directory::load(self.task, &self.data, malformed)
            .with_context(|| format!("--data {}", self.data.display()))?;
        splits.notes.iter().for_each(|n| eprintln!("note: {n}"));
        if !splits.malformed.is_empty() {
            eprintln!("{} malformed entries left out:", splits.malformed.len());
            splits.malformed.iter().for_each(|m| eprintln!("  {m}"));
        }
        let source = Source {
            task: self.task,
            data: self.data.clone(),
            backbone: self.backbone.clone(),
            surface: self.surface,
        };
        Prepared::new(source, splits, std::slice::from_ref(adapter))
    }
}

/// Hyperparameters; what is not given follows the paper's section on training.
#[derive(Args, Clone, Debug)]
pub struct Hyper {
    /// Optimiser steps
    #[arg(long, conflicts_with = "epochs")]
    steps: Option<usize>,
    /// Passes over the training data
    #[arg(long)]
    epochs: Option<usize>,
    /// Rows a step
    #[arg(long)]
    batch_size: Option<usize>,
    /// Learning rate
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Warm-up steps [default: 500, at most a sixth of the steps]
    #[arg(long, visible_alias = "warmup-steps")]
    warmup: Option<usize>,
    /// Warm-up as a share of the steps, 0 to 1
    #[arg(long, conflicts_with = "warmup", value_parser = share)]
    warmup_ratio: Option<f64>,
    /// The learning rate after the warm-up
    #[arg(long, default_value = "linear", value_parser = PossibleValuesParser::new([
        PossibleValue::new("linear").help("In a line to 0"),
        PossibleValue::new("polynomial").help("By --power to --end"),
        PossibleValue::new("constant").help("No change"),
        PossibleValue::new("cosine").help("Half a cosine to 0"),
    ]))]
    schedule: String,
    /// Power of the polynomial schedule
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    power: f64,
    /// Where the polynomial schedule ends, as a share of the learning rate
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    end: f64,
    /// Optimiser: AdamW's decay is apart from the gradient, Adam's is in it
    #[arg(long, default_value = "adamw", value_parser = PossibleValuesParser::new([
        PossibleValue::new("adamw").help("Decoupled decay"),
        PossibleValue::new("adam").help("Decay in the gradient"),
    ]))]
    optimiser: String,
    /// Weight decay of matrices [default: 0 for generation, 0.1 for classification]
    #[arg(long)]
    weight_decay: Option<f64>,
    /// Stop after so many validations without a new best [default: 5 for generation, never for
    /// classification]
    #[arg(long)]
    patience: Option<usize>,
    /// Dropout rate [default: 0.1]
    #[arg(long)]
    dropout: Option<f64>,
    /// Label smoothing [default: 0.1]
    #[arg(long)]
    label_smoothing: Option<f64>,
    /// Batches whose gradients make one step
    #[arg(long, default_value_t = 1)]
    accumulation: usize,
    /// Clip after every one of them, as the authors' code does, and not once a step
    #[arg(long)]
    clip_micro_batches: bool,
    /// Steps between two checkpoints
    #[arg(long, default_value_t = 50)]
    checkpoint_every: usize,
    /// Scalar type of the computation; bf16 is mixed precision, for CUDA
    #[arg(long, default_value = "f32", value_parser = precision())]
    dtype: Precision,
}

impl Hyper {
    /// What is asked for.
    pub fn with(&self, decode: &Decode, compute: &Compute) -> Hyperparameters {
        let schedule = match self.schedule.as_str() {
            "constant" => Schedule::Constant,
            "cosine" => Schedule::Cosine,
            "polynomial" => Schedule::Polynomial {
                power: self.power,
                end: self.end,
            },
            _ => Schedule::Linear,
        };
        let epochs = self.epochs.map(Steps::Epochs);
        let ratio = self.warmup_ratio.map(Steps::Share);
        Hyperparameters {
            steps: self.steps.map(Steps::Count).or(epochs),
            batch_size: self.batch_size,
            learning_rate: self.learning_rate,
            warmup: self.warmup.map(Steps::Count).or(ratio),
            validate_every: None,
            schedule,
            coupled: self.optimiser == "adam",
            weight_decay: self.weight_decay,
            patience: self.patience,
            dropout: self.dropout,
            label_smoothing: self.label_smoothing,
            accumulation: self.accumulation,
            clip_micro_batches: self.clip_micro_batches,
            checkpoint_every: self.checkpoint_every,
            max_new_tokens: decode.max_new_tokens,
            test_limit: decode.test_limit,
            device: compute.device,
            dtype: self.dtype,
        }
    }
}

/// Limits of decoding and scoring.
#[derive(Args, Clone, Debug)]
pub struct Decode {
    /// Most new tokens [default: 40, or more where the validation texts are longer under this
    /// tokenizer]
    #[arg(long)]
    pub max_new_tokens: Option<usize>,
    /// Score only the first N test entries
    #[arg(long)]
    pub test_limit: Option<usize>,
}

/// METEOR's resources, which are not part of this program.
#[derive(Args, Clone, Debug, Default)]
pub struct MeteorFiles {
    /// meteor-1.5.jar: synonyms, function words, abbreviations [default: $METEOR_JAR, else none]
    #[arg(long)]
    meteor_jar: Option<PathBuf>,
    /// METEOR's table paraphrase-en.gz [default: $METEOR_PARAPHRASES, else none]
    #[arg(long)]
    paraphrases: Option<PathBuf>,
}

impl MeteorFiles {
    /// The files.
    pub fn files(&self) -> Files {
        meteor_files(self.meteor_jar.as_deref(), self.paraphrases.as_deref())
    }
}
