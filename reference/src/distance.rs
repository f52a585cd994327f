//! λ and μ as functions of distance: why an inducer near its query can act and a far prefix cannot
//! (§4.2).
//!
//! ```text
//! ⟨q, P⟩ = (‖q‖² + ‖P‖² − ‖q − P‖²)/2
//! gate   = σ((‖q‖² + ‖P‖² − ‖q − P‖²)/2√p − LSE(q))
//! ```
//!
//! With the norms held fixed the gate falls strictly with the distance ‖q − P‖, faster than
//! exponentially once it is small. The inducer of Adaptive and Extension has distance zero, that of
//! Gating and Inducer the length of MLP_k(q).
//!
//! Checked by `distance_form_of_the_gate_is_the_gate` and
//! `prefix_mu_falls_with_the_distance_of_an_equally_long_prefix_key`.

use crate::attention::logistic;
use crate::kernel::inverse_sqrt;
use crate::scalar::Real;
use ndarray::{Array1, ArrayRef2};

/// ‖q_i − P_i‖² for each row.
///
/// # Shapes
/// `q`, `p`: `[n, p]` → `[n]`.
pub fn squared_distances<T: Real>(q: &ArrayRef2<T>, p: &ArrayRef2<T>) -> Array1<T> {
    let pairs = q.rows().into_iter().zip(p.rows());
    pairs
        .map(|(q, p)| {
            let difference = &q - &p;
            difference.dot(&difference)
        })
        .collect()
}

/// The gate of one added point from norms and distance.
///
/// `query` ‖q‖², `point` ‖P‖², `distance` ‖q − P‖², `p` the head dimension, `lse` the log-sum-exp
/// of the visible keys.
///
/// ```
/// use inducer_reference::distance::gate_at_distance;
/// // norms 1, p = 1, LSE = 1: at distance 0 the score is 1, so the gate is 1/2
/// assert_eq!(gate_at_distance(1.0, 1.0, 0.0, 1, 1.0), 0.5);
/// // farther away the gate is smaller
/// assert!(gate_at_distance(1.0, 1.0, 2.0, 1, 1.0) < 0.5);
/// ```
pub fn gate_at_distance<T: Real>(query: T, point: T, distance: T, p: usize, lse: T) -> T {
    let two = T::one() + T::one();
    logistic((query + point - distance) / two * inverse_sqrt(p) - lse)
}
