//! The Nyström approximation of a kernel matrix from a subset of its points, with its error bounds
//! from the spectrum.
//!
//! ```text
//! K̂ = K_{n m} K_{m m}⁻¹ K_{m n}
//! K − K̂ is positive semi-definite (a Schur complement), zero on the subset's rows and columns
//! Σ_{j>m} λ_j ≤ min over subsets of trace(K − K̂) ≤ (m + 1) Σ_{j>m} λ_j
//! ```
//!
//! The lower bound holds for every subset (no matrix of rank m is nearer in trace); the upper bound
//! for the best one (Deshpande, Rademacher, Vempala and Wang 2006: a subset drawn by volume attains
//! it on average).
//!
//! This is where the paper's name comes from: inducing points that stand for many others in a
//! kernel machine, as an inducer stands in the kernel row of its query.
//!
//! Checked by `nystrom_error_is_positive_semidefinite_and_bounded_by_the_spectrum`.

use crate::error::Error;
use crate::positive_definite::PositiveDefinite;
use ndarray::{Array2, ArrayRef1, ArrayRef2, Axis};

/// K̂ from the points `subset`.
///
/// # Shapes
/// `k`: `[n, n]`; `subset`: m distinct indices → `[n, n]`.
///
/// # Errors
/// When the subset's own matrix is not positive definite (a repeated point).
///
/// ```
/// use inducer_reference::nystrom::approximation;
/// use ndarray::array;
/// // a matrix of rank one is reproduced from any one of its points
/// let k = array![[1.0, 2.0], [2.0, 4.0]];
/// assert_eq!(approximation(&k, &[1])?, k);
/// # Ok::<(), inducer_reference::Error>(())
/// ```
pub fn approximation(k: &ArrayRef2<f64>, subset: &[usize]) -> Result<Array2<f64>, Error> {
    let k_nm = k.select(Axis(1), subset);
    let k_mm = k_nm.select(Axis(0), subset);
    low_rank(&k_nm, &k_mm)
}

/// K_{n m} K_{m m}⁻¹ K_{m n}: Q_{n n} of the sparse Gaussian processes.
///
/// # Shapes
/// `k_nm`: `[n, m]`; `k_mm`: `[m, m]` → `[n, n]`.
///
/// # Errors
/// When K_{m m} is not positive definite.
pub fn low_rank(k_nm: &ArrayRef2<f64>, k_mm: &ArrayRef2<f64>) -> Result<Array2<f64>, Error> {
    let solved = PositiveDefinite::new(k_mm)?.solve(&k_nm.t())?;
    Ok(k_nm.dot(&solved))
}

/// trace(K − K̂).
///
/// # Errors
/// As [`approximation`].
pub fn trace_error(k: &ArrayRef2<f64>, subset: &[usize]) -> Result<f64, Error> {
    let approximation = approximation(k, subset)?;
    Ok((&k.diag() - &approximation.diag()).sum())
}

/// Σ_{j>m} λ_j: the least trace error of any matrix of rank m.
///
/// # Shapes
/// `eigenvalues`: `[n]`, descending.
#[must_use]
pub fn optimal_trace_error(eigenvalues: &ArrayRef1<f64>, m: usize) -> f64 {
    eigenvalues.iter().skip(m).sum()
}

/// All subsets of size m of 0..n, in lexicographic order.
///
/// ```
/// assert_eq!(inducer_reference::nystrom::subsets(3, 2), [[0, 1], [0, 2], [1, 2]]);
/// ```
#[must_use]
pub fn subsets(n: usize, m: usize) -> Vec<Vec<usize>> {
    if m == 0 {
        return vec![Vec::new()];
    }
    let with_first = |first: usize| {
        let rest = subsets(n - first - 1, m - 1).into_iter();
        rest.map(move |rest| {
            std::iter::once(first)
                .chain(rest.into_iter().map(|i| i + first + 1))
                .collect()
        })
    };
    (0..n).flat_map(with_first).collect()
}

/// The subset of size m with the least trace error, and that error, by enumeration.
///
/// Subsets whose own matrix is not positive definite are passed over.
///
/// # Errors
/// When there is no usable subset.
pub fn best_subset(k: &ArrayRef2<f64>, m: usize) -> Result<(Vec<usize>, f64), Error> {
    let candidates = subsets(k.nrows(), m).into_iter();
    let errors =
        candidates.filter_map(|subset| trace_error(k, &subset).ok().map(|error| (subset, error)));
    errors
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .ok_or_else(|| Error::Linalg {
            what: "Nyström subset",
            reason: format!("no subset of size {m} has a positive definite matrix"),
        })
}
