//! Student's distribution by integration of its density.

/// Parts of Simpson's rule.
const PARTS: usize = 12_000;

/// ∫ f from 0 to `to` by Simpson's rule.
fn integral(to: f64, f: impl Fn(f64) -> f64) -> f64 {
    let h = to / PARTS as f64;
    let weight = |i: usize| match i {
        0 | PARTS => 1.0,
        i if i % 2 == 1 => 4.0,
        _ => 2.0,
    };
    let sum: f64 = (0..=PARTS).map(|i| weight(i) * f(i as f64 * h)).sum();
    sum * h / 3.0
}

/// The share of Student's distribution outside of ±t, t ≥ 0, within 1e-9 where it has from 1 to
/// some hundred degrees of freedom.
///
/// ```text
/// 2 ∫_t^∞ f_ν(x) dx = ∫_0^φ(t) (sin φ)^(ν−1) dφ / ∫_0^{π/2} (sin φ)^(ν−1) dφ,   tan φ = √ν/x
/// ```
///
/// With φ = s⁴ the integrand is smooth at 0 for every ν ≥ 1.
///
/// ```
/// use approx::assert_abs_diff_eq;
/// use inducer_verify::oracle::student::outside;
/// // one degree of freedom: 1 − (2/π) atan t
/// assert_abs_diff_eq!(outside(1.0, 1.0), 0.5, epsilon = 1e-9);
/// ```
#[must_use]
pub fn outside(t: f64, degrees: f64) -> f64 {
    let upto = |phi: f64| {
        integral(phi.sqrt().sqrt(), |s| {
            s.powi(4).sin().powf(degrees - 1.0) * 4.0 * s.powi(3)
        })
    };
    upto(degrees.sqrt().atan2(t)) / upto(std::f64::consts::FRAC_PI_2)
}
