//! A scalar whose operations err at random: how far rounding reaches in a computation that is too
//! large for a tape.
//!
//! Monte Carlo arithmetic (Parker 1997): each operation's result is moved by c δ of itself times a
//! number of spread 1, δ = 2⁻²⁶ far above `f64`'s own rounding, c as in
//! [`tolerance`](super::tolerance). What that does to a result, divided by δ, is one sample of the
//! sum whose spread [`Trace::spreads`] estimates by carrying errors through a tape; several runs of
//! the formula take the place of the tape.
//!
//! [`Trace::spreads`]: super::Trace::spreads

use inducer_reference::{Field, Real};
use ndarray::ScalarOperand;
use num_traits::{One, Zero};
use std::cell::Cell;
use std::cmp::Ordering;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// δ, the size of an error.
pub const ERROR: f64 = 1.0 / 67_108_864.0;

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(1) };
}

/// A number of a formula that errs.
#[derive(Clone, Copy, Debug)]
pub struct Noisy(f64);

/// Runs a computation with its own errors.
pub fn with_errors<R>(seed: u64, computation: impl FnOnce() -> R) -> R {
    STATE.set(seed.wrapping_mul(2).wrapping_add(1));
    computation()
}

/// `x` moved by some `units` δ of itself.
fn moved(x: f64, units: f64) -> Noisy {
    let state = STATE.get();
    let next = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
    STATE.set(next);
    // of spread 1, and never of two sizes alone: two roundings of a gate would cancel in half of the
    // runs, and in all of six once in 64
    let error = 3.0_f64.sqrt() * (next as f64 / (u64::MAX / 2) as f64 - 1.0) * ERROR;
    Noisy(x * (1.0 + units * error))
}

impl Add for Noisy {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        match (self.0 == 0.0, other.0 == 0.0) {
            (true, _) => other,
            (_, true) => self,
            _ => moved(self.0 + other.0, 1.0),
        }
    }
}

impl Sub for Noisy {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        moved(self.0 - other.0, 1.0)
    }
}

impl Neg for Noisy {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl Mul for Noisy {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        moved(self.0 * other.0, 1.0)
    }
}

impl Div for Noisy {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        moved(self.0 / other.0, 1.0)
    }
}

impl Zero for Noisy {
    fn zero() -> Self {
        Self(0.0)
    }
    fn is_zero(&self) -> bool {
        self.0 == 0.0
    }
}

impl One for Noisy {
    fn one() -> Self {
        Self(1.0)
    }
}

impl PartialEq for Noisy {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl PartialOrd for Noisy {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.0.partial_cmp(&other.0)
    }
}

impl ScalarOperand for Noisy {}
impl Field for Noisy {}

impl Real for Noisy {
    fn from_f64(x: f64) -> Self {
        Self(x)
    }
    fn to_f64(self) -> f64 {
        self.0
    }
    fn exp(self) -> Self {
        moved(self.0.exp(), 4.0)
    }
    fn ln(self) -> Self {
        moved(self.0.ln(), 4.0)
    }
    fn sqrt(self) -> Self {
        moved(self.0.sqrt(), 1.0)
    }
    fn tanh(self) -> Self {
        moved(self.0.tanh(), 8.0)
    }
    fn erf(self) -> Self {
        moved(<f64 as Real>::erf(self.0), 4.0)
    }
    fn pi() -> Self {
        Self(std::f64::consts::PI)
    }
    fn unit_roundoff() -> f64 {
        ERROR
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::{Traced, record};

    /// log Σ exp(x_i x_j), whose terms cancel nothing, and a difference, which cancels.
    fn formula<T: Real>(x: &[f64]) -> [T; 2] {
        let x: Vec<T> = x.iter().map(|x| T::from_f64(*x)).collect();
        let terms = x
            .iter()
            .flat_map(|a| x.iter().map(move |b| (*a * *b).exp()));
        let sum = terms.fold(T::zero(), |sum, term| sum + term);
        [sum.ln(), sum / x[0].exp() - sum / x[1].exp()]
    }

    #[test]
    fn two_roundings_of_one_size_never_cancel_in_all_of_a_few_runs() {
        let runs = 6;
        for first in 0..2000 {
            let errors = (0..runs).map(|run| {
                let gate = with_errors(first * runs + run, || {
                    Noisy::one() / (Noisy::one() + Noisy(1e-6))
                });
                (gate.to_f64() - 1.0 / (1.0 + 1e-6)) / ERROR
            });
            let spread = (errors.map(|e| e * e).sum::<f64>() / runs as f64).sqrt();
            assert!((0.3..3.0).contains(&spread), "{first}: {spread}");
        }
    }

    #[test]
    fn random_errors_spread_as_the_tape_says() {
        let x: Vec<f64> = (1..9).map(|k| (f64::from(k) * 0.71).sin()).collect();
        let (traced, trace) = record(|| {
            // the tape wants variables: its constants are exact and take no part
            let one = Traced::variable(1.0);
            let x: Vec<Traced> = x.iter().map(|x| one * Traced::constant(*x)).collect();
            let terms = x
                .iter()
                .flat_map(|a| x.iter().map(move |b| (*a * *b).exp()));
            let sum = terms.fold(Traced::zero(), |sum, term| sum + term);
            [sum.ln(), sum / x[0].exp() - sum / x[1].exp()]
        });
        let exact = formula::<f64>(&x);
        let expected = trace.spreads(&traced);
        for place in 0..2 {
            let errors = (0..64).map(|seed| {
                let found = with_errors(seed, || formula::<Noisy>(&x)[place].to_f64());
                (found - exact[place]) / ERROR
            });
            let spread = (errors.map(|e| e * e).sum::<f64>() / 64.0).sqrt();
            let ratio = spread / expected[place];
            // the tape takes every rounding of a sum to be of all its terms
            assert!((0.1..2.0).contains(&ratio), "{place}: {ratio}");
        }
    }
}
