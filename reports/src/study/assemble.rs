//! From a plan and what its runs left on disk to the [`Study`] that the report shows.

use super::comparable::comparable;
use super::paper::FULL_METHOD;
use super::plan::{Part, Plan};
use super::planned::Planned;
use super::{
    BackboneSource, ClaimLine, DataSource, Ledger, Long, OwnStep, PartCount, Provenance, Row, Run,
    SCHEMA, Sample, Settings, Study,
};
use super::{constant, contrasts, slopes};
use crate::compute;
use crate::ledger::{LedgerProgress, kept};
use crate::parameters;
use crate::run::directory::{curves, finished, outputs};
use crate::run::{self, Prepared, RunResult, Scores};
use anyhow::{Context, Result, ensure};
use inducer_datasets::metrics::{accuracy, coqa, texts, webnlg};
use inducer_datasets::significance::approximate_randomisation;
use inducer_datasets::{Example, Input, Task};
use inducer_gpu::counts;
use inducer_verify::{Ledger as Claims, Options, Report, Verdict, runner};
use serde_json::Value;
use std::ops::AddAssign;
use std::path::Path;
use std::time::SystemTime;

/// Test inputs shown with every method's text.
const SAMPLES: usize = 8;

/// Draws of the randomisation test.
const DRAWS: usize = 1999;

/// Random cases of each claim when a report is made.
pub const LEDGER_CASES: usize = 4;

/// Most points of a curve in a report: what a picture can show. A run's directory has them all.
const CURVE_POINTS: usize = 48;

/// Puts the study together from the runs that are done.
///
/// # Errors
/// No run is done; a run's files cannot be read.
pub fn study(
    plan: &Plan,
    generated: bool,
    ledgers: &Ledgers<'_>,
    started: SystemTime,
) -> Result<Study> {
    let task = plan.main.prepared.source.task;
    let done = done(&plan.main)?;
    ensure!(
        !done.is_empty(),
        "no run of this study is finished: {} holds none of its {}",
        plan.main.runs[0]
            .dir
            .parent()
            .unwrap_or(&plan.main.runs[0].dir)
            .display(),
        plan.main.runs.len()
    );
    let matchers = done.iter().rev().find_map(|d| match &d.result.scores {
        Scores::WebNlg { meteor, .. } | Scores::Text { meteor, .. } => {
            meteor.as_ref().map(|(_, ran)| ran.as_slice())
        }
        _ => None,
    });
    let long = plan.long.as_ref().map(|part| long(part, plan));
    let long = long.transpose()?;
    let ledger = ledgers.summary()?;
    let first = first(&plan.main)?;
    let command: Vec<String> = std::iter::once("inducer".to_string())
        .chain(std::env::args().skip(1))
        .collect();
    Ok(Study {
        schema: SCHEMA,
        task,
        provenance: Provenance {
            version: env!("CARGO_PKG_VERSION").into(),
            command: command.join(" "),
            rerun: format!("cargo run --release -- {}", command[1..].join(" ")),
            options: Value::Null,
            started: humantime::format_rfc3339_seconds(started).to_string(),
            finished: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            device: first.config.device.name().into(),
            threads: ledgers.threads,
            budget: None,
            settings: settings(&plan.main, plan)?,
            data: data(&plan.main)?,
            backbone: backbone(&plan.main)?,
            comparable: comparable(plan, generated, matchers),
        },
        rows: rows(&plan.main, &done)?,
        contrasts: contrasts::of(done.iter().map(|d| d.planned))?,
        rates: plan.main.rates.clone(),
        samples: samples(plan, &done)?,
        looks: Vec::new(),
        going: None,
        long,
        ledger,
    })
}

/// The part on long inputs.
fn long(part: &Part, plan: &Plan) -> Result<Long> {
    let done = done(part)?;
    let rows = rows(part, &done)?;
    let mut runs = rows.iter().flat_map(|row| &row.runs);
    let bins = runs.next().map(|run| &run.result.mechanism.by_length);
    let limit = first(part)?.config.test_limit;
    let constant = constant::of(part, limit, bins.map_or(&[], Vec::as_slice))?;
    // what a run has not learnt cannot fall with the length
    let learnt = done.iter().filter(|d| {
        let constant = constant.as_ref();
        constant.is_none_or(|c| c.is_beaten_by(&d.result.scores))
    });
    let slopes = slopes::of(part, learnt.map(|d| d.planned))?;
    Ok(Long {
        settings: settings(part, plan)?,
        data: data(part)?,
        backbone: Some(backbone(part)?),
        rates: part.rates.clone(),
        constant,
        rows,
        slopes,
    })
}

/// Whether a run of the study is finished.
///
/// # Errors
/// A run's files cannot be read.
pub fn can_report(plan: &Plan) -> Result<bool> {
    for run in &plan.main.runs {
        if finished(&run.dir, &run.config)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn first(part: &Part) -> Result<&Planned> {
    part.runs.first().context("a study needs a run")
}

fn settings(part: &Part, plan: &Plan) -> Result<Settings> {
    let most = |of: fn(&Planned) -> usize| part.runs.iter().map(of).max().unwrap_or(0);
    let first = &first(part)?.config;
    Ok(Settings {
        steps: most(|r| r.config.train.steps),
        batch_size: first.batch_size,
        warmup: most(|r| r.config.train.warmup),
        label_smoothing: first.train.label_smoothing,
        dropout: first.train.dropout,
        seeds: plan.seeds.clone(),
        loss_seeds: part.loss_seeds(),
        max_new_tokens: first.max_new_tokens,
    })
}

fn backbone(part: &Part) -> Result<BackboneSource> {
    let config = &first(part)?.config;
    let b = &part.prepared.backbone;
    Ok(BackboneSource {
        name: part.backbone_name.clone(),
        origin: config.backbone.display().to_string(),
        layers: b.spec().layers,
        hidden: b.spec().hidden,
        heads: b.spec().heads.count,
        vocabulary: b.spec().vocabulary,
        parameters: counts::of_backbone(b),
        fingerprint: config.backbone_fingerprint.clone(),
    })
}

fn data(part: &Part) -> Result<DataSource> {
    let splits = &part.prepared.splits;
    let first = &first(part)?.config;
    let scored = run::test_examples(&part.prepared, first.test_limit);
    let count = |examples: &[Example]| PartCount {
        entries: examples.len(),
        texts: examples.iter().map(|e| e.references.len()).sum(),
    };
    Ok(DataSource {
        name: part.data_name.clone(),
        origin: first.data.display().to_string(),
        fingerprint: splits.fingerprint.clone(),
        train: count(&splits.train),
        dev: count(&splits.dev),
        test: count(&scored),
        test_seen: scored.iter().filter(|e| e.seen).count(),
        test_unseen: scored.iter().filter(|e| !e.seen).count(),
        skipped: splits.skipped.train.len() + splits.skipped.dev.len() + splits.skipped.test.len(),
    })
}

/// A run that is finished, and its test texts.
struct Done<'a> {
    planned: &'a Planned,
    result: RunResult,
    texts: Vec<String>,
}

fn done(part: &Part) -> Result<Vec<Done<'_>>> {
    let mut all = Vec::new();
    for planned in &part.runs {
        if let Some(result) = finished(&planned.dir, &planned.config)? {
            all.push(Done {
                planned,
                result,
                texts: match planned.config.loss_only {
                    true => Vec::new(),
                    false => outputs(&planned.dir)?,
                },
            });
        }
    }
    Ok(all)
}

fn rows(part: &Part, done: &[Done<'_>]) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for planned in &part.runs {
        if rows.iter().all(|r| r.method != planned.method()) {
            rows.push(row(planned, part)?);
        }
    }
    let examples = run::test_examples(&part.prepared, first(part)?.config.test_limit);
    for row in &mut rows {
        for d in done.iter().filter(|d| d.planned.method() == row.method) {
            row.runs.push(run_record(d)?);
        }
        row.p_value = p_value(&part.prepared, &row.method, done, &examples)?;
    }
    Ok(rows)
}

fn run_record(done: &Done<'_>) -> Result<Run> {
    let (planned, training) = (done.planned, &done.result.training);
    let rate = training.tokens as f64 / training.train_seconds;
    Ok(Run {
        seed: planned.seed(),
        result: done.result.clone(),
        tokens_per_second: if training.train_seconds > 0.0 {
            rate
        } else {
            0.0
        },
        curves: curves(&planned.dir)?.thinned(CURVE_POINTS),
        directory: planned.dir.display().to_string(),
        configuration: serde_json::to_value(&planned.config)?,
    })
}

fn row(planned: &Planned, part: &Part) -> Result<Row> {
    let (method, adapter) = (planned.method(), &planned.config.adapter);
    let counted = parameters::row(parameters::title(method), adapter, &part.prepared.backbone);
    let train = &planned.config.train;
    let own = adapter.custom.as_ref().and_then(|c| c.method().step());
    Ok(Row {
        method: method.into(),
        title: counted.method,
        adapter: serde_json::to_value(adapter)?,
        trained: counted.trained,
        stored: counted.stored,
        share: counted.trained_percent,
        learning_rate: (train.steps > 0 && !part.is_open(planned)).then_some(train.learning_rate),
        runs: Vec::new(),
        p_value: None,
        step: own.map(|(lower, change)| OwnStep {
            lower: lower.into(),
            change: change.into(),
        }),
    })
}

/// Approximate randomisation against Inducer-tuning: the outputs of all common seeds on the scored
/// inputs. What is swapped is an input with all its outputs: seeds are no further inputs.
fn p_value(
    prepared: &Prepared,
    method: &str,
    done: &[Done<'_>],
    examples: &[Example],
) -> Result<Option<f64>> {
    if method == FULL_METHOD {
        return Ok(None);
    }
    let decoded = |d: &&Done<'_>| !d.planned.config.loss_only;
    let of = |method| {
        done.iter()
            .filter(move |d| d.planned.method() == method && decoded(d))
    };
    let mut pairs = Vec::new();
    for ours in of(method) {
        let same = |w: &&Done<'_>| w.planned.seed() == ours.planned.seed();
        if let Some(other) = of(FULL_METHOD).find(same) {
            let fits = |d: &Done<'_>| d.texts.len() == examples.len();
            if !fits(ours) || !fits(other) {
                return Ok(None);
            }
            pairs.push([ours.texts.as_slice(), other.texts.as_slice()]);
        }
    }
    if pairs.is_empty() || examples.is_empty() {
        return Ok(None);
    }
    let p = match prepared.source.task {
        Task::WebNlg => {
            let counts = webnlg::bleu_counts_without_empty;
            resampled(&pairs, examples, counts, |c| c.score().score)
        }
        Task::Generate => resampled(&pairs, examples, texts::bleu_counts, |c| {
            texts::bleu(&c).score
        }),
        Task::Coqa => {
            let counts = |text: &str, e: &Example| coqa::Counts::of(text, &e.references);
            resampled(&pairs, examples, counts, |c| c.score().f1)
        }
        Task::Mnli | Task::Sst2 | Task::Classify => {
            let classes = &prepared.splits.classes;
            let counts = |text: &str, e: &Example| {
                accuracy::Counts::of(Some(run::class_named(classes, text)) == e.class)
            };
            resampled(&pairs, examples, counts, |c| c.score().score)
        }
    };
    Ok(Some(p?))
}

/// The two-sided probability of a difference, by approximate randomisation over the examples; the
/// counts of an example are summed over the pairs of runs.
fn resampled<C: Copy + Default + AddAssign>(
    pairs: &[[&[String]; 2]],
    examples: &[Example],
    counts: impl Fn(&str, &Example) -> C,
    score: impl Fn(C) -> f64,
) -> Result<f64> {
    let summed = |side: usize| -> Vec<C> {
        let of = |(i, e): (usize, &Example)| {
            let mut sum = C::default();
            pairs.iter().for_each(|p| sum += counts(&p[side][i], e));
            sum
        };
        examples.iter().enumerate().map(of).collect()
    };
    let (a, b) = (summed(0), summed(1));
    Ok(approximate_randomisation(&a, &b, score, DRAWS, 1)?.p)
}

/// How the report comes by what the claims ledger says.
pub struct Ledgers<'a> {
    /// Random cases of each claim; 0 for no ledger.
    pub cases: usize,
    /// Threads.
    pub threads: usize,
    /// Where a finished one is kept.
    pub dir: &'a Path,
}

impl Ledgers<'_> {
    fn summary(&self) -> Result<Option<Ledger>> {
        let (cases, threads) = (self.cases, self.threads);
        (cases > 0)
            .then(|| kept::or_new(self.dir, cases, threads, || ledger(cases, threads)))
            .transpose()
    }
}

/// What the claims ledger says now.
fn ledger(cases: usize, threads: usize) -> Result<Ledger> {
    let options = Options::new(cases, 1);
    let progress = LedgerProgress::new(&options)?;
    let found = compute::pool(threads)?
        .install(|| runner::run(&options, &|row| progress.row(row)))
        .context("the claims ledger")?;
    let claims = Claims::read().context("the claims ledger")?;
    Ok(Ledger {
        command: format!("inducer verify --cases {cases} --seed 1"),
        cases,
        claims: claims.claim.iter().map(|c| claim(c, &found)).collect(),
    })
}

fn claim(entry: &inducer_verify::ledger::Row, found: &Report) -> ClaimLine {
    let rows: Vec<_> = found.rows.iter().filter(|r| r.claim == entry.id).collect();
    let count = |v: Verdict| rows.iter().filter(|r| r.verdict == v).count();
    let shares = rows.iter().filter_map(|r| r.worst.as_ref());
    let shares = shares
        .filter(|w| w.bound > 0.0 && w.bound.is_finite() && w.error.is_finite())
        .map(|w| w.error / w.bound);
    ClaimLine {
        id: entry.id.clone(),
        statement: entry.statement.clone(),
        place: entry.citation.clone(),
        passed: count(Verdict::Passed),
        failed: count(Verdict::Failed),
        not_run: count(Verdict::NotRun),
        cases: rows.iter().map(|r| r.cases).sum(),
        worst: shares.reduce(f64::max),
    }
}

/// Some scored inputs, seen and unseen, with every method's text of the first seed.
fn samples(plan: &Plan, done: &[Done<'_>]) -> Result<Vec<Sample>> {
    let part = &plan.main;
    let scored = run::test_examples(&part.prepared, first(part)?.config.test_limit);
    let mut chosen = Vec::new();
    for seen in [true, false] {
        let of = (0..scored.len()).filter(|i| scored[*i].seen == seen);
        let of: Vec<usize> = of.collect();
        chosen.extend(run::evenly(&of, SAMPLES / 2).copied());
    }
    let shown = || done.iter().filter(|d| d.planned.seed() == plan.seeds[0]);
    let sample = |i: usize| {
        let e = &scored[i];
        let text = |d: &Done<'_>| d.texts.get(i).cloned().unwrap_or_default();
        let output = |d: &Done<'_>| (d.planned.method().to_string(), text(d));
        Sample {
            category: e.category.clone(),
            seen: e.seen,
            input: input_lines(&e.input),
            references: references(&part.prepared, e),
            outputs: shown().map(output).collect(),
        }
    };
    Ok(chosen.into_iter().map(sample).collect())
}

fn references(prepared: &Prepared, e: &Example) -> Vec<String> {
    let class = e
        .class
        .and_then(|c| prepared.splits.classes.get(c as usize));
    match class {
        Some(name) => vec![name.clone()],
        None => e.references.clone(),
    }
}

fn input_lines(input: &Input) -> Vec<String> {
    match input {
        Input::Triples(triples) => triples
            .iter()
            .map(|t| format!("{} | {} | {}", t.subject, t.property, t.object).replace('_', " "))
            .collect(),
        Input::Conversation {
            passage,
            history,
            question,
        } => {
            let mut lines = vec![passage.to_string()];
            lines.extend(history.iter().map(|(q, a)| format!("{q} {a}")));
            lines.push(question.clone());
            lines
        }
        Input::Pair(premise, hypothesis) => vec![premise.clone(), hypothesis.clone()],
        Input::Sentence(sentence) => vec![sentence.clone()],
    }
}
