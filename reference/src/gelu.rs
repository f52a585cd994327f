//! The two forms of gelu: GPT-2's tanh form and RoBERTa's exact one.
//!
//! ```text
//! gelu_new(x) = ½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))
//! gelu(x)     = ½ x (1 + erf(x/√2))
//! ```
//!
//! Checked by `gelu_forms_differ_by_less_than_a_thousandth` and `gelu_values_are_the_known_ones`.

use crate::scalar::Real;

/// The tanh form (`gelu_new`).
///
/// ```
/// use approx::assert_abs_diff_eq;
/// use inducer_reference::gelu::gelu_new;
/// assert_eq!(gelu_new(0.0_f64), 0.0);
/// assert_abs_diff_eq!(gelu_new(1.0_f64), 0.841_191_990_608_3, epsilon = 1e-12);
/// ```
pub fn gelu_new<T: Real>(x: T) -> T {
    let two = T::one() + T::one();
    let coefficient = T::from_f64(44715.0) / T::from_f64(1e6);
    let inner = (two / T::pi()).sqrt() * (x + coefficient * x * x * x);
    x / two * (T::one() + inner.tanh())
}

/// The exact form (`gelu`).
///
/// ```
/// use approx::assert_abs_diff_eq;
/// use inducer_reference::gelu::gelu;
/// assert_eq!(gelu(0.0_f64), 0.0);
/// assert_abs_diff_eq!(gelu(1.0_f64), 0.841_344_746_068_543, epsilon = 1e-14); // Φ(1)
/// ```
pub fn gelu<T: Real>(x: T) -> T {
    let two = T::one() + T::one();
    x / two * (T::one() + (x / two.sqrt()).erf())
}
