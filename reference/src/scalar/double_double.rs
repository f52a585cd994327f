//! Double-double numbers: an unevaluated sum of two `f64`, about 31 digits.
//!
//! An identity that holds here to 28 digits holds because of its algebra; one that agrees to 15
//! digits in `f64` may still be a coincidence of rounding. Sums and products follow Dekker and
//! Knuth (error-free transformations), the functions use argument reduction and series, each to at
//! least 28 digits: `double_double_functions_match_28_known_digits`.

use super::{Field, Real};
use ndarray::ScalarOperand;
use num_traits::{One, Zero};
use std::cmp::Ordering;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// `hi + lo`, with `|lo|` at most half a unit in the last place of `hi`.
///
/// ```
/// use approx::assert_abs_diff_eq;
/// use inducer_reference::scalar::{DoubleDouble, Real};
/// let third = DoubleDouble::from_f64(1.0) / DoubleDouble::from_f64(3.0);
/// let error = third * DoubleDouble::from_f64(3.0) - DoubleDouble::from_f64(1.0);
/// assert_abs_diff_eq!(error.to_f64(), 0.0, epsilon = 1e-31);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DoubleDouble {
    hi: f64,
    lo: f64,
}

const LN_2: DoubleDouble = DoubleDouble {
    hi: std::f64::consts::LN_2,
    lo: 2.319_046_813_846_299_6e-17,
};
/// What [`LN_2`] leaves of ln 2.
const LN_2_REST: f64 = 5.707_708_438_416_212e-34;

/// `a + b = s + e` exactly, s the rounded sum (Knuth).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    let b_part = s - a;
    (s, (a - (s - b_part)) + (b - b_part))
}

/// `a b = p + e` exactly, p the rounded product.
fn two_product(a: f64, b: f64) -> (f64, f64) {
    let p = a * b;
    (p, a.mul_add(b, -p))
}

impl DoubleDouble {
    /// `hi + lo` with `|hi| ≥ |lo|`, normalised.
    #[must_use]
    pub fn new(hi: f64, lo: f64) -> Self {
        let s = hi + lo;
        if s.is_finite() {
            Self {
                hi: s,
                lo: lo - (s - hi),
            }
        } else {
            Self { hi: s, lo: 0.0 }
        }
    }

    /// The leading and the trailing part.
    #[must_use]
    pub fn parts(self) -> (f64, f64) {
        (self.hi, self.lo)
    }

    /// The product with 2^k.
    fn scaled(self, k: i32) -> Self {
        // In two steps: 2^k alone may lie outside the range where the product does not.
        let half = k / 2;
        let (a, b) = (2f64.powi(half), 2f64.powi(k - half));
        Self {
            hi: self.hi * a * b,
            lo: self.lo * a * b,
        }
    }

    /// e^x − 1 for |x| ≤ 0.4: Taylor's series of x/64, then six times e^{2y} − 1 = (e^y − 1)(e^y −
    /// 1 + 2).
    fn exp_minus_one_near_zero(self) -> Self {
        let x = self.scaled(-6);
        let mut term = x;
        let mut sum = x;
        for n in 2..14 {
            term = term * x / Self::from_f64(f64::from(n));
            sum = sum + term;
        }
        let two = Self::from_f64(2.0);
        for _ in 0..6 {
            sum = sum * (sum + two);
        }
        sum
    }

    /// ln x = 2 artanh((x − 1)/(x + 1)) for x between √½ and √2.
    fn ln_near_one(self) -> Self {
        let z = (self - Self::one()) / (self + Self::one());
        let square = z * z;
        let mut power = z;
        let mut sum = z;
        for k in 1..22 {
            power = power * square;
            sum = sum + power / Self::from_f64(f64::from(2 * k + 1));
        }
        sum + sum
    }
}

impl Add for DoubleDouble {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let (s, e) = two_sum(self.hi, other.hi);
        let (t, f) = two_sum(self.lo, other.lo);
        let first = Self::new(s, e + t);
        Self::new(first.hi, first.lo + f)
    }
}

impl Neg for DoubleDouble {
    type Output = Self;
    fn neg(self) -> Self {
        Self {
            hi: -self.hi,
            lo: -self.lo,
        }
    }
}

impl Sub for DoubleDouble {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + (-other)
    }
}

impl Mul for DoubleDouble {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let (p, e) = two_product(self.hi, other.hi);
        Self::new(p, e + (self.hi * other.lo + self.lo * other.hi))
    }
}

impl Div for DoubleDouble {
    type Output = Self;
    /// Three steps of long division.
    fn div(self, other: Self) -> Self {
        let first = self.hi / other.hi;
        if !first.is_finite() || !other.hi.is_finite() {
            return Self::new(first, 0.0);
        }
        let rest = self - other * Self::from_f64(first);
        let second = rest.hi / other.hi;
        let rest = rest - other * Self::from_f64(second);
        Self::new(first, second) + Self::from_f64(rest.hi / other.hi)
    }
}

impl Zero for DoubleDouble {
    fn zero() -> Self {
        Self { hi: 0.0, lo: 0.0 }
    }
    fn is_zero(&self) -> bool {
        self.hi == 0.0
    }
}

impl One for DoubleDouble {
    fn one() -> Self {
        Self { hi: 1.0, lo: 0.0 }
    }
}

impl PartialOrd for DoubleDouble {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let leading = self.hi.partial_cmp(&other.hi)?;
        Some(leading.then(self.lo.partial_cmp(&other.lo)?))
    }
}

impl ScalarOperand for DoubleDouble {}
impl Field for DoubleDouble {}

impl Real for DoubleDouble {
    fn from_f64(x: f64) -> Self {
        Self { hi: x, lo: 0.0 }
    }
    fn to_f64(self) -> f64 {
        self.hi
    }
    /// x = k ln 2 + r, e^x = 2^k e^r. k ln 2 is subtracted in three parts, so that r is good to its
    /// own last digit however large x is.
    fn exp(self) -> Self {
        if self.hi > 709.7 || self.hi.is_nan() {
            return Self::from_f64(self.hi.exp());
        }
        if self.hi < -745.0 {
            return Self::zero();
        }
        let k = (self.hi / LN_2.hi).round();
        let part = |of: f64| {
            let (p, e) = two_product(k, of);
            Self::new(p, e)
        };
        let r = self - part(LN_2.hi) - part(LN_2.lo) - part(LN_2_REST);
        (r.exp_minus_one_near_zero() + Self::one()).scaled(k as i32)
    }
    /// x = 2^k m, ln x = k ln 2 + ln m.
    fn ln(self) -> Self {
        if self.hi <= 0.0 || !self.hi.is_finite() {
            return Self::from_f64(self.hi.ln());
        }
        let k = self.hi.log2().round();
        LN_2 * Self::from_f64(k) + self.scaled(-(k as i32)).ln_near_one()
    }
    /// One Newton step from the `f64` square root.
    fn sqrt(self) -> Self {
        if self.hi <= 0.0 || !self.hi.is_finite() {
            return Self::from_f64(self.hi.sqrt());
        }
        let root = Self::from_f64(self.hi.sqrt());
        root + (self - root * root) / (root + root)
    }
    fn tanh(self) -> Self {
        if self.hi.abs() > 40.0 {
            return Self::from_f64(self.hi.signum());
        }
        let twice = self + self;
        let two = Self::from_f64(2.0);
        if twice.hi.abs() < 0.4 {
            let e = twice.exp_minus_one_near_zero();
            return e / (e + two);
        }
        let e = twice.exp();
        (e - Self::one()) / (e + Self::one())
    }
    fn pi() -> Self {
        Self {
            hi: std::f64::consts::PI,
            lo: 1.224_646_799_147_353_2e-16,
        }
    }
    fn unit_roundoff() -> f64 {
        // 2^-104: the bound of the sloppiest operation above, division, with a bit to spare. exp
        // and ln are good to 8 of it, tanh to 16
        // (`double_double_functions_are_good_to_a_few_roundings`).
        4.93e-32
    }
}
