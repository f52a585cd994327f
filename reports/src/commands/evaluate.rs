//! `inducer evaluate`: a saved adapter's validation loss and its scores on the test part.

use super::inputs::Inputs;
use super::options::{Compute, Decode, MeteorFiles, adapter_directory};
use super::print;
use crate::inference::{self, Evaluation};
use crate::run::Scores;
use crate::scoring::matchers_that_ran;
use anyhow::Result;
use clap::Args;
use inducer_datasets::metrics::{Accuracy, WebNlg, coqa};
use std::path::PathBuf;

/// `inducer evaluate`.
#[derive(Args, Clone, Debug)]
pub struct EvaluateArgs {
    /// Inputs
    #[command(flatten)]
    pub inputs: Inputs,
    /// Adapter directory [default: none, the untuned backbone]
    #[arg(long, value_parser = adapter_directory(), value_name = "DIR")]
    pub adapter: Option<PathBuf>,
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

/// Runs the command.
///
/// # Errors
/// Files that are missing or do not fit each other.
pub fn run(args: &EvaluateArgs) -> Result<()> {
    args.inputs.check_places()?;
    let adapter = args.adapter.as_deref();
    let prepared = args
        .inputs
        .prepare(&inference::parts(adapter, &args.inputs.backbone)?)?;
    let model = inference::model(&prepared, adapter, &args.compute.device.open()?)?;
    let (pool, limits, files) = (
        args.compute.pool()?,
        args.decode.limits(),
        args.meteor.files(),
    );
    let found = inference::evaluation(&model, &prepared, limits, &files, &pool)?;
    match args.json {
        true => print::json(&found),
        false => print::whole(text(&found, &prepared.scored(limits.entries))),
    }
}

/// As text.
fn text(found: &Evaluation, scored: &str) -> String {
    let mut lines = vec![format!(
        "validation loss {:.4} nats; {scored}",
        found.validation_loss
    )];
    match &found.scores {
        Scores::WebNlg { scores, .. } => lines.extend(scores.iter().flat_map(|s| table(s))),
        Scores::Glue { scores } => {
            let line = |name: &str, a: &Accuracy| {
                format!("{name:<24} {:>8} {:>8.1} %", a.total, 100.0 * a.score)
            };
            lines.push(format!("{:<24} {:>8} {:>10}", "", "rows", "accuracy"));
            lines.push(line("all", &scores.overall));
            lines.extend(scores.genres.iter().map(|(name, a)| line(name, a)));
        }
        Scores::Coqa { scores } => {
            let line = |name: &str, s: &coqa::Scores| {
                format!(
                    "{name:<24} {:>8} {:>8.1} {:>8.1}",
                    s.questions, s.exact_match, s.f1
                )
            };
            lines.push(format!("{:<24} {:>8} {:>8} {:>8}", "", "turns", "EM", "F1"));
            lines.push(line("all", &scores.overall));
            lines.extend(scores.domains.iter().map(|(name, s)| line(name, s)));
        }
    }
    lines.join("\n") + "\n"
}

/// Seen, unseen, all and every category.
fn table(s: &WebNlg) -> Vec<String> {
    let line = |name: &str, bleu: f64, meteor: f64, ter: f64| {
        format!("{name:<24} {bleu:>8.2} {meteor:>8.4} {ter:>8.4}")
    };
    let mut lines = vec![format!(
        "{:<24} {:>8} {:>8} {:>8}",
        "", "BLEU", "METEOR", "TER"
    )];
    let sides = [
        ("seen", &s.bleu.seen, &s.meteor.seen, &s.ter.seen),
        ("unseen", &s.bleu.unseen, &s.meteor.unseen, &s.ter.unseen),
    ];
    for (name, bleu, meteor, ter) in sides {
        if let (Some(b), Some(m), Some(t)) = (bleu, meteor, ter) {
            lines.push(line(name, b.score, m.score, t.score));
        }
    }
    lines.push(line(
        "all",
        s.bleu.all.score,
        s.meteor.all.score,
        s.ter.all.score,
    ));
    for (name, b) in &s.bleu.categories {
        if let (Some(m), Some(t)) = (s.meteor.categories.get(name), s.ter.categories.get(name)) {
            lines.push(line(name, b.score, m.score, t.score));
        }
    }
    let ran = matchers_that_ran(&s.meteor.all.matchers);
    lines.push(format!("METEOR's matchers: {ran}"));
    lines
}
