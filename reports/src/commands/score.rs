//! `inducer score`: the metrics on files, one text a line.

use crate::cli::MeteorFiles;
use crate::files;
use anyhow::{Context, Result, ensure};
use clap::error::ErrorKind;
use clap::{Args, Command, ValueEnum};
use inducer_datasets::metrics::prepare::webnlg_2017;
use inducer_datasets::metrics::{self, Meteor, groups};
use inducer_datasets::significance::{Resampled, approximate_randomisation, paired_bootstrap};
use serde::Serialize;
use serde_json::{Value, json};
use std::ops::AddAssign;
use std::path::{Path, PathBuf};

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

/// What is scored: texts, their references, and the texts of another system.
struct Texts {
    hypotheses: Vec<String>,
    /// Of each text one a file, empty where it is missing.
    references: Vec<Vec<String>>,
    other: Option<Vec<String>>,
}

/// A metric's components as JSON, and its line for people.
struct Found {
    json: Value,
    line: String,
}

/// Paired tests of the difference to another system.
#[derive(Serialize)]
struct Comparison {
    /// The other system's score.
    other: f64,
    bootstrap: Resampled,
    randomisation: Resampled,
}

/// Runs the command.
///
/// # Errors
/// A file cannot be read, or has another number of lines; a resource of METEOR's is broken.
pub fn run(args: &ScoreArgs) -> Result<()> {
    if args.metric == MetricName::Accuracy && args.references.len() != 1 {
        let message = "--metric accuracy takes one file of references";
        ScoreArgs::augment_args(Command::new("inducer score"))
            .error(ErrorKind::WrongNumberOfValues, message)
            .exit();
    }
    let texts = Texts::read(args)?;
    let found = match args.metric {
        MetricName::Bleu => bleu(args, &texts)?,
        MetricName::Ter => ter(args, &texts)?,
        MetricName::Meteor => meteor(args, &texts)?,
        MetricName::Coqa => coqa(args, &texts)?,
        MetricName::Accuracy => accuracy(args, &texts)?,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&found.json)?);
    } else {
        println!("{}", found.line);
    }
    Ok(())
}

/// Lines of a file; the last may lack its end. A carriage return before a line's end is none of its
/// text.
fn lines(path: &Path) -> Result<Vec<String>> {
    let text = files::read(path)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let bare = |l: &str| l.strip_suffix('\r').unwrap_or(l).to_owned();
    Ok(text.split('\n').map(bare).collect())
}

impl Texts {
    fn read(args: &ScoreArgs) -> Result<Self> {
        let hypotheses = lines(&args.hypotheses)?;
        let as_many = |path: &PathBuf| -> Result<Vec<String>> {
            let found = lines(path)?;
            ensure!(
                found.len() == hypotheses.len(),
                "{}: {} lines, expected {} as in {}",
                path.display(),
                found.len(),
                hypotheses.len(),
                args.hypotheses.display()
            );
            Ok(found)
        };
        let sets: Vec<Vec<String>> = args.references.iter().map(as_many).collect::<Result<_>>()?;
        let other = args.compare.as_ref().map(as_many).transpose()?;
        let prepare = |text: &String| match (args.prepare, args.lowercase) {
            (true, _) => webnlg_2017(text),
            // BLEU lowers ASCII alone, as multi-bleu does
            (false, true) if args.metric != MetricName::Bleu => text.to_lowercase(),
            _ => text.clone(),
        };
        let of = |i: usize| sets.iter().map(|s| prepare(&s[i])).collect();
        Ok(Self {
            references: (0..hypotheses.len()).map(of).collect(),
            other: other.map(|o| o.iter().map(prepare).collect()),
            hypotheses: hypotheses.iter().map(prepare).collect(),
        })
    }

    /// The references that are there: a blank line is none.
    fn present(&self) -> Vec<Vec<String>> {
        let there = |r: &Vec<String>| r.iter().filter(|t| !t.trim().is_empty()).cloned().collect();
        self.references.iter().map(there).collect()
    }
}

/// A corpus metric: what each example adds, and the figure of a sum.
struct Metric<C, S, F: Fn(&C) -> S> {
    score: F,
    value: fn(&S) -> f64,
    counts: Vec<C>,
    other: Option<Vec<C>>,
}

impl<C: Copy + Default + AddAssign, S: Serialize, F: Fn(&C) -> S> Metric<C, S, F> {
    /// The metric of some texts, and of the other system's where there is one.
    fn of(
        texts: &Texts,
        score: F,
        value: fn(&S) -> f64,
        counts: impl Fn(&Vec<String>) -> inducer_datasets::Result<Vec<C>>,
    ) -> Result<Self> {
        Ok(Self {
            score,
            value,
            counts: counts(&texts.hypotheses)?,
            other: texts.other.as_ref().map(counts).transpose()?,
        })
    }

    /// The figure, its components, and the tests against the other system.
    fn found(&self, args: &ScoreArgs, line: impl Fn(&S) -> String) -> Result<Found> {
        let mut sum = C::default();
        self.counts.iter().for_each(|c| sum += *c);
        let score = (self.score)(&sum);
        let mut found = Found {
            json: serde_json::to_value(&score)?,
            line: line(&score),
        };
        if let Some(other) = &self.other {
            let tests = self.compare(other, args)?;
            found.line += &format!(
                "\nother system {:.4}; p {:.4} by paired bootstrap, {:.4} by approximate \
                 randomisation ({} draws)",
                tests.other, tests.bootstrap.p, tests.randomisation.p, args.draws
            );
            found.json["comparison"] = serde_json::to_value(tests)?;
        }
        Ok(found)
    }

    fn compare(&self, other: &[C], args: &ScoreArgs) -> Result<Comparison> {
        let value = |sum: C| (self.value)(&(self.score)(&sum));
        let mut sum = C::default();
        other.iter().for_each(|c| sum += *c);
        Ok(Comparison {
            other: value(sum),
            bootstrap: paired_bootstrap(&self.counts, other, value, args.draws, args.seed)?,
            randomisation: approximate_randomisation(
                &self.counts,
                other,
                value,
                args.draws,
                args.seed,
            )?,
        })
    }
}

fn bleu(args: &ScoreArgs, texts: &Texts) -> Result<Found> {
    let counts = |hypotheses: &Vec<String>| match args.sacrebleu {
        true => metrics::bleu::counts_13a(hypotheses, &texts.present(), args.lowercase),
        false => metrics::bleu::counts(hypotheses, &texts.references, args.lowercase),
    };
    let metric = Metric::of(texts, metrics::bleu::Counts::score, |b| b.score, counts)?;
    metric.found(args, |b| {
        let p = b.precisions.map(|p| format!("{p:.1}")).join("/");
        format!(
            "BLEU = {:.2}, {p} (BP={:.3}, ratio={:.3}, hyp_len={}, ref_len={})",
            b.score, b.brevity_penalty, b.ratio, b.hypothesis_length, b.reference_length
        )
    })
}

fn ter(args: &ScoreArgs, texts: &Texts) -> Result<Found> {
    let algorithm = match args.sacrebleu {
        true => metrics::ter::Algorithm::Sacrebleu,
        false => metrics::ter::Algorithm::Tercom,
    };
    let references = texts.present();
    let counts =
        |hypotheses: &Vec<String>| metrics::ter::counts(hypotheses, &references, algorithm);
    let metric = Metric::of(
        texts,
        |sum: &metrics::ter::Counts| sum.score(),
        |t| t.score,
        counts,
    )?;
    metric.found(args, |t| {
        let c = &t.counts;
        format!(
            "TER = {:.5} ({} edits: {} insertions, {} deletions, {} substitutions, {} shifts; \
             {:.1} words)",
            t.score,
            t.edits,
            c.insertions,
            c.deletions,
            c.substitutions,
            c.shifts,
            c.reference_length
        )
    })
}

fn meteor(args: &ScoreArgs, texts: &Texts) -> Result<Found> {
    let (files, references) = (args.meteor.files(), texts.present());
    let (counts, matchers) = metrics::meteor::counts(&texts.hypotheses, &references, &files)?;
    let other = texts.other.as_ref();
    let other = other
        .map(|o| metrics::meteor::counts(o, &references, &files))
        .transpose()?;
    let metric = Metric {
        score: |sum: &metrics::meteor::Counts| Meteor {
            matchers: matchers.clone(),
            ..sum.score()
        },
        value: |m| m.score,
        counts,
        other: other.map(|(counts, _)| counts),
    };
    metric.found(args, |m| {
        let missing = match m.matchers.len() {
            4 => "",
            _ => "; not METEOR 1.5 in full: give --meteor-jar and --paraphrases",
        };
        format!(
            "METEOR = {:.6} (precision {:.4}, recall {:.4}, penalty {:.4}; matchers {}{missing})",
            m.score,
            m.precision,
            m.recall,
            m.fragmentation_penalty,
            m.matchers.join(", ")
        )
    })
}

fn coqa(args: &ScoreArgs, texts: &Texts) -> Result<Found> {
    let references = texts.present();
    let counts = |answers: &Vec<String>| metrics::coqa::counts(answers, &references);
    let metric = Metric::of(texts, metrics::coqa::Counts::score, |s| s.f1, counts)?;
    let mut found = metric.found(args, |s| {
        let (exact, questions) = (s.exact_match, s.questions);
        format!(
            "exact match = {exact:.1}, F1 = {:.1} ({questions} questions)",
            s.f1
        )
    })?;
    if let Some(path) = &args.domains {
        let domains = lines(path)?;
        let (_, parts) = groups::by_group(&metric.counts, &domains, metrics::coqa::Counts::score)
            .with_context(|| path.display().to_string())?;
        for (domain, s) in &parts {
            let (exact, questions) = (s.exact_match, s.questions);
            found.line += &format!(
                "\n{domain}: exact match = {exact:.1}, F1 = {:.1} ({questions} questions)",
                s.f1
            );
        }
        found.json["domains"] = json!(parts);
    }
    Ok(found)
}

fn accuracy(args: &ScoreArgs, texts: &Texts) -> Result<Found> {
    let expected: Vec<String> = texts.references.iter().map(|r| r[0].clone()).collect();
    let counts = |predicted: &Vec<String>| metrics::accuracy::counts(predicted, &expected);
    let metric = Metric::of(texts, metrics::accuracy::Counts::score, |a| a.score, counts)?;
    metric.found(args, |a| {
        format!("accuracy = {:.4} ({} of {})", a.score, a.correct, a.total)
    })
}
