//! The command line of `inducer`.

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use inducer_gpu::hub;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Inducer-tuning: train, generate, compare, report.
#[derive(Debug, Parser)]
#[command(
    name = "inducer",
    version,
    about,
    propagate_version = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the ablation study and write report.html, report.md and report.json
    #[command(
        after_help = "Example:\n  inducer report --out out\n  inducer report --data webnlg/ \
         --backbone gpt2/ --steps 300 --out out-webnlg"
    )]
    Report(ReportArgs),
    /// Train one method and score it
    #[command(
        after_help = "Example:\n  inducer train --task webnlg --data webnlg/ --backbone gpt2/ \
         --method inducer --out runs/inducer --steps 300"
    )]
    Train(TrainArgs),
    /// Score a trained run on the test split
    #[command(
        after_help = "Example:\n  inducer evaluate --task webnlg --data webnlg/ --backbone gpt2/ \
         --adapter runs/inducer/best --json"
    )]
    Evaluate(EvaluateArgs),
    /// Write the model's texts for the test split, one a line
    #[command(
        after_help = "Example:\n  inducer generate --task webnlg --data webnlg/ --backbone gpt2/ \
         --adapter runs/inducer/best --out outputs.txt"
    )]
    Generate(GenerateArgs),
    /// The metrics on files: one text a line, one file for each set of references
    #[command(
        after_help = "Example:\n  inducer score --metric bleu --hypotheses out.txt --references \
         ref0.txt ref1.txt ref2.txt --lowercase --json\n  inducer score --metric ter --hypotheses \
         a.txt --references ref.txt --compare b.txt"
    )]
    Score(ScoreArgs),
    /// Logits, loss and gradients of a batch, for comparison with other software
    #[command(
        after_help = "Example:\n  inducer forward --backbone gpt2/ --adapter adapter/ --batch \
         batch.json --out out.safetensors --dtype f64 --gradients"
    )]
    Forward(ForwardArgs),
    /// Check the claims ledger: every equation, on every engine, each with a control that must fail
    #[command(
        after_help = "Example:\n  inducer verify --cases 64\n  inducer verify --claim eq07 \
         --json\n  inducer verify --cases 256 --html claims.html"
    )]
    Verify(VerifyArgs),
    /// Time a training step or decoding on a backbone with random weights
    #[command(
        after_help = "Example:\n  inducer bench --preset gpt2 --method inducer --batch 4 --length \
         128 --steps 8 --threads 2 --json\n  inducer bench --decode --preset tiny --batch 8 \
         --length 32 --new-tokens 40"
    )]
    Bench(BenchArgs),
    /// Fold LoRA and tuned backbone tensors into a backbone that transformers loads
    #[command(
        after_help = "Example:\n  inducer merge --backbone gpt2/ --adapter run/best --out merged/"
    )]
    Merge(MergeArgs),
    /// Write an adapter in PEFT's layout (LoRA alone or a prefix alone), or PEFT's in this
    /// project's
    #[command(
        after_help = "Example:\n  inducer export --backbone gpt2/ --adapter run/best --out peft/\n  \
          inducer export --layout inducer --backbone gpt2/ --adapter peft/ --out adapter/"
    )]
    Export(ExportArgs),
    /// The parameter counts of the paper's tables, computed from the model definitions
    #[command(
        after_help = "Example:\n  inducer params\n  inducer params --backbone gpt2/ --adapter \
         adapter/adapter_config.json"
    )]
    Params(ParamsArgs),
    /// A small GPT-2 or RoBERTa and its tokenizer from plain text, as a Hugging Face directory
    #[command(
        after_help = "Example:\n  inducer pretrain --text wiki.txt --out backbone/ --vocabulary \
         4096 --layers 4 --hidden 192 --heads 3 --steps 2000\n  inducer pretrain --kind roberta \
         --text wiki.txt --out encoder/ --steps 2000"
    )]
    Pretrain(PretrainArgs),
    /// Write the interactive teaching page: kernel view, prefixes, inducers and ablations in one
    /// file
    #[command(after_help = "Example:\n  inducer teach --out teach.html")]
    Teach(TeachArgs),
}

/// The kind of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TaskName {
    /// Text from triples (WebNLG).
    Webnlg,
    /// Conversational question answering (CoQA).
    Coqa,
    /// Entailment of pairs (MNLI).
    Mnli,
    /// Sentiment of sentences (SST-2).
    Sst2,
}

impl From<TaskName> for inducer_datasets::Task {
    fn from(name: TaskName) -> Self {
        match name {
            TaskName::Webnlg => Self::WebNlg,
            TaskName::Coqa => Self::Coqa,
            TaskName::Mnli => Self::Mnli,
            TaskName::Sst2 => Self::Sst2,
        }
    }
}

/// How the pieces of an input are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SurfaceName {
    /// As in the file: the authors' way.
    Raw,
    /// As in running text: spaces for underscores, camel case split.
    Plain,
}

impl From<SurfaceName> for inducer_datasets::Surface {
    fn from(name: SurfaceName) -> Self {
        match name {
            SurfaceName::Raw => Self::Raw,
            SurfaceName::Plain => Self::Plain,
        }
    }
}

/// Where to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeviceName {
    /// The processor.
    Cpu,
    /// The first CUDA device (needs the feature `cuda`).
    Cuda,
}

/// Scalar type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single.
    #[default]
    F32,
    /// Double.
    F64,
    /// Brain float: mixed precision, what is trained stays single (slow on a CPU).
    Bf16,
}

/// Which implementation computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// The training engine.
    Gpu,
    /// The ndarray reference.
    Reference,
}

/// Options of every command that computes.
#[derive(Args, Clone, Debug)]
pub struct Compute {
    /// Device
    #[arg(long, value_enum, default_value = "cpu")]
    pub device: DeviceName,
    /// Threads [default: all cores]
    #[arg(long)]
    pub threads: Option<usize>,
}

/// Task, data and backbone.
#[derive(Args, Clone, Debug)]
pub struct Inputs {
    /// Task
    #[arg(long, value_enum, default_value = "webnlg")]
    pub task: TaskName,
    /// Directory with the task's official files
    #[arg(long)]
    pub data: PathBuf,
    /// Hugging Face directory, or the name of a model in the hub's cache (HF_HUB_CACHE, HF_HOME)
    #[arg(long, value_parser = model_directory(), value_name = "DIR or NAME")]
    pub backbone: PathBuf,
    /// How the pieces of an input are written
    #[arg(long, value_enum, default_value = "raw")]
    pub surface: SurfaceName,
    /// Leave out malformed entries and list them, instead of stopping at the first
    #[arg(long)]
    pub skip_malformed: bool,
}

/// Hyperparameters; what is not given follows the paper's section on training.
#[derive(Args, Clone, Debug)]
pub struct Hyper {
    /// Optimiser steps
    #[arg(long, conflicts_with = "epochs")]
    pub steps: Option<usize>,
    /// Passes over the training data
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Rows a step
    #[arg(long)]
    pub batch_size: Option<usize>,
    /// Learning rate
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// Warm-up steps [default: 500, at most a sixth of the steps]
    #[arg(long, visible_alias = "warmup-steps")]
    pub warmup: Option<usize>,
    /// Warm-up as a share of the steps, 0 to 1
    #[arg(long, conflicts_with = "warmup", value_parser = share)]
    pub warmup_ratio: Option<f64>,
    /// The learning rate after the warm-up
    #[arg(long, value_enum, default_value = "linear")]
    pub schedule: ScheduleName,
    /// Power of the polynomial schedule
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    pub power: f64,
    /// Where the polynomial schedule ends, as a share of the learning rate
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub end: f64,
    /// Optimiser: AdamW's decay is apart from the gradient, Adam's is in it
    #[arg(long, value_enum, default_value = "adamw")]
    pub optimiser: OptimiserName,
    /// Weight decay of matrices [default: 0 for generation, 0.1 for classification]
    #[arg(long)]
    pub weight_decay: Option<f64>,
    /// Stop after so many validations without a new best [default: 5 for generation, never for
    /// classification]
    #[arg(long)]
    pub patience: Option<usize>,
    /// Dropout rate [default: 0.1]
    #[arg(long)]
    pub dropout: Option<f64>,
    /// Label smoothing [default: 0.1]
    #[arg(long)]
    pub label_smoothing: Option<f64>,
    /// Batches whose gradients make one step
    #[arg(long, default_value_t = 1)]
    pub accumulation: usize,
    /// Clip after every one of them, as the authors' code does, and not once a step
    #[arg(long)]
    pub clip_micro_batches: bool,
    /// Steps between two checkpoints
    #[arg(long, default_value_t = 50)]
    pub checkpoint_every: usize,
    /// Scalar type of the computation; bf16 is mixed precision, for CUDA
    #[arg(long, value_enum, default_value = "f32")]
    pub dtype: Precision,
}

/// How the learning rate goes after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScheduleName {
    /// In a line to 0
    Linear,
    /// By --power to --end
    Polynomial,
    /// No change
    Constant,
    /// Half a cosine to 0
    Cosine,
}

/// An optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OptimiserName {
    /// Decoupled decay
    Adamw,
    /// Decay in the gradient
    Adam,
}

/// A number from 0 to 1.
/// A directory, or the name of a model in the hub's cache.
fn model_directory() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(|given| match given.to_str() {
        Some(name) => hub::directory(name, &hub::cache()),
        None => given.into(),
    })
}

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

/// `inducer report`.
#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    /// Task
    #[arg(long, value_enum, default_value = "webnlg")]
    pub task: TaskName,
    /// Directory with the task's official files [default: data from the embedded generator]
    #[arg(long, requires = "backbone")]
    pub data: Option<PathBuf>,
    /// Hugging Face directory, or name in the hub's cache, of a GPT-2, for MNLI and SST-2 of a
    /// RoBERTa [default: a small one, pretrained once on embedded text and cached]
    #[arg(long, value_parser = model_directory(), value_name = "DIR or NAME")]
    pub backbone: Option<PathBuf>,
    /// CoQA's files, to measure prefix against inducer by length of the input [default with
    /// embedded data: generated conversations]
    #[arg(long, value_name = "DIR", conflicts_with = "no_long")]
    pub long_data: Option<PathBuf>,
    /// Leave out the part on long inputs
    #[arg(long)]
    pub no_long: bool,
    /// Where the report and its runs go
    #[arg(long, default_value = "out")]
    pub out: PathBuf,
    /// Seeds
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 3])]
    pub seeds: Vec<u64>,
    /// Methods, in the order of the report
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "none,full,bitfit,adapter,lora,prefix,mam-adapter,adaptive,extension,gating,inducer,inducer-lora,mam-inducer"
    )]
    pub methods: Vec<String>,
    /// A small budget: one seed, fewer steps, fewer test entries, no ledger
    #[arg(long)]
    pub quick: bool,
    /// Random cases of each claim of the ledger that the report shows; 0 leaves it out [default: 4,
    /// with --quick 0]
    #[arg(long, value_name = "N")]
    pub ledger_cases: Option<usize>,
    /// List the study's runs by number and stop
    #[arg(long)]
    pub plan: bool,
    /// Make only these runs of the list, and no report
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', conflicts_with_all = ["plan", "shard"])]
    pub only: Vec<usize>,
    /// Make only the I-th of N parts of the list (from 1), and no report
    #[arg(long, value_name = "I/N", conflicts_with = "plan")]
    pub shard: Option<Shard>,
    /// Make no run: report what is there, and what is missing
    #[arg(long, conflicts_with_all = ["plan", "only", "shard"])]
    pub merge: bool,
    /// Compare two reports: writes compare.html, compare.md and compare.json into --out, and
    /// nothing else
    #[arg(long, num_args = 2, value_names = ["A.json", "B.json"], conflicts_with_all = ["plan", "only", "shard", "merge", "data"])]
    pub compare: Option<Vec<PathBuf>>,
    /// Runs at a time, each with threads / jobs threads [default: as many as threads]
    #[arg(long)]
    pub jobs: Option<usize>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Hyperparameters
    #[command(flatten)]
    pub hyper: Hyper,
    /// Decoding
    #[command(flatten)]
    pub decode: Decode,
    /// Compute
    #[command(flatten)]
    pub compute: Compute,
}

/// A part of a list: every run whose number leaves `part − 1` when divided by `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 1.
    pub part: usize,
    /// Parts.
    pub of: usize,
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text
            .split_once('/')
            .and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        match parsed {
            Some((part, of)) if (1..=of).contains(&part) => Ok(Self { part, of }),
            _ => Err(format!(
                "expected I/N with 1 ≤ I ≤ N, as in 2/8; found `{text}`"
            )),
        }
    }
}

/// `inducer train`.
#[derive(Args, Clone, Debug)]
pub struct TrainArgs {
    /// Inputs
    #[command(flatten)]
    pub inputs: Inputs,
    /// Method by name, or an adapter_config.json
    #[arg(long)]
    pub method: String,
    /// The run's directory; a run that was stopped there goes on
    #[arg(long)]
    pub out: PathBuf,
    /// Seed
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Hyperparameters
    #[command(flatten)]
    pub hyper: Hyper,
    /// Decoding
    #[command(flatten)]
    pub decode: Decode,
    /// Compute
    #[command(flatten)]
    pub compute: Compute,
}

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MetricName {
    /// BLEU as multi-bleu.perl computes it.
    Bleu,
    /// TER as tercom 0.7.25 computes it.
    Ter,
    /// METEOR 1.5 for English, normalised.
    Meteor,
    /// CoQA's exact match and F1.
    Coqa,
    /// Share of equal lines.
    Accuracy,
}

/// METEOR's resources, which are not part of this program.
#[derive(Args, Clone, Debug, Default)]
pub struct MeteorFiles {
    /// meteor-1.5.jar: synonyms, function words, abbreviations [default: $METEOR_JAR, else none]
    #[arg(long)]
    pub meteor_jar: Option<PathBuf>,
    /// METEOR's table paraphrase-en.gz [default: $METEOR_PARAPHRASES, else none]
    #[arg(long)]
    pub paraphrases: Option<PathBuf>,
}

/// `inducer score`.
#[derive(Args, Clone, Debug)]
pub struct ScoreArgs {
    /// Metric
    #[arg(long, value_enum)]
    pub metric: MetricName,
    /// The texts to score, one a line
    #[arg(long)]
    pub hypotheses: PathBuf,
    /// References, a file for each set; a blank line is a missing one
    #[arg(long, num_args = 1.., required = true)]
    pub references: Vec<PathBuf>,
    /// Compare in lower case (TER, METEOR and CoQA always do)
    #[arg(long)]
    pub lowercase: bool,
    /// Prepare all texts as the WebNLG challenge of 2017 did: split at punctuation, lower-case,
    /// transliterate
    #[arg(long)]
    pub prepare: bool,
    /// BLEU after 13a's tokenization and TER by the search of sacrebleu
    #[arg(long)]
    pub sacrebleu: bool,
    /// CoQA: the domain of each question, one a line
    #[arg(long)]
    pub domains: Option<PathBuf>,
    /// Another system's texts: tests whether the difference is more than chance
    #[arg(long)]
    pub compare: Option<PathBuf>,
    /// Draws of the tests
    #[arg(long, default_value_t = 1000)]
    pub draws: usize,
    /// Seed of the tests
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print the score and its components as JSON
    #[arg(long)]
    pub json: bool,
    /// METEOR's resources
    #[command(flatten)]
    pub meteor: MeteorFiles,
}

/// `inducer evaluate`.
#[derive(Args, Clone, Debug)]
pub struct EvaluateArgs {
    /// Inputs
    #[command(flatten)]
    pub inputs: Inputs,
    /// Adapter directory
    #[arg(long)]
    pub adapter: PathBuf,
    /// Print the scores as JSON
    #[arg(long)]
    pub json: bool,
    /// METEOR's resources
    #[command(flatten)]
    pub meteor: MeteorFiles,
    /// Decoding
    #[command(flatten)]
    pub decode: Decode,
    /// Compute
    #[command(flatten)]
    pub compute: Compute,
}

/// `inducer generate`.
#[derive(Args, Clone, Debug)]
pub struct GenerateArgs {
    /// Inputs
    #[command(flatten)]
    pub inputs: Inputs,
    /// Adapter directory
    #[arg(long)]
    pub adapter: PathBuf,
    /// File to write [default: standard output]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Decoding
    #[command(flatten)]
    pub decode: Decode,
    /// Compute
    #[command(flatten)]
    pub compute: Compute,
}

/// `inducer forward`.
#[derive(Args, Clone, Debug)]
pub struct ForwardArgs {
    /// Hugging Face directory, or the name of a model in the hub's cache (HF_HUB_CACHE, HF_HOME)
    #[arg(long, value_parser = model_directory(), value_name = "DIR or NAME")]
    pub backbone: PathBuf,
    /// Adapter directory
    #[arg(long)]
    pub adapter: Option<PathBuf>,
    /// JSON file with input_ids, and optionally labels, attention_mask, segment_ids
    #[arg(long)]
    pub batch: PathBuf,
    /// safetensors file to write
    #[arg(long)]
    pub out: PathBuf,
    /// Scalar type
    #[arg(long, value_enum, default_value = "f32")]
    pub dtype: Precision,
    /// Gradients of every adapter tensor as well
    #[arg(long)]
    pub gradients: bool,
    /// Implementation
    #[arg(long, value_enum, default_value = "gpu")]
    pub engine: Engine,
    /// Compute
    #[command(flatten)]
    pub compute: Compute,
}

/// `inducer verify`.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    /// Random cases a claim
    #[arg(long, default_value_t = 64)]
    pub cases: usize,
    /// Seed
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Only the claims whose id contains this
    #[arg(long)]
    pub claim: Option<String>,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
    /// Write a page with every claim, its bounds and its control
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Compute
    #[command(flatten)]
    pub compute: Compute,
}

/// `inducer bench`.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Size of the backbone
    #[arg(long, value_enum, default_value = "gpt2")]
    pub preset: crate::bench::Preset,
    /// Method by name, with the paper's sizes
    #[arg(long, default_value = "inducer")]
    pub method: String,
    /// Rows
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..).map(|n| n as usize))]
    pub batch: usize,
    /// Length of the longest row (with --decode: of every prompt)
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(4..).map(|n| n as usize))]
    pub length: usize,
    /// Timed steps (with --decode: repeats)
    #[arg(long, default_value_t = 8)]
    pub steps: usize,
    /// Steps before the clock starts
    #[arg(long, default_value_t = 2)]
    pub warmup: usize,
    /// Seed of ids and initial values
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Scalar type
    #[arg(long, value_enum, default_value = "f32")]
    pub dtype: Precision,
    /// Time greedy decoding instead
    #[arg(long)]
    pub decode: bool,
    /// New tokens a row
    #[arg(long, default_value_t = 40, requires = "decode")]
    pub new_tokens: usize,
    /// Hugging Face directory to decode with, instead of random weights
    #[arg(long, requires = "decode", value_parser = model_directory(), value_name = "DIR or NAME")]
    pub backbone: Option<PathBuf>,
    /// Write the prompts to this file as JSON, for another program
    #[arg(long, requires = "decode")]
    pub prompts_out: Option<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
    /// Compute
    #[command(flatten)]
    pub compute: Compute,
}

/// `inducer merge`.
#[derive(Args, Clone, Debug)]
pub struct MergeArgs {
    /// Hugging Face directory, or the name of a model in the hub's cache (HF_HUB_CACHE, HF_HOME)
    #[arg(long, value_parser = model_directory(), value_name = "DIR or NAME")]
    pub backbone: PathBuf,
    /// Adapter directory, of this project or of PEFT
    #[arg(long)]
    pub adapter: PathBuf,
    /// Directory to write; parts that cannot be folded go to its folder adapter/
    #[arg(long)]
    pub out: PathBuf,
}

/// Whose layout of an adapter directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// PEFT's own.
    Peft,
    /// This project's.
    Inducer,
}

/// `inducer export`.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// Hugging Face directory, or the name of a model in the hub's cache (HF_HUB_CACHE, HF_HOME)
    #[arg(long, value_parser = model_directory(), value_name = "DIR or NAME")]
    pub backbone: PathBuf,
    /// Adapter directory, of this project or of PEFT
    #[arg(long)]
    pub adapter: PathBuf,
    /// Directory to write
    #[arg(long)]
    pub out: PathBuf,
    /// The layout to write
    #[arg(long, value_enum, default_value = "peft")]
    pub layout: Layout,
}

/// `inducer params`.
#[derive(Args, Clone, Debug)]
pub struct ParamsArgs {
    /// Hugging Face directory or name, of which only config.json is read [default: GPT-2 small and
    /// RoBERTa base]
    #[arg(long, value_parser = model_directory(), value_name = "DIR or NAME")]
    pub backbone: Option<PathBuf>,
    /// An adapter_config.json of one's own
    #[arg(long)]
    pub adapter: Option<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

/// `inducer pretrain`.
#[derive(Args, Clone, Debug)]
pub struct PretrainArgs {
    /// What to make
    #[arg(long, value_enum, default_value = "gpt2")]
    pub kind: crate::commands::pretrain::Kind,
    /// Plain text
    #[arg(long)]
    pub text: PathBuf,
    /// Directory to write
    #[arg(long)]
    pub out: PathBuf,
    /// Vocabulary of the byte-level BPE
    #[arg(long, default_value_t = 4096)]
    pub vocabulary: usize,
    /// Layers
    #[arg(long, default_value_t = 4)]
    pub layers: usize,
    /// Hidden size
    #[arg(long, default_value_t = 192)]
    pub hidden: usize,
    /// Heads
    #[arg(long, default_value_t = 3)]
    pub heads: usize,
    /// Positions
    #[arg(long, default_value_t = 512)]
    pub positions: usize,
    /// Tokens a row while training
    #[arg(long, default_value_t = 256)]
    pub length: usize,
    /// Rows a step
    #[arg(long, default_value_t = 16)]
    pub batch_size: usize,
    /// Steps
    #[arg(long, default_value_t = 1000)]
    pub steps: usize,
    /// Learning rate
    #[arg(long, default_value_t = 2e-3)]
    pub learning_rate: f64,
    /// Seed
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Compute
    #[command(flatten)]
    pub compute: Compute,
}

/// `inducer teach`.
#[derive(Args, Clone, Debug)]
pub struct TeachArgs {
    /// File to write
    #[arg(long, default_value = "teach.html")]
    pub out: PathBuf,
}
