//! The loss by the length of the input once more: the line through the losses by its normal
//! equations, and the error of its slope by passages.

use super::assembled::{lengths, planned};
use super::failed;
use super::statistics::squares;
use super::world::{World, scored};
use crate::study::slopes;
use inducer_datasets::{Example, Input, Task};
use inducer_gpu::files::write_json;
use inducer_verify::{Case, Claim, Result, Target, Tolerance};
use serde_json::{Value, json};

/// Each prefix beside the inducer, by the names of their runs.
const PAIRS: [[&str; 2]; 2] = [["prefix", "inducer"], ["prefix-no-offset", "inducer"]];

pub(super) fn claims() -> Vec<Claim> {
    vec![
        Claim::new("study-slopes")
            .one_case_in(4)
            .at_least(6)
            .on_one_sided(Target::CpuF64, compared),
    ]
}

/// Questions with the nats of each run of a method.
struct Drawn {
    /// log₂ of the tokens of each input.
    x: Vec<f64>,
    tokens: Vec<f64>,
    /// Of each question the number of its passage.
    passages: Vec<usize>,
    runs: Vec<(String, Vec<f64>)>,
}

/// What each doubling of the length adds to the loss, method less method, follows from the losses
/// in the directories of the runs, with the variance of the slopes of each method's seeds and that
/// of the passages. In the control every question is a passage of its own.
fn compared(case: &mut Case) -> Result<()> {
    let world = World::generating(case, Task::Coqa)?;
    let limit = case.draw.pick(&[None, Some(7), Some(8)]);
    let seeds = case.draw.pick(&[&[1, 2, 3][..], &[2, 5]]);
    let plan = planned(&world, Task::Coqa, [seeds, &[9]], limit).map_err(failed)?;
    let Some(part) = &plan.long else {
        return Err(failed(anyhow::anyhow!("no part on long inputs")));
    };
    let examples = scored(&part.prepared.splits.test, limit.or(Some(800)));
    let lengths = lengths(part, &examples).map_err(failed)?;
    let mut drawn = Drawn {
        x: lengths.iter().map(|n| (*n as f64).log2()).collect(),
        tokens: examples
            .iter()
            .map(|_| case.draw.size(1, 4) as f64)
            .collect(),
        passages: passages(&examples),
        runs: Vec::new(),
    };
    for run in &part.runs {
        let nats = drawn.tokens.iter();
        let nats: Vec<f64> = nats.map(|t| t * case.draw.between(0.5, 3.0)).collect();
        let of = |(t, n): (&f64, &f64)| json!({ "tokens": *t as usize, "nats": n });
        let losses: Vec<Value> = drawn.tokens.iter().zip(&nats).map(of).collect();
        std::fs::create_dir_all(&run.dir)?;
        write_json(&run.dir.join("test_losses.json"), &losses)?;
        drawn.runs.push((run.method().into(), nats));
    }
    if case.control {
        drawn.passages = (0..examples.len()).collect();
    }
    let found = slopes::of(part, part.runs.iter()).map_err(failed)?;
    case.same(found.len(), PAIRS.len(), || "comparisons".into());
    let tolerance = Tolerance::stated(1e-10, "1e-10: two sums of nine, a difference of squares");
    for (c, [lower, upper]) in found.iter().zip(PAIRS) {
        case.same([&*c.lower, &*c.upper], [lower, upper], || "methods".into());
        let sides = [lower, upper].map(|method| drawn.slopes(method));
        let means = sides
            .each_ref()
            .map(|b| b.iter().sum::<f64>() / b.len() as f64);
        let variances = sides.each_ref().map(|b| squares(b) / (b.len() - 1) as f64);
        let (passages, variance) = drawn.variance(lower, upper);
        case.same(c.seeds, sides.map(|b| b.len()), || "runs".into());
        case.same(c.entries, passages, || "passages".into());
        for (what, found, expected) in [
            ("δ", c.difference, means[1] - means[0]),
            ("variance of the lower", c.seed_variances[0], variances[0]),
            ("variance of the upper", c.seed_variances[1], variances[1]),
            ("variance of passages", c.entry_variance, variance),
        ] {
            case.close(found, expected, &tolerance, || {
                format!("{upper}, {lower}: {what}")
            });
        }
    }
    Ok(())
}

/// The number of the shortest passage that stands in each question's own, the first by its letters
/// among several.
fn passages(examples: &[Example]) -> Vec<usize> {
    let text = |e: &Example| match &e.input {
        Input::Conversation { passage, .. } => passage.to_string(),
        _ => String::new(),
    };
    let texts: Vec<String> = examples.iter().map(text).collect();
    let within = |text: &String| {
        let shorter = (0..texts.len()).filter(|i| text.contains(&texts[*i]));
        shorter.min_by_key(|i| (texts[*i].len(), &texts[*i]))
    };
    texts.iter().filter_map(within).collect()
}

impl Drawn {
    fn of<'a>(&'a self, method: &'a str) -> impl Iterator<Item = &'a Vec<f64>> {
        let own = self.runs.iter().filter(move |(name, _)| name == method);
        own.map(|(_, nats)| nats)
    }

    /// Σ t xᵏ for k = 0, 1, 2.
    fn moments(&self) -> [f64; 3] {
        [0, 1, 2].map(|k| {
            let each = self.tokens.iter().zip(&self.x);
            each.map(|(t, x)| t * x.powi(k)).sum()
        })
    }

    /// Level and slope that solve the normal equations.
    fn line(&self, nats: &[f64]) -> [f64; 2] {
        let [n, sx, sxx] = self.moments();
        let sy: f64 = nats.iter().sum();
        let sxy: f64 = nats.iter().zip(&self.x).map(|(y, x)| x * y).sum();
        let determinant = n * sxx - sx * sx;
        [
            (sxx * sy - sx * sxy) / determinant,
            (n * sxy - sx * sy) / determinant,
        ]
    }

    fn slopes(&self, method: &str) -> Vec<f64> {
        self.of(method).map(|nats| self.line(nats)[1]).collect()
    }

    /// Passages, and the variance of the slope: of A⁻¹ B A⁻¹ the last entry, where A is the matrix
    /// of the normal equations and B the sum over passages of what they leave, squared.
    fn variance(&self, lower: &str, upper: &str) -> (usize, f64) {
        let mean = |method: &str, i: usize| {
            let all: Vec<f64> = self.of(method).map(|nats| nats[i]).collect();
            all.iter().sum::<f64>() / all.len() as f64
        };
        let gap: Vec<f64> = (0..self.x.len())
            .map(|i| mean(upper, i) - mean(lower, i))
            .collect();
        let [level, slope] = self.line(&gap);
        let [n, sx, sxx] = self.moments();
        let determinant = n * sxx - sx * sx;
        let mut firsts = self.passages.clone();
        firsts.sort_unstable();
        firsts.dedup();
        let mut sum = 0.0;
        for first in &firsts {
            let (mut left, mut with_x) = (0.0, 0.0);
            for i in (0..gap.len()).filter(|i| self.passages[*i] == *first) {
                let rest = gap[i] - self.tokens[i] * (level + slope * self.x[i]);
                left += rest;
                with_x += rest * self.x[i];
            }
            sum += ((n * with_x - sx * left) / determinant).powi(2);
        }
        let count = firsts.len() as f64;
        (firsts.len(), count / (count - 1.0) * sum)
    }
}
