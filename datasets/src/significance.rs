//! Whether a difference between two systems is more than chance.
//!
//! ```text
//! bootstrap      p = (1 + #{b : δ_b ≤ 0}) / (1 + B)
//! randomisation  p = (1 + #{b : |δ_b| ≥ |δ|}) / (1 + B)
//! t-tests        t = mean / standard error, two-sided
//! ```
//!
//! δ is the difference as observed, positive in the bootstrap, and δ_b that of draw b of B: on n
//! examples drawn with replacement, or with each example's two outputs swapped with probability ½.
//!
//! The first two take statistics of examples and a function from their sum to the score, so that
//! corpus-level figures are recomputed (Koehn 2004; Riezler and Maxwell 2005):
//! `metrics::bleu::Counts`, `metrics::ter::Counts`, `metrics::coqa::Counts`, or plain numbers. The
//! t-tests compare repeats over seeds. `tests/significance.rs` checks them.

use std::ops::AddAssign;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::metrics::total;
use crate::{Error, Result};

/// Outcome of a resampling test.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Resampled {
    /// The first system's score less the second's.
    pub difference: f64,
    /// Probability of such a difference without a true one: one-sided of the bootstrap, two-sided
    /// of randomisation.
    pub p: f64,
    /// Draws.
    pub draws: usize,
}

fn paired<T>(a: &[T], b: &[T]) -> Result<()> {
    match a.len() == b.len() && !a.is_empty() {
        true => Ok(()),
        false => Err(Error::Invalid(format!(
            "a paired test needs as many examples of one as of the other, at least one: found {} \
             and {}",
            a.len(),
            b.len()
        ))),
    }
}

/// Draws two systems' totals over and over with `draw`, and counts how often the difference of
/// their scores speaks against the one as observed: `against(drawn, observed)`.
fn resample<C: Copy + Default + AddAssign>(
    (a, b): (&[C], &[C]),
    score: impl Fn(C) -> f64,
    (draws, seed): (usize, u64),
    draw: impl Fn(&mut ChaCha8Rng, usize) -> (C, C),
    against: impl Fn(f64, f64) -> bool,
) -> Result<Resampled> {
    paired(a, b)?;
    let sum = |counts: &[C]| total(counts.iter().copied());
    let difference = score(sum(a)) - score(sum(b));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut found = 0;
    for _ in 0..draws {
        let (mut x, mut y) = (C::default(), C::default());
        for i in 0..a.len() {
            let (of_a, of_b) = draw(&mut rng, i);
            x += of_a;
            y += of_b;
        }
        found += usize::from(against(score(x) - score(y), difference));
    }
    Ok(Resampled {
        difference,
        p: (1 + found) as f64 / (1 + draws) as f64,
        draws,
    })
}

/// Paired bootstrap over examples.
///
/// # Errors
/// The lists differ in length or are empty.
///
/// ```
/// use inducer_datasets::significance::paired_bootstrap;
/// let mean = |sum: f64| sum;
/// let better = paired_bootstrap(&[1.0; 20], &[0.0; 20], mean, 999, 1).unwrap();
/// assert_eq!((better.difference, better.p), (20.0, 0.001));
/// ```
pub fn paired_bootstrap<C: Copy + Default + AddAssign>(
    a: &[C],
    b: &[C],
    score: impl Fn(C) -> f64,
    draws: usize,
    seed: u64,
) -> Result<Resampled> {
    let draw = |rng: &mut ChaCha8Rng, _| {
        let i = rng.random_range(0..a.len());
        (a[i], b[i])
    };
    let against = |drawn: f64, observed: f64| drawn * observed.signum() <= 0.0;
    resample((a, b), score, (draws, seed), draw, against)
}

/// Approximate randomisation over examples.
///
/// # Errors
/// The lists differ in length or are empty.
pub fn approximate_randomisation<C: Copy + Default + AddAssign>(
    a: &[C],
    b: &[C],
    score: impl Fn(C) -> f64,
    draws: usize,
    seed: u64,
) -> Result<Resampled> {
    let draw = |rng: &mut ChaCha8Rng, i: usize| match rng.random() {
        true => (b[i], a[i]),
        false => (a[i], b[i]),
    };
    // sums in another order differ in their last digits: these are ties
    let against = |drawn: f64, observed: f64| drawn.abs() >= observed.abs() * (1.0 - 1e-12);
    resample((a, b), score, (draws, seed), draw, against)
}

/// Outcome of a t-test.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TTest {
    /// The statistic.
    pub t: f64,
    /// Degrees of freedom.
    pub degrees: f64,
    /// Two-sided probability.
    pub p: f64,
}

/// Mean and sample variance.
///
/// # Errors
/// Fewer than two values, or one that is not finite.
pub fn moments(values: &[f64]) -> Result<(f64, f64)> {
    let n = values.len() as f64;
    if values.len() < 2 || values.iter().any(|v| !v.is_finite()) {
        let message = "a t-test needs at least two finite values of each".to_owned();
        return Err(Error::Invalid(message));
    }
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    Ok((mean, squares / (n - 1.0)))
}

fn test(mean: f64, error: f64, degrees: f64) -> TTest {
    let (t, p) = match (mean == 0.0, error == 0.0) {
        (true, true) => (0.0, 1.0),
        (false, true) => (mean.signum() * f64::INFINITY, 0.0),
        _ => {
            let t = mean / error;
            (t, two_sided(t, degrees))
        }
    };
    TTest { t, degrees, p }
}

/// P(|T| ≥ t) of Student's t with any degrees of freedom.
pub fn two_sided(t: f64, degrees: f64) -> f64 {
    beta(degrees / (degrees + t * t), degrees / 2.0, 0.5)
}

/// Welch's test of two independent samples, whose variances may differ.
///
/// # Errors
/// Fewer than two values, or one that is not finite.
pub fn welch(a: &[f64], b: &[f64]) -> Result<TTest> {
    let ((x, v), (y, w)) = (moments(a)?, moments(b)?);
    let (v, w) = (v / a.len() as f64, w / b.len() as f64);
    let spread = v * v / (a.len() - 1) as f64 + w * w / (b.len() - 1) as f64;
    let degrees = if spread == 0.0 {
        (a.len() + b.len() - 2) as f64
    } else {
        (v + w).powi(2) / spread
    };
    Ok(test(x - y, (v + w).sqrt(), degrees))
}

/// The test of pairs: two systems on the same seeds.
///
/// # Errors
/// The lists differ in length; otherwise as [`welch`].
pub fn paired_t(a: &[f64], b: &[f64]) -> Result<TTest> {
    paired(a, b)?;
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let (mean, variance) = moments(&differences)?;
    let n = a.len() as f64;
    Ok(test(mean, (variance / n).sqrt(), n - 1.0))
}

/// The regularised incomplete beta function I_x(a, b), by its continued fraction (Lentz's method).
fn beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta(1.0 - x, b, a);
    }
    let front = libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b);
    let front = (front + a * x.ln() + b * (-x).ln_1p()).exp() / a;
    let tiny = |v: f64| if v.abs() < 1e-300 { 1e-300 } else { v };
    let (mut c, mut d) = (1.0, 1.0 / tiny(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for m in 1..=500 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut step = 1.0;
        for term in [even, odd] {
            d = 1.0 / tiny(1.0 + term * d);
            c = tiny(1.0 + term / c);
            step = c * d;
            fraction *= step;
        }
        if (step - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    front * fraction
}
