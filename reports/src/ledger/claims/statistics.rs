//! Statistics from their definitions: Student's distribution by integration of its density, the
//! variance of a ratio by its residuals, Holm's correction by all tests that come before.

use crate::stats::contrast::{Contrast, holm};
use crate::stats::quantile;
use inducer_verify::oracle::student::outside;
use inducer_verify::{Case, Claim, Result, Target, Tolerance};

/// What an integral by Simpson's rule in 12,000 parts leaves of a smooth function, and what halving
/// leaves of a quantile.
pub(super) const INTEGRATED: f64 = 1e-9;

pub(super) fn claims() -> Vec<Claim> {
    vec![
        Claim::new("stats-student").on_one_sided(Target::CpuF64, student),
        // few margins lie between the ends of two intervals
        Claim::new("stats-equivalence")
            .one_case_in(2)
            .at_least(96)
            .on_one_sided(Target::CpuF64, equivalent),
        Claim::new("stats-holm").on_one_sided(Target::CpuF64, corrected),
    ]
}

/// Σ (x − x̄)².
pub(super) fn squares(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|x| (x - mean).powi(2)).sum()
}

/// Outside of the quantile lies the share that it is the quantile of. In the control the
/// distribution has one more degree of freedom.
fn student(case: &mut Case) -> Result<()> {
    let degrees = case.draw.between(1.0, 60.0);
    let share = case.draw.between(0.01, 0.6);
    let t = quantile(share, degrees);
    let found = outside(t, degrees + case.or_control(0.0, 1.0));
    let tolerance = Tolerance::stated(INTEGRATED, "1e-9: Simpson's rule in 12,000 parts");
    case.close(found, share, &tolerance, || format!("t {t}, ν {degrees}"));
    Ok(())
}

/// A comparison of small numbers.
pub(super) fn contrast(case: &mut Case) -> Contrast {
    Contrast {
        lower: "a".into(),
        upper: "b".into(),
        difference: case.draw.number(0.03),
        seeds: [case.draw.size(2, 9), case.draw.size(2, 9)],
        seed_variances: [0, 1].map(|_| case.draw.between(0.0, 4e-4)),
        entry_variance: case.draw.between(1e-7, 1e-4),
        entries: case.draw.size(2, 300),
    }
}

/// The probability of so large a distance from an end of a margin, on its inner side.
pub(super) fn inner(distance: f64, error: f64, degrees: f64) -> f64 {
    match distance > 0.0 {
        true => 0.5 * outside(distance / error, degrees),
        false => 1.0 - 0.5 * outside(-distance / error, degrees),
    }
}

/// Error, degrees of freedom, interval, probability and equivalence of a comparison are those of
/// their definitions; equivalence by two one-sided tests, each with its own probability. In the
/// control the error leaves out the choice of entries.
fn equivalent(case: &mut Case) -> Result<()> {
    let c = contrast(case);
    // about where the tests turn
    let margin = c.difference.abs() + case.draw.between(1.0, 3.0) * c.error();
    // the variance of a mean and its degrees of freedom: of each method's seeds, of the entries
    let seeds = c.seeds.iter().zip(c.seed_variances);
    let mut parts: Vec<(f64, f64)> = seeds
        .map(|(n, s)| (s / *n as f64, *n as f64 - 1.0))
        .collect();
    parts.push((
        case.or_control(c.entry_variance, 0.0),
        c.entries as f64 - 1.0,
    ));
    let variance: f64 = parts.iter().map(|(v, _)| v).sum();
    let degrees = variance.powi(2) / parts.iter().map(|(v, n)| v * v / n).sum::<f64>();
    let error = variance.sqrt();
    let tolerance = Tolerance::stated(INTEGRATED, "1e-9: Simpson's rule in 12,000 parts");
    let (low, high) = c.interval(0.05);
    for (name, end) in [("lower", low), ("upper", high)] {
        let found = outside((end - c.difference).abs() / error, degrees);
        case.close(found, 0.05, &tolerance, || format!("{name} end of {c:?}"));
    }
    let p = outside(c.difference.abs() / error, degrees);
    case.close(c.p(), p, &tolerance, || format!("p of {c:?}"));
    let one_sided = |distance: f64| inner(distance, error, degrees);
    let worst = one_sided(margin + c.difference).max(one_sided(margin - c.difference));
    // at the threshold itself rounding decides
    if (worst - 0.05).abs() > INTEGRATED {
        case.same(c.is_equivalent(margin), worst < 0.05, || {
            format!("equivalence of {c:?} within {margin}")
        });
    }
    Ok(())
}

/// Holm's probability of a test: of all tests at most as probable the greatest p times the number
/// of tests that are left. In the control every p is multiplied by the number of all tests.
fn corrected(case: &mut Case) -> Result<()> {
    let n = case.draw.size(1, 8);
    let p: Vec<f64> = (0..n).map(|_| case.draw.between(0.0, 0.3)).collect();
    let found = holm(&p);
    let tolerance = Tolerance::stated(4.0 * f64::EPSILON, "4 ε: one product");
    for (i, own) in p.iter().enumerate() {
        let left = |x: f64| p.iter().filter(|y| **y >= x).count() as f64;
        let before = p.iter().filter(|x| *x <= own);
        let expected = before.map(|x| x * case.or_control(left(*x), n as f64));
        let expected = expected.fold(0.0, f64::max).min(1.0);
        case.close(found[i], expected, &tolerance, || {
            format!("test {i} of {p:?}")
        });
    }
    Ok(())
}
