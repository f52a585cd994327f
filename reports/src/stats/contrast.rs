//! Two methods compared by the loss of the test part, with seeds and entries crossed.
//!
//! Every run of a method is scored on the same entries. With L the loss in nats a token, s² the
//! variance of a run's loss among a method's own seeds, S its runs and V what the choice of entries
//! adds:
//!
//! ```text
//! δ = L̄_upper − L̄_lower,   SE² = s²_lower/S_lower + s²_upper/S_upper + V
//! V = E/(E − 1) · Σ_e (n_e − δ t_e)² / (Σ_e t_e)²
//! ν = SE⁴ / (Σ (s²/S)²/(S − 1) + V²/(E − 1))
//! ```
//!
//! `n_e` is the difference of the nats of entry e, means over seeds, and `t_e` its target tokens:
//! the ratio estimator's variance over E entries. ν, the degrees of freedom of SE, are Welch's and
//! Satterthwaite's. Methods differ in how much a seed does to them, so their variances are not
//! pooled. Seeds are not paired, since what a seed does to two methods has hardly anything in
//! common; entries are, since an entry that is hard for one method is hard for the other.

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
    /// Variance of the loss of a run among the seeds of each.
    pub seed_variances: [f64; 2],
    /// Variance that the choice of entries adds.
    pub entry_variance: f64,
    /// Entries.
    pub entries: usize,
}

/// Losses of one method: for each run the nats of every entry.
pub type Nats = Vec<Vec<f64>>;

/// The second method's nats of each entry less the first one's, means over runs; none without two
/// runs of each with so many entries.
pub(super) fn gap(nats: [&Nats; 2], entries: usize) -> Option<Vec<f64>> {
    let fits = |runs: &&Nats| runs.len() > 1 && runs.iter().all(|r| r.len() == entries);
    let mean = |runs: &Nats, e: usize| super::mean(&runs.iter().map(|r| r[e]).collect::<Vec<_>>());
    let each = (0..entries).map(|e| mean(nats[1], e) - mean(nats[0], e));
    nats.iter().all(fits).then(|| each.collect())
}

impl Contrast {
    /// Compares two methods whose runs were scored on the same entries with these target tokens;
    /// none without two entries and two runs of each.
    pub fn of([lower, upper]: [&str; 2], nats: [&Nats; 2], tokens: &[usize]) -> Option<Self> {
        let (entries, all) = (tokens.len(), tokens.iter().sum::<usize>() as f64);
        let each = gap(nats, entries)?;
        if entries < 2 || all == 0.0 {
            return None;
        }
        let difference = each.iter().sum::<f64>() / all;
        let rest = each.iter().zip(tokens);
        let rest = rest.map(|(n, t)| (n - difference * *t as f64).powi(2));
        let scale = entries as f64 / (entries - 1) as f64;
        let loss = |run: &Vec<f64>| run.iter().sum::<f64>() / all;
        Some(Self {
            lower: lower.into(),
            upper: upper.into(),
            difference,
            seeds: nats.map(Vec::len),
            seed_variances: nats.map(|runs| variance(&runs.iter().map(loss).collect::<Vec<_>>())),
            entry_variance: scale * rest.sum::<f64>() / (all * all),
            entries,
        })
    }

    /// The parts of the squared error that are the seeds' of each method.
    fn of_seeds(&self) -> [f64; 2] {
        [0, 1].map(|side| self.seed_variances[side] / self.seeds[side] as f64)
    }

    /// Standard error of the difference.
    pub fn error(&self) -> f64 {
        let [lower, upper] = self.of_seeds();
        (lower + upper + self.entry_variance).sqrt()
    }

    /// Its degrees of freedom.
    pub fn degrees(&self) -> f64 {
        let ([lower, upper], entries) = (self.of_seeds(), self.entry_variance);
        let [of_lower, of_upper] = self.seeds.map(|runs| (runs - 1) as f64);
        let of_entries = (self.entries - 1) as f64;
        let parts =
            lower * lower / of_lower + upper * upper / of_upper + entries * entries / of_entries;
        match parts > 0.0 {
            true => (lower + upper + entries).powi(2) / parts,
            false => of_lower.min(of_upper),
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

    /// The smallest difference that a study like this sees in four of five cases, where it is one
    /// of so many tests: the first one of Holm's, which has to be the clearest.
    pub fn detectable(&self, tests: usize) -> f64 {
        let degrees = self.degrees();
        (quantile(0.05 / tests as f64, degrees) + quantile(0.4, degrees)) * self.error()
    }

    /// Seeds of each method with which a difference as large as this one would be seen in four of
    /// five studies; none where the entries are too few for any number of seeds.
    pub fn seeds_needed(&self, tests: usize) -> Option<usize> {
        let seen = |n: usize| {
            let seeds = [n, n];
            Self {
                seeds,
                ..self.clone()
            }
            .detectable(tests)
                <= self.difference.abs()
        };
        let enough = (1..=12).map(|k| 1 << k).find(|n| seen(*n))?;
        (enough / 2 + 1..=enough).find(|n| seen(*n))
    }
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

    fn contrast(difference: f64, seed_variances: [f64; 2], entry_variance: f64) -> Contrast {
        Contrast {
            lower: "a".into(),
            upper: "b".into(),
            difference,
            seeds: [8, 8],
            seed_variances,
            entry_variance,
            entries: 300,
        }
    }

    #[test]
    fn error_and_degrees_of_freedom_are_those_by_hand() {
        // two entries of 2 and 4 tokens; nats differ by 1 and 5: δ = 1, residuals −1 and 1
        let (lower, upper) = (
            vec![vec![3.0, 6.0], vec![3.0, 6.0], vec![3.0, 6.0]],
            vec![vec![4.0, 10.0], vec![4.0, 12.0]],
        );
        let c = Contrast::of(["a", "b"], [&lower, &upper], &[2, 4]).unwrap();
        assert_eq!((c.difference, c.entry_variance), (1.0, 2.0 * 2.0 / 36.0));
        // losses of the upper runs 14/6 and 16/6: their variance is 2/36
        assert_eq!(c.seeds, [3, 2]);
        assert_abs_diff_eq!(c.seed_variances[0], 0.0, epsilon = 1e-30);
        assert_abs_diff_eq!(c.seed_variances[1], 1.0 / 18.0, epsilon = 1e-15);
        let (seeds, entries) = (1.0 / 36.0, 1.0 / 9.0_f64);
        assert_abs_diff_eq!(c.error(), (seeds + entries).sqrt(), epsilon = 1e-15);
        let degrees = (seeds + entries).powi(2) / (seeds * seeds + entries * entries);
        assert_abs_diff_eq!(c.degrees(), degrees, epsilon = 1e-12);
        let one = vec![vec![4.0, 11.0]];
        assert_eq!(Contrast::of(["a", "b"], [&lower, &one], &[2, 4]), None);
        assert_eq!(Contrast::of(["a", "b"], [&lower, &upper], &[2]), None);
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
            let c = contrast(d, [s * s; 2], 0.0);
            Judgement::of(&c, c.p())
        };
        assert_eq!(of(-0.05, 0.02), Judgement::Appears);
        assert_eq!(of(0.05, 0.02), Judgement::Reversed);
        assert_eq!(of(0.001, 0.01), Judgement::Equivalent);
        assert_eq!(of(0.001, 0.05), Judgement::Undecided);
        // a difference that is clear and small is still a difference
        assert_eq!(of(-0.01, 0.002), Judgement::Appears);
    }

    #[test]
    fn the_seeds_needed_show_the_difference_in_four_of_five_studies() {
        let c = contrast(0.03, [0.0006, 0.0002], 0.00005);
        let with = |n: usize| Contrast {
            seeds: [n, n],
            ..c.clone()
        };
        for tests in [1, 5] {
            let needed = c.seeds_needed(tests).unwrap();
            assert!(with(needed).detectable(tests) <= 0.03, "{needed}");
            assert!(with(needed - 1).detectable(tests) > 0.03, "{needed}");
        }
        assert!(c.seeds_needed(5) > c.seeds_needed(1));
        assert_eq!(contrast(0.01, [0.0004; 2], 0.00005).seeds_needed(1), None);
    }

    /// An invented study of two methods, three and eight runs: entries of unequal length and
    /// difficulty, methods that differ by entry and in what a seed does to them.
    fn invented(
        rng: &mut ChaCha8Rng,
        truth: f64,
        [runs, of_seed]: [[f64; 2]; 2],
    ) -> (Vec<usize>, [Nats; 2]) {
        let (entries, of_entry, of_run) = (60, 0.15, 0.05);
        let mut normal = || -> f64 { StandardNormal.sample(rng) };
        let tokens: Vec<usize> = (0..entries)
            .map(|_| 8 + (normal().abs() * 10.0) as usize)
            .collect();
        let hard: Vec<f64> = (0..entries).map(|_| 1.0 + 0.5 * normal()).collect();
        let nats = [0, 1].map(|method| {
            let own: Vec<f64> = (0..entries).map(|_| of_entry * normal()).collect();
            let mut run = || -> Vec<f64> {
                let seed = of_seed[method] * normal() + truth * method as f64;
                let entry = |e: usize| (hard[e] + own[e] + seed + of_run * normal(), tokens[e]);
                let each = (0..entries).map(entry);
                each.map(|(loss, t)| loss * t as f64).collect()
            };
            (0..runs[method] as usize).map(|_| run()).collect()
        });
        (tokens, nats)
    }

    /// Of invented studies the interval holds the true difference in 93 to 97 per cent, also where
    /// a seed does eight times as much to one method as to the other. One variance for both, the
    /// pooled one, then misses it in more than a tenth of them, where the method that varies more
    /// has the fewer runs.
    #[test]
    fn intervals_hold_the_truth_in_ninety_five_of_a_hundred_studies() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let (studies, truth) = (2000, -0.03);
        let mut shares = |runs: [f64; 2], of_seed: [f64; 2]| {
            let (mut own, mut pooled) = (0, 0);
            for _ in 0..studies {
                let (tokens, nats) = invented(&mut rng, truth, [runs, of_seed]);
                let c = Contrast::of(["a", "b"], [&nats[0], &nats[1]], &tokens).unwrap();
                let holds = |c: &Contrast| {
                    let (low, high) = c.interval(0.05);
                    usize::from(low <= truth && truth <= high)
                };
                own += holds(&c);
                let [a, b] = c.seeds.map(|n| (n - 1) as f64);
                let together = (a * c.seed_variances[0] + b * c.seed_variances[1]) / (a + b);
                pooled += holds(&Contrast {
                    seed_variances: [together; 2],
                    ..c
                });
            }
            [own, pooled].map(|held| held as f64 / studies as f64)
        };
        for (runs, of_seed) in [
            ([3.0, 3.0], [0.02, 0.02]),
            ([8.0, 8.0], [0.02, 0.02]),
            ([8.0, 8.0], [0.08, 0.01]),
            ([8.0, 8.0], [0.01, 0.08]),
            ([8.0, 3.0], [0.08, 0.01]),
        ] {
            let [own, _] = shares(runs, of_seed);
            assert!((0.93..=0.97).contains(&own), "{runs:?} {of_seed:?}: {own}");
        }
        let [own, pooled] = shares([3.0, 8.0], [0.08, 0.01]);
        assert!((0.93..=0.97).contains(&own), "{own}");
        assert!(pooled < 0.9, "{pooled}");
    }
}
