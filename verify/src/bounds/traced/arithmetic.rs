//! The operations of traced numbers: each leaves its result with its local derivatives on the tape.

use super::{NONE, Op, Traced};
use inducer_reference::{Field, Real};
use ndarray::ScalarOperand;
use num_traits::{One, Zero};
use std::cmp::Ordering;
use std::ops::{Add, Div, Mul, Neg, Sub};

impl Add for Traced {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        // x + 0 is exact, and what every sum starts with
        let nothing = |x: Self| x.node == NONE && x.value == 0.0;
        if nothing(other) {
            return self;
        }
        if nothing(self) {
            return other;
        }
        self.binary(Op::Add, other, self.value + other.value, [1.0, 1.0])
    }
}

impl Sub for Traced {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.binary(Op::Sub, other, self.value - other.value, [1.0, -1.0])
    }
}

impl Neg for Traced {
    type Output = Self;
    fn neg(self) -> Self {
        self.unary(Op::Neg, -self.value, -1.0)
    }
}

impl Mul for Traced {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let partials = [other.value, self.value];
        self.binary(Op::Mul, other, self.value * other.value, partials)
    }
}

impl Div for Traced {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let quotient = self.value / other.value;
        let partials = [1.0 / other.value, -quotient / other.value];
        self.binary(Op::Div, other, quotient, partials)
    }
}

impl Zero for Traced {
    fn zero() -> Self {
        Self::constant(0.0)
    }
    fn is_zero(&self) -> bool {
        self.value == 0.0
    }
}

impl One for Traced {
    fn one() -> Self {
        Self::constant(1.0)
    }
}

impl PartialEq for Traced {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl PartialOrd for Traced {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl ScalarOperand for Traced {}
impl Field for Traced {}

impl Real for Traced {
    fn from_f64(x: f64) -> Self {
        Self::constant(x)
    }
    fn to_f64(self) -> f64 {
        self.value
    }
    fn exp(self) -> Self {
        let value = self.value.exp();
        self.unary(Op::Exp, value, value)
    }
    fn ln(self) -> Self {
        self.unary(Op::Ln, self.value.ln(), 1.0 / self.value)
    }
    fn sqrt(self) -> Self {
        let value = self.value.sqrt();
        self.unary(Op::Sqrt, value, 0.5 / value)
    }
    fn tanh(self) -> Self {
        let value = self.value.tanh();
        self.unary(Op::Tanh, value, 1.0 - value * value)
    }
    fn erf(self) -> Self {
        let slope = 2.0 / std::f64::consts::PI.sqrt() * (-self.value * self.value).exp();
        self.unary(Op::Erf, <f64 as Real>::erf(self.value), slope)
    }
    fn pi() -> Self {
        Self::constant(std::f64::consts::PI)
    }
    fn unit_roundoff() -> f64 {
        f64::unit_roundoff()
    }
}
