//! What a study says of the ledger's empirical claims.

use super::contrasts::COMPLEMENT;
use super::judged::judged;
use super::paper::{ON_LENGTH, STEPS};
use super::{Long, Row, Study};
use crate::document::format::{fixed, signed, signed_interval};
use crate::stats::contrast::{Contrast, Judgement};
use crate::stats::{Summary, mean, paired};
use inducer_datasets::Task;

/// What a study says of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Id in the ledger.
    pub claim: &'static str,
    /// In a word or two: `appears`.
    pub verdict: &'static str,
    /// By which numbers.
    pub evidence: String,
}

impl Finding {
    /// Whether the study says anything of the claim.
    pub fn is_measured(&self) -> bool {
        self.verdict != NOT_MEASURED
    }
}

/// What is said where nothing was measured.
const NOT_MEASURED: &str = "not measured";

/// What is said where what was measured cannot bear the claim out or refute it.
const NO_VERDICT: &str = "no verdict";

/// Without MAM's adapter on the feed-forward network, and with it.
const MAM: [&str; 2] = ["inducer-lora", "mam-inducer"];

/// Every empirical claim, in the order of the ledger.
pub fn findings(study: &Study) -> Vec<Finding> {
    let step = |claim, lower, upper| step(study, claim, lower, upper);
    vec![
        near(study),
        long(study),
        step("extension-helps", "adaptive", "extension"),
        step("key-mlp-helps", "extension", "inducer"),
        step("gating-collapses", "gating", "inducer"),
        complement(study),
        mam(study),
    ]
}

/// The study that the findings are of, in words: where it stands and what it was made from.
pub fn origin(study: &Study, file: &str) -> String {
    let short = |print: &str| print.chars().take(12).collect::<String>();
    format!(
        "{file}, data {}, backbone {}",
        short(&study.provenance.data.fingerprint),
        short(&study.provenance.backbone.fingerprint)
    )
}

/// A comparison by the loss of the test part.
fn numbers(c: &Contrast) -> String {
    let of = figures(c, "entries");
    format!("{} less {}: test loss {of}", c.upper, c.lower)
}

/// Difference, interval, runs, and how many of what it was measured on.
fn figures(c: &Contrast, of: &str) -> String {
    let (low, high) = c.interval(0.05);
    format!(
        "{} nats a token (95 % interval {} to {}), {} and {} runs, {} {of}",
        signed(c.difference, 3),
        signed(low, 3),
        signed(high, 3),
        c.seeds[1],
        c.seeds[0],
        c.entries
    )
}

fn step(study: &Study, claim: &'static str, lower: &str, upper: &str) -> Finding {
    let mut all = judged(study, &STEPS).into_iter();
    let found = all.find(|j| j.step.lower == lower && j.step.upper == upper);
    let found = found.and_then(|j| Some((j.judgement, j.contrast?)));
    let (verdict, evidence) = match found {
        Some((judgement, contrast)) => (judgement.label(), numbers(contrast)),
        None => (
            NOT_MEASURED,
            format!("no runs of {lower} and {upper} with losses"),
        ),
    };
    Finding {
        claim,
        verdict,
        evidence,
    }
}

/// LoRA and the inducer together are better than either alone, or not than one of them.
fn complement(study: &Study) -> Finding {
    let beside_inducer = step(study, "lora-complements", "inducer", "inducer-lora");
    let [lora, both] = COMPLEMENT;
    let Some(beside_lora) = study.contrast(lora, both) else {
        return Finding {
            verdict: NOT_MEASURED,
            evidence: format!("no runs of {lora} and {both} with losses"),
            ..beside_inducer
        };
    };
    let other = Judgement::of(beside_lora, beside_lora.p()).label();
    let verdict = match (beside_inducer.verdict, other) {
        (a, b) if a == b => a,
        // what is not better than one of the two alone does not complement it
        ("appears", b) => b,
        (a, _) => a,
    };
    Finding {
        verdict,
        evidence: format!(
            "beside the inducer alone {}: {}; beside LoRA alone {other}: {}",
            beside_inducer.verdict,
            beside_inducer.evidence,
            numbers(beside_lora)
        ),
        ..beside_inducer
    }
}

/// The prefix and the inducer on long inputs, where the study has them.
fn sides(study: &Study) -> Option<(&Row, &Row, usize)> {
    both(&study.long.as_ref()?.rows, ON_LENGTH)
}

/// Two methods among `rows`, and the last of the quarters of their inputs by length.
fn both<'a>(rows: &'a [Row], methods: [&str; 2]) -> Option<(&'a Row, &'a Row, usize)> {
    let of = |method| rows.iter().find(|row| row.method == method);
    let [left, right] = methods.map(of);
    let (left, right) = (left?, right?);
    let bins = left.runs.first()?.result.mechanism.by_length.len();
    Some((left, right, bins.checked_sub(1)?))
}

/// How an interval lies to zero, in the words of [`Judgement`].
fn verdict(found: Option<Summary>) -> &'static str {
    match found.and_then(|s| s.interval) {
        None => NOT_MEASURED,
        Some((low, _)) if low > 0.0 => Judgement::Appears.label(),
        Some((_, high)) if high < 0.0 => Judgement::Reversed.label(),
        Some(_) => Judgement::Undecided.label(),
    }
}

fn interval(found: Option<Summary>, digits: usize) -> String {
    match (found, signed_interval(found, digits)) {
        (Some(Summary { n, mean, .. }), Some(interval)) => format!(
            "{} (95 % interval {interval}, {n} seeds)",
            signed(mean, digits)
        ),
        _ => "no two seeds of both".into(),
    }
}

/// How much farther the nearest key of the prefix lies than that of the inducer on the longest
/// inputs.
fn near(study: &Study) -> Finding {
    let found = sides(study).and_then(|(prefix, inducer, last)| {
        let [a, b] = [inducer, prefix].map(|row| row.of_length(last, |b| b.distance));
        let unreached = |bin| {
            let all = prefix.of_length(bin, |b| b.unreached);
            mean(
                &all.iter()
                    .map(|(_, share)| 100.0 * share)
                    .collect::<Vec<_>>(),
            )
        };
        Some((paired(&a, &b)?, unreached(0), unreached(last)))
    });
    Finding {
        claim: "near-inducers",
        verdict: verdict(found.map(|f| f.0)),
        evidence: match found {
            None => "no prefix and inducer on long inputs".into(),
            Some((far, short, long)) => format!(
                "median distance to the nearest added key on the longest inputs, prefix less \
                 inducer: {} bandwidths; queries that no prefix key reaches: {} % of those in the \
                 shortest inputs, {} % in the longest",
                interval(Some(far), 2),
                fixed(short, 1),
                fixed(long, 1)
            ),
        },
    }
}

/// Which of these methods has not learnt the long inputs, as the evidence says it: it does not beat
/// one constant answer, and decides nothing.
fn unlearnt(long: &Long, rows: &[&Row]) -> Option<String> {
    let constant = long.constant.as_ref()?;
    let side = constant.unbeaten_by(rows)?;
    Some(format!(
        "; but {} scores {}, always answering “{}” {}: it has not learnt the task",
        side.row.method,
        fixed(side.score, 2),
        constant.answer,
        fixed(side.least, 2)
    ))
}

/// How the loss gap grows with the length of the inputs.
fn long(study: &Study) -> Finding {
    let slope = study.long.as_ref().and_then(|long| long.slopes.first());
    let unlearnt = sides(study).and_then(|(a, b, _)| unlearnt(study.long.as_ref()?, &[a, b]));
    let Some(c) = slope else {
        return Finding {
            claim: "long-inputs",
            verdict: NOT_MEASURED,
            evidence: "no losses of prefix and inducer on long inputs".into(),
        };
    };
    Finding {
        claim: "long-inputs",
        verdict: match &unlearnt {
            Some(_) => NO_VERDICT,
            None => Judgement::of(c, c.p()).label(),
        },
        evidence: format!(
            "what each doubling of the length adds to the loss, {} less {}: {}{}",
            c.upper,
            c.lower,
            figures(c, "passages"),
            unlearnt.unwrap_or_default()
        ),
    }
}

/// What MAM's adapter adds on the longest inputs: of the part on long inputs, or of a study on
/// conversations, whose inputs are long themselves.
fn mam(study: &Study) -> Finding {
    let long = study.long.as_ref().map(|long| (&long.rows, Some(long)));
    let conversations = (study.task == Task::Coqa).then_some((&study.rows, None));
    let found = [long, conversations]
        .into_iter()
        .flatten()
        .find_map(|(rows, long)| {
            let (without, with, last) = both(rows, MAM)?;
            let unlearnt = long.and_then(|long| unlearnt(long, &[without, with]));
            let [with, without] = [with, without].map(|row| row.of_length(last, |b| Some(b.loss)));
            Some((paired(&with, &without)?, unlearnt))
        });
    let [without, with] = MAM;
    Finding {
        claim: "mam-long",
        verdict: match &found {
            Some((_, Some(_))) => NO_VERDICT,
            found => verdict(found.as_ref().map(|f| f.0)),
        },
        evidence: match found {
            None => format!("no {without} and {with} on long inputs"),
            Some((gain, unlearnt)) => format!(
                "loss of the first reference on the longest inputs, {without} less {with}: {} \
                 nats a token{}",
                interval(Some(gain), 3),
                unlearnt.unwrap_or_default()
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;
    use crate::study::constant::Constant;
    use inducer_verify::Ledger;

    fn of(study: &Study, claim: &str) -> Finding {
        let mut all = findings(study).into_iter();
        all.find(|f| f.claim == claim).unwrap()
    }

    #[test]
    fn every_empirical_claim_of_the_ledger_has_a_finding_and_nothing_else_has() {
        let ledger = Ledger::read().unwrap();
        let empirical = ledger.claim.iter().filter(|c| c.measured.is_some());
        let ids: Vec<&str> = empirical.map(|c| c.id.as_str()).collect();
        let found = findings(&testing::study());
        assert_eq!(found.iter().map(|f| f.claim).collect::<Vec<_>>(), ids);
    }

    #[test]
    fn a_step_has_the_judgement_of_the_page_and_follows_its_numbers() {
        let mut study = testing::study();
        assert_eq!(of(&study, "gating-collapses").verdict, "appears");
        let gating = study
            .contrasts
            .iter_mut()
            .find(|c| c.lower == "gating")
            .unwrap();
        gating.difference *= -1.0;
        let found = of(&study, "gating-collapses");
        assert_eq!(found.verdict, "reversed");
        assert!(
            found.evidence.contains("nats a token (95 % interval"),
            "{found:?}"
        );
        study.contrasts.clear();
        assert_eq!(of(&study, "gating-collapses").verdict, NOT_MEASURED);
    }

    #[test]
    fn lora_complements_the_inducer_only_where_both_are_better_than_lora_alone_too() {
        let mut study = testing::study();
        let strong = study
            .contrasts
            .iter()
            .find(|c| c.lower == "gating")
            .unwrap()
            .clone();
        study.contrasts.retain(|c| c.upper != "inducer-lora");
        let named = |lower: &str, difference: f64| Contrast {
            lower: lower.into(),
            upper: "inducer-lora".into(),
            difference,
            ..strong.clone()
        };
        let fall = strong.difference;
        study.contrasts.push(named("inducer", fall));
        assert_eq!(of(&study, "lora-complements").verdict, NOT_MEASURED);
        study.contrasts.push(named("lora", -fall));
        assert_eq!(of(&study, "lora-complements").verdict, "reversed");
        study.contrasts.pop();
        study.contrasts.push(named("lora", fall));
        assert_eq!(of(&study, "lora-complements").verdict, "appears");
    }

    #[test]
    fn mam_helps_on_long_inputs_where_its_loss_is_less_on_the_longest() {
        let mut study = testing::study();
        let set = |study: &mut Study, gain: f64| {
            let row = study.row("inducer").unwrap().clone();
            study.rows = vec![row.clone(), row];
            for (row, method) in study.rows.iter_mut().zip(MAM) {
                row.method = method.into();
                for run in &mut row.runs {
                    let noise = 0.01 * run.seed as f64;
                    let gain = if method == MAM[1] { gain + noise } else { 0.0 };
                    let bins = &mut run.result.mechanism.by_length;
                    let last = bins.len() - 1;
                    (bins[0].loss, bins[last].loss) = (1.0 + gain, 1.0 - gain);
                }
            }
        };
        // the inputs of this task are short
        let before = study.clone();
        set(&mut study, 0.5);
        assert_eq!(of(&study, "mam-long").verdict, NOT_MEASURED);
        study.task = Task::Coqa;
        assert_eq!(of(&study, "mam-long").verdict, "appears");
        study.rows = before.rows.clone();
        set(&mut study, -0.5);
        assert_eq!(of(&study, "mam-long").verdict, "reversed");
        // the part on long inputs goes before
        study.long = Some(testing::on_long_inputs(&study));
        study.task = before.task;
        assert_eq!(of(&study, "mam-long").verdict, "reversed");
        // a method that has not learnt the task says nothing
        study.long.as_mut().unwrap().constant = Some(Constant {
            answer: "yes".into(),
            score: 100.0,
            scores: vec![100.0; 4],
        });
        let found = of(&study, "mam-long");
        assert_eq!(found.verdict, NO_VERDICT);
        assert!(
            found.evidence.contains("it has not learnt the task"),
            "{found:?}"
        );
        study.long.as_mut().unwrap().rows.pop();
        let found = of(&study, "mam-long");
        assert_eq!(found.verdict, NOT_MEASURED);
        assert_eq!(
            found.evidence,
            "no inducer-lora and mam-inducer on long inputs"
        );
    }

    #[test]
    fn a_gap_that_grows_appears_and_one_that_shrinks_is_reversed() {
        let mut study = testing::study();
        study.long = Some(testing::on_long_inputs(&study));
        let set = |study: &mut Study, difference: f64| {
            study.long.as_mut().unwrap().slopes = vec![testing::slope("prefix", difference)];
        };
        set(&mut study, 0.0);
        assert_eq!(of(&study, "long-inputs").verdict, "equivalent");
        set(&mut study, -0.5);
        assert_eq!(of(&study, "long-inputs").verdict, "appears");
        set(&mut study, 0.5);
        assert_eq!(of(&study, "long-inputs").verdict, "reversed");
        // a side that has not learnt the task says nothing about the length
        let least = |study: &mut Study, score: f64| {
            study.long.as_mut().unwrap().constant = Some(Constant {
                answer: "yes".into(),
                score,
                scores: vec![score; 4],
            });
        };
        least(&mut study, 100.0);
        let found = of(&study, "long-inputs");
        assert_eq!(found.verdict, NO_VERDICT);
        assert!(
            found.evidence.contains("always answering “yes” 100.00"),
            "{found:?}"
        );
        least(&mut study, 0.0);
        assert_eq!(of(&study, "long-inputs").verdict, "reversed");
        study.long = None;
        assert_eq!(of(&study, "long-inputs").verdict, NOT_MEASURED);
        assert_eq!(of(&study, "near-inducers").verdict, NOT_MEASURED);
    }
}
