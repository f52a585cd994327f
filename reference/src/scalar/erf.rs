//! The error function for any [`Real`], from a series without cancellation.
//!
//! ```text
//! erf(x) = (2/√π) · exp(−x²) · Σ_{k≥0} 2^k x^{2k+1} / (1·3·5 ⋯ (2k+1))
//! ```
//!
//! All terms have the sign of x, so nothing cancels; the number of terms grows with x². Beyond |x|
//! = 9 the value is ±1 to 36 digits, more than any scalar here holds.
//!
//! Checked by `double_double_functions_match_28_known_digits` and, against the integral, by
//! `erf_is_the_integral_of_its_density`.

use super::Real;

/// erf(x) by the series above.
///
/// # Numerics
/// Relative error of a few units: the sum has positive terms only, the factor exp(−x²) contributes
/// x² units.
///
/// ```
/// use approx::assert_abs_diff_eq;
/// use inducer_reference::scalar::erf::erf_by_series;
/// assert_eq!(erf_by_series(0.0_f64), 0.0);
/// assert_abs_diff_eq!(erf_by_series(1.0_f64), 0.842_700_792_949_714_9, epsilon = 1e-15);
/// assert_eq!(erf_by_series(-30.0_f64), -1.0);
/// ```
#[must_use]
pub fn erf_by_series<T: Real>(x: T) -> T {
    let one = T::one();
    if x.to_f64() >= 9.0 {
        return one;
    }
    if x.to_f64() <= -9.0 {
        return -one;
    }
    let two = one + one;
    let twice_square = two * x * x;
    let mut term = x;
    let mut sum = x;
    let mut odd = one;
    // A term is below 10⁻⁴ u of the sum before the loop ends, and at most 9² · 4 + 60 terms are
    // needed at |x| = 9.
    for _ in 0..400 {
        odd = odd + two;
        term = term * twice_square / odd;
        sum = sum + term;
        if term.to_f64().abs() <= 1e-4 * T::unit_roundoff() * sum.to_f64().abs() {
            break;
        }
    }
    two / T::pi().sqrt() * (-(x * x)).exp() * sum
}
