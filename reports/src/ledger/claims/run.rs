//! Whole runs: the adapter that is scored is the best one, on the examples that were asked for, and
//! every score is that of its group.

use super::failed;
use super::world::{World, mean, ran, ran_as};
use crate::run::Scores;
use anyhow::Result;
use candle_core::DType;
use inducer_datasets::metrics::bleu::{Counts, Smoothing, counts_13a};
use inducer_datasets::metrics::ter::{Algorithm, corpus_ter};
use inducer_datasets::metrics::{coqa, meteor, webnlg};
use inducer_datasets::{Example, Task};
use inducer_verify::bounds::{UNIT_ROUNDOFF_F32, UNIT_ROUNDOFF_F64};
use inducer_verify::{Case, Claim, Target, Tolerance};

/// Methods in turn.
const METHODS: [&str; 5] = ["inducer", "lora", "adaptive", "prefix", "adapter"];

/// Tasks in turn, as many as go with each method in ten cases.
const TASKS: [Task; 3] = [Task::WebNlg, Task::Coqa, Task::Generate];

pub(super) fn claims() -> Vec<Claim> {
    let claim = |id| Claim::new(id).one_case_in(16).at_least(5);
    vec![
        claim("run-scores-the-best").on_one_sided(Target::CpuF32, best),
        claim("run-texts")
            .at_least(10)
            .on_one_sided(Target::CpuF32, texts),
        claim("run-scores-by-group").on_one_sided(Target::CpuF64, groups),
        claim("run-scores-texts")
            .at_least(8)
            .on_one_sided(Target::CpuF64, scores),
    ]
}

/// A method and a world of texts.
fn drawn(case: &mut Case) -> inducer_verify::Result<(&'static str, World)> {
    let (method, task) = (*case.draw.in_turn(&METHODS), *case.draw.in_turn(&TASKS));
    Ok((method, World::generating(case, task)?))
}

/// Validation loss, loss of the test part and that of each example of a run are those of the saved
/// adapter with the lower validation loss, on the examples that were asked for; of a run that is
/// scored by its loss alone too, which writes no texts. In the control those of the other adapter.
fn best(case: &mut Case) -> inducer_verify::Result<()> {
    // at so high a rate a run is soon worse than it was
    let (method, world) = drawn(case)?;
    let loss_only = *case.draw.in_turn(&[false, true]);
    let ran = ran_as(case, world, method, [0.3, 1.0], loss_only)?;
    case.same(ran.texts.is_empty(), loss_only, || "no texts".into());
    let name = format!(
        "{} at {}",
        ran.config.method, ran.config.train.learning_rate
    );
    let (world, examples) = (&ran.world, ran.world.scored(ran.config.test_limit));
    let (dir, validation) = ran.chosen(case.control).map_err(failed)?;
    let model = world.model(&dir, DType::F64).map_err(failed)?;
    let losses = world.losses(&model, &examples).map_err(failed)?;
    let mut expected = vec![
        ("/validation_loss".to_string(), validation),
        ("/test_loss".to_string(), mean(&losses)),
    ];
    for (i, [nats, tokens]) in losses.iter().enumerate() {
        expected.push((format!("/losses/{i}/nats"), *nats));
        expected.push((format!("/losses/{i}/tokens"), *tokens));
    }
    for (place, expected) in expected {
        let bound = 128.0 * UNIT_ROUNDOFF_F32 * expected.abs();
        let why = "128 u |L|: a run in f32 beside one in f64, with the logits of high rates";
        case.close(
            ran.number(&place),
            expected,
            &Tolerance::stated(bound, why),
            || format!("{name}: {place}"),
        );
    }
    Ok(())
}

/// The texts of a run are what its adapter says of the examples that were asked for, decoded
/// greedily to the end token or the most new tokens. In the control that is one token less.
fn texts(case: &mut Case) -> inducer_verify::Result<()> {
    let (method, world) = drawn(case)?;
    let ran = ran(case, world, method, [1e-3, 1e-2])?;
    let (world, examples) = (&ran.world, ran.world.scored(ran.config.test_limit));
    let most = ran.config.max_new_tokens - case.or_control(0, 1);
    let expected = || -> Result<Vec<String>> {
        let (dir, _) = ran.chosen(false)?;
        world.texts(&world.model(&dir, DType::F32)?, &examples, most)
    };
    let expected = expected().map_err(failed)?;
    case.same(&ran.texts, &expected, || {
        format!("{}: {} texts", ran.config.method, examples.len())
    });
    Ok(())
}

/// Every score of texts is that of those on the examples of its group, which are those of
/// categories that the training part has (seen) or has not. In the control the groups are
/// exchanged.
fn groups(case: &mut Case) -> inducer_verify::Result<()> {
    let world = World::new(case)?;
    let splits = &world.prepared.splits;
    let examples = world.scored(case.draw.pick(&[None, Some(4), Some(7)]));
    // what a person wrote, or another one's entry, with words left out
    let texts: Vec<String> = (0..examples.len())
        .map(|i| {
            let from = match case.draw.chance(0.2) {
                true => case.draw.size(0, examples.len() - 1),
                false => i,
            };
            nearly(case, &examples[from])
        })
        .collect();
    let is_seen = |e: &Example| splits.train.iter().any(|t| t.category == e.category);
    let files = meteor::Files::default();
    let score = |group: Option<bool>| -> Result<Option<[f64; 3]>> {
        let pairs = texts.iter().zip(&examples);
        let own = pairs.filter(|(_, e)| group.is_none_or(|seen| seen == is_seen(e)));
        let (texts, own): (Vec<String>, Vec<Example>) =
            own.map(|(text, e)| (text.clone(), e.clone())).unzip();
        if own.is_empty() {
            return Ok(None);
        }
        let scores = webnlg::scores(&texts, &own, &files)?;
        let bleu = [&scores.bleu, &scores.bleu_without_empty].map(|b| b.all.score);
        Ok(Some([bleu[0], bleu[1], scores.ter.all.score]))
    };
    let found = Scores::of(&world.prepared, &texts, &examples, &files).map_err(failed)?;
    let Scores::WebNlg { bleu, ter, .. } = found else {
        return Err(failed(anyhow::anyhow!("WebNLG has its own scores")));
    };
    let seen = !case.control;
    for (what, found, group, which) in [
        ("BLEU, seen", bleu.seen, Some(seen), 0),
        ("BLEU, unseen", bleu.unseen, Some(!seen), 0),
        ("BLEU", bleu.all, None, 0),
        ("BLEU without empty references", bleu.without_empty, None, 1),
        ("TER", ter, None, 2),
    ] {
        let expected = score(group).map_err(failed)?.map(|scores| scores[which]);
        case.same(found, expected, || format!("{what} of {texts:?}"));
    }
    Ok(())
}

/// What a person wrote, with words left out.
pub(super) fn nearly(case: &mut Case, example: &Example) -> String {
    let words = example.references[0].split_whitespace();
    let kept: Vec<&str> = words.filter(|_| case.draw.chance(0.8)).collect();
    kept.join(" ")
}

/// What a person wrote, with words left out, capitals and no-break spaces: what the tokenizations
/// and cases of BLEU and TER part ways at.
fn roughly(case: &mut Case, example: &Example) -> String {
    let mut text = String::new();
    for word in nearly(case, example).split_whitespace() {
        if !text.is_empty() {
            text.push(case.draw.pick(&[' ', '\u{a0}']));
        }
        text += &match case.draw.chance(0.3) {
            true => word.to_uppercase(),
            false => word.to_owned(),
        };
    }
    text
}

/// F1 of the words of two texts whose signs all stand behind a word: 2 · common / (words of both).
fn word_f1(a: &str, b: &str) -> f64 {
    let words = |text: &str| -> Vec<String> {
        let bare = text.split_whitespace().map(|w| w.trim_matches([',', ':']));
        bare.map(str::to_lowercase).collect()
    };
    let (a, mut left) = (words(a), words(b));
    let all = a.len() + left.len();
    let mut common = 0;
    for word in a {
        if let Some(at) = left.iter().position(|other| *other == word) {
            left.swap_remove(at);
            common += 1;
        }
    }
    f64::from(2 * common) / all as f64
}

/// The scores of texts of one's own are sacrebleu's BLEU and TER and the words they share with the
/// best reference, and those of answers CoQA's, each on its own example. In the control the texts
/// are one example further.
fn scores(case: &mut Case) -> inducer_verify::Result<()> {
    let task = *case.draw.in_turn(&[Task::Generate, Task::Coqa]);
    let world = World::generating(case, task)?;
    let examples = world.scored(case.draw.pick(&[None, Some(5), Some(7)]));
    let texts: Vec<String> = examples.iter().map(|e| roughly(case, e)).collect();
    let found = Scores::of(
        &world.prepared,
        &texts,
        &examples,
        &meteor::Files::default(),
    );
    let mut texts = texts;
    texts.rotate_left(case.or_control(0, 1));
    let references: Vec<Vec<String>> = examples.iter().map(|e| e.references.clone()).collect();
    let n = texts.len() as f64;
    let why = "16 u n: a mean of n figures up to 100";
    let tolerance = Tolerance::stated(1600.0 * UNIT_ROUNDOFF_F64 * n, why);
    let expected = || -> Result<Vec<f64>> {
        Ok(match task {
            Task::Coqa => {
                let domains = vec![String::new(); texts.len()];
                let all = coqa(&texts, &references, &domains)?.overall;
                vec![all.exact_match, all.f1]
            }
            _ => {
                let mut sum = Counts::default();
                for own in counts_13a(&texts, &references, false)? {
                    sum += own;
                }
                let pairs = texts.iter().zip(&references);
                let best = |(text, own): (&String, &Vec<String>)| {
                    own.iter().map(|r| word_f1(text, r)).fold(0.0, f64::max)
                };
                let f1: f64 = pairs.map(best).sum();
                vec![
                    sum.smoothed(Smoothing::Exp).score,
                    corpus_ter(&texts, &references, Algorithm::Sacrebleu)?.score,
                    100.0 * f1 / n,
                ]
            }
        })
    };
    let expected = expected().map_err(failed)?;
    let found = match found.map_err(failed)? {
        Scores::Coqa { scores } => vec![scores.overall.exact_match, scores.overall.f1],
        Scores::Text {
            bleu, ter, overlap, ..
        } => [bleu.all, ter, Some(overlap.f1)]
            .into_iter()
            .flatten()
            .collect(),
        _ => return Err(failed(anyhow::anyhow!("{task} has its own scores"))),
    };
    case.same(found.len(), expected.len(), || "figures".into());
    for (i, (found, expected)) in found.into_iter().zip(expected).enumerate() {
        case.close(found, expected, &tolerance, || {
            format!("figure {i} of {texts:?}")
        });
    }
    Ok(())
}
