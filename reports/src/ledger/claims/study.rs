//! The figures of a report once more from the files that its runs left: means and their intervals,
//! and the methods compared by the losses of the test part.

use super::failed;
use super::statistics::{INTEGRATED, squares};
use super::world::World;
use crate::run::RunConfig;
use crate::run::directory::{RunDir, finished};
use crate::study::measure::Measure;
use crate::study::planned::Planned;
use crate::study::{Row, Run, contrasts};
use inducer_datasets::Task;
use inducer_gpu::files::write_json;
use inducer_verify::oracle::student::outside;
use inducer_verify::{Case, Claim, Result, Target, Tolerance};
use serde_json::{Value, json};

/// Methods whose runs are drawn; the frozen model is one end of the scale.
const METHODS: [&str; 6] = ["none", "prefix", "adaptive", "extension", "inducer", "lora"];

pub(super) fn claims() -> Vec<Claim> {
    let claim = |id| Claim::new(id).one_case_in(4).at_least(4);
    vec![
        claim("study-summaries").on_one_sided(Target::CpuF64, summaries),
        claim("study-contrasts").on_one_sided(Target::CpuF64, compared),
    ]
}

/// Mean, spread and interval of every figure of a method are those of the numbers in its runs'
/// `result.json`. In the control the figures on seen and unseen categories are exchanged.
fn summaries(case: &mut Case) -> Result<()> {
    let world = World::new(case)?;
    let seeds = case.draw.size(2, 4);
    let mut results = Vec::new();
    let mut row = Row {
        method: "inducer".into(),
        title: "Inducer-tuning".into(),
        adapter: Value::Null,
        trained: 0,
        stored: 0,
        share: 0.0,
        learning_rate: None,
        runs: Vec::new(),
        p_value: None,
        step: None,
    };
    for seed in 0..seeds as u64 {
        let mut figure = || case.draw.between(0.0, 90.0);
        let result = json!({
            "bleu": { "seen": figure(), "unseen": figure(), "all": figure(),
                      "without_empty": figure() },
            "meteor": [figure(), ["exact"]], "ter": figure(),
            "validation_loss": figure(), "best_step": 2, "last_validation_loss": figure(),
            "test_loss": figure(), "steps": 3, "tokens": 4, "train_seconds": 5.5,
            "decode_seconds": 6.5, "gates": [], "by_position": [], "by_length": [],
            "peak_bytes": null,
        });
        let dir = world.path(&format!("run-{seed}"));
        let config = world.config("inducer", seed, 0.01, case)?;
        let read = || -> anyhow::Result<_> {
            RunDir::open(&dir, &config, false)?;
            write_json(&dir.join("result.json"), &result)?;
            finished(&dir, &config)
        };
        let read = read().map_err(failed)?;
        row.runs.extend(read.map(|result| Run {
            seed,
            result,
            tokens_per_second: 0.0,
            curves: Default::default(),
            directory: String::new(),
            configuration: Value::Null,
        }));
        results.push(result);
    }
    case.same(row.runs.len(), seeds, || "runs".into());
    for measure in Measure::main(Task::WebNlg) {
        let place = match (measure, case.control) {
            (Measure::BleuSeen, false) | (Measure::BleuUnseen, true) => "/bleu/seen",
            (Measure::BleuUnseen, false) | (Measure::BleuSeen, true) => "/bleu/unseen",
            (Measure::BleuAll, _) => "/bleu/all",
            (Measure::BleuWithoutEmpty, _) => "/bleu/without_empty",
            (Measure::Meteor, _) => "/meteor/0",
            (Measure::Ter, _) => "/ter",
            (Measure::Loss, _) => "/validation_loss",
            _ => "/test_loss",
        };
        let values: Option<Vec<f64>> = results
            .iter()
            .map(|r| r.pointer(place).and_then(Value::as_f64))
            .collect();
        summary(case, *measure, &row, &values.unwrap_or_default());
    }
    Ok(())
}

fn summary(case: &mut Case, measure: Measure, row: &Row, values: &[f64]) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = squares(values) / (n - 1.0);
    let Some(found) = measure.summary(row) else {
        case.same(false, true, || format!("{measure:?} has a summary"));
        return;
    };
    let tolerance = Tolerance::stated(1e-12, "1e-12: four numbers below 90, their squares");
    let sd = found.sd.unwrap_or(f64::NAN);
    case.close(found.mean, mean, &tolerance, || {
        format!("{measure:?}: mean")
    });
    case.close(sd, variance.sqrt(), &tolerance, || {
        format!("{measure:?}: standard deviation")
    });
    let (low, high) = found.interval.unwrap_or((f64::NAN, f64::NAN));
    let tolerance = Tolerance::stated(INTEGRATED, "1e-9: Simpson's rule in 12,000 parts");
    for end in [low, high] {
        let t = (end - mean).abs() / (variance / n).sqrt();
        case.close(outside(t, n - 1.0), 0.05, &tolerance, || {
            format!("{measure:?}: interval")
        });
    }
}

/// The losses of some methods' runs, by entry: nats and tokens.
struct Drawn {
    tokens: Vec<usize>,
    runs: Vec<(&'static str, Vec<f64>)>,
}

/// Every comparison of two methods is the one that follows from the losses in their runs'
/// directories. In the control every method has the variance of the frozen model's seeds.
fn compared(case: &mut Case) -> Result<()> {
    let world = World::new(case)?;
    let entries = case.draw.size(2, 9);
    let tokens: Vec<usize> = (0..entries).map(|_| case.draw.size(1, 20)).collect();
    let mut runs = Vec::new();
    for method in METHODS {
        for _ in 0..case.draw.size(2, 4) {
            let nats = tokens
                .iter()
                .map(|t| *t as f64 * case.draw.between(0.5, 3.0));
            runs.push((method, nats.collect()));
        }
    }
    let config = world.config("inducer", 0, 0.01, case)?;
    let mut planned = Vec::new();
    for (i, (method, nats)) in runs.iter().enumerate() {
        let dir = world.path(&format!("loss-{i}"));
        let of = |(tokens, nats): (&usize, &f64)| json!({ "tokens": tokens, "nats": nats });
        let losses: Vec<Value> = tokens.iter().zip(nats as &Vec<f64>).map(of).collect();
        std::fs::create_dir(&dir)?;
        write_json(&dir.join("test_losses.json"), &losses)?;
        let config = RunConfig {
            method: method.to_string(),
            ..config.clone()
        };
        planned.push(Planned { dir, config });
    }
    let found = contrasts::of(planned.iter()).map_err(failed)?;
    let drawn = Drawn { tokens, runs };
    // the three steps between these methods, and each of five with Inducer-tuning
    case.same(found.len(), 3 + (METHODS.len() - 1), || {
        let pairs: Vec<_> = found.iter().map(|c| (&c.lower, &c.upper)).collect();
        format!("comparisons: {pairs:?}")
    });
    let tolerance = Tolerance::stated(1e-13, "1e-13: nats a token below 3, means of few");
    for c in &found {
        let name = format!("{} against {}", c.upper, c.lower);
        let (difference, entry) = drawn.compared(&c.lower, &c.upper);
        case.close(c.difference, difference, &tolerance, || {
            format!("{name}: δ")
        });
        case.close(c.entry_variance, entry, &tolerance, || {
            format!("{name}: variance of entries")
        });
        for (method, found) in [&c.lower, &c.upper].into_iter().zip(c.seed_variances) {
            let variance = drawn.variance(case.or_control(method, "none"));
            case.close(found, variance, &tolerance, || {
                format!("{name}: variance of the seeds of {method}")
            });
        }
        let count = |m: &str| drawn.runs.iter().filter(|(name, _)| *name == m).count();
        case.same(c.seeds, [count(&c.lower), count(&c.upper)], || {
            format!("{name}: runs")
        });
    }
    Ok(())
}

impl Drawn {
    /// The nats of each entry, means over the runs of a method.
    fn means(&self, method: &str) -> Vec<f64> {
        let own: Vec<&Vec<f64>> = self.of(method).collect();
        let mean = |e: usize| own.iter().map(|run| run[e]).sum::<f64>() / own.len() as f64;
        (0..self.tokens.len()).map(mean).collect()
    }

    fn of<'a>(&'a self, method: &'a str) -> impl Iterator<Item = &'a Vec<f64>> {
        let own = self.runs.iter().filter(move |(name, _)| *name == method);
        own.map(|(_, nats)| nats)
    }

    /// The variance of a run's loss among the seeds of a method.
    fn variance(&self, method: &str) -> f64 {
        let all = self.tokens.iter().sum::<usize>() as f64;
        let losses = self.of(method).map(|nats| nats.iter().sum::<f64>() / all);
        let losses: Vec<f64> = losses.collect();
        squares(&losses) / (losses.len() - 1) as f64
    }

    /// The difference of two methods in nats a token, and the variance that entries add: that of a
    /// ratio of two sums, by its residuals.
    fn compared(&self, lower: &str, upper: &str) -> (f64, f64) {
        let (a, b) = (self.means(lower), self.means(upper));
        let all = self.tokens.iter().sum::<usize>() as f64;
        let difference = (b.iter().sum::<f64>() - a.iter().sum::<f64>()) / all;
        let n = self.tokens.len() as f64;
        let mut residuals = 0.0;
        for (e, tokens) in self.tokens.iter().enumerate() {
            residuals += (b[e] - a[e] - difference * *tokens as f64).powi(2);
        }
        let variance_of_one = residuals / (n - 1.0);
        let mean_tokens = all / n;
        (difference, variance_of_one / n / mean_tokens.powi(2))
    }
}
