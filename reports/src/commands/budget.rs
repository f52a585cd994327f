//! `inducer report --budget`: seed after seed until the time is used.

use super::report::{ReportArgs, assembled, finish, made, write_pages};
use crate::progress::{duration, note};
use crate::run::Steps;
use crate::study::budget::{SeedTime, TimeBudget};
use crate::study::plan::Request;
use anyhow::{Result, ensure};
use std::time::{Instant, SystemTime};

/// A time in words, as `10m` or `1h30m`.
///
/// # Errors
/// No time, or less than a second.
pub fn seconds(text: &str) -> Result<f64, String> {
    let found = humantime::parse_duration(text)
        .map_err(|e| format!("{e}; expected a time, as 10m or 1h30m"))?;
    match found.as_secs_f64() {
        seconds if (1.0..1e8).contains(&seconds) => Ok(seconds),
        _ => Err("expected a time from 1s to 1000days".into()),
    }
}

/// The request with the seeds and steps that its study has decided on.
///
/// # Errors
/// A broken file.
pub fn decided(request: Request) -> Result<Request> {
    Ok(match TimeBudget::read(&request.out)? {
        Some(budget) => with(request, &budget),
        None => request,
    })
}

fn with(mut request: Request, budget: &TimeBudget) -> Request {
    request.seeds = (1..=budget.seeds as u64).collect();
    if let Some(steps) = budget.steps {
        request.hyper.steps = Some(Steps::Count(steps));
    }
    request
}

/// Makes seed after seed, and the report after each.
///
/// # Errors
/// As those of a study without a budget; not even the shortest study fits.
pub fn run(args: &ReportArgs, request: Request, seconds: f64, jobs: usize) -> Result<()> {
    let (begun, started) = (Instant::now(), SystemTime::now());
    let mut args = args.clone();
    let known = TimeBudget::read(&args.out)?;
    ensure!(
        known.is_some() || !args.merge,
        "{}: no study with a --budget has begun there: run it without --merge",
        args.out.display()
    );
    let mut budget = match known {
        Some(known) => TimeBudget { seconds, ..known },
        None => {
            note(format_args!("measuring a few steps of each method"));
            let device = args.compute.device.open()?;
            let one = Request {
                seeds: vec![1],
                ..request.clone()
            };
            TimeBudget::begin(&one, seconds, args.workers(jobs, &device))?
        }
    };
    let before = budget.used;
    loop {
        let request = with(request.clone(), &budget);
        let steps = budget
            .steps
            .map_or("the usual number of".into(), |n| n.to_string());
        note(format_args!(
            "seed {} with {steps} steps; {} of {} used",
            budget.seeds,
            duration(budget.used),
            duration(seconds)
        ));
        let making = Instant::now();
        let plan = made(&args, &request, jobs, started)?;
        let last = SeedTime::of(&plan, making.elapsed().as_secs_f64(), jobs)?;
        let mut study = assembled(&args, &plan, started)?;
        budget.used = before + begun.elapsed().as_secs_f64();
        let more = !args.merge && budget.has_room(&study, &last);
        study.provenance.budget = Some(budget.clone());
        budget.seeds += usize::from(more);
        budget.write(&args.out)?;
        if !more {
            return finish(&args, &plan, study);
        }
        write_pages(&args, &study)?;
        args.overwrite = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_what_is_none_is_refused_with_an_example() {
        assert_eq!(seconds("10m"), Ok(600.0));
        assert_eq!(seconds("1h30m"), Ok(5400.0));
        for wrong in ["10", "ten minutes", "0s", "-1m", "", "1ns", "9000years"] {
            let message = seconds(wrong).unwrap_err();
            assert!(message.contains("expected a time"), "{wrong}: {message}");
        }
    }
}
