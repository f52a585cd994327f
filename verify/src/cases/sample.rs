//! Random elements of each scalar, and the degree of an identity.

use super::Draw;
use crate::bounds::Traced;
use inducer_reference::{DoubleDouble, Field, Prime, Real};
use ndarray::ScalarOperand;
use num_traits::{One, Zero};
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A field that can be drawn from.
pub trait Sample: Field {
    /// Any element.
    fn any(draw: &mut Draw) -> Self;
    /// A positive element; any, where the field has no order.
    fn positive(draw: &mut Draw) -> Self;
}

macro_rules! sample_real {
    ($($scalar:ty),*) => {$(
        impl Sample for $scalar {
            fn any(draw: &mut Draw) -> Self {
                <$scalar>::from_f64(draw.number(2.0))
            }
            fn positive(draw: &mut Draw) -> Self {
                <$scalar>::from_f64(draw.between(0.03, 3.0))
            }
        }
    )*};
}

sample_real!(f32, f64, DoubleDouble, Traced);

impl Sample for Prime {
    fn any(draw: &mut Draw) -> Self {
        Self::new(draw.bits())
    }
    fn positive(draw: &mut Draw) -> Self {
        Self::new(draw.bits())
    }
}

/// The degrees of numerator and denominator of a rational function, as its formula shows them.
///
/// Evaluating an identity on `Degree` gives the D of Schwartz and Zippel: two sides that differ as
/// rational functions agree at a random point of the field with p elements with probability at most
/// D/p.
///
/// ```
/// use inducer_verify::cases::sample::Degree;
/// let x = Degree::new(1, 0);
/// assert_eq!((x * x + x / x).numerator, 3); // (x³ + x)/x
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Degree {
    /// Degree of the numerator; `None` in spirit for zero, which is -1 here.
    pub numerator: i64,
    /// Degree of the denominator.
    pub denominator: i64,
}

impl Degree {
    const ZERO: Self = Self::new(-1, 0);

    /// The degrees of numerator and denominator.
    #[must_use]
    pub const fn new(numerator: i64, denominator: i64) -> Self {
        Self {
            numerator,
            denominator,
        }
    }

    /// The degree of the polynomial that vanishes where the two sides agree (and where a
    /// denominator does).
    #[must_use]
    pub fn of_difference(self, other: Self) -> u64 {
        let difference = self - other;
        (difference.numerator.max(0) + difference.denominator) as u64
    }
}

impl Add for Degree {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        if self == Self::ZERO {
            return other;
        }
        if other == Self::ZERO {
            return self;
        }
        let crossed = [
            self.numerator + other.denominator,
            other.numerator + self.denominator,
        ];
        Self::new(
            crossed[0].max(crossed[1]),
            self.denominator + other.denominator,
        )
    }
}

impl Sub for Degree {
    type Output = Self;
    #[allow(clippy::suspicious_arithmetic_impl)] // a difference has the degree of the sum
    fn sub(self, other: Self) -> Self {
        self + other
    }
}

impl Neg for Degree {
    type Output = Self;
    fn neg(self) -> Self {
        self
    }
}

impl Mul for Degree {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        if self == Self::ZERO || other == Self::ZERO {
            return Self::ZERO;
        }
        Self::new(
            self.numerator + other.numerator,
            self.denominator + other.denominator,
        )
    }
}

impl Div for Degree {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        if self == Self::ZERO {
            return Self::ZERO;
        }
        let denominator = self.denominator + other.numerator.max(0);
        Self::new(self.numerator + other.denominator, denominator)
    }
}

impl Zero for Degree {
    fn zero() -> Self {
        Self::ZERO
    }
    fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl One for Degree {
    fn one() -> Self {
        Self::new(0, 0)
    }
}

impl ScalarOperand for Degree {}
impl Field for Degree {}

impl Sample for Degree {
    fn any(draw: &mut Draw) -> Self {
        draw.bits();
        Self::new(1, 0)
    }
    fn positive(draw: &mut Draw) -> Self {
        Self::any(draw)
    }
}
