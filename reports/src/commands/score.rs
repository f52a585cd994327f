//! `inducer score`: the metrics on files, one text a line.

use super::options::{MeteorFiles, named, whole};
use super::own::column;
use super::print;
use crate::scoring::{MetricName, Request, score};
use anyhow::Result;
use clap::error::ErrorKind;
use clap::{Args, Command};
use inducer_datasets::Reading;
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
        ("f1", "F1 of classes by their names, and their mean"),
        ("overlap", "Exact match and F1 of words with the best of the references, as SQuAD's"),
    ]))]
    pub metric: MetricName,
    /// The texts to score, one a line, or the column `output` of a .jsonl, .csv or .parquet
    #[arg(long)]
    pub hypotheses: PathBuf,
    /// References, a file for each set, in which a blank line is a missing one; or data of your
    /// own, of which target, targets or label are taken
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
    /// Columns of other names in references that are tables, as in targets=references
    #[arg(long, value_name = "HOLDS=NAME", value_delimiter = ',', value_parser = column())]
    pub columns: Vec<(String, String)>,
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
    if args.metric == MetricName::F1 && args.compare.is_some() {
        let message = "--compare is not for --metric f1";
        ScoreArgs::augment_args(Command::new("inducer score"))
            .error(ErrorKind::ArgumentConflict, message)
            .exit();
    }
    let classes = [MetricName::Accuracy, MetricName::F1].contains(&args.metric);
    if classes && args.references.len() != 1 {
        let message = "--metric accuracy and f1 take one file of references";
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
        reading: Reading {
            columns: args.columns.iter().cloned().collect(),
            ..Reading::default()
        },
    })?;
    match args.json {
        true => print::json(&found.json),
        false => print::line(found.line),
    }
}
