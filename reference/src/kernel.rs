//! The kernel κ(q, k) = exp(⟨q, k⟩/√p) and its Gaussian factorisation (Eqs. 3, 12 and 13).
//!
//! ```text
//! κ(q, k) = exp(⟨q, k⟩/√p)
//!         = exp(‖q‖²/2√p) · exp(−‖q − k‖²/2√p) · exp(‖k‖²/2√p)
//! ```
//!
//! The first factor is the same in every term of a query's row and cancels in the estimator, so
//! attention is a Gaussian smoother of bandwidth p^{1/4} whose support points carry the weights
//! exp(‖k‖²/2√p).
//!
//! Departure from the paper: its text drops √p "for clarity"; here, as in the authors'
//! implementation, it stands everywhere.
//!
//! Checked by `gauss_kernel_is_a_gaussian_times_a_weight_of_each_point` and
//! `eq03_scores_are_divided_by_the_square_root_of_p`.

use crate::scalar::Real;
use ndarray::{Array2, ArrayRef1, ArrayRef2};

/// 1/√p.
pub fn inverse_sqrt<T: Real>(p: usize) -> T {
    T::one() / T::from_usize(p).sqrt()
}

/// The score ⟨q, k⟩/√p, the kernel's logarithm.
///
/// # Shapes
/// `q`, `k`: `[p]`.
pub fn score<T: Real>(q: &ArrayRef1<T>, k: &ArrayRef1<T>) -> T {
    q.dot(k) * inverse_sqrt(q.len())
}

/// κ(q, k) = exp(⟨q, k⟩/√p).
///
/// # Shapes
/// `q`, `k`: `[p]`.
///
/// ```
/// use inducer_reference::kernel::kernel;
/// use ndarray::array;
/// // ⟨q, k⟩ = 4, √p = 2
/// let (q, k) = (array![1.0, 1.0, 1.0, 1.0], array![4.0, 0.0, 0.0, 0.0]);
/// assert_eq!(kernel(&q, &k), 2.0_f64.exp());
/// ```
pub fn kernel<T: Real>(q: &ArrayRef1<T>, k: &ArrayRef1<T>) -> T {
    score(q, k).exp()
}

/// The scores of every query with every key, Q Kᵀ/√p (Eq. 3).
///
/// # Shapes
/// `q`: `[n, p]`, `k`: `[m, p]` → `[n, m]`.
pub fn scores<T: Real>(q: &ArrayRef2<T>, k: &ArrayRef2<T>) -> Array2<T> {
    q.dot(&k.t()) * inverse_sqrt::<T>(q.ncols())
}

/// The empirical kernel matrix κ(Q, K) = M of (3), (12) and (13): `M_ij = exp(⟨q_i, k_j⟩/√p)`.
///
/// # Shapes
/// `q`: `[n, p]`, `k`: `[m, p]` → `[n, m]`.
///
/// # Numerics
/// Overflows where a score exceeds the scalar's range (709 in `f64`, 88 in `f32`); attention uses
/// [`shifted_kernel`](crate::attention::shifted_kernel), which cannot.
pub fn kernel_matrix<T: Real>(q: &ArrayRef2<T>, k: &ArrayRef2<T>) -> Array2<T> {
    scores(q, k).mapv(T::exp)
}

/// The Gaussian kernel exp(−‖q − k‖²/2√p), of bandwidth p^{1/4}.
///
/// # Shapes
/// `q`, `k`: `[p]`.
pub fn gaussian<T: Real>(q: &ArrayRef1<T>, k: &ArrayRef1<T>) -> T {
    let difference = q - k;
    let two = T::one() + T::one();
    (-(difference.dot(&difference) * inverse_sqrt(q.len()) / two)).exp()
}

/// The weight exp(‖k‖²/2√p) that a support point carries in the Gaussian form (and the query's
/// factor, which cancels).
///
/// # Shapes
/// `k`: `[p]`.
///
/// ```
/// use approx::assert_abs_diff_eq;
/// use inducer_reference::kernel::{gaussian, kernel, weight};
/// use ndarray::array;
/// let (q, k) = (array![0.5_f64, -1.0], array![2.0, 0.25]);
/// let product = weight(&q) * gaussian(&q, &k) * weight(&k);
/// assert_abs_diff_eq!(kernel(&q, &k), product, epsilon = 1e-15);
/// ```
pub fn weight<T: Real>(k: &ArrayRef1<T>) -> T {
    let two = T::one() + T::one();
    (k.dot(k) * inverse_sqrt(k.len()) / two).exp()
}
