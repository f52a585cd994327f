//! Gaussian processes with inducing variables: exact, pseudo-inputs (Snelson & Ghahramani 2005),
//! Titsias' bound (2009).
//!
//! ```text
//! exact      μ_* = k_*ᵀ (K + σ²I)⁻¹ y                σ_*² = κ_** − k_*ᵀ (K + σ²I)⁻¹ k_* + σ²
//!            log p(y) = log N(y | 0, K + σ²I)
//! pseudo     Λ = diag(K − Q), Q = K_{NM} K_M⁻¹ K_{MN};  Q_M = K_M + K_{MN} (Λ + σ²I)⁻¹ K_{NM}
//! inputs     μ_* = k_*ᵀ Q_M⁻¹ K_{MN} (Λ + σ²I)⁻¹ y    σ_*² = κ_** − k_*ᵀ (K_M⁻¹ − Q_M⁻¹) k_* + σ²
//!            log p(y) = log N(y | 0, Q + Λ + σ²I)
//! Titsias    bound = log N(y | 0, Q + σ²I) − trace(K − Q)/2σ²  ≤ exact log p(y)
//! ```
//!
//! The "inducing variables" that gave the paper's inducers their name. With the training inputs as
//! inducing inputs all three are the exact process.
//!
//! Checked by `gp_with_inducing_inputs_at_the_training_inputs_is_the_exact_process` and
//! `gp_bound_never_exceeds_the_evidence_and_rises`.

use crate::error::Error;
use crate::nystrom::low_rank;
use crate::positive_definite::PositiveDefinite;
use ndarray::{Array1, Array2, ArrayRef1, ArrayRef2};

/// A covariance function of two points.
pub type Covariance<'a> = &'a dyn Fn(&ArrayRef1<f64>, &ArrayRef1<f64>) -> f64;

/// Data, covariance and noise of a regression.
pub struct GaussianProcess<'a> {
    /// κ.
    pub covariance: Covariance<'a>,
    /// σ².
    pub noise: f64,
    /// Training inputs: `[N, D]`.
    pub inputs: Array2<f64>,
    /// Targets y: `[N]`.
    pub targets: Array1<f64>,
}

/// Mean and variance (noise included) at one point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// μ_*.
    pub mean: f64,
    /// σ_*².
    pub variance: f64,
}

impl GaussianProcess<'_> {
    /// The matrix of covariances between the rows of two sets of points.
    ///
    /// # Shapes
    /// `a`: `[n, D]`, `b`: `[m, D]` → `[n, m]`.
    #[must_use]
    pub fn matrix(&self, a: &ArrayRef2<f64>, b: &ArrayRef2<f64>) -> Array2<f64> {
        Array2::from_shape_fn((a.nrows(), b.nrows()), |(i, j)| {
            (self.covariance)(&a.row(i), &b.row(j))
        })
    }

    /// κ(point, x_j) for each row of `points`.
    fn row(&self, point: &ArrayRef1<f64>, points: &ArrayRef2<f64>) -> Array1<f64> {
        points
            .rows()
            .into_iter()
            .map(|x| (self.covariance)(point, &x))
            .collect()
    }

    /// A + σ²I.
    fn with_noise(&self, mut a: Array2<f64>) -> Array2<f64> {
        a.diag_mut().mapv_inplace(|x| x + self.noise);
        a
    }

    /// Q = K_{NM} K_M⁻¹ K_{MN}.
    fn q(&self, inducing: &ArrayRef2<f64>) -> Result<Array2<f64>, Error> {
        let k_nm = self.matrix(&self.inputs, inducing);
        low_rank(&k_nm, &self.matrix(inducing, inducing))
    }

    /// diag(K − Q), Λ of the pseudo-input process.
    fn lambda(&self, q: &ArrayRef2<f64>) -> Array1<f64> {
        let inputs = self.inputs.rows().into_iter();
        inputs
            .zip(q.diag())
            .map(|(x, q)| (self.covariance)(&x, &x) - q)
            .collect()
    }

    /// The exact process at a point.
    ///
    /// # Errors
    /// When K + σ²I is not positive definite.
    ///
    /// ```
    /// use approx::assert_abs_diff_eq;
    /// use inducer_reference::sparse_gp::{GaussianProcess, Prediction};
    /// use ndarray::array;
    /// // κ = 1 everywhere, one observation 4 with noise 1: mean 4/2, variance 1 − 1/2 + 1
    /// let gp = GaussianProcess {
    ///     covariance: &|_, _| 1.0,
    ///     noise: 1.0,
    ///     inputs: array![[0.0]],
    ///     targets: array![4.0],
    /// };
    /// let at = gp.predict(&array![9.0])?;
    /// assert_abs_diff_eq!(at.mean, 2.0, epsilon = 1e-15);
    /// assert_abs_diff_eq!(at.variance, 1.5, epsilon = 1e-15);
    /// # Ok::<(), inducer_reference::Error>(())
    /// ```
    pub fn predict(&self, point: &ArrayRef1<f64>) -> Result<Prediction, Error> {
        let k = PositiveDefinite::new(&self.with_noise(self.matrix(&self.inputs, &self.inputs)))?;
        let k_star = self.row(point, &self.inputs);
        let prior = (self.covariance)(point, point);
        Ok(Prediction {
            mean: k_star.dot(&k.solve_vector(&self.targets)?),
            variance: prior - k_star.dot(&k.solve_vector(&k_star)?) + self.noise,
        })
    }

    /// The exact log evidence.
    ///
    /// # Errors
    /// When K + σ²I is not positive definite.
    pub fn log_evidence(&self) -> Result<f64, Error> {
        let covariance = self.with_noise(self.matrix(&self.inputs, &self.inputs));
        log_normal(&self.targets, &covariance)
    }

    /// The pseudo-input process at a point (Snelson & Ghahramani 2005, their Eq. 8).
    ///
    /// # Shapes
    /// `inducing`: `[M, D]`.
    ///
    /// # Errors
    /// When K_M is not positive definite (repeated inducing inputs).
    pub fn predict_sparse(
        &self,
        inducing: &ArrayRef2<f64>,
        point: &ArrayRef1<f64>,
    ) -> Result<Prediction, Error> {
        let k_nm = self.matrix(&self.inputs, inducing);
        let k_m = self.matrix(inducing, inducing);
        let weights = self
            .lambda(&self.q(inducing)?)
            .mapv(|lambda| 1.0 / (lambda + self.noise));
        let scaled = Array2::from_shape_fn(k_nm.raw_dim(), |(i, a)| weights[i] * k_nm[[i, a]]);
        let q_m = PositiveDefinite::new(&(&k_m + &k_nm.t().dot(&scaled)))?;
        let k_m = PositiveDefinite::new(&k_m)?;
        let k_star = self.row(point, inducing);
        let explained =
            k_star.dot(&k_m.solve_vector(&k_star)?) - k_star.dot(&q_m.solve_vector(&k_star)?);
        Ok(Prediction {
            mean: k_star.dot(&q_m.solve_vector(&scaled.t().dot(&self.targets))?),
            variance: (self.covariance)(point, point) - explained + self.noise,
        })
    }

    /// The pseudo-input process' log evidence, log N(y | 0, Q + Λ + σ²I).
    ///
    /// # Errors
    /// As [`predict_sparse`](Self::predict_sparse).
    pub fn log_evidence_sparse(&self, inducing: &ArrayRef2<f64>) -> Result<f64, Error> {
        let q = self.q(inducing)?;
        let lambda = self.lambda(&q);
        log_normal(
            &self.targets,
            &self.with_noise(q + Array2::from_diag(&lambda)),
        )
    }

    /// Titsias' lower bound of the exact log evidence.
    ///
    /// # Errors
    /// As [`predict_sparse`](Self::predict_sparse).
    pub fn titsias_bound(&self, inducing: &ArrayRef2<f64>) -> Result<f64, Error> {
        let q = self.q(inducing)?;
        let trace = self.lambda(&q).sum();
        Ok(log_normal(&self.targets, &self.with_noise(q))? - trace / (2.0 * self.noise))
    }
}

/// log N(y | 0, C) = −½ yᵀ C⁻¹ y − ½ log det C − ½ n log 2π.
///
/// # Shapes
/// `y`: `[n]`; `covariance`: `[n, n]`.
///
/// # Errors
/// When C is not positive definite.
pub fn log_normal(y: &ArrayRef1<f64>, covariance: &ArrayRef2<f64>) -> Result<f64, Error> {
    let factor = PositiveDefinite::new(covariance)?;
    let square = y.dot(&factor.solve_vector(y)?);
    let constant = y.len() as f64 * (2.0 * std::f64::consts::PI).ln();
    Ok(-0.5 * (square + factor.log_determinant() + constant))
}
