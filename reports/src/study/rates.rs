//! A learning rate for each method, chosen on the development part with a seed that is not
//! reported, before the runs that are: one rate for all would measure how fast methods converge.

use super::paper::{NO_OFFSET, ON_LENGTH};
use super::planned::Planned;
use crate::files;
use crate::run::directory::finished;
use crate::run::{Rates, Steps};
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// The file that marks a candidate whose training left the finite numbers.
const DIVERGED: &str = "diverged.txt";

/// What is tried for each method that has no rate of its own on the command line.
#[derive(Clone, Debug)]
pub struct Search {
    /// Learning rates, ascending.
    pub rates: Vec<f64>,
    /// Seed of the candidates.
    pub seed: u64,
    /// Steps of a candidate; none for those of the study.
    pub steps: Option<Steps>,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// Seed of the candidates, which no reported run has.
    pub seed: u64,
    /// Steps of each.
    pub steps: usize,
    /// What was tried, method by method.
    pub methods: Vec<Tried>,
}

/// The method whose candidates choose a method's learning rate: its own, but for the prefix beside
/// which the text keeps its positions, which differs from the other one in nothing else.
pub fn chooser(method: &str) -> &str {
    match method {
        NO_OFFSET => ON_LENGTH[0],
        own => own,
    }
}

/// The candidates of a method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tried {
    /// Its name on the command line.
    pub method: String,
    /// Ascending by learning rate.
    pub candidates: Vec<Candidate>,
    /// The rate of the lowest validation loss, the smaller of two equal ones.
    pub chosen: f64,
}

/// A candidate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Lowest validation loss, nats a token; none where the training diverged.
    pub validation_loss: Option<f64>,
}

impl Search {
    /// Checks it against what else a study asks for.
    ///
    /// # Errors
    /// No rate, one that stands there twice, a seed that is reported, one rate for all methods.
    pub fn check(&self, seeds: &[u64], given: &Rates) -> Result<()> {
        ensure!(
            !self.rates.is_empty(),
            "--rates: expected learning rates, as in 1.25e-3,3.5e-3,1e-2"
        );
        for pair in self.rates.windows(2) {
            ensure!(
                pair[0] < pair[1],
                "--rates: {:e} stands there twice",
                pair[1]
            );
        }
        ensure!(
            !seeds.contains(&self.seed),
            "--rates-seed {}: a seed of the study itself; the rates are chosen with another one",
            self.seed
        );
        ensure!(
            given.all.is_none(),
            "--learning-rate: one rate for all methods leaves --rates nothing to choose"
        );
        Ok(())
    }
}

impl Tried {
    /// The candidates of a method whose runs are made; none while one is missing.
    ///
    /// # Errors
    /// A broken file; every candidate diverged.
    pub fn of(method: &str, runs: &[Planned]) -> Result<Option<Self>> {
        let mut candidates = Vec::new();
        for run in runs.iter().filter(|r| r.method() == method) {
            let validation_loss = match finished(&run.dir, &run.config)? {
                Some(result) => Some(result.training.validation_loss),
                None if has_diverged(run) => None,
                None => return Ok(None),
            };
            candidates.push(Candidate {
                learning_rate: run.config.train.learning_rate,
                validation_loss,
            });
        }
        let losses = candidates
            .iter()
            .filter_map(|c| Some((c.validation_loss?, c.learning_rate)));
        let best = losses.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let Some((_, chosen)) = best else {
            anyhow::bail!("--rates: training {method} diverged at every rate; try smaller ones");
        };
        Ok(Some(Self {
            method: method.into(),
            candidates,
            chosen,
        }))
    }

    /// The validation loss at a rate.
    pub fn loss(&self, rate: f64) -> Option<f64> {
        let of = |c: &&Candidate| c.learning_rate == rate;
        self.candidates.iter().find(of)?.validation_loss
    }

    /// Whether the chosen rate is the least or the greatest that was tried, so that a better one
    /// may lie beyond.
    pub fn at_the_edge(&self) -> bool {
        let ends = [self.candidates.first(), self.candidates.last()];
        let tried = self.candidates.len() > 1;
        tried
            && ends
                .into_iter()
                .flatten()
                .any(|c| c.learning_rate == self.chosen)
    }
}

impl Found {
    /// What was tried for a method.
    pub fn of(&self, method: &str) -> Option<&Tried> {
        self.methods.iter().find(|t| t.method == method)
    }

    /// Every rate that was tried, ascending.
    pub fn rates(&self) -> Vec<f64> {
        let candidates = self.methods.iter().flat_map(|t| &t.candidates);
        let mut all: Vec<f64> = candidates.map(|c| c.learning_rate).collect();
        all.sort_by(f64::total_cmp);
        all.dedup();
        all
    }

    /// `upper`'s validation loss minus `lower`'s at each rate that both finished.
    pub fn differences(&self, lower: &str, upper: &str) -> Vec<(f64, f64)> {
        let (Some(a), Some(b)) = (self.of(lower), self.of(upper)) else {
            return Vec::new();
        };
        let at = |rate: f64| Some((rate, b.loss(rate)? - a.loss(rate)?));
        self.rates().into_iter().filter_map(at).collect()
    }

    /// Whether the sign of the difference of two methods at the rate that is best for one of them
    /// is another one than at the rate that is best for the other, both methods at the same rate.
    pub fn turns(&self, lower: &str, upper: &str) -> bool {
        let of = |method| self.of(method).map(|t| t.chosen);
        let best = [of(lower), of(upper)];
        let at = |rate: Option<f64>| {
            let all = self.differences(lower, upper);
            Some(all.into_iter().find(|d| Some(d.0) == rate)?.1)
        };
        match best.map(at) {
            [Some(a), Some(b)] => a * b < 0.0,
            _ => false,
        }
    }
}

/// Whether an error is that of a training that left the finite numbers.
pub fn is_divergence(error: &anyhow::Error) -> bool {
    let found = error.downcast_ref::<inducer_gpu::Error>();
    matches!(found, Some(inducer_gpu::Error::Diverged { .. }))
}

/// Whether a candidate is known to diverge.
pub fn has_diverged(run: &Planned) -> bool {
    run.config.is_candidate() && run.dir.join(DIVERGED).exists()
}

/// Marks a candidate that diverges.
///
/// # Errors
/// The file cannot be written.
pub fn mark(run: &Planned, error: &anyhow::Error) -> Result<()> {
    files::write(&run.dir.join(DIVERGED), &format!("{error:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_without_an_offset_has_the_rate_of_the_other_one() {
        assert_eq!(chooser(NO_OFFSET), ON_LENGTH[0]);
        assert_eq!(chooser("lora"), "lora");
    }

    fn tried(losses: &[(f64, Option<f64>)], chosen: f64) -> Tried {
        let candidate = |(learning_rate, validation_loss): &(f64, Option<f64>)| Candidate {
            learning_rate: *learning_rate,
            validation_loss: *validation_loss,
        };
        Tried {
            method: "x".into(),
            candidates: losses.iter().map(candidate).collect(),
            chosen,
        }
    }

    #[test]
    fn differences_are_of_equal_rates_that_both_finished() {
        let named = |name: &str, t: Tried| Tried {
            method: name.into(),
            ..t
        };
        let a = tried(&[(0.1, Some(2.0)), (0.2, Some(1.5)), (0.4, None)], 0.2);
        let b = tried(
            &[(0.1, Some(1.5)), (0.2, Some(1.75)), (0.4, Some(1.0))],
            0.4,
        );
        let found = Found {
            seed: 0,
            steps: 5,
            methods: vec![named("a", a), named("b", b)],
        };
        assert_eq!(found.rates(), [0.1, 0.2, 0.4]);
        assert_eq!(found.differences("a", "b"), [(0.1, -0.5), (0.2, 0.25)]);
        assert_eq!(found.differences("a", "c"), []);
        // a's best rate is 0.2, where b is worse; b's is 0.4, where a diverged
        assert!(!found.turns("a", "b"));
        let mut other = found.clone();
        other.methods[1].chosen = 0.1;
        assert!(other.turns("a", "b"));
        other.methods[0].chosen = 0.1;
        assert!(!other.turns("a", "b"));
    }

    #[test]
    fn the_least_and_the_greatest_rate_are_edges() {
        let all = [(0.1, Some(2.0)), (0.2, Some(1.5)), (0.4, Some(1.6))];
        assert!(!tried(&all, 0.2).at_the_edge());
        assert!(tried(&all, 0.1).at_the_edge() && tried(&all, 0.4).at_the_edge());
        assert!(!tried(&all[..1], 0.1).at_the_edge());
    }

    #[test]
    fn a_search_is_refused_that_chooses_nothing_or_looks_at_a_reported_seed() {
        let search = |rates: &[f64], seed| Search {
            rates: rates.to_vec(),
            seed,
            steps: None,
        };
        let none = Rates::default();
        let all = Rates {
            all: Some(0.1),
            ..Rates::default()
        };
        let message = |s: Search, given: &Rates| s.check(&[1, 2], given).unwrap_err().to_string();
        assert!(search(&[0.1, 0.2], 0).check(&[1, 2], &none).is_ok());
        assert!(message(search(&[0.1], 2), &none).contains("--rates-seed 2"));
        assert!(message(search(&[0.1, 0.1], 0), &none).contains("1e-1 stands there twice"));
        assert!(message(search(&[0.1], 0), &all).contains("--learning-rate"));
        assert!(message(search(&[], 0), &none).contains("--rates: expected"));
    }
}
