//! Symmetric positive definite matrices by their Cholesky factor: solving and log-determinants for
//! the kernel side.

use crate::error::Error;
use ndarray::{Array1, Array2, ArrayRef1, ArrayRef2, OwnedRepr};
use ndarray_linalg::UPLO;
use ndarray_linalg::cholesky::{CholeskyFactorized, DeterminantC, FactorizeC, SolveC};

/// A factorised symmetric positive definite matrix.
pub struct PositiveDefinite(CholeskyFactorized<OwnedRepr<f64>>);

impl PositiveDefinite {
    /// Factorises A; only its lower triangle is read.
    ///
    /// # Shapes
    /// `a`: `[n, n]`.
    ///
    /// # Errors
    /// When A is not positive definite to working precision (repeated points without noise, say).
    ///
    /// ```
    /// use approx::assert_abs_diff_eq;
    /// use inducer_reference::positive_definite::PositiveDefinite;
    /// use ndarray::array;
    /// let a = PositiveDefinite::new(&array![[4.0, 0.0], [0.0, 9.0]])?;
    /// assert_eq!(a.solve_vector(&array![8.0, 9.0])?, array![2.0, 1.0]);
    /// assert_abs_diff_eq!(a.log_determinant(), 36.0_f64.ln(), epsilon = 1e-15);
    /// assert!(PositiveDefinite::new(&array![[1.0, 2.0], [2.0, 1.0]]).is_err());
    /// # Ok::<(), inducer_reference::Error>(())
    /// ```
    pub fn new(a: &ArrayRef2<f64>) -> Result<Self, Error> {
        a.factorizec(UPLO::Lower)
            .map(Self)
            .map_err(|error| Error::Linalg {
                what: "Cholesky factorisation",
                reason: error.to_string(),
            })
    }

    /// A⁻¹ b.
    ///
    /// # Shapes
    /// `b`: `[n]` → `[n]`.
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn solve_vector(&self, b: &ArrayRef1<f64>) -> Result<Array1<f64>, Error> {
        self.0.solvec(b).map_err(|error| Error::Linalg {
            what: "Cholesky solve",
            reason: error.to_string(),
        })
    }

    /// A⁻¹ B, column by column.
    ///
    /// # Shapes
    /// `b`: `[n, c]` → `[n, c]`.
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn solve(&self, b: &ArrayRef2<f64>) -> Result<Array2<f64>, Error> {
        let mut solution = Array2::zeros(b.raw_dim());
        for (mut column, b) in solution.columns_mut().into_iter().zip(b.columns()) {
            column.assign(&self.solve_vector(&b)?);
        }
        Ok(solution)
    }

    /// log det A.
    #[must_use]
    pub fn log_determinant(&self) -> f64 {
        self.0.ln_detc()
    }
}
