//! Options that several commands share, each with the value that it stands for.

use crate::compute::{self, Device, Precision};
use crate::inference::Limits;
use crate::pictures::Places;
use crate::progress::say;
use crate::run::{Hyperparameters, Knobs, Rates, Steps, meteor_files};
use crate::study::preset::Preset;
use anyhow::{Result, ensure};
use clap::Args;
use clap::builder::{
    NonEmptyStringValueParser, PathBufValueParser, PossibleValue, PossibleValuesParser,
    StringValueParser, TypedValueParser,
};
use inducer_datasets::metrics::meteor::Files;
use inducer_datasets::{Surface, Task};
use inducer_gpu::hub;
use inducer_gpu::kernels::bf16;
use inducer_gpu::ranges::{self, Range};
use inducer_gpu::train::Schedule;
use rayon::ThreadPool;
use serde::de::DeserializeOwned;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// A value by its name in files; each name with what it means.
pub fn named<T: DeserializeOwned + Clone + Send + Sync + 'static>(
    names: &'static [(&'static str, &'static str)],
) -> impl TypedValueParser<Value = T> {
    let value = |(name, help): &(&'static str, &'static str)| PossibleValue::new(name).help(help);
    PossibleValuesParser::new(names.iter().map(value))
        .try_map(|name| serde_json::from_value(name.into()))
}

/// Where a page's pictures go.
#[derive(Args, Clone, Debug)]
pub struct Pictures {
    /// Write the page's pictures, as they stand when it opens, into this directory as SVG (those of
    /// an interactive page need Chromium)
    #[arg(long, value_name = "DIR")]
    pub svg: Option<PathBuf>,
    /// The same as PNG, at twice the size (needs Chromium)
    #[arg(long, value_name = "DIR")]
    pub png: Option<PathBuf>,
}

impl Pictures {
    /// The directories.
    pub fn places(&self) -> Places<'_> {
        Places {
            svg: self.svg.as_deref(),
            png: self.png.as_deref(),
        }
    }
}

/// The tasks.
pub fn task() -> impl TypedValueParser<Value = Task> {
    named(&[
        ("webnlg", "Text from triples (WebNLG)"),
        ("coqa", "Conversational question answering (CoQA)"),
        ("mnli", "Entailment of pairs (MNLI)"),
        ("sst2", "Sentiment of sentences (SST-2)"),
        (
            "generate",
            "Texts from texts, your data: columns input, target or targets",
        ),
        (
            "classify",
            "Classes of texts or pairs, your data: columns text, text_pair, label",
        ),
    ])
}

/// How the pieces of an input are written.
pub fn surface() -> impl TypedValueParser<Value = Surface> {
    named(&[
        ("raw", "As in the file: the authors' way"),
        (
            "plain",
            "As in running text: spaces for underscores, camel case split",
        ),
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
            "Brain float: mixed precision, what is trained stays single; faster on a card and on \
             processors with AVX512-BF16",
        ),
    ])
}

/// A whole number of a range.
pub fn whole(range: Range) -> impl TypedValueParser<Value = usize> {
    StringValueParser::new().try_map(move |text| {
        let found = text
            .parse()
            .ok()
            .filter(|n: &usize| range.contains(*n as f64));
        found.ok_or_else(|| range.refusal(format!("`{text}`")))
    })
}

/// A number of a range.
pub fn real(range: Range) -> impl TypedValueParser<Value = f64> {
    StringValueParser::new().try_map(move |text| in_range(&text, range))
}

fn in_range(text: &str, range: Range) -> Result<f64, String> {
    let found = text.parse().ok().filter(|x| range.contains(*x));
    found.ok_or_else(|| range.refusal(format!("`{text}`")))
}

/// A learning rate of all methods, or `method=rate` of one.
fn rate() -> impl TypedValueParser<Value = (Option<String>, f64)> {
    StringValueParser::new().try_map(|text| {
        let (name, number) = match text.split_once('=') {
            Some((name, number)) => (Some(name.to_string()), number),
            None => (None, text.as_str()),
        };
        in_range(number, ranges::LEARNING_RATE).map(|x| (name, x))
    })
}

/// Whole numbers: one, or a span as in `1-3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span(RangeInclusive<u64>);

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |part: &str| part.trim().parse::<u64>().ok();
        let span = match text.split_once('-') {
            Some((from, to)) => one(from).zip(one(to)),
            None => one(text).map(|n| (n, n)),
        };
        match span {
            Some((from, to)) if from <= to && to - from < 10_000 => Ok(Self(from..=to)),
            _ => Err(format!(
                "expected whole numbers as in 1,2,3 or 1-3 or 1 2 3, found `{text}`"
            )),
        }
    }
}

/// The numbers of some spans, in order.
pub fn numbers(spans: &[Span]) -> Vec<u64> {
    spans.iter().flat_map(|span| span.0.clone()).collect()
}

/// `--preset`.
pub fn preset() -> impl TypedValueParser<Value = Preset> {
    named(&[
        (
            "quick",
            "One seed, fewer steps, fewer test entries, no ledger",
        ),
        ("default", "Minutes on generated data"),
        (
            "paper",
            "The paper's own epochs, dropout and validations (needs --data and --backbone)",
        ),
    ])
}

/// A directory, or the name of a model in the hub's cache.
pub fn model_directory() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|given| {
        let cache = hub::cache();
        let found = match given.to_str() {
            Some(name) => hub::directory(name, &cache),
            None => given.clone(),
        };
        match found.exists() {
            true => Ok(found),
            false => Err(format!(
                "there is no such directory, and no such model in the hub's cache {}; nothing is \
                 downloaded here: `hf download {}` puts a model there",
                cache.display(),
                given.display()
            )),
        }
    })
}

/// An adapter's directory.
pub fn adapter_directory() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|given| {
        let holds = |dir: &Path| dir.join("adapter_config.json").exists();
        let best = given.join("best");
        match !holds(&given) && holds(&best) {
            true => Err(format!(
                "this is a run's directory; its best adapter is {}",
                best.display()
            )),
            false => Ok(given),
        }
    })
}

/// Refuses a directory to write that something is in already.
///
/// # Errors
/// Unless `overwrite`, a directory that is not empty.
pub fn fresh(out: &Path, overwrite: bool) -> Result<()> {
    let used = std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    ensure!(
        overwrite || !used,
        "--out {}: the directory is not empty; give another one, or --overwrite",
        out.display()
    );
    Ok(())
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
    #[arg(long, value_name = ranges::THREADS.text, value_parser = whole(ranges::THREADS))]
    pub threads: Option<usize>,
}

impl Compute {
    /// How many threads.
    pub fn threads(&self) -> usize {
        compute::threads(self.threads)
    }

    /// The device, to train in this type; says so where another type is faster.
    ///
    /// # Errors
    /// CUDA was asked for and is not there.
    pub fn open_for(&self, dtype: Precision) -> Result<candle_core::Device> {
        if let Some(warning) = dtype.slower_than_single(self.device, bf16::is_native()) {
            say(warning);
        }
        self.device.open()
    }

    /// A pool of the threads.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn pool(&self) -> Result<ThreadPool> {
        compute::pool(self.threads())
    }
}

/// Hyperparameters; what is not given follows the paper's section on training.
#[derive(Args, Clone, Debug)]
pub struct Hyper {
    /// Optimiser steps [default: 300; for a report 160 on generated data (400 for MNLI), 300 on
    /// yours, fewer with --quick]
    #[arg(long, conflicts_with = "epochs", alias = "max-steps", value_name = ranges::STEPS.text,
        value_parser = whole(ranges::STEPS))]
    steps: Option<usize>,
    /// Passes over the training data, in place of --steps
    #[arg(long, alias = "num-train-epochs", value_name = ranges::EPOCHS.text,
        value_parser = whole(ranges::EPOCHS))]
    epochs: Option<usize>,
    /// Rows a step [default: 8; for a report on generated data 16]
    #[arg(long, alias = "per-device-train-batch-size", value_name = ranges::BATCH.text,
        value_parser = whole(ranges::BATCH))]
    batch_size: Option<usize>,
    /// Learning rate, of all methods or of some as in lora=3e-3,full=3e-4 [default: the paper's,
    /// 1.25e-3 on a small backbone; a run says which it took]
    #[arg(long, visible_alias = "lr", value_delimiter = ',',
        value_name = ranges::LEARNING_RATE.text, value_parser = rate())]
    learning_rate: Vec<(Option<String>, f64)>,
    /// Warm-up steps [default: a sixth of the steps, at most 500; for classification 6 %]
    #[arg(long, visible_alias = "warmup-steps", value_name = ranges::WARMUP.text,
        value_parser = whole(ranges::WARMUP))]
    warmup: Option<usize>,
    /// Warm-up as a share of the steps
    #[arg(long, conflicts_with = "warmup", value_name = ranges::SHARE.text,
        value_parser = real(ranges::SHARE))]
    warmup_ratio: Option<f64>,
    /// The learning rate after the warm-up
    #[arg(
        long,
        default_value = "linear",
        alias = "lr-scheduler-type",
        value_parser = PossibleValuesParser::new([
            PossibleValue::new("linear").help("In a line to 0"),
            PossibleValue::new("polynomial").help("By --power to --end"),
            PossibleValue::new("constant").help("No change"),
            PossibleValue::new("cosine").help("Half a cosine to 0"),
        ])
    )]
    schedule: String,
    /// Power of the polynomial schedule
    #[arg(long, default_value_t = 1.0, value_name = ranges::POSITIVE.text,
        value_parser = real(ranges::POSITIVE))]
    power: f64,
    /// Where the polynomial schedule ends, as a share of the learning rate
    #[arg(long, default_value_t = 0.0, value_name = ranges::SHARE.text,
        value_parser = real(ranges::SHARE))]
    end: f64,
    /// Optimiser: AdamW's decay is apart from the gradient, Adam's is in it
    #[arg(long, default_value = "adamw", value_parser = PossibleValuesParser::new([
        PossibleValue::new("adamw").help("Decoupled decay"),
        PossibleValue::new("adam").help("Decay in the gradient"),
    ]))]
    optimiser: String,
    /// Weight decay of matrices [default: 0 for generation, 0.1 for classification]
    #[arg(long, value_name = ranges::WEIGHT_DECAY.text,
        value_parser = real(ranges::WEIGHT_DECAY))]
    weight_decay: Option<f64>,
    /// Stop after so many validations without a new best [default: 5 for generation, never for
    /// classification]
    #[arg(long, value_name = ranges::PATIENCE.text, value_parser = whole(ranges::PATIENCE))]
    patience: Option<usize>,
    /// Dropout rate [default: the backbone's own, 0.1 where it has none]
    #[arg(long, value_name = ranges::DROPOUT.text, value_parser = real(ranges::DROPOUT))]
    dropout: Option<f64>,
    /// Label smoothing [default: 0.1 for generation, 0 for classification]
    #[arg(long, alias = "label-smoothing-factor", value_name = ranges::SMOOTHING.text,
        value_parser = real(ranges::SMOOTHING))]
    label_smoothing: Option<f64>,
    /// Batches whose gradients make one step
    #[arg(long, default_value_t = 1, alias = "gradient-accumulation-steps",
        value_name = ranges::BATCH.text, value_parser = whole(ranges::BATCH))]
    accumulation: usize,
    /// Clip after every one of them, as the authors' code does, and not once a step
    #[arg(long)]
    clip_micro_batches: bool,
    /// Let them weigh alike, as the authors' code does, and not as many labels as each has
    #[arg(long)]
    equal_micro_batches: bool,
    /// Steps between two checkpoints
    #[arg(long, default_value_t = 50, alias = "save-steps", value_name = ranges::EVERY.text,
        value_parser = whole(ranges::EVERY))]
    checkpoint_every: usize,
    /// Scalar type of the computation; bf16 is mixed precision
    #[arg(long, default_value = "f32", value_parser = precision())]
    dtype: Precision,
    /// Write a line after every so many steps; of a card, which is asked for its losses every ten
    /// steps, when it has answered [default: by the clock, every 20 s, where standard
    /// error is no terminal]
    #[arg(long, alias = "logging-steps", value_name = ranges::EVERY.text,
        value_parser = whole(ranges::EVERY))]
    pub log_every: Option<usize>,
}

/// Sizes of a method in place of its own.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sizes of the method, where it has them")]
pub struct MethodSizes {
    /// LoRA's rank
    #[arg(long, value_name = ranges::SIZE.text, value_parser = whole(ranges::SIZE))]
    rank: Option<usize>,
    /// LoRA's α
    #[arg(long, value_name = ranges::ALPHA.text, value_parser = real(ranges::ALPHA))]
    alpha: Option<f64>,
    /// Targets of LoRA (q, k, v) or (IA)³ (k, v, ffn)
    #[arg(long, value_delimiter = ',', num_args = 1.., value_name = "NAME",
        value_parser = NonEmptyStringValueParser::new())]
    targets: Vec<String>,
    /// Length of a prefix
    #[arg(long, value_name = ranges::SIZE.text, value_parser = whole(ranges::SIZE))]
    prefix_length: Option<usize>,
    /// Bottleneck of an adapter, and of both networks of an inducer
    #[arg(long, value_name = ranges::SIZE.text, value_parser = whole(ranges::SIZE))]
    bottleneck: Option<usize>,
}

impl MethodSizes {
    /// What is asked for.
    pub fn knobs(&self) -> Knobs {
        Knobs {
            rank: self.rank,
            alpha: self.alpha,
            targets: self.targets.clone(),
            prefix_length: self.prefix_length,
            bottleneck: self.bottleneck,
        }
    }
}

impl Hyper {
    fn rates(&self) -> Rates {
        let mut rates = Rates::default();
        for (name, rate) in self.learning_rate.clone() {
            match name {
                Some(name) => _ = rates.of.insert(name, rate),
                None => rates.all = Some(rate),
            }
        }
        rates
    }

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
            learning_rate: self.rates(),
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
            equal_micro_batches: self.equal_micro_batches,
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
    #[arg(long, value_name = ranges::NEW_TOKENS.text, value_parser = whole(ranges::NEW_TOKENS))]
    pub max_new_tokens: Option<usize>,
    /// Score only so many test entries, at even distances [default: all; for a report on long
    /// inputs 240]
    #[arg(long, value_name = ranges::COUNT.text, value_parser = whole(ranges::COUNT))]
    pub test_limit: Option<usize>,
}

impl Decode {
    /// What is asked for.
    pub fn limits(&self) -> Limits {
        Limits {
            new_tokens: self.max_new_tokens,
            entries: self.test_limit,
        }
    }
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
