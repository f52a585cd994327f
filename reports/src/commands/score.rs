//! `inducer score`: the metrics on files, one text a line.

use super::options::{MeteorFiles, named, whole};
use super::print;
use crate::scoring::{MetricName, Request, score};
use anyhow::Result;
use clap::error::ErrorKind;
use clap::{Args, Command};
use inducer_datasets::metrics::bleu::Smoothing;
use inducer_gpu::ranges;
use std::path::PathBuf;

/// `inducer score`.
#[derive(Args, Clone, Debug)]
pub struct ScoreArgs {
    /// Metric
    #[arg(long, value_parser = named::<MetricName>(&[
        ("bleu", "BLEU as multi-bleu.perl computes it"),
        ("ter", "TER as tercom 0.7.25 computes it"),
        ("meteor", "METEOR 1.5 for English, normalised"),
        ("coqa", "CoQA's exact match and F1"),
        ("accuracy", "Share of equal lines"),
    ]))]
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
    /// BLEU's smoothing of precisions that are 0 [default: exp with --sacrebleu, as there, else
    /// none]
    #[arg(long, value_parser = named::<Smoothing>(&[
        ("exp", "1/2, 1/4, … of a match: sacrebleu's default"),
        ("none", "None: the score is 0, as multi-bleu.perl's"),
        ("add-k", "One more match and n-gram from bigrams on: sacrebleu's add-k with k = 1"),
    ]))]
    pub smoothing: Option<Smoothing>,
    /// CoQA: the domain of each question, one a line
    #[arg(long)]
    pub domains: Option<PathBuf>,
    /// Another system's texts: tests whether the difference is more than chance
    #[arg(long)]
    pub compare: Option<PathBuf>,
    /// Draws of the tests
    #[arg(long, default_value_t = 1000, value_name = ranges::COUNT.text,
        value_parser = whole(ranges::COUNT))]
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

/// Runs the command.
///
/// # Errors
/// As [`score`].
pub fn run(args: &ScoreArgs) -> Result<()> {
    if args.metric != MetricName::Bleu && args.smoothing.is_some() {
        let message = "--smoothing is of --metric bleu";
        ScoreArgs::augment_args(Command::new("inducer score"))
            .error(ErrorKind::ArgumentConflict, message)
            .exit();
    }
    if args.metric == MetricName::Accuracy && args.references.len() != 1 {
        let message = "--metric accuracy takes one file of references";
        ScoreArgs::augment_args(Command::new("inducer score"))
            .error(ErrorKind::WrongNumberOfValues, message)
            .exit();
    }
    let found = score(&Request {
        metric: args.metric,
        hypotheses: args.hypotheses.clone(),
        references: args.references.clone(),
        lowercase: args.lowercase,
        prepare: args.prepare,
        sacrebleu: args.sacrebleu,
        smoothing: args.smoothing,
        domains: args.domains.clone(),
        compare: args.compare.clone(),
        draws: args.draws,
        seed: args.seed,
        meteor: args.meteor.files(),
    })?;
    match args.json {
        true => print::json(&found.json),
        false => print::line(found.line),
    }
}
