//! What a study decides: what is said of a comparison, and which learning rate a method gets.

use super::failed;
use super::statistics::{INTEGRATED, contrast, inner};
use super::world::World;
use crate::run::RunConfig;
use crate::run::directory::RunDir;
use crate::stats::contrast::{Contrast, Judgement};
use crate::study::judged::together;
use crate::study::paper::Step;
use crate::study::planned::Planned;
use crate::study::rates::{Found, Tried, mark};
use anyhow::anyhow;
use inducer_gpu::files::write_json;
use inducer_verify::{Case, Claim, Result, Target, Tolerance};
use serde_json::{Value, json};

pub(super) fn claims() -> Vec<Claim> {
    vec![
        Claim::new("stats-judgement")
            .one_case_in(2)
            .at_least(96)
            .on_one_sided(Target::CpuF64, judged),
        Claim::new("study-rates")
            .one_case_in(2)
            .at_least(12)
            .on_one_sided(Target::CpuF64, rates),
        Claim::new("study-turns").on_one_sided(Target::CpuF64, turns),
        Claim::new("study-steps").on_one_sided(Target::CpuF64, steps),
    ]
}

/// What is said of a comparison: that a fall appears where Holm's probability is below 5 %, that it
/// is reversed where it rises, else that the two are equivalent where two one-sided tests at 5 %
/// place the difference within 0.02 nats a token, else nothing. In the control losses that rise
/// appear.
fn judged(case: &mut Case) -> Result<()> {
    let mut c = contrast(case);
    if case.draw.chance(0.5) {
        // small enough to be equivalent
        c.difference *= 0.2;
        c.seed_variances = c.seed_variances.map(|s| 0.02 * s);
    }
    let p = case.draw.pick(&[0.001, 0.049, 0.051, 0.9]);
    let (error, degrees) = (c.error(), c.degrees());
    let one_sided = |distance: f64| inner(distance, error, degrees);
    let worst = one_sided(0.02 + c.difference).max(one_sided(0.02 - c.difference));
    // at the threshold itself rounding decides
    if (worst - 0.05).abs() <= INTEGRATED {
        return Ok(());
    }
    let falls = (c.difference < 0.0) != case.control;
    let expected = match (p < 0.05, falls, worst < 0.05) {
        (true, true, _) => Judgement::Appears,
        (true, false, _) => Judgement::Reversed,
        (false, _, true) => Judgement::Equivalent,
        (false, _, false) => Judgement::Undecided,
    };
    case.same(Judgement::of(&c, p), expected, || format!("{c:?}, p {p}"));
    Ok(())
}

/// A method gets the rate whose candidate has the lowest validation loss, the smaller rate of two
/// equal ones; a candidate that diverged has no loss, and where all did there is no rate. In the
/// control it gets the rate of the greatest loss.
fn rates(case: &mut Case) -> Result<()> {
    let world = World::new(case)?;
    let count = case.draw.size(1, 5);
    let every = case.draw.chance(0.1);
    let mut planned = Vec::new();
    let mut losses: Vec<(f64, Option<f64>)> = Vec::new();
    for i in 0..count {
        let rate = 1e-3 * (i + 1) as f64;
        let diverged = every || case.draw.chance(0.25);
        // few different ones, so that some are equal
        let loss = (!diverged).then(|| case.draw.size(1, 3) as f64);
        let config = RunConfig {
            test_limit: Some(0),
            ..world.config("inducer", 9, rate, case)?
        };
        let run = Planned {
            dir: world.path(&format!("rate-{i}")),
            config,
        };
        let result = json!({
            "bleu": { "seen": null, "unseen": null, "all": null }, "validation_loss": loss,
            "best_step": 2, "last_validation_loss": 9.0, "steps": 3, "tokens": 4,
            "train_seconds": 5.5, "decode_seconds": 0.0, "gates": [], "peak_bytes": null,
        });
        let written = || -> anyhow::Result<()> {
            RunDir::open(&run.dir, &run.config, false)?;
            match loss {
                Some(_) => Ok(write_json(&run.dir.join("result.json"), &result)?),
                None => mark(&run, &anyhow!("the loss is NaN")),
            }
        };
        written().map_err(failed)?;
        planned.push(run);
        losses.push((rate, loss));
    }
    let found = Tried::of("inducer", &planned);
    let finite = losses
        .iter()
        .filter_map(|(rate, loss)| Some((*rate, (*loss)?)));
    let sign = case.or_control(1.0, -1.0);
    let best = finite.fold(None, |best: Option<(f64, f64)>, (rate, loss)| match best {
        Some((_, least)) if sign * loss >= sign * least => best,
        _ => Some((rate, loss)),
    });
    let name = || format!("rates and losses {losses:?}");
    let Some((rate, _)) = best else {
        case.same(found.is_err(), true, name);
        return Ok(());
    };
    let Some(found) = found.map_err(failed)? else {
        case.same(false, true, || format!("a choice of {losses:?}"));
        return Ok(());
    };
    case.same(found.chosen, rate, name);
    let tried = found
        .candidates
        .iter()
        .map(|c| (c.learning_rate, c.validation_loss));
    case.same(tried.collect::<Vec<_>>(), losses.clone(), || {
        "candidates".into()
    });
    let edge = count > 1 && (rate == losses[0].0 || rate == losses[count - 1].0);
    case.same(found.at_the_edge(), edge, || {
        format!("{rate} of {losses:?} is an end")
    });
    // one that is neither made nor known to diverge leaves the choice open
    let missing = Planned {
        dir: world.path("missing"),
        ..planned[0].clone()
    };
    planned.push(missing);
    let open = Tried::of("inducer", &planned).map_err(failed)?;
    case.same(open.is_none(), true, || {
        "a choice with a candidate missing".into()
    });
    Ok(())
}

/// A comparison turns with the rate where the difference at the rate that is best for one method
/// has another sign than at the rate that is best for the other, where both finished both. In the
/// control each method is taken at its own best rate.
fn turns(case: &mut Case) -> Result<()> {
    let rates = case.draw.size(2, 4);
    let mut losses = Vec::new();
    for _ in 0..2 {
        let of = |case: &mut Case| (!case.draw.chance(0.15)).then(|| case.draw.between(1.0, 2.0));
        let mut own: Vec<Option<f64>> = (0..rates).map(|_| of(case)).collect();
        own[case.draw.size(0, rates - 1)] = Some(case.draw.between(0.5, 2.0));
        losses.push(own);
    }
    let best = |own: &[Option<f64>]| {
        let all = (0..rates).filter_map(|i| Some((i, own[i]?)));
        all.fold((0, f64::INFINITY), |a, b| if b.1 < a.1 { b } else { a })
            .0
    };
    let best = [best(&losses[0]), best(&losses[1])];
    let tried = |method: &str, own: &[Option<f64>], best: usize| {
        let candidates = own
            .iter()
            .enumerate()
            .map(|(i, loss)| json!({ "learning_rate": (i + 1) as f64, "validation_loss": loss }));
        json!({ "method": method, "candidates": candidates.collect::<Vec<_>>(),
                "chosen": (best + 1) as f64 })
    };
    let found: Found = serde_json::from_value(json!({ "seed": 9, "steps": 3, "methods": [
        tried("a", &losses[0], best[0]), tried("b", &losses[1], best[1]),
    ]}))?;
    let at = |i: usize| Some(losses[1][i]? - losses[0][i]?);
    let signs = best.map(at);
    let expected = match signs {
        [Some(x), Some(y)] => (x > 0.0) != (y > 0.0),
        _ => false,
    };
    let own = losses[1][best[1]]
        .zip(losses[0][best[0]])
        .map_or(0.0, |(b, a)| b - a);
    let expected = case.or_control(expected, own > 0.0);
    case.same(found.turns("a", "b"), expected, || format!("{losses:?}"));
    Ok(())
}

/// The steps of a study, judged together: Holm's probability counts the steps that were measured,
/// each with its own comparison, and what is decided depends on the rate where its sign turns. In
/// the control the steps that were not measured count too.
fn steps(case: &mut Case) -> Result<()> {
    let count = case.draw.size(1, 6);
    let names: Vec<String> = (0..=count).map(|i| format!("m{i}")).collect();
    let measured: Vec<Option<Contrast>> = (0..count)
        .map(|_| case.draw.chance(0.75).then(|| contrast(case)))
        .collect();
    let losses: Vec<[f64; 2]> = (0..=count)
        .map(|_| [(); 2].map(|()| case.draw.between(1.0, 2.0)))
        .collect();
    let best = |i: usize| usize::from(losses[i][1] < losses[i][0]);
    let tried = names.iter().enumerate().map(|(i, name)| {
        let of =
            |rate: usize| json!({ "learning_rate": rate + 1, "validation_loss": losses[i][rate] });
        json!({ "method": name, "candidates": [of(0), of(1)], "chosen": best(i) + 1 })
    });
    let tried: Vec<Value> = tried.collect();
    let rates: Found = serde_json::from_value(json!({ "seed": 9, "steps": 3, "methods": tried }))?;
    let steps: Vec<Step<'_>> = names
        .windows(2)
        .map(|two| Step {
            lower: &two[0],
            upper: &two[1],
            change: "",
        })
        .collect();
    let found = together(
        &steps,
        measured.iter().map(Option::as_ref).collect(),
        Some(&rates),
    );
    let all: Vec<f64> = measured.iter().flatten().map(Contrast::p).collect();
    let tests = case.or_control(all.len(), count);
    for (i, (found, measured)) in found.iter().zip(&measured).enumerate() {
        let name = || format!("step {i} of {count}, {} measured", all.len());
        let Some(c) = measured else {
            case.same(found.judgement, Judgement::NotMeasured, name);
            continue;
        };
        // of the tests that are no less probable, the greatest p times the tests left
        let left = |p: f64| (tests - all.iter().filter(|other| **other < p).count()) as f64;
        let below = all.iter().filter(|p| **p <= c.p());
        let p = below.map(|p| (left(*p) * p).min(1.0)).fold(0.0, f64::max);
        let tolerance = Tolerance::stated(4.0 * f64::EPSILON, "4 ε: a product below 1");
        case.close(found.p, p, &tolerance, name);
        let at = |rate: usize| losses[i + 1][rate] > losses[i][rate];
        let expected = match (p < 0.05, c.difference < 0.0) {
            (true, _) if at(best(i)) != at(best(i + 1)) => Judgement::DependsOnRate,
            (true, true) => Judgement::Appears,
            (true, false) => Judgement::Reversed,
            (false, _) if c.is_equivalent(0.02) => Judgement::Equivalent,
            (false, _) => Judgement::Undecided,
        };
        case.same(found.judgement, expected, name);
    }
    Ok(())
}
