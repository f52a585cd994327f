//! `inducer evaluate`: a saved adapter's validation loss and its scores on the test part.

use super::generate::decode;
use super::options::{Compute, Decode, Inputs, MeteorFiles};
use crate::run::{Scores, TaskData};
use crate::scoring::matchers_that_ran;
use anyhow::Result;
use clap::Args;
use inducer_datasets::Task;
use inducer_datasets::metrics::{Accuracy, WebNlg, coqa};
use inducer_gpu::train::{Data, evaluate};
use serde::Serialize;
use std::path::PathBuf;

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

/// What is printed with `--json`.
#[derive(Serialize)]
struct Evaluation {
    task: Task,
    validation_loss: f64,
    test_entries: usize,
    /// Entries that `--skip-malformed` left out.
    malformed: usize,
    /// How the parts of the data came about.
    notes: Vec<String>,
    #[serde(flatten)]
    scores: Scores,
}

/// Runs the command.
///
/// # Errors
/// Files that are missing or do not fit each other.
pub fn run(args: &EvaluateArgs) -> Result<()> {
    let generated = decode(&args.inputs, &args.adapter, &args.decode, &args.compute)?;
    let data = TaskData::new(&generated.prepared, 32, 0, None);
    let splits = &generated.prepared.splits;
    let (task, files) = (args.inputs.task, args.meteor.files());
    let found = Evaluation {
        task,
        validation_loss: evaluate(&generated.model, data.validation())?,
        test_entries: generated.examples.len(),
        malformed: splits.malformed.len(),
        notes: splits.notes.clone(),
        scores: Scores::of(task, &generated.texts, &generated.examples, &files)?,
    };
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&found)?),
        false => found.print(),
    }
    Ok(())
}

impl Evaluation {
    fn print(&self) {
        println!(
            "validation loss {:.4} nats; {} test entries",
            self.validation_loss, self.test_entries
        );
        match &self.scores {
            Scores::WebNlg { scores, .. } => scores.iter().for_each(|s| table(s)),
            Scores::Glue { scores } => {
                let line = |name: &str, a: &Accuracy| {
                    println!("{name:<24} {:>8} {:>8.1} %", a.total, 100.0 * a.score);
                };
                println!("{:<24} {:>8} {:>10}", "", "rows", "accuracy");
                line("all", &scores.overall);
                scores.genres.iter().for_each(|(name, a)| line(name, a));
            }
            Scores::Coqa { scores } => {
                let line = |name: &str, s: &coqa::Scores| {
                    println!(
                        "{name:<24} {:>8} {:>8.1} {:>8.1}",
                        s.questions, s.exact_match, s.f1
                    );
                };
                println!("{:<24} {:>8} {:>8} {:>8}", "", "turns", "EM", "F1");
                line("all", &scores.overall);
                scores.domains.iter().for_each(|(name, s)| line(name, s));
            }
        }
    }
}

/// Seen, unseen, all and every category.
fn table(s: &WebNlg) {
    println!("{:<24} {:>8} {:>8} {:>8}", "", "BLEU", "METEOR", "TER");
    let line = |name: &str, bleu: f64, meteor: f64, ter: f64| {
        println!("{name:<24} {bleu:>8.2} {meteor:>8.4} {ter:>8.4}");
    };
    let sides = [
        ("seen", &s.bleu.seen, &s.meteor.seen, &s.ter.seen),
        ("unseen", &s.bleu.unseen, &s.meteor.unseen, &s.ter.unseen),
    ];
    for (name, bleu, meteor, ter) in sides {
        if let (Some(b), Some(m), Some(t)) = (bleu, meteor, ter) {
            line(name, b.score, m.score, t.score);
        }
    }
    line("all", s.bleu.all.score, s.meteor.all.score, s.ter.all.score);
    for (name, b) in &s.bleu.categories {
        if let (Some(m), Some(t)) = (s.meteor.categories.get(name), s.ter.categories.get(name)) {
            line(name, b.score, m.score, t.score);
        }
    }
    let ran = matchers_that_ran(&s.meteor.all.matchers);
    println!("METEOR's matchers: {ran}");
}
