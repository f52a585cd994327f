//! Means over seeds, their spread, and what may be said of a difference.
//!
//! ```text
//! x̄ = Σ xᵢ / n,   s² = Σ (xᵢ − x̄)² / (n − 1),   x̄ ± t₀.₉₇₅,ₙ₋₁ · s/√n
//! ```
//!
//! Two methods are compared seed by seed (same seed, same order of the training data), so that what
//! a seed does to both cancels. Three seeds give wide intervals, t = 4.30: that is the price of
//! three seeds, and it is shown.

pub mod contrast;
pub mod slope;

use inducer_datasets::significance::{moments, two_sided};

/// Mean, spread and 95 % interval of a few numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// How many.
    pub n: usize,
    /// Mean.
    pub mean: f64,
    /// Sample standard deviation; none for a single number.
    pub sd: Option<f64>,
    /// Student-t 95 % interval of the mean; none for a single number.
    pub interval: Option<(f64, f64)>,
}

impl Summary {
    /// Summary of some numbers; none when there are none.
    ///
    /// ```text
    /// {1, 2, 3}: mean 2, s = 1, interval 2 ± 4.303/√3
    /// ```
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let (n, mean) = (values.len(), mean(values));
        let sd = moments(values).ok().map(|(_, variance)| variance.sqrt());
        let interval = sd.map(|sd| {
            let half = t_975(n - 1) * sd / (n as f64).sqrt();
            (mean - half, mean + half)
        });
        Some(Self {
            n,
            mean,
            sd,
            interval,
        })
    }
}

/// The mean; 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// `b − a` over the seeds that both have.
pub fn differences(a: &[(u64, f64)], b: &[(u64, f64)]) -> Vec<(u64, f64)> {
    let difference = |(seed, y): &(u64, f64)| {
        let x = a.iter().find(|x| x.0 == *seed)?.1;
        Some((*seed, y - x))
    };
    b.iter().filter_map(difference).collect()
}

/// Summary of `b − a` over the seeds that both have.
pub fn paired(a: &[(u64, f64)], b: &[(u64, f64)]) -> Option<Summary> {
    let values: Vec<f64> = differences(a, b).iter().map(|d| d.1).collect();
    Summary::of(&values)
}

/// What the seeds say about an expected rise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The interval of the difference lies above zero.
    Appears,
    /// It lies below zero.
    Reversed,
    /// It holds zero.
    WithinSpread,
    /// One common seed: a difference without an interval.
    OneSeed,
    /// No common seed.
    NotMeasured,
}

impl Verdict {
    /// The verdict on a difference that is expected to be positive.
    pub fn of(difference: Option<&Summary>) -> Self {
        match difference.map(|d| d.interval) {
            None => Self::NotMeasured,
            Some(None) => Self::OneSeed,
            Some(Some((low, _))) if low > 0.0 => Self::Appears,
            Some(Some((_, high))) if high < 0.0 => Self::Reversed,
            Some(Some(_)) => Self::WithinSpread,
        }
    }

    /// As the report states it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Appears => "appears",
            Self::Reversed => "does not appear",
            Self::WithinSpread => "within the spread over seeds",
            Self::OneSeed => "one seed only, no verdict",
            Self::NotMeasured => "not measured",
        }
    }
}

/// Whether an interval leaves out zero.
pub fn excludes_zero(difference: &Summary) -> bool {
    difference
        .interval
        .is_some_and(|(low, high)| low > 0.0 || high < 0.0)
}

/// The 97.5 % quantile of Student's t with `df` ≥ 1 degrees of freedom.
pub fn t_975(df: usize) -> f64 {
    quantile(0.05, df as f64)
}

/// The t that a share of Student's distribution lies outside of, on both sides together.
///
/// # Numerics
/// Bisection on the distribution function, to the last bit that halving reaches.
pub fn quantile(share: f64, degrees: f64) -> f64 {
    let outside = |t: f64| two_sided(t, degrees);
    let (mut low, mut high) = (0.0, 1.0);
    while outside(high) > share {
        high *= 2.0;
    }
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if outside(middle) > share {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// Sample variance; 0 of fewer than two numbers.
pub fn variance(values: &[f64]) -> f64 {
    moments(values).map_or(0.0, |(_, variance)| variance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    #[test]
    fn t_quantiles_are_those_of_the_printed_tables() {
        // Five decimals, as tables print them.
        let printed = [
            (1, 12.70620),
            (2, 4.30265),
            (3, 3.18245),
            (4, 2.77645),
            (5, 2.57058),
            (9, 2.26216),
            (30, 2.04227),
            (31, 2.03951),
        ];
        for (df, t) in printed {
            assert!((t_975(df) - t).abs() < 6e-6, "df {df}: {}", t_975(df));
        }
    }

    #[test]
    fn one_two_three_has_mean_two_and_deviation_one() {
        let s = Summary::of(&[1.0, 2.0, 3.0]).unwrap();
        assert_eq!((s.n, s.mean, s.sd), (3, 2.0, Some(1.0)));
        let (low, high) = s.interval.unwrap();
        assert_abs_diff_eq!(high - 2.0, 4.302652729911 / 3f64.sqrt(), epsilon = 1e-9);
        assert_abs_diff_eq!(low + high, 4.0, epsilon = 1e-12);
    }

    #[test]
    fn nothing_has_no_summary_and_one_has_no_interval() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[3.0]).unwrap().interval, None);
    }

    #[test]
    fn pairing_uses_common_seeds_only_and_removes_what_a_seed_does_to_both() {
        let a = [(1, 10.0), (2, 20.0), (3, 30.0)];
        let b = [(3, 31.0), (1, 11.0), (9, 0.0)];
        let d = paired(&a, &b).unwrap();
        assert_eq!((d.n, d.mean, d.sd), (2, 1.0, Some(0.0)));
        assert_eq!(paired(&a, &[(9, 0.0)]), None);
    }

    #[test]
    fn a_verdict_follows_the_interval() {
        let of = |v: &[f64]| Verdict::of(Summary::of(v).as_ref());
        assert_eq!(of(&[1.0, 1.1, 0.9]), Verdict::Appears);
        assert_eq!(of(&[-1.0, -1.1, -0.9]), Verdict::Reversed);
        assert_eq!(of(&[1.0, 1.1, -0.9]), Verdict::WithinSpread);
        assert_eq!(of(&[0.0, 0.0]), Verdict::WithinSpread);
        assert_eq!(of(&[5.0]), Verdict::OneSeed);
        assert_eq!(of(&[]), Verdict::NotMeasured);
    }
}
