//! `inducer evaluate`: a saved adapter's validation loss and its scores on the test part.

use super::inputs::Inputs;
use super::options::{Compute, Decode, MeteorFiles, adapter_directory};
use super::print;
use crate::inference::{self, Evaluation};
use crate::run::Scores;
use crate::scoring::matchers_that_ran;
use anyhow::Result;
use clap::Args;
use inducer_datasets::metrics::{Accuracy, Bleu, Meteor, Ter, Texts, WebNlg, coqa};
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
    let prepared = args.inputs.prepare_for(adapter)?;
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
            if let Some(f1) = &scores.f1 {
                let line = |name: &str, x: f64| format!("{name:<24} {x:>8.4}");
                lines.push(format!("{:<24} {:>8}", "", "F1"));
                lines.push(line("mean of classes", f1.macro_f1));
                lines.extend(f1.classes.iter().map(|(name, x)| line(name, *x)));
            }
        }
        Scores::Text { scores, .. } => lines.extend(scores.iter().flat_map(|s| texts(s))),
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

/// The figures of texts of one's own: all, seen and unseen groups, every group.
fn texts(s: &Texts) -> Vec<String> {
    let line = |name: &str, b: &Bleu, m: &Meteor, t: &Ter, o: &coqa::Scores| {
        format!(
            "{name:<24} {:>8.2} {:>8.4} {:>8.4} {:>8.1} {:>8.1}",
            b.score, m.score, t.score, o.exact_match, o.f1
        )
    };
    let titles = ["BLEU", "METEOR", "TER", "EM", "F1"].map(|t| format!("{t:>8}"));
    let mut lines = vec![format!("{:<24} {}", "", titles.join(" "))];
    let (b, m, t, o) = (&s.bleu, &s.meteor, &s.ter, &s.overlap);
    lines.push(line("all", &b.all, &m.all, &t.all, &o.all));
    for (name, b, m, t, o) in [
        ("seen", &b.seen, &m.seen, &t.seen, &o.seen),
        ("unseen", &b.unseen, &m.unseen, &t.unseen, &o.unseen),
    ] {
        if let (Some(b), Some(m), Some(t), Some(o)) = (b, m, t, o) {
            lines.push(line(name, b, m, t, o));
        }
    }
    let groups = (&m.categories, &t.categories, &o.categories);
    for (name, b) in &b.categories {
        if let (Some(m), Some(t), Some(o)) =
            (groups.0.get(name), groups.1.get(name), groups.2.get(name))
        {
            lines.push(line(name, b, m, t, o));
        }
    }
    let ran = matchers_that_ran(&m.all.matchers);
    lines.push(format!("METEOR's matchers: {ran}"));
    lines
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
