//! Two methods compared by the loss of the test part, with seeds and entries crossed.
//!
//! Every run of a method is scored on the same entries. With L the loss in nats a token, s² the
//! variance of a run's loss among seeds (pooled over the methods between the two ends of the
//! scale, ν degrees of freedom), S the runs of a method and V what the choice of entries adds:
//!
//! ```text
//! δ = L̄_upper − L̄_lower,   SE² = s² (1/S_lower + 1/S_upper) + V
//! V = E/(E − 1) · Σ_e (n_e − δ t_e)² / (Σ_e t_e)²
//! ```
//!
//! `n_e` is the difference of the nats of entry e, means over seeds, and `t_e` its target tokens:
//! the ratio estimator's variance over E entries. The degrees of freedom of SE are Satterthwaite's.
//! Seeds are not paired, since what a seed does to two methods has hardly anything in common;
//! entries are, since an entry that is hard for one method is hard for the other.

use super::{quantile, variance};
use inducer_datasets::significance::two_sided;
use serde::{Deserialize, Serialize};

/// Differences below this are taken for none, nats a token.
pub const MARGIN: f64 = 0.02;

/// A comparison of two methods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contrast {
    /// The method that is compared with.
    pub lower: String,
    /// The method that is compared; a loss that falls is a difference below zero.
    pub upper: String,
    /// Loss of `upper` minus that of `lower`, nats a token.
    pub difference: f64,
    /// Runs of each, `lower` first.
    pub seeds: [usize; 2],
    /// Variance of the loss of a run among the seeds of a method, pooled over all methods.
    pub seed_variance: f64,
    /// Its degrees of freedom.
    pub seed_degrees: usize,
    /// Variance that the choice of entries adds.
    pub entry_variance: f64,
    /// Entries.
    pub entries: usize,
}

/// Losses of one method: for each run the nats of every entry.
pub type Nats = Vec<Vec<f64>>;

impl Contrast {
    /// Compares two methods whose runs were scored on the same entries with these target tokens;
    /// none without two entries, a run of each and a degree of freedom.
    pub fn of(
        [lower, upper]: [&str; 2],
        nats: [&Nats; 2],
        tokens: &[usize],
        (seed_variance, seed_degrees): (f64, usize),
    ) -> Option<Self> {
        let (entries, all) = (tokens.len(), tokens.iter().sum::<usize>() as f64);
        let fits = |runs: &&Nats| !runs.is_empty() && runs.iter().all(|r| r.len() == entries);
        if entries < 2 || all == 0.0 || seed_degrees == 0 || !nats.iter().all(fits) {
            return None;
        }
        let mean =
            |runs: &Nats, e: usize| super::mean(&runs.iter().map(|r| r[e]).collect::<Vec<_>>());
        let each = (0..entries).map(|e| mean(nats[1], e) - mean(nats[0], e));
        let each: Vec<f64> = each.collect();
        let difference = each.iter().sum::<f64>() / all;
        let rest = each.iter().zip(tokens);
        let rest = rest.map(|(n, t)| (n - difference * *t as f64).powi(2));
        let scale = entries as f64 / (entries - 1) as f64;
        Some(Self {
            lower: lower.into(),
            upper: upper.into(),
            difference,
            seeds: nats.map(Vec::len),
            seed_variance,
            seed_degrees,
            entry_variance: scale * rest.sum::<f64>() / (all * all),
            entries,
        })
    }

    /// The part of the squared error that is the seeds'.
    fn of_seeds(&self) -> f64 {
        let [a, b] = self.seeds.map(|n| n as f64);
        self.seed_variance * (1.0 / a + 1.0 / b)
    }

    /// Standard error of the difference.
    pub fn error(&self) -> f64 {
        (self.of_seeds() + self.entry_variance).sqrt()
    }

    /// Its degrees of freedom.
    pub fn degrees(&self) -> f64 {
        let (a, b) = (self.of_seeds(), self.entry_variance);
        let parts = a * a / self.seed_degrees as f64 + b * b / (self.entries - 1) as f64;
        match parts > 0.0 {
            true => (a + b).powi(2) / parts,
            false => self.seed_degrees as f64,
        }
    }

    /// Interval that the difference lies in but for this share of studies: 0.05 for 95 per cent.
    pub fn interval(&self, outside: f64) -> (f64, f64) {
        let half = quantile(outside, self.degrees()) * self.error();
        (self.difference - half, self.difference + half)
    }

    /// Two-sided probability of so large a difference where there is none.
    pub fn p(&self) -> f64 {
        match self.error() > 0.0 {
            true => two_sided(self.difference / self.error(), self.degrees()),
            false if self.difference == 0.0 => 1.0,
            false => 0.0,
        }
    }

    /// Whether both one-sided tests at 5 per cent place the difference within the margin.
    pub fn is_equivalent(&self, margin: f64) -> bool {
        let (low, high) = self.interval(0.1);
        -margin < low && high < margin
    }

    /// The smallest difference that a study like this sees in four of five cases.
    pub fn detectable(&self) -> f64 {
        let degrees = self.degrees();
        (quantile(0.05, degrees) + quantile(0.4, degrees)) * self.error()
    }

    /// Seeds of each method with which a difference as large as this one would be seen in four of
    /// five studies; none where the entries are too few for any number of seeds.
    pub fn seeds_needed(&self) -> Option<usize> {
        let room = (self.difference / 2.8).powi(2) - self.entry_variance;
        (room > 0.0).then(|| (2.0 * self.seed_variance / room).ceil().max(2.0) as usize)
    }
}

/// The variance of a number among the runs of a method, pooled over methods, and its degrees of
/// freedom.
pub fn pooled<'a>(methods: impl Iterator<Item = &'a [f64]>) -> (f64, usize) {
    let (mut sum, mut degrees) = (0.0, 0);
    for values in methods.filter(|v| v.len() > 1) {
        let own = values.len() - 1;
        sum += own as f64 * variance(values);
        degrees += own;
    }
    (sum / degrees.max(1) as f64, degrees)
}

/// Holm's probabilities of some tests: each is at most 0.05 where its difference may be told of
/// with one false one in twenty studies, however many there are.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let (mut out, mut least) = (vec![1.0; p.len()], 0.0_f64);
    for (place, i) in order.into_iter().enumerate() {
        least = least.max((p.len() - place) as f64 * p[i]).min(1.0);
        out[i] = least;
    }
    out
}

/// What a comparison says of a step that the paper finds to help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The loss falls.
    Appears,
    /// The loss rises.
    Reversed,
    /// The difference lies within [`MARGIN`].
    Equivalent,
    /// The sign is another one at the learning rate that is best for the other method.
    DependsOnRate,
    /// None of these can be said.
    Undecided,
    /// A method of the step has no run.
    NotMeasured,
}

impl Judgement {
    /// Of a comparison and its probability by [`holm`].
    pub fn of(contrast: &Contrast, holm: f64) -> Self {
        match (holm < 0.05, contrast.difference < 0.0) {
            (true, true) => Self::Appears,
            (true, false) => Self::Reversed,
            (false, _) if contrast.is_equivalent(MARGIN) => Self::Equivalent,
            (false, _) => Self::Undecided,
        }
    }

    /// As the report states it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Appears => "appears",
            Self::Reversed => "reversed",
            Self::Equivalent => "equivalent",
            Self::DependsOnRate => "depends on the learning rate",
            Self::Undecided => "undecided",
            Self::NotMeasured => "not measured",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    fn contrast(difference: f64, seed_variance: f64, entry_variance: f64) -> Contrast {
        Contrast {
            lower: "a".into(),
            upper: "b".into(),
            difference,
            seeds: [3, 3],
            seed_variance,
            seed_degrees: 24,
            entry_variance,
            entries: 300,
        }
    }

    #[test]
    fn the_variance_of_the_entries_is_that_of_the_ratio_estimator_by_hand() {
        // two entries of 2 and 4 tokens; nats differ by 1 and 5: δ = 1, residuals −1 and 1
        let (lower, upper) = (vec![vec![3.0, 6.0]], vec![vec![4.0, 11.0]]);
        let c = Contrast::of(["a", "b"], [&lower, &upper], &[2, 4], (0.09, 5)).unwrap();
        assert_eq!((c.difference, c.entry_variance), (1.0, 2.0 * 2.0 / 36.0));
        assert_abs_diff_eq!(c.error(), (0.18_f64 + 1.0 / 9.0).sqrt(), epsilon = 1e-15);
        assert_eq!(
            Contrast::of(["a", "b"], [&lower, &vec![]], &[2, 4], (0.1, 5)),
            None
        );
        assert_eq!(
            Contrast::of(["a", "b"], [&lower, &upper], &[2, 4], (0.1, 0)),
            None
        );
    }

    #[test]
    fn pooling_weighs_methods_by_their_degrees_of_freedom() {
        let (a, b, c) = ([1.0, 3.0], [0.0, 0.0, 3.0], [7.0]);
        let (found, degrees) = pooled([&a[..], &b, &c].into_iter());
        assert_eq!((found, degrees), ((2.0 + 2.0 * 3.0) / 3.0, 3));
    }

    #[test]
    fn holm_multiplies_in_order_and_never_falls() {
        assert_eq!(holm(&[0.01, 0.04, 0.03]), [0.03, 0.06, 0.06]);
        assert_eq!(holm(&[0.5, 0.9]), [1.0, 1.0]);
        assert_eq!(holm(&[]), [0.0; 0]);
    }

    #[test]
    fn a_judgement_needs_a_clear_difference_or_a_small_interval() {
        let of = |d: f64, s: f64| {
            let c = contrast(d, s * s, 0.0);
            Judgement::of(&c, c.p())
        };
        assert_eq!(of(-0.05, 0.01), Judgement::Appears);
        assert_eq!(of(0.05, 0.01), Judgement::Reversed);
        assert_eq!(of(0.001, 0.005), Judgement::Equivalent);
        assert_eq!(of(0.001, 0.05), Judgement::Undecided);
        // a difference that is clear and small is still a difference
        assert_eq!(of(-0.01, 0.001), Judgement::Appears);
    }

    #[test]
    fn the_seeds_needed_show_the_difference_in_four_of_five_studies() {
        let c = contrast(0.03, 0.0004, 0.00005);
        let needed = c.seeds_needed().unwrap();
        let with = |n: usize| Contrast {
            seeds: [n, n],
            seed_degrees: 1000,
            ..c.clone()
        };
        assert!(
            with(needed).detectable() <= 0.0302,
            "{}",
            with(needed).detectable()
        );
        assert!(with(needed - 2).detectable() > 0.03);
        assert_eq!(contrast(0.01, 0.0004, 0.00005).seeds_needed(), None);
    }

    /// Of invented studies the interval holds the true difference in 93 to 97 per cent, with
    /// entries of unequal length and difficulty, methods that differ by entry, and seeds.
    #[test]
    fn intervals_hold_the_truth_in_ninety_five_of_a_hundred_studies() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let (methods, seeds, entries, studies) = (6, 3, 60, 2000);
        let (of_seed, of_entry, of_run) = (0.02, 0.15, 0.05);
        let truth = -0.03;
        let mut held = 0;
        for _ in 0..studies {
            let tokens: Vec<usize> = (0..entries)
                .map(|_| 8 + (normal().abs() * 10.0) as usize)
                .collect();
            let hard: Vec<f64> = (0..entries).map(|_| 1.0 + 0.5 * normal()).collect();
            let mut method = |effect: f64| -> Nats {
                let own: Vec<f64> = (0..entries).map(|_| of_entry * normal()).collect();
                let mut run = || -> Vec<f64> {
                    let seed = of_seed * normal();
                    (0..entries)
                        .map(|e| {
                            let each = hard[e] + own[e] + effect + seed + of_run * normal();
                            each * tokens[e] as f64
                        })
                        .collect()
                };
                (0..seeds).map(|_| run()).collect()
            };
            let all: Vec<Nats> = (0..methods)
                .map(|m| method(if m == 1 { truth } else { 0.0 }))
                .collect();
            let total = tokens.iter().sum::<usize>() as f64;
            let loss = |run: &Vec<f64>| run.iter().sum::<f64>() / total;
            let losses: Vec<Vec<f64>> = all.iter().map(|m| m.iter().map(loss).collect()).collect();
            let pool = pooled(losses.iter().map(Vec::as_slice));
            let c = Contrast::of(["a", "b"], [&all[0], &all[1]], &tokens, pool).unwrap();
            let (low, high) = c.interval(0.05);
            held += usize::from(low <= truth && truth <= high);
        }
        let share = held as f64 / studies as f64;
        assert!((0.93..=0.97).contains(&share), "{share}");
    }
}
