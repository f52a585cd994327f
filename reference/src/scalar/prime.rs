//! The prime field of 2^61 − 1: arithmetic without rounding.
//!
//! An identity between rational functions of degree at most D that is *false* holds at a random
//! point of this field with probability at most D / (2^61 − 1) (Schwartz–Zippel). So a few random
//! draws prove an algebraic identity with a stated chance of error, no tolerance, and for every
//! positive kernel at once.

use super::Field;
use ndarray::ScalarOperand;
use num_traits::{One, Zero};
use std::fmt;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// The modulus, a Mersenne prime.
pub const MODULUS: u64 = (1 << 61) - 1;

/// An integer modulo 2^61 − 1.
///
/// ```
/// use inducer_reference::scalar::Prime;
/// let third = Prime::new(1) / Prime::new(3);
/// assert_eq!(third + third + third, Prime::new(1));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prime(u64);

impl Prime {
    /// The class of `n`.
    #[must_use]
    pub fn new(n: u64) -> Self {
        Self(n % MODULUS)
    }

    /// The representative in `0..2^61 − 1`.
    #[must_use]
    pub fn value(self) -> u64 {
        self.0
    }

    /// `self^exponent` by repeated squaring.
    #[must_use]
    pub fn pow(self, mut exponent: u64) -> Self {
        let mut base = self;
        let mut result = Self(1);
        while exponent > 0 {
            if exponent & 1 == 1 {
                result = result * base;
            }
            base = base * base;
            exponent >>= 1;
        }
        result
    }

    /// The multiplicative inverse, by Fermat's little theorem; of zero it is zero.
    #[must_use]
    pub fn inverse(self) -> Self {
        self.pow(MODULUS - 2)
    }
}

impl fmt::Debug for Prime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (mod 2^61 - 1)", self.0)
    }
}

impl Add for Prime {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::new(self.0 + other.0)
    }
}

impl Sub for Prime {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::new(self.0 + MODULUS - other.0)
    }
}

impl Neg for Prime {
    type Output = Self;
    fn neg(self) -> Self {
        Self::new(MODULUS - self.0)
    }
}

impl Mul for Prime {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let product = u128::from(self.0) * u128::from(other.0);
        Self((product % u128::from(MODULUS)) as u64)
    }
}

impl Div for Prime {
    type Output = Self;
    /// The product with the inverse. A zero divisor gives zero; no estimator of this crate divides
    /// by one.
    #[allow(clippy::suspicious_arithmetic_impl)] // in a finite field division is this product
    fn div(self, other: Self) -> Self {
        self * other.inverse()
    }
}

impl Zero for Prime {
    fn zero() -> Self {
        Self(0)
    }
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl One for Prime {
    fn one() -> Self {
        Self(1)
    }
}

impl ScalarOperand for Prime {}
impl Field for Prime {}
