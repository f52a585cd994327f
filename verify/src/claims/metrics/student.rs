//! t-tests against their formulas, Student's distribution from an integral.

use super::given;
use crate::oracle::student::outside;
use crate::{Case, Result, Tolerance};
use inducer_datasets::significance::{TTest, paired_t, welch};

/// Mean and the square of its standard error.
fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>();
    (mean, squares / (n - 1.0) / n)
}

/// The tests of pairs and of two samples (Welch's) have the statistic, the degrees of freedom and
/// the two-sided probability of their formulas. In the control the probability is one-sided.
pub(super) fn t_tests(case: &mut Case) -> Result<()> {
    let [n, m] = case.draw.sizes([(2, 8), (2, 8)]);
    let shift = case.draw.between(0.0, 1.5);
    let wide = case.draw.between(0.1, 3.0);
    let a: Vec<f64> = (0..n).map(|_| shift + case.draw.number(1.0)).collect();
    let pair: Vec<f64> = (0..n).map(|_| case.draw.number(1.0)).collect();
    let b: Vec<f64> = (0..m).map(|_| case.draw.number(wide)).collect();
    let (mean, error) =
        mean_and_error(&a.iter().zip(&pair).map(|(a, b)| a - b).collect::<Vec<_>>());
    let paired = TTest {
        t: mean / error.sqrt(),
        degrees: n as f64 - 1.0,
        p: 0.0,
    };
    let ((x, v), (y, w)) = (mean_and_error(&a), mean_and_error(&b));
    let of_each = v * v / (n as f64 - 1.0) + w * w / (m as f64 - 1.0);
    let two = TTest {
        t: (x - y) / (v + w).sqrt(),
        degrees: (v + w) * (v + w) / of_each,
        p: 0.0,
    };
    let tests = [
        ("pairs", given(paired_t(&a, &pair))?, paired),
        ("Welch", given(welch(&a, &b))?, two),
    ];
    for (name, found, expected) in tests {
        let place = |what: &str| format!("{name}, {what}: {a:?} against {pair:?}, {b:?}");
        // a spread of s among values of size 2.5 loses 3 u/s of itself, at most 1e-9 where s is
        // above 4e-7: a lesser one takes two values of 24 random bits that agree in 22
        let why = "1e-9 of the figure: cancellation in means and squares of at most 8 numbers";
        let close = |figure: f64| Tolerance::stated(1e-9 * figure.abs().max(1.0), why);
        case.close(found.t, expected.t, &close(expected.t), || place("t"));
        case.close(
            found.degrees,
            expected.degrees,
            &close(expected.degrees),
            || place("degrees"),
        );
        let p = outside(expected.t.abs(), expected.degrees) * case.or_control(1.0, 0.5);
        let why = "1e-8: Simpson's rule, (h⁴/180) max|f⁗| with h = 1.12/12000 and f⁗ up to 1e7, \
                   over an integral of 0.3 or more";
        case.close(found.p, p, &Tolerance::stated(1e-8, why), || place("p"));
    }
    Ok(())
}
