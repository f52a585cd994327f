//! The subcommands, one a file, and the [`options`] that several of them share. Nothing outside
//! of this folder knows the command line.

pub mod bench;
mod budget;
pub mod completions;
pub mod doctor;
pub mod evaluate;
pub mod explain;
pub mod export;
pub mod forward;
pub mod generate;
pub mod inputs;
pub mod man;
pub mod merge;
pub mod options;
pub mod own;
pub mod params;
mod plan;
pub mod pretrain;
mod print;
pub mod report;
pub mod score;
pub mod shard;
mod study_file;
pub mod teach;
pub mod train;
pub mod verify;

use crate::progress::{self, Level, say};
use crate::signals;
use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use inducer_gpu::{Error, notes};
use std::process::ExitCode;

/// Exit statuses and environment variables, in the one place where they are documented.
const ENVIRONMENT: &str = "\
Exit status:
  0         it did what it says
  1         an error, which is on standard error; with verify, a claim that does not hold
  2         arguments that are not understood or cannot be meant
  130, 143  stopped by Ctrl-C or SIGTERM at a checkpoint: the same command goes on

Environment:
  INDUCER_CACHE           the embedded backbones and encoded data [$XDG_CACHE_HOME/inducer,
                          ~/.cache/inducer]
  HF_HUB_CACHE, HF_HOME   models and data by name [$XDG_CACHE_HOME/huggingface/hub,
                          ~/.cache/huggingface/hub]
  HF_DATASETS_CACHE       data that `datasets` has made, by name [$HF_HOME/datasets,
                          ~/.cache/huggingface/datasets]
  METEOR_JAR              meteor-1.5.jar, for METEOR with synonyms
  METEOR_PARAPHRASES      paraphrase-en.gz, for METEOR with paraphrases
  CUDA_VISIBLE_DEVICES    which card --device cuda takes

`inducer doctor` says what of this is here.";

/// Inducer-tuning: train, generate, compare, report.
#[derive(Debug, Parser)]
#[command(
    name = "inducer",
    version,
    about,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = ENVIRONMENT
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Only results, warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Every validation and row as it comes
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

impl Cli {
    /// The command line of this process, with the options of a file where it names one.
    ///
    /// # Errors
    /// A file that cannot be read. What is wrong with the options themselves ends the process with
    /// status 2, as `--help` does with 0.
    fn read() -> Result<Self> {
        let arguments = study_file::expanded(std::env::args_os().collect())?;
        let command = Self::command();
        let matches = command.clone().get_matches_from(arguments);
        let mut cli = Self::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
        if let (Command::Report(args), Some((name, matches))) =
            (&mut cli.command, matches.subcommand())
            && let Some(command) = command.find_subcommand(name)
        {
            args.given = study_file::given(command, matches);
            args.options = study_file::options(command, matches)?;
        }
        Ok(cli)
    }

    fn run(&self) -> Result<()> {
        let level = match (self.quiet, self.verbose) {
            (true, _) => Level::Quiet,
            (_, true) => Level::Verbose,
            _ => Level::Usual,
        };
        progress::set(level, self.command.log_every());
        notes::listen(|text| progress::note(format_args!("note: {text}")));
        signals::listen().context("signals")?;
        self.command.run()
    }
}

/// The whole program: status 0, 1 after an error, 2 for a wrong option, 130 or 143 where it was
/// stopped.
///
/// `register` gives it the variants of one's own ([`program!`](crate::program!)). To be called
/// once, before the program does anything else.
pub fn main(register: &[fn() -> inducer_verify::Result<()>]) -> ExitCode {
    crate::compute::set_threads_of_candle();
    let own = crate::ledger::claims::register();
    let registered = own.and_then(|()| register.iter().try_for_each(|register| register()));
    let read = registered.map_err(Into::into).and_then(|()| Cli::read());
    let error = match read.and_then(|cli| cli.run()) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(error) => error,
    };
    // nobody reads on: there is nobody to tell
    if print::is_closed(&error) {
        return ExitCode::SUCCESS;
    }
    let words = print::words(&error);
    let stopped = error
        .chain()
        .any(|e| matches!(e.downcast_ref::<Error>(), Some(Error::Stopped { .. })));
    match signals::status().filter(|_| stopped) {
        Some(status) => signals::end(
            format_args!("{words}; the same command goes on from there"),
            status,
        ),
        None => say(format_args!("error: {words}")),
    }
    ExitCode::FAILURE
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the ablation study and write report.html, report.md and report.json
    #[command(
        after_help = "Example:\n  inducer report --out out\n  inducer report --data webnlg/ \
         --backbone gpt2/ --steps 300 --out out-webnlg"
    )]
    Report(Box<report::ReportArgs>),
    /// Train one method and score it
    #[command(
        after_help = "Example:\n  inducer train --task webnlg --data webnlg/ --backbone gpt2/ \
         --method inducer --out runs/inducer --steps 300\n\nTrainer's names are understood too: \
         --lr, --max-steps, --num-train-epochs, --per-device-train-batch-size, \
         --gradient-accumulation-steps, --warmup-steps, --lr-scheduler-type, \
         --label-smoothing-factor, --save-steps, --logging-steps, --output-dir. The first 150 \
         development entries are the validation part."
    )]
    Train(Box<train::TrainArgs>),
    /// Score a trained run on the test split
    #[command(
        after_help = "Example:\n  inducer evaluate --task webnlg --data webnlg/ --backbone gpt2/ \
         --adapter runs/inducer/best --json"
    )]
    Evaluate(evaluate::EvaluateArgs),
    /// Write the model's texts for the test split, one a line
    #[command(
        after_help = "Example:\n  inducer generate --task webnlg --data webnlg/ --backbone gpt2/ \
         --adapter runs/inducer/best --out outputs.txt\n  inducer generate --task generate --data \
         questions.jsonl --backbone gpt2/ --adapter run/best --out answers.jsonl"
    )]
    Generate(generate::GenerateArgs),
    /// The metrics on files: one text a line, one file for each set of references
    #[command(
        after_help = "Example:\n  inducer score --metric bleu --hypotheses out.txt --references \
         ref0.txt ref1.txt ref2.txt --lowercase --json\n  inducer score --metric ter --hypotheses \
         a.txt --references ref.txt --compare b.txt"
    )]
    Score(score::ScoreArgs),
    /// Logits, loss and gradients of a batch, for comparison with other software
    #[command(
        after_help = "Example:\n  inducer forward --backbone gpt2/ --adapter adapter/ --batch \
         batch.json --out out.safetensors --dtype f64 --gradients"
    )]
    Forward(forward::ForwardArgs),
    /// Check the claims ledger: every equation, on every engine, each with a control that must fail
    #[command(
        after_help = "Example:\n  inducer verify --cases 64\n  inducer verify --claim eq07 \
         --json\n  inducer verify --cases 256 --html claims.html"
    )]
    Verify(verify::VerifyArgs),
    /// Time a training step or decoding on a backbone with random weights
    #[command(
        after_help = "Example:\n  inducer bench --preset gpt2 --method inducer --batch 4 --length \
         128 --steps 8 --threads 2 --json\n  inducer bench --decode --preset tiny --batch 8 \
         --length 32 --new-tokens 40"
    )]
    Bench(bench::BenchArgs),
    /// Fold LoRA and tuned backbone tensors into a backbone that transformers loads
    #[command(
        after_help = "Example:\n  inducer merge --backbone gpt2/ --adapter run/best --out merged/"
    )]
    Merge(merge::MergeArgs),
    /// Write an adapter in PEFT's layout (LoRA alone or a prefix alone), or PEFT's in this
    /// project's
    #[command(
        after_help = "Example:\n  inducer export --backbone gpt2/ --adapter run/best --out \
          peft/\n  inducer export --layout inducer --backbone gpt2/ --adapter peft/ --out adapter/"
    )]
    Export(export::ExportArgs),
    /// The parameter counts of the paper's tables, computed from the model definitions
    #[command(
        after_help = "Example:\n  inducer params\n  inducer params --backbone gpt2/ --adapter \
         adapter/adapter_config.json"
    )]
    Params(params::ParamsArgs),
    /// A small GPT-2 or RoBERTa and its tokenizer from plain text, as a Hugging Face directory
    #[command(
        after_help = "Example:\n  inducer pretrain --text wiki.txt --out backbone/ --vocabulary \
         4096 --layers 4 --hidden 192 --heads 3 --steps 2000\n  inducer pretrain --kind roberta \
         --text wiki.txt --out encoder/ --steps 2000"
    )]
    Pretrain(pretrain::PretrainArgs),
    /// Write the interactive teaching page: kernel view, prefixes, inducers and ablations in one
    /// file
    #[command(after_help = "Example:\n  inducer teach --out teach.html")]
    Teach(teach::TeachArgs),
    /// Look inside a trained adapter: what its heads do with one text, as an interactive page
    #[command(
        after_help = "Example:\n  inducer explain --backbone gpt2/ --adapter runs/inducer/best \
         --text \"The tower is in Paris.\"\n  inducer explain --backbone gpt2/ --adapter \
         runs/prefix/best --compare runs/inducer/best --data webnlg/ --entry 12 --out 12.html"
    )]
    Explain(Box<explain::ExplainArgs>),
    /// What the command finds here, and what each thing is for
    #[command(after_help = "Example:\n  inducer doctor")]
    Doctor(doctor::DoctorArgs),
    /// Print a script by which a shell completes the command
    #[command(after_help = "Example:\n  inducer completions bash > \
         ~/.local/share/bash-completion/completions/inducer")]
    Completions(completions::CompletionsArgs),
    /// Write manual pages
    #[command(after_help = "Example:\n  inducer man --out ~/.local/share/man/man1")]
    Man(man::ManArgs),
}

impl Command {
    /// After how many steps a line is asked for.
    fn log_every(&self) -> Option<usize> {
        match self {
            Self::Report(args) => args.hyper.log_every,
            Self::Train(args) => args.hyper.log_every,
            _ => None,
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// The subcommand's.
    pub fn run(&self) -> Result<()> {
        match self {
            Self::Report(args) => report::run(args),
            Self::Train(args) => train::run(args),
            Self::Evaluate(args) => evaluate::run(args),
            Self::Generate(args) => generate::run(args),
            Self::Score(args) => score::run(args),
            Self::Forward(args) => forward::run(args),
            Self::Verify(args) => verify::run(args),
            Self::Bench(args) => bench::run(args),
            Self::Merge(args) => merge::run(args),
            Self::Export(args) => export::run(args),
            Self::Params(args) => params::run(args),
            Self::Pretrain(args) => pretrain::run(args),
            Self::Teach(args) => teach::run(args),
            Self::Explain(args) => explain::run(args),
            Self::Doctor(args) => doctor::run(args),
            Self::Completions(args) => completions::run(args),
            Self::Man(args) => man::run(args),
        }
    }
}
