//! The Nadaraya–Watson estimator (§4.1; Eqs. 3, 12, 13) and mixtures of two of them, over any
//! field.
//!
//! ```text
//! f(q_i) = Σ_{j∈V(i)} κ(q_i, k_j) v_j / Σ_{j∈V(i)} κ(q_i, k_j)        f = D⁻¹ M V
//! ```
//!
//! The kernel's values are given: nothing here knows how they were made, so every identity holds
//! for *every* positive kernel. A support point that a query does not see has the weight zero.
//!
//! Departure from the paper: a query that sees no support point at all (a padded row) has the
//! estimate zero, where the formula would say 0/0.
//!
//! Checked by `nw_attention_is_the_nadaraya_watson_estimator_of_its_row`,
//! `exact_nw_constant_values_are_reproduced` and the `exact_…` tests over the prime field.

use crate::scalar::Field;
use ndarray::{Array1, Array2, ArrayRef1, ArrayRef2, Axis};

/// The row sums D_ii = Σ_j M_ij (Eq. 3).
///
/// # Shapes
/// `weights` M: `[n, m]` → `[n]`.
pub fn row_sums<F: Field>(weights: &ArrayRef2<F>) -> Array1<F> {
    weights.sum_axis(Axis(1))
}

/// The estimator D⁻¹ M V at n queries, from the kernel's values (Eqs. 3, 12, 13).
///
/// # Shapes
/// `weights` M: `[n, m]`, zero where a query does not see a key; `values` V: `[m, c]` → `[n, c]`.
///
/// ```
/// use inducer_reference::nadaraya_watson::estimate;
/// use ndarray::array;
/// let weights = array![[1.0, 3.0], [0.0, 2.0], [0.0, 0.0]];
/// let values = array![[8.0], [4.0]];
/// // (1·8 + 3·4)/4 = 5; only the second point; no point at all
/// assert_eq!(estimate(&weights, &values), array![[5.0], [4.0], [0.0]]);
/// ```
pub fn estimate<F: Field>(weights: &ArrayRef2<F>, values: &ArrayRef2<F>) -> Array2<F> {
    smoother(weights).dot(values)
}

/// The row-normalised weights D⁻¹ M: softmax, when the weights are exp of scores (Eq. 3).
///
/// # Shapes
/// `weights` M: `[n, m]` → `[n, m]`.
pub fn smoother<F: Field>(weights: &ArrayRef2<F>) -> Array2<F> {
    let mut normalised = weights.to_owned();
    for (mut row, sum) in normalised.rows_mut().into_iter().zip(row_sums(weights)) {
        if !sum.is_zero() {
            row.mapv_inplace(|weight| weight / sum);
        }
    }
    normalised
}

/// The gate of a mixture: own weight over the sum of all, μ(q) of §4.2 and λ of (7).
///
/// ```text
/// gate_i = a_i / (a_i + D_ii)
/// ```
///
/// # Shapes
/// `own` a: `[n]`, the kernel's value at the added point (the sum of values over the prefix);
/// `rest` D: `[n]` → `[n]`.
///
/// ```
/// use inducer_reference::nadaraya_watson::gate;
/// use ndarray::array;
/// assert_eq!(gate(&array![1.0, 2.0], &array![3.0, 0.0]), array![0.25, 1.0]);
/// ```
pub fn gate<F: Field>(own: &ArrayRef1<F>, rest: &ArrayRef1<F>) -> Array1<F> {
    own.iter()
        .zip(rest)
        .map(|(&own, &rest)| own / (own + rest))
        .collect()
}

/// The gated mixture (1 − μ_i) f(q_i) + μ_i g(q_i) (§4.2, He et al. 2021a Eq. 7; right-hand side of
/// Eq. 7).
///
/// # Shapes
/// `f`, `g`: `[n, c]`; `mu`: `[n]` → `[n, c]`.
///
/// ```
/// use inducer_reference::nadaraya_watson::mixture;
/// use ndarray::array;
/// assert_eq!(mixture(&array![[4.0]], &array![0.25], &array![[8.0]]), array![[5.0]]);
/// ```
pub fn mixture<F: Field>(f: &ArrayRef2<F>, mu: &ArrayRef1<F>, g: &ArrayRef2<F>) -> Array2<F> {
    let one_minus_mu = mu.mapv(|mu| F::one() - mu);
    scale_rows(&one_minus_mu, f) + scale_rows(mu, g)
}

/// diag(λ) A: row i times λ_i.
///
/// # Shapes
/// `lambda`: `[n]`, `a`: `[n, c]` → `[n, c]`.
pub fn scale_rows<F: Field>(lambda: &ArrayRef1<F>, a: &ArrayRef2<F>) -> Array2<F> {
    let mut scaled = a.to_owned();
    for (mut row, &lambda) in scaled.rows_mut().into_iter().zip(lambda) {
        row.mapv_inplace(|value| lambda * value);
    }
    scaled
}
