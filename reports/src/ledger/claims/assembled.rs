//! A study put together from the runs that its plan names. The runs are written by hand, so that
//! what each of them adds is known.

use super::failed;
use super::run::nearly;
use super::world::{World, hyperparameters, scored};
use crate::run::directory::{Curve, RunDir};
use crate::run::{Knobs, RunResult, Scores};
use crate::study::assemble::{Ledgers, study};
use crate::study::paper::{LONG_METHODS, NO_OFFSET, ON_LENGTH};
use crate::study::plan::{Part, Plan, Request, plan};
use crate::study::planned::Planned;
use crate::study::preset::Preset;
use crate::study::{LengthBin, Long, Mechanism, PartCount, Row, Study, TrainingSummary};
use anyhow::Result;
use inducer_datasets::metrics::{bleu, coqa, meteor, texts, webnlg};
use inducer_datasets::significance::approximate_randomisation;
use inducer_datasets::{Example, Reading, Task};
use inducer_gpu::files::write_json;
use inducer_verify::{Case, Claim, Target, Tolerance};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::ops::AddAssign;
use std::time::SystemTime;

/// The method that p compares with, and four more.
const METHODS: [&str; 5] = ["prefix", "inducer", "none", "lora", "extension"];
/// The only ones among them between which the paper has a step.
const JUDGED: [&str; 2] = ["inducer", "extension"];
const FULL: &str = "inducer";
const RATE: f64 = 0.01;

/// Draws of the randomisation test, and its seed.
const DRAWS: (usize, u64) = (1999, 1);

/// So many of the training part's answers are tried for a constant one.
const TRIED: usize = 20;

pub(super) fn claims() -> Vec<Claim> {
    vec![
        Claim::new("study-assembled")
            .one_case_in(4)
            .at_least(9)
            .on_one_sided(Target::CpuF64, assembled),
    ]
}

/// A run as it was written: what it was asked for, its texts and what it says of itself.
struct Written<'a> {
    planned: &'a Planned,
    texts: Vec<String>,
    result: RunResult,
    losses: Curve,
}

/// Every run stands in the row of its method with its own figures, p compares the texts of equal
/// seeds, the samples are those of the first seed, and the constant answer is the best one. In the
/// control every method's texts are one example further.
fn assembled(case: &mut Case) -> inducer_verify::Result<()> {
    let task = *case
        .draw
        .in_turn(&[Task::WebNlg, Task::Coqa, Task::Generate]);
    let world = World::generating(case, task)?;
    let limit = case.draw.pick(&[None, Some(5), Some(7)]);
    let seeds = case.draw.pick(&[&[3, 1, 2][..], &[2, 5], &[4]]);
    let loss_seeds = case.draw.pick(&[&[][..], &[7], &[9, 8]]);
    let plan = planned(&world, task, [seeds, loss_seeds], limit).map_err(failed)?;
    let examples = scored(&plan.main.prepared.splits.test, limit);
    let mut written = write(case, &plan.main, &examples)?;
    let long = plan.long.as_ref();
    let long_limit = limit.or(Some(800));
    let long_written = match long {
        Some(part) => write(case, part, &scored(&part.prepared.splits.test, long_limit))?,
        None => Vec::new(),
    };
    let ledgers = Ledgers {
        cases: 0,
        threads: 1,
        dir: &world.path("study"),
    };
    let found = study(&plan, false, &ledgers, SystemTime::now()).map_err(failed)?;
    if case.control {
        written.iter_mut().for_each(|run| run.texts.rotate_left(1));
    }
    for row in &found.rows {
        row_is(case, row, &written);
        let p = probability(task, &row.method, &written, &examples).map_err(failed)?;
        case.same(row.p_value, p, || format!("{task}: p of {}", row.method));
    }
    let methods: Vec<&str> = found.rows.iter().map(|row| &row.method[..]).collect();
    case.same(methods, METHODS.to_vec(), || "rows".into());
    samples(case, &found, &written, &examples, seeds[0]);
    data(case, &found, &plan.main, &examples);
    let settings = &found.provenance.settings;
    let numbers = [settings.steps, settings.batch_size, settings.max_new_tokens];
    case.same(numbers, [6, 4, 8], || "settings".into());
    case.same(&settings.seeds[..], seeds, || "seeds".into());
    case.same(&settings.loss_seeds[..], loss_seeds, || {
        "seeds by loss".into()
    });
    let alone = plan.main.runs.iter().filter(|run| run.config.loss_only);
    let alone: Vec<(u64, &str)> = alone.map(|run| (run.seed(), run.method())).collect();
    let expected = loss_seeds.iter().flat_map(|s| JUDGED.map(|m| (*s, m)));
    case.same(alone, expected.collect(), || "runs by loss alone".into());
    if let (Some(part), Some(found)) = (long, &found.long) {
        let further = loss_seeds.iter().flat_map(|s| ON_LENGTH.map(|m| (*s, m)));
        let planned = part.runs.iter().map(|run| (run.seed(), run.method()));
        let after = seeds.len() * LONG_METHODS.len();
        let planned: Vec<_> = planned.skip(after).collect();
        case.same(planned, further.collect(), || {
            "further runs on long inputs".into()
        });
        let examples = scored(&part.prepared.splits.test, long_limit);
        long_inputs(case, found, part, &long_written, &examples)?;
    }
    Ok(())
}

/// The rows on long inputs are those of their runs, the constant answer and its scores follow from
/// the questions, and slopes are of the runs that have learnt the task.
fn long_inputs(
    case: &mut Case,
    found: &Long,
    part: &Part,
    written: &[Written],
    examples: &[Example],
) -> inducer_verify::Result<()> {
    for row in &found.rows {
        row_is(case, row, written);
    }
    let first = written.first();
    let bins = first.map_or(&[][..], |run| &run.result.mechanism.by_length);
    let Some(constant) = &found.constant else {
        case.same(bins.is_empty(), true, || "no constant answer".into());
        return Ok(());
    };
    let best = best(&part.prepared.splits.train, examples).map_err(failed)?;
    let lengths = lengths(part, examples).map_err(failed)?;
    case.same(&constant.answer, &best, || "the constant answer".into());
    let tolerance = Tolerance::stated(1e-11, "1e-11: a mean of figures up to 100");
    let all: Vec<&Example> = examples.iter().collect();
    let least = f1(&best, &all).map_err(failed)?;
    case.close(constant.score, least, &tolerance, || {
        format!("{best:?} on all")
    });
    for (i, bin) in bins.iter().enumerate() {
        let inside = |n: &usize| (bin.from..=bin.to).contains(n);
        let here = lengths.iter().zip(examples).filter(|(n, _)| inside(n));
        let here: Vec<&Example> = here.map(|(_, e)| e).collect();
        let expected = f1(&best, &here).map_err(failed)?;
        case.close(constant.scores[i], expected, &tolerance, || {
            format!("{best:?} in bin {i}")
        });
    }
    let learnt = |method: &str| -> Result<usize> {
        let own = written.iter().filter(|run| run.is(method));
        let scores = own.map(|run| of_texts(&run.texts, &all));
        let scores: Vec<f64> = scores.collect::<Result<_>>()?;
        Ok(scores.iter().filter(|f1| **f1 >= 2.0 * least).count())
    };
    let upper = learnt(ON_LENGTH[1]).map_err(failed)?;
    for lower in [ON_LENGTH[0], NO_OFFSET] {
        let runs = [learnt(lower).map_err(failed)?, upper];
        let compared = found.slopes.iter().find(|c| c.lower == lower);
        let expected = (runs.iter().min() > Some(&1)).then_some(runs);
        case.same(compared.map(|c| c.seeds), expected, || {
            format!("runs of {lower} and the inducer that have learnt the task")
        });
    }
    Ok(())
}

/// The plan of a study on the world's data and backbone; on CoQA's the part on long inputs has them
/// too.
pub(super) fn planned(
    world: &World,
    task: Task,
    [seeds, loss_seeds]: [&[u64]; 2],
    limit: Option<usize>,
) -> Result<Plan> {
    let source = &world.prepared.source;
    plan(&Request {
        task,
        data: Some(source.data.clone()),
        reading: Reading::default(),
        backbone: Some(source.backbone.clone()),
        long_data: (task == Task::Coqa).then(|| source.data.clone()),
        no_long: true,
        out: world.path("study"),
        seeds: seeds.to_vec(),
        loss_seeds: loss_seeds.to_vec(),
        methods: METHODS.map(String::from).to_vec(),
        preset: Preset::Default,
        knobs: Knobs::default(),
        hyper: hyperparameters(RATE, limit),
        search: None,
    })
}

/// Writes the runs of a part, some of which are not finished; the first one is.
fn write<'a>(
    case: &mut Case,
    part: &'a Part,
    examples: &[Example],
) -> inducer_verify::Result<Vec<Written<'a>>> {
    let mut lengths = lengths(part, examples).map_err(failed)?;
    lengths.sort_unstable();
    let middle = lengths[lengths.len() / 2];
    let mut written = Vec::new();
    for (i, planned) in part.runs.iter().enumerate() {
        if i > 0 && case.draw.chance(0.2) {
            continue;
        }
        // some runs on long inputs answer all questions alike
        let alike = planned.name().starts_with("long-") && case.draw.chance(0.25);
        let text = |e: &Example| match alike {
            true => "nothing".to_string(),
            false => nearly(case, e),
        };
        let texts: Vec<String> = examples.iter().map(text).collect();
        let trained = planned.config.train.steps > 0;
        let mut figure = || case.draw.between(0.1, 9.0);
        let bins = [
            (lengths[0], middle - 1),
            (middle, lengths[lengths.len() - 1]),
        ];
        let bins = bins.map(|(from, to)| LengthBin {
            from,
            to,
            entries: 1,
            score: Some(figure()),
            loss: figure(),
            gate: None,
            unreached: None,
            distance: None,
        });
        let training = TrainingSummary {
            validation_loss: figure(),
            best_step: 2,
            last_validation_loss: figure(),
            steps: planned.config.train.steps,
            tokens: if trained { 1000 + i as u64 } else { 0 },
            train_seconds: if trained { figure() } else { 0.0 },
            decode_seconds: figure(),
        };
        let losses = (1..=5).map(|step| (step, figure())).collect();
        let files = meteor::Files::default();
        let loss_only = planned.config.loss_only;
        let made = || -> Result<Written<'a>> {
            let result = RunResult {
                scores: match loss_only {
                    true => Scores::none(),
                    false => Scores::of(&part.prepared, &texts, examples, &files)?,
                },
                training,
                test_loss: loss_only.then_some(1.5),
                mechanism: Mechanism {
                    by_length: if loss_only { Vec::new() } else { bins.to_vec() },
                    ..Mechanism::default()
                },
                peak_bytes: None,
            };
            let run = Written {
                planned,
                texts,
                // a file has not every figure of a score
                result: serde_json::from_value(serde_json::to_value(result)?)?,
                losses,
            };
            run.write()?;
            Ok(run)
        };
        written.push(made().map_err(failed)?);
    }
    Ok(written)
}

impl Written<'_> {
    fn write(&self) -> Result<()> {
        let dir = &self.planned.dir;
        let nats = |text: &String| json!({ "tokens": 2, "nats": 1.0 + text.len() as f64 });
        let nats: Vec<_> = self.texts.iter().map(nats).collect();
        RunDir::open(dir, &self.planned.config, false)?;
        write_json(&dir.join("result.json"), &self.result)?;
        write_json(&dir.join("test_losses.json"), &nats)?;
        if !self.planned.config.loss_only {
            fs::write(dir.join("outputs.txt"), self.texts.join("\n") + "\n")?;
        }
        let line = |(step, loss): &(usize, f64)| json!({ "step": step, "loss": loss }).to_string();
        let lines: Vec<String> = self.losses.iter().map(line).collect();
        Ok(fs::write(
            dir.join("metrics.jsonl"),
            lines.join("\n") + "\n",
        )?)
    }

    fn is(&self, method: &str) -> bool {
        self.planned.config.method == method
    }

    fn seed(&self) -> u64 {
        self.planned.config.train.seed
    }
}

/// Tokens of each prompt.
pub(super) fn lengths(part: &Part, examples: &[Example]) -> Result<Vec<usize>> {
    let layout = part.prepared.layout()?;
    let of = |e| Ok(layout.prompt(e)?.ids.len());
    examples.iter().map(of).collect()
}

/// The runs of a row are those of its method, each with its own figures.
fn row_is(case: &mut Case, row: &Row, written: &[Written]) {
    let name = &row.method;
    let own: Vec<&Written> = written.iter().filter(|run| run.is(name)).collect();
    let seeds: Vec<u64> = own.iter().map(|run| run.seed()).collect();
    let found: Vec<u64> = row.runs.iter().map(|run| run.seed).collect();
    case.same(found, seeds, || format!("{name}: seeds"));
    let rate = (name != "none").then_some(RATE);
    case.same(row.learning_rate, rate, || format!("{name}: learning rate"));
    let tolerance = Tolerance::stated(1e-12, "1e-12: 4 u of 1,100 tokens, one division");
    for (found, run) in row.runs.iter().zip(own) {
        let name = format!("{name}, seed {}", run.seed());
        case.same(&found.result, &run.result, || format!("{name}: result"));
        case.same(&found.curves.train, &run.losses, || {
            format!("{name}: losses")
        });
        let training = &run.result.training;
        let seconds = found.tokens_per_second * training.train_seconds;
        case.close(seconds, training.tokens as f64, &tolerance, || {
            format!("{name}: tokens a second")
        });
    }
}

/// p of a method against Inducer-tuning: of the texts of all seeds that both have, an example with
/// all its texts swapped at once.
fn probability(
    task: Task,
    method: &str,
    written: &[Written],
    examples: &[Example],
) -> Result<Option<f64>> {
    match task {
        Task::WebNlg => {
            let counts = webnlg::bleu_counts_without_empty;
            swapped(method, written, examples, counts, |sum| sum.score().score)
        }
        Task::Coqa => {
            let counts = |text: &str, e: &Example| coqa::Counts::of(text, &e.references);
            swapped(method, written, examples, counts, |sum| sum.score().f1)
        }
        _ => swapped(method, written, examples, texts::bleu_counts, |sum| {
            sum.smoothed(bleu::Smoothing::Exp).score
        }),
    }
}

fn swapped<C: Copy + Default + AddAssign>(
    method: &str,
    written: &[Written],
    examples: &[Example],
    counts: impl Fn(&str, &Example) -> C,
    score: impl Fn(C) -> f64,
) -> Result<Option<f64>> {
    let mut sums = [(); 2].map(|()| vec![C::default(); examples.len()]);
    let mut pairs = 0;
    let decoded = written.iter().filter(|run| !run.planned.config.loss_only);
    for run in decoded.filter(|run| run.is(method)) {
        let full = |other: &&Written| other.is(FULL) && other.seed() == run.seed();
        let Some(full) = written.iter().find(full) else {
            continue;
        };
        pairs += 1;
        for (sum, run) in sums.iter_mut().zip([run, full]) {
            for ((sum, text), example) in sum.iter_mut().zip(&run.texts).zip(examples) {
                *sum += counts(text, example);
            }
        }
    }
    if method == FULL || pairs == 0 {
        return Ok(None);
    }
    let (draws, seed) = DRAWS;
    let found = approximate_randomisation(&sums[0], &sums[1], score, draws, seed)?;
    Ok(Some(found.p))
}

/// The samples are at most four examples of each kind, at even distances, with the texts of the
/// first seed's runs.
fn samples(
    case: &mut Case,
    found: &Study,
    written: &[Written],
    examples: &[Example],
    first_seed: u64,
) {
    let mut expected = Vec::new();
    for seen in [true, false] {
        let of_kind = |i: &usize| examples[*i].seen == seen;
        let own: Vec<usize> = (0..examples.len()).filter(of_kind).collect();
        expected.extend(scored(&own, Some(4)));
    }
    case.same(found.samples.len(), expected.len(), || "samples".into());
    for (sample, i) in found.samples.iter().zip(expected) {
        let references = &examples[i].references;
        case.same(&sample.references, references, || format!("sample {i}"));
        let first = written.iter().filter(|run| run.seed() == first_seed);
        let of = |run: &Written| (run.planned.config.method.clone(), run.texts[i].clone());
        let outputs: Vec<_> = first.map(of).collect();
        case.same(&sample.outputs, &outputs, || format!("texts of sample {i}"));
    }
}

/// The page counts the examples of each part, their references, and the scored ones by kind.
fn data(case: &mut Case, found: &Study, part: &Part, examples: &[Example]) {
    let count = |examples: &[Example]| PartCount {
        entries: examples.len(),
        texts: examples.iter().map(|e| e.references.len()).sum(),
    };
    let (data, splits) = (&found.provenance.data, &part.prepared.splits);
    for (name, found, examples) in [
        ("train", data.train, &splits.train[..]),
        ("dev", data.dev, &splits.dev),
        ("test", data.test, examples),
    ] {
        case.same(found, count(examples), || format!("{name}: entries, texts"));
    }
    let seen = examples.iter().filter(|e| e.seen).count();
    let kinds = [data.test_seen, data.test_unseen];
    case.same(kinds, [seen, examples.len() - seen], || {
        "seen, unseen".into()
    });
}

/// The answer that scores best where it is given to all these questions, of the most frequent first
/// ones of the training part; of those that score alike the most frequent, then the last by the
/// alphabet.
fn best(train: &[Example], questions: &[Example]) -> Result<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for answer in train.iter().filter_map(|e| e.references.first()) {
        *counts.entry(answer.to_lowercase()).or_default() += 1;
    }
    let mut all: Vec<(usize, String)> = counts.into_iter().map(|(a, n)| (n, a)).collect();
    all.sort_unstable_by(|a, b| b.cmp(a));
    all.truncate(TRIED);
    let questions: Vec<&Example> = questions.iter().collect();
    let mut best = (f64::NEG_INFINITY, String::new());
    for (_, answer) in all {
        let score = f1(&answer, &questions)?;
        if score > best.0 {
            best = (score, answer);
        }
    }
    Ok(best.1)
}

/// F1, 0 to 100, of one answer to all of these questions.
fn f1(answer: &str, questions: &[&Example]) -> Result<f64> {
    of_texts(&vec![answer.to_string(); questions.len()], questions)
}

/// F1, 0 to 100, of answers to these questions.
fn of_texts(texts: &[String], questions: &[&Example]) -> Result<f64> {
    let references: Vec<_> = questions.iter().map(|e| e.references.clone()).collect();
    let domains = vec![String::new(); questions.len()];
    Ok(coqa(texts, &references, &domains)?.overall.f1)
}
