//! The scalars: what needs a field and what needs the real numbers.
//!
//! Most of the paper's identities are algebra once the kernel's values and the hidden activations
//! are given: (7) = (8), the gated mixture, the row blocks of (4) and (9), LoRA's merge. Functions
//! on *given* weights are written for any [`Field`], so that both sides can also be evaluated over
//! a prime field, where equality is exact. Only kernel, softmax, tanh, layer normalisation and gelu
//! ask for a [`Real`].
//!
//! | scalar | | use |
//! |---|---|---|
//! | `f32`, `f64` | [`Real`] | what an engine computes with |
//! | [`DoubleDouble`] | [`Real`] | more than 28 digits: algebra or coincidence? |
//! | [`Dual`] | [`Real`] | directional derivatives of the reference itself |
//! | [`Prime`] | [`Field`] | integers modulo 2^61 − 1: exact equality |

pub mod double_double;
pub mod dual;
pub mod erf;
pub mod prime;

pub use double_double::DoubleDouble;
pub use dual::Dual;
pub use prime::Prime;

use ndarray::{LinalgScalar, ScalarOperand};
use std::fmt::Debug;
use std::ops::Neg;

/// A commutative field: `+ − × ÷`, zero and one, and nothing else.
///
/// `0/0` is never asked for: an estimator without support points is defined as zero (see
/// [`nadaraya_watson::estimate`](crate::nadaraya_watson::estimate)).
///
/// ```
/// use inducer_reference::scalar::{Field, Prime};
/// fn square<F: Field>(x: F) -> F { x * x }
/// assert_eq!(square(3.0_f64), 9.0);
/// assert_eq!(square(-Prime::new(1)), Prime::new(1));
/// ```
pub trait Field:
    LinalgScalar + ScalarOperand + Neg<Output = Self> + PartialEq + Debug + Send + Sync
{
}

/// The real numbers, as far as kernel, softmax, tanh, layer normalisation and gelu need them.
///
/// The order is that of the value: a [`Dual`] compares by its real part.
pub trait Real: Field + PartialOrd {
    /// The scalar nearest to `x`.
    fn from_f64(x: f64) -> Self;
    /// The `f64` nearest to the value (a dual number's real part).
    fn to_f64(self) -> f64;
    /// e^x.
    fn exp(self) -> Self;
    /// The natural logarithm.
    fn ln(self) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// The hyperbolic tangent.
    fn tanh(self) -> Self;
    /// π to the scalar's own precision.
    fn pi() -> Self;
    /// The unit round-off u: a correctly rounded operation has a relative error of at most u.
    fn unit_roundoff() -> f64;
    /// The error function, (2/√π) ∫₀ˣ exp(−t²) dt.
    fn erf(self) -> Self {
        erf::erf_by_series(self)
    }
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool {
        self.to_f64().is_finite()
    }
    /// The integer `n` (exact below 2^24 in every scalar of this crate).
    fn from_usize(n: usize) -> Self {
        Self::from_f64(n as f64)
    }
    /// The greater of two values; the first when they are tied.
    fn maximum(self, other: Self) -> Self {
        if other > self { other } else { self }
    }
}

macro_rules! real_for_float {
    ($float:ident, $roundoff:expr) => {
        impl Field for $float {}
        impl Real for $float {
            fn from_f64(x: f64) -> Self {
                x as $float
            }
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            fn exp(self) -> Self {
                $float::exp(self)
            }
            fn ln(self) -> Self {
                $float::ln(self)
            }
            fn sqrt(self) -> Self {
                $float::sqrt(self)
            }
            fn tanh(self) -> Self {
                $float::tanh(self)
            }
            fn pi() -> Self {
                std::$float::consts::PI
            }
            fn unit_roundoff() -> f64 {
                $roundoff
            }
        }
    };
}

real_for_float!(f32, f32::EPSILON as f64 / 2.0);
real_for_float!(f64, f64::EPSILON / 2.0);
