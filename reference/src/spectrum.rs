//! Spectra of kernel matrices: eigenvalues, and whether a matrix is positive semi-definite (§4.1,
//! Appendix C).
//!
//! ```text
//! κ(q, k) = exp(⟨q, k⟩/√p)
//! Σ_ij c_i c_j κ(x_i, x_j) = Σ_t 1/(t! p^{t/2}) Σ_ij c_i c_j ⟨x_i, x_j⟩^t ≥ 0
//! ```
//!
//! This holds for any points x_1 … x_n and any c, since there is a sum of squares for each t: κ is
//! a positive definite kernel.
//!
//! The eigenvalues come from LAPACK (`eigh`), whose backward error decides what "not negative" can
//! mean in floating point.
//!
//! Checked by `kernel_matrices_are_positive_semidefinite` (control: exp of +‖q − k‖²) and
//! `spectrum_of_a_known_matrix`.

use crate::error::Error;
use ndarray::{Array1, ArrayRef2};
use ndarray_linalg::UPLO;
use ndarray_linalg::eigh::{EigValsh, Eigh};

/// The eigenvalues of a symmetric matrix, descending.
///
/// # Shapes
/// `k`: `[n, n]`, symmetric → `[n]`.
///
/// # Errors
/// When LAPACK does not converge (a matrix with infinities, say).
///
/// ```
/// use approx::assert_abs_diff_eq;
/// use inducer_reference::spectrum::eigenvalues;
/// use ndarray::array;
/// let lambda = eigenvalues(&array![[2.0, 1.0], [1.0, 2.0]])?;
/// assert_abs_diff_eq!(lambda[0], 3.0, epsilon = 1e-14);
/// assert_abs_diff_eq!(lambda[1], 1.0, epsilon = 1e-14);
/// # Ok::<(), inducer_reference::Error>(())
/// ```
pub fn eigenvalues(k: &ArrayRef2<f64>) -> Result<Array1<f64>, Error> {
    let ascending = k.to_owned().eigvalsh(UPLO::Lower).map_err(linalg)?;
    Ok(ascending.iter().rev().copied().collect())
}

/// The eigenvalues, descending, and their eigenvectors as columns.
///
/// # Shapes
/// `k`: `[n, n]`, symmetric → `[n]`, `[n, n]`.
///
/// # Errors
/// As [`eigenvalues`].
pub fn eigenpairs(k: &ArrayRef2<f64>) -> Result<(Array1<f64>, ndarray::Array2<f64>), Error> {
    let (ascending, vectors) = k.to_owned().eigh(UPLO::Lower).map_err(linalg)?;
    let descending = ascending.iter().rev().copied().collect();
    Ok((descending, vectors.slice(ndarray::s![.., ..;-1]).to_owned()))
}

fn linalg(error: ndarray_linalg::error::LinalgError) -> Error {
    Error::Linalg {
        what: "symmetric eigenvalues",
        reason: error.to_string(),
    }
}

/// How far an eigenvalue may lie below zero although the exact matrix is positive semi-definite.
///
/// `eigh` returns the eigenvalues of K + E with ‖E‖ ≤ c n u ‖K‖; each entry of K itself carries a
/// relative error of `entry_units` · u, which moves K by at most n · entry_units · u · max|K_ij|.
/// Both with c = 8.
#[must_use]
pub fn rounding_of_spectrum(k: &ArrayRef2<f64>, entry_units: f64) -> f64 {
    let n = k.nrows() as f64;
    let greatest = k.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    let unit_roundoff = f64::EPSILON / 2.0;
    n * unit_roundoff * (8.0 * n + entry_units) * greatest
}

/// Whether no eigenvalue is negative beyond rounding.
///
/// # Errors
/// As [`eigenvalues`].
pub fn is_positive_semidefinite(k: &ArrayRef2<f64>, entry_units: f64) -> Result<bool, Error> {
    let bound = rounding_of_spectrum(k, entry_units);
    Ok(eigenvalues(k)?.iter().all(|&lambda| lambda >= -bound))
}
