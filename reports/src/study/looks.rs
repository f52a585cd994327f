//! Test entries that are looked into, chosen by rule: the one that gains most, the one that loses
//! most, the longest, and so on in turn.
//!
//! A gain is what the inducer's loss of the target lies below the prefix's, where the study has
//! both; otherwise what a tuned method's lies below the frozen backbone's.

use super::Look;
use super::plan::Plan;
use super::planned::Planned;
use crate::explain::{Files, Input, Request, explain, page};
use crate::files;
use crate::progress::Progress;
use crate::run::directory::is_finished;
use crate::run::evenly;
use anyhow::{Context, Result};
use candle_core::Device;
use inducer_gpu::{LossOptions, Model};
use std::path::Path;

/// So many entries at most are asked for their loss, at even distances.
const ASKED: usize = 240;

/// An entry with what decides about it.
struct Asked {
    entry: usize,
    tokens: usize,
    losses: [f64; 2],
}

impl Asked {
    fn gain(&self) -> f64 {
        self.losses[0] - self.losses[1]
    }
}

/// The rules, in turn: what each is called, and how it sorts two entries.
type Rule = (&'static str, fn(&Asked, &Asked) -> std::cmp::Ordering);

const RULES: [Rule; 3] = [
    ("largest gain", |a, b| b.gain().total_cmp(&a.gain())),
    ("largest loss", |a, b| a.gain().total_cmp(&b.gain())),
    ("longest input", |a, b| b.tokens.cmp(&a.tokens)),
];

/// Chooses entries, looks into them, and writes a page for each into `out`.
///
/// # Errors
/// No tuned run is finished; a run's adapter is not there; a page cannot be written.
pub fn make(plan: &Plan, count: usize, out: &Path, device: &Device) -> Result<Vec<Look>> {
    let runs = runs(plan)?;
    let prepared = &plan.main.prepared;
    let backbone = &prepared.source.backbone;
    let best: Vec<_> = runs.iter().map(|run| run.dir.join("best")).collect();
    let files = |adapter| Files { backbone, adapter };
    let mut models: Vec<Model> = Vec::new();
    for adapter in &best {
        models.push(files(adapter).tuned(device)?);
    }
    if let [adapter] = &best[..] {
        let tuned = files(adapter).tuned(device)?;
        models.insert(0, files(adapter).frozen(tuned, device)?);
    }
    let asked = asked(plan, &models)?;
    drop(models);
    let mut names: Vec<String> = runs.iter().map(|run| run.method().to_string()).collect();
    if names.len() == 1 {
        names.insert(0, "none".into());
    }
    let progress = Progress::new(count as u64, "pages", "looking into entries");
    let mut looks = Vec::new();
    for (rule, chosen) in chosen(&asked, count) {
        let input = Input::entry(prepared, chosen.entry)?;
        let request = Request {
            backbone: backbone.clone(),
            adapters: best.clone(),
            layers: Vec::new(),
            heads: Vec::new(),
            thin: true,
            device: device.clone(),
        };
        let file = format!("explain-{}.html", looks.len() + 1);
        files::write(&out.join(&file), &page::html(&explain(&request, input)?)?)?;
        looks.push(Look {
            file,
            entry: chosen.entry,
            rule: rule.into(),
            tokens: chosen.tokens,
            losses: names.iter().cloned().zip(chosen.losses).collect(),
        });
        progress.add(1, "");
    }
    Ok(looks)
}

/// The finished runs that are compared: prefix and inducer of one seed, or one tuned method alone.
fn runs(plan: &Plan) -> Result<Vec<&Planned>> {
    let mut done = Vec::new();
    for run in &plan.main.runs {
        if run.method() != "none" && is_finished(&run.dir, &run.config)? {
            done.push(run);
        }
    }
    for prefix in done.iter().filter(|run| run.method() == "prefix") {
        let other = |run: &&&Planned| run.method() == "inducer" && run.seed() == prefix.seed();
        if let Some(inducer) = done.iter().find(other) {
            return Ok(vec![prefix, inducer]);
        }
    }
    let gated = done
        .iter()
        .find(|run| ["inducer", "prefix"].contains(&run.method()));
    let one = gated.or(done.first()).copied();
    Ok(vec![one.context(
        "--explain: no tuned run of this study is finished",
    )?])
}

/// Entries with the losses of both models; those without a reference have none.
fn asked(plan: &Plan, models: &[Model]) -> Result<Vec<Asked>> {
    let prepared = &plan.main.prepared;
    let all: Vec<usize> = (1..=prepared.splits.test.len()).collect();
    let progress = Progress::new(all.len().min(ASKED) as u64, "entries", "choosing entries");
    let mut asked = Vec::new();
    for entry in evenly(&all, ASKED) {
        progress.add(1, "");
        let Ok(input) = Input::entry(prepared, *entry) else {
            continue;
        };
        let loss = |model: &Model| model.loss(&input.batch, LossOptions::PLAIN);
        asked.push(Asked {
            entry: *entry,
            tokens: input.tokens.len(),
            losses: [loss(&models[0])?, loss(&models[1])?],
        });
    }
    Ok(asked)
}

/// The first entry of each rule in turn, none twice.
fn chosen(asked: &[Asked], count: usize) -> Vec<(&'static str, &Asked)> {
    let mut out: Vec<(&'static str, &Asked)> = Vec::new();
    for (name, order) in RULES.iter().cycle().take(count.min(asked.len())) {
        let left = asked
            .iter()
            .filter(|a| out.iter().all(|(_, o)| o.entry != a.entry));
        if let Some(best) = left.min_by(|a, b| order(a, b)) {
            out.push((name, best));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_take_turns_and_no_entry_is_chosen_twice() {
        let entry = |entry, tokens, first, second| Asked {
            entry,
            tokens,
            losses: [first, second],
        };
        let asked = [
            entry(1, 90, 3.0, 1.0),
            entry(2, 20, 1.0, 1.5),
            entry(3, 50, 2.0, 1.9),
            entry(4, 70, 1.0, 1.1),
        ];
        let found: Vec<(&str, usize)> = chosen(&asked, 9)
            .iter()
            .map(|(rule, a)| (*rule, a.entry))
            .collect();
        let expected = [
            ("largest gain", 1),
            ("largest loss", 2),
            ("longest input", 4),
            ("largest gain", 3),
        ];
        assert_eq!(found, expected);
    }
}
