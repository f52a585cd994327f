//! Dual numbers a + b ε, ε² = 0: exact directional derivatives.
//!
//! The reference evaluated at `x + ε t` gives `f(x) + ε ∂_t f(x)`: the derivative of the formula as
//! written, with no step size. It is the judge of an engine's gradients; central differences are
//! the third witness.

use super::{Field, Real};
use ndarray::ScalarOperand;
use num_traits::{One, Zero};
use std::cmp::Ordering;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// `re + eps · ε` with ε² = 0.
///
/// ```
/// use inducer_reference::scalar::{Dual, Real};
/// let x = Dual::variable(2.0_f64);
/// assert_eq!((x * x * x).eps, 12.0); // d(x³)/dx = 3x²
/// assert_eq!(x.exp().eps, 2.0_f64.exp());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dual<T> {
    /// The value.
    pub re: T,
    /// The derivative in the chosen direction.
    pub eps: T,
}

impl<T: Real> Dual<T> {
    /// `re + eps · ε`.
    pub fn new(re: T, eps: T) -> Self {
        Self { re, eps }
    }

    /// A constant: derivative 0.
    pub fn constant(re: T) -> Self {
        Self::new(re, T::zero())
    }

    /// The variable itself: derivative 1.
    pub fn variable(re: T) -> Self {
        Self::new(re, T::one())
    }

    /// `f(re) + f′(re) · eps · ε`, given both.
    fn chain(self, value: T, derivative: T) -> Self {
        Self::new(value, derivative * self.eps)
    }
}

impl<T: Real> Add for Dual<T> {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::new(self.re + other.re, self.eps + other.eps)
    }
}

impl<T: Real> Sub for Dual<T> {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::new(self.re - other.re, self.eps - other.eps)
    }
}

impl<T: Real> Neg for Dual<T> {
    type Output = Self;
    fn neg(self) -> Self {
        Self::new(-self.re, -self.eps)
    }
}

impl<T: Real> Mul for Dual<T> {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self::new(
            self.re * other.re,
            self.re * other.eps + self.eps * other.re,
        )
    }
}

impl<T: Real> Div for Dual<T> {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let quotient = self.re / other.re;
        Self::new(quotient, (self.eps - quotient * other.eps) / other.re)
    }
}

impl<T: Real> Zero for Dual<T> {
    fn zero() -> Self {
        Self::constant(T::zero())
    }
    fn is_zero(&self) -> bool {
        self.re.is_zero() && self.eps.is_zero()
    }
}

impl<T: Real> One for Dual<T> {
    fn one() -> Self {
        Self::constant(T::one())
    }
}

impl<T: Real> PartialOrd for Dual<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.re.partial_cmp(&other.re)
    }
}

impl<T: Real> ScalarOperand for Dual<T> {}
impl<T: Real> Field for Dual<T> {}

impl<T: Real> Real for Dual<T> {
    fn from_f64(x: f64) -> Self {
        Self::constant(T::from_f64(x))
    }
    fn to_f64(self) -> f64 {
        self.re.to_f64()
    }
    fn exp(self) -> Self {
        let value = self.re.exp();
        self.chain(value, value)
    }
    fn ln(self) -> Self {
        self.chain(self.re.ln(), T::one() / self.re)
    }
    fn sqrt(self) -> Self {
        let value = self.re.sqrt();
        self.chain(value, T::one() / (value + value))
    }
    fn tanh(self) -> Self {
        let value = self.re.tanh();
        self.chain(value, T::one() - value * value)
    }
    fn erf(self) -> Self {
        let slope = (T::one() + T::one()) / T::pi().sqrt() * (-(self.re * self.re)).exp();
        self.chain(self.re.erf(), slope)
    }
    fn pi() -> Self {
        Self::constant(T::pi())
    }
    fn unit_roundoff() -> f64 {
        T::unit_roundoff()
    }
    fn is_finite(self) -> bool {
        self.re.is_finite() && self.eps.is_finite()
    }
}
