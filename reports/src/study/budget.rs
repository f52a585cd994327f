//! What fits into a time (`--budget`): the steps of a run by an estimate from measured ones, then
//! seed after seed as long as the next one is likely to fit.

use super::Study;
use super::estimate::{Estimate, estimate};
use super::plan::{Plan, Request, read};
use super::schedule::Workers;
use crate::files::{self, read_json};
use crate::progress::duration;
use crate::run::RunResult;
use crate::run::directory::finished;
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The file in a study's directory.
const FILE: &str = "budget.json";

/// No study has more seeds.
pub const MOST_SEEDS: usize = 20;

/// Seeds that have to fit for a share of the usual steps, in the order of preference: three seeds
/// give an interval, and a run that has not learnt says nothing.
const CHOICES: [(usize, f64); 5] = [(3, 1.0), (3, 0.5), (2, 0.5), (2, 0.25), (1, 0.125)];

/// What a study with a budget has decided and used. It stands in the study's directory, so that a
/// study that goes on is the same one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeBudget {
    /// Seconds that it may take.
    pub seconds: f64,
    /// Seconds that its finished seeds took, with the choice of learning rates and the ledger.
    pub used: f64,
    /// Seeds, from 1.
    pub seeds: usize,
    /// Steps of a run; none for the usual ones.
    pub steps: Option<usize>,
}

impl TimeBudget {
    /// What a study decided earlier; none where it has not begun.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        let file = dir.join(FILE);
        file.exists().then(|| read_json(&file)).transpose()
    }

    /// Keeps it beside the study.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        files::create_dir(dir)?;
        let text = serde_json::to_string_pretty(self)? + "\n";
        files::write(&dir.join(FILE), &text)
    }

    /// Decides the steps of a study that begins, by measured steps of each method.
    ///
    /// # Errors
    /// A run that could not begin; not even the shortest study fits.
    pub fn begin(request: &Request, seconds: f64, workers: Workers<'_>) -> Result<Self> {
        let plan = read(request)?;
        let known = estimate(&plan.runs(), workers)?.0;
        let cost = Cost::of(&plan, &known, workers.at_once);
        let Some(share) = cost.share(seconds) else {
            let (seeds, share) = CHOICES[CHOICES.len() - 1];
            bail!(
                "--budget: the shortest study of these methods takes about {} here; expected more \
                 time or fewer --methods",
                duration(cost.seconds(seeds, share))
            );
        };
        let usual = plan.main.runs.iter().map(|r| r.config.train.steps).max();
        let fewer = |steps: usize| (share * steps as f64).ceil() as usize;
        Ok(Self {
            seconds,
            used: 0.0,
            seeds: 1,
            steps: usual.filter(|_| share < 1.0).map(fewer),
        })
    }

    /// Whether another seed is likely to fit, by what the last one took by the clock.
    pub fn has_room(&self, study: &Study, last: &SeedTime) -> bool {
        self.seeds < MOST_SEEDS && self.used + self.next(study, last) <= self.seconds
    }

    /// Seconds that another seed is likely to take.
    fn next(&self, study: &Study, last: &SeedTime) -> f64 {
        let long = study.long.iter().flat_map(|long| &long.rows);
        let runs = study.rows.iter().chain(long).flat_map(|row| &row.runs);
        let seed = runs.filter(|run| run.seed == self.seeds as u64);
        let seed: f64 = seed.map(|run| in_runs(&run.result)).sum();
        // loading, test losses and writing are in no run's seconds, and runs wait for each other;
        // what was made before has cost nothing now
        let least = 1.0 / last.jobs as f64;
        let each = last.seconds / (seed + last.candidates);
        seed * each.max(least)
    }
}

/// What it took to make the runs of a seed.
#[derive(Clone, Copy, Debug)]
pub struct SeedTime {
    /// Seconds by the clock.
    pub seconds: f64,
    /// Seconds of the candidates for learning rates that were made with them.
    pub candidates: f64,
    /// Runs at a time.
    pub jobs: usize,
}

impl SeedTime {
    /// Of the runs of a plan; the candidates belong to the first seed.
    ///
    /// # Errors
    /// A run's files cannot be read.
    pub fn of(plan: &Plan, seconds: f64, jobs: usize) -> Result<Self> {
        let mut candidates = 0.0;
        if plan.seeds.len() == 1 {
            for candidate in plan.parts().flat_map(|part| &part.candidates) {
                let result = finished(&candidate.dir, &candidate.config)?;
                candidates += result.as_ref().map_or(0.0, in_runs);
            }
        }
        Ok(Self {
            seconds,
            candidates,
            jobs,
        })
    }
}

/// Seconds that a run trained and decoded.
fn in_runs(result: &RunResult) -> f64 {
    result.training.train_seconds + result.training.decode_seconds
}

/// Seconds of a study with all steps, as it is run here.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    /// Of the candidates that choose learning rates.
    candidates: f64,
    /// Of one seed's training.
    training: f64,
    /// Of one seed's decoding.
    decoding: f64,
}

impl Cost {
    /// Of a plan with one seed, whose runs' estimates are known by name; of so many runs at once.
    fn of(plan: &Plan, known: &[(String, Estimate)], at_once: usize) -> Self {
        let of = |name: &str| known.iter().find(|(n, _)| n == name).map(|(_, e)| *e);
        let mut cost = Self::default();
        let share = 1.0 / at_once as f64;
        for (run, _) in plan.runs() {
            if let Some(one) = of(&run.name()) {
                cost.training += share * one.training;
                cost.decoding += share * one.decoding;
            }
        }
        for (candidate, part) in plan.candidates() {
            let mut runs = part.runs.iter();
            let same = runs.find(|run| run.method() == candidate.method());
            if let Some(one) = same.and_then(|run| of(&run.name())) {
                let train = &candidate.config.train;
                cost.candidates += share * one.step * (train.steps * train.accumulation) as f64;
            }
        }
        cost
    }

    /// Of so many seeds with a share of the steps.
    fn seconds(self, seeds: usize, share: f64) -> f64 {
        let seed = share * self.training + self.decoding;
        share * self.candidates + seeds as f64 * seed
    }

    /// The share of the steps with which it fits.
    fn share(self, seconds: f64) -> Option<f64> {
        let mut choices = CHOICES.into_iter();
        let fits = |&(seeds, share): &(usize, f64)| self.seconds(seeds, share) <= seconds;
        choices.find(fits).map(|(_, share)| share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;

    #[test]
    fn steps_fall_before_a_study_has_no_interval_and_what_cannot_fit_is_refused() {
        let cost = Cost {
            candidates: 100.0,
            training: 100.0,
            decoding: 10.0,
        };
        // 100 + 3 · 110, 50 + 3 · 60, 50 + 2 · 60, 25 + 2 · 35, 12.5 + 22.5
        for (seconds, share) in [
            (430.0, Some(1.0)),
            (429.9, Some(0.5)),
            (230.0, Some(0.5)),
            (170.0, Some(0.5)),
            (169.9, Some(0.25)),
            (95.0, Some(0.25)),
            (94.9, Some(0.125)),
            (35.0, Some(0.125)),
            (34.9, None),
        ] {
            assert_eq!(cost.share(seconds), share, "{seconds} s");
        }
    }

    #[test]
    fn another_seed_has_room_where_what_the_last_one_took_by_the_clock_fits() {
        let mut study = testing::study();
        study.long = None;
        let mut count = 0.0;
        for run in study.rows.iter_mut().flat_map(|row| &mut row.runs) {
            let last = run.seed == 3;
            let training = &mut run.result.training;
            training.train_seconds = if last { 4.0 } else { 100.0 };
            training.decode_seconds = if last { 2.0 } else { 100.0 };
            count += f64::from(u8::from(last));
        }
        let seed = 6.0 * count;
        let budget = TimeBudget {
            seconds: 1000.0,
            used: 50.0,
            seeds: 3,
            steps: None,
        };
        let took = |seconds: f64, candidates: f64| SeedTime {
            seconds,
            candidates,
            jobs: 2,
        };
        // by the clock; a third of it, where the candidates took the rest; what was made before
        // counts as if nothing but training took time
        for (last, next) in [
            (took(0.8 * seed, 0.0), 0.8 * seed),
            (took(2.4 * seed, 2.0 * seed), 0.8 * seed),
            (took(0.01, 0.0), 0.5 * seed),
        ] {
            assert!(count > 0.0);
            let found = budget.next(&study, &last);
            assert!((found - next).abs() < 1e-9, "{last:?}: {found} : {next}");
            let at = |spare: f64| TimeBudget {
                seconds: 50.0 + next + spare,
                ..budget.clone()
            };
            assert!(at(0.001).has_room(&study, &last) && !at(-0.001).has_room(&study, &last));
        }
        let full = TimeBudget {
            seeds: MOST_SEEDS,
            ..budget
        };
        assert!(!full.has_room(&study, &took(0.01, 0.0)));
    }

    #[test]
    fn what_was_decided_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(TimeBudget::read(dir.path()).unwrap(), None);
        let budget = TimeBudget {
            seconds: 600.0,
            used: 12.5,
            seeds: 2,
            steps: Some(80),
        };
        budget.write(dir.path()).unwrap();
        assert_eq!(TimeBudget::read(dir.path()).unwrap(), Some(budget));
    }
}
