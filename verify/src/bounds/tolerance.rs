//! Tolerances that are derived: unit round-off × a function of the formula itself, never a number
//! picked until green.
//!
//! # Where a bound comes from
//!
//! A formula computed in floating point is the exact formula in which operation k has the relative
//! error δ_k, |δ_k| ≤ c_k u. To first order its result y therefore moves by
//!
//! ```text
//! Δy = Σ_k (∂y/∂z_k) M_k δ_k
//! ```
//!
//! z_k the operation's result and M_k the magnitude that is rounded: |z_k|, and for a sum of t
//! terms (any dot product, mean or softmax denominator) t − 1 roundings of partial sums, each at
//! most M = Σ |terms| *in whatever order they are added*. The derivatives are those of the
//! reference itself: it runs once on [`Traced`](crate::bounds::Traced) numbers, and one pass
//! backwards gives ∂y/∂z_k for every k. Reduction lengths, magnitudes, cancellations and the
//! conditioning of every later operation are thus in the bound as they are in the formula, not as
//! somebody guessed them. Two numbers come out, per unit of round-off:
//!
//! ```text
//! worst   = Σ_k c_k (t_k − 1) |∂y/∂z_k| M_k           every δ_k at its limit, all signs against us
//! spread  = √(Σ_k c_k² (t_k − 1) (∂y/∂z_k)² M_k²)      independent errors of mean zero
//! ```
//!
//! By Hoeffding's inequality |Δy| > ζ · u · spread has a probability of at most 2 exp(−ζ²/2):
//! 2.5e-14 for the ζ = 8 used here (the argument of Higham and Mary, "A new approach to
//! probabilistic rounding error analysis", 2019). The bound is the smaller of u · worst and 8 · u ·
//! spread, times [`SLACK`], because an engine may take two roundings where the formula shows one (a
//! rescaled online softmax, a reciprocal and a product for a quotient). Terms of second order are
//! below 1 % as long as the bound is small against the values, which every check of this crate
//! keeps.
//!
//! c_k is 1 for + − × ÷ √, 4 for exp, ln and erf, 8 for tanh: the engine's own `f32` exp is
//! documented to 2 ulp = 4 u, its tanh to one ulp of 1 where |tanh| ≥ 0.19, which is 10 u of it at
//! most ([`SLACK`] covers the rest). The reference's double-double functions are held to the same:
//! 8 u for exp and ln, 16 u for tanh, u = 2⁻¹⁰⁴.
//!
//! # Below the smallest normal number
//!
//! A result there is not rounded to u of itself: gradual underflow leaves an absolute error of up
//! to half of the smallest subnormal number, an engine that flushes to zero (a vectorised exp, a
//! GPU) one of up to η, the smallest normal number of the format. Every operation may add that to
//! its own error, so η Σ_k |∂y/∂z_k| is part of the bound. It is 1e-38 in `f32` and matters for
//! gates and weights of that size alone.
//!
//! # When a bound is vacuous
//!
//! A bound a million times the error would hide any bug of that size. So in a quarter of the cases
//! that have an error the worst one must also come within [`VACUOUS`] of its bound, in every check
//! that declares its bound tight; of fewer than [`JUDGED`] such cases nothing is said, as where
//! double-double does a short product exactly.

use serde::Serialize;

/// ζ in Hoeffding's inequality.
pub const DEVIATIONS: f64 = 8.0;
/// Roundings that an engine may take where the formula shows one.
pub const SLACK: f64 = 2.0;
/// How far below its bound the worst error of a tight check's case may lie, but for a quarter.
pub const VACUOUS: f64 = 1000.0;
/// Cases with an error that a verdict on a bound needs.
pub const JUDGED: usize = 4;

/// How a formula passes rounding errors on to its result, per unit of round-off.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Conditioning {
    /// Every error at its limit with the worst signs.
    pub worst: f64,
    /// Root of the sum of squares.
    pub spread: f64,
    /// How many roundings there are.
    pub roundings: f64,
    /// What an error of 1 in every operation would do: the share of results too small to be normal
    /// numbers.
    pub absolute: f64,
}

/// η, the smallest normal number of the format with unit round-off `u`: `bf16` has the exponents of
/// `f32`.
fn smallest_normal(u: f64) -> f64 {
    if u < 1e-10 {
        f64::MIN_POSITIVE
    } else {
        f64::from(f32::MIN_POSITIVE)
    }
}

impl Conditioning {
    /// The conditioning of a difference (or sum) of two results computed apart.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            worst: self.worst + other.worst,
            spread: self.spread.hypot(other.spread),
            roundings: self.roundings + other.roundings,
            absolute: self.absolute + other.absolute,
        }
    }

    /// The bound at unit round-off `u` (see the module's text).
    #[must_use]
    pub fn bound(self, u: f64) -> f64 {
        SLACK * (u * self.worst.min(DEVIATIONS * self.spread) + smallest_normal(u) * self.absolute)
    }
}

/// What a backward pass at unit round-off `u` may leave of a gradient that is zero: 2 · 8 · u √T G.
///
/// G is the greatest number that the pass brings down (∂L/∂L = 1 the first of them), T the number
/// of tokens. The pass may form a small factor from rounded values (1 − λ from λ near 1, p − 1 from
/// a probability p near 1, a score's gradient as the difference of two sums), and is then accurate
/// to u of what comes down, not of what it leaves. Each token adds such an error to a tensor's
/// coordinate, with mean zero: √T of them by Hoeffding's inequality.
#[must_use]
pub fn gradient_floor(greatest: f64, tokens: usize, u: f64) -> f64 {
    SLACK * DEVIATIONS * u * (tokens as f64).sqrt() * greatest
}

/// A bound with the reason for its size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tolerance {
    /// The greatest error that passes.
    pub bound: f64,
    /// Why it is that large.
    pub why: String,
}

impl Tolerance {
    /// No error at all: exact arithmetic, integers, or the same bits.
    #[must_use]
    pub fn exact(why: &str) -> Self {
        Self {
            bound: 0.0,
            why: why.to_owned(),
        }
    }

    /// The rounding bound of a result, computed at unit round-off `u` and compared with one
    /// computed at `v` (0 for a value that counts as exact).
    #[must_use]
    pub fn rounding(conditioning: Conditioning, u: f64, v: f64) -> Self {
        let bound = conditioning.bound(u + v);
        let Conditioning {
            worst,
            spread,
            roundings,
            absolute,
        } = conditioning;
        Self {
            bound,
            why: format!(
                "2 u min(Σ|∂y/∂z| M, 8 √Σ(∂y/∂z M)²) + 2 η Σ|∂y/∂z| = 2 × {:.2e} × \
                 min({worst:.2e}, 8 × {spread:.2e}) + 2 × {:.0e} × {absolute:.0e} over {roundings} \
                 roundings",
                u + v,
                smallest_normal(u + v)
            ),
        }
    }

    /// For one coordinate of a gradient, from its spread and the [`gradient_floor`]; computed at
    /// `u` and at `v`.
    #[must_use]
    pub fn gradient(spread: f64, greatest: f64, tokens: usize, u: f64, v: f64) -> Self {
        let w = u + v;
        Self::stated(
            SLACK * DEVIATIONS * w * spread + gradient_floor(greatest, tokens, w),
            format!(
                "2 u 8 (√Σ(∂g/∂z M)² + √T G) = 2 × {w:.2e} × 8 × ({spread:.2e} + √{tokens} \
                 {greatest:.2e})"
            ),
        )
    }

    /// For a gradient along a direction of `n` coordinates ±1: the rounding bound of the
    /// derivative, and for each coordinate 2 u G of what the backward pass brings down (see
    /// [`gradient_floor`]).
    #[must_use]
    pub fn direction(conditioning: Conditioning, greatest: f64, n: usize, u: f64, v: f64) -> Self {
        let mut tolerance = Self::rounding(conditioning, u, v);
        tolerance.bound += 2.0 * u * greatest * n as f64;
        tolerance.why += &format!(" + 2 u G × {n}, G = {greatest:.1e}");
        tolerance
    }

    /// A bound that a statement gives itself.
    #[must_use]
    pub fn stated(bound: f64, why: impl Into<String>) -> Self {
        Self {
            bound,
            why: why.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::{Traced, record};
    use approx::assert_abs_diff_eq;
    use inducer_reference::Real;

    #[test]
    fn few_roundings_take_the_worst_case_and_many_the_spread() {
        let one = Conditioning {
            worst: 1.0,
            spread: 1.0,
            roundings: 1.0,
            absolute: 1.0,
        };
        assert_eq!(one.bound(1e-16), 2e-16);
        let many = (0..10_000).fold(Conditioning::default(), |sum, _| sum.and(one));
        assert_abs_diff_eq!(many.bound(1e-16), 2e-16 * 8.0 * 100.0, epsilon = 1e-25);
    }

    #[test]
    fn a_product_too_small_for_a_normal_number_is_bounded_by_the_smallest_one() {
        let (a, b) = (3.3e-23_f32, 4.1e-20_f32);
        let (product, trace) = record(|| Traced::variable(a.into()) * Traced::variable(b.into()));
        let of = trace.conditioning(&[product])[0];
        let error = (f64::from(a * b) - product.value()).abs();
        let relative = Conditioning {
            absolute: 0.0,
            ..of
        };
        assert!(error > relative.bound(f32::unit_roundoff()), "{error:e}");
        assert!(error < of.bound(f32::unit_roundoff()), "{error:e}");
        assert!(product.value() < of.bound(f32::unit_roundoff()), "flushed");
        let u = f64::unit_roundoff();
        assert!(of.bound(u) < 3.0 * u * product.value());
    }
}
