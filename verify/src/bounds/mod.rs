//! How far rounding may move a number: tolerances that follow from the formula itself.
//!
//! [`tolerance`] says where a bound comes from; [`traced`] has the numbers that remember how they
//! were computed, from which every bound, and the reference's own gradient, is taken.

pub mod noisy;
pub mod tolerance;
pub mod traced;

pub use tolerance::{Conditioning, DEVIATIONS, SLACK, Tolerance, gradient_floor};
pub use traced::{Trace, Traced, record};

/// u of `f64`: half the distance from 1 to the next number.
pub const UNIT_ROUNDOFF_F64: f64 = f64::EPSILON / 2.0;
/// u of `f32`.
pub const UNIT_ROUNDOFF_F32: f64 = f32::EPSILON as f64 / 2.0;
/// u of `bf16`, which has eight binary digits.
pub const UNIT_ROUNDOFF_BF16: f64 = 1.0 / 256.0;
