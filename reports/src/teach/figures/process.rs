//! Figure 6: a Gaussian process and its pseudo-input approximation, with evidence and Titsias'
//! bound.
//!
//! # Bounds
//!
//! The reference solves with LAPACK and has no traced form, so the bounds come from perturbation
//! theory. A computed Cholesky solve of A z = b is exact for a matrix A + ΔA with ‖ΔA‖ ≤ n (3n + 1)
//! u ‖A‖ (Higham, "Accuracy and Stability of Numerical Algorithms", theorem 10.4), and the entries
//! of A carry e roundings each. So with κ the condition number of A, ε(A) = κ u (4n² + n e) bounds,
//! to first order,
//!
//! ```text
//! |Δ aᵀA⁻¹b|     ≤ ε(A) ‖a‖ ‖A⁻¹b‖
//! |Δ log det A|  ≤ n ε(A)
//! ```
//!
//! What was made with K_M⁻¹ (Q, Λ, hence Q_M and both sparse covariances) moves by δ = ε(K_M) max_i
//! ‖k_i‖ ‖K_M⁻¹k_i‖ an entry. Each bound is twice that (reference and script) times 2 for the
//! second order and the sums around it.

use super::Figure;
use crate::teach::draw::Draw;
use crate::teach::quantity::{TWO_ROUNDOFFS, Witness, Witnesses};
use anyhow::Result;
use inducer_reference::kernel::gaussian;
use inducer_reference::nystrom::low_rank;
use inducer_reference::positive_definite::PositiveDefinite;
use inducer_reference::sparse_gp::GaussianProcess;
use inducer_reference::spectrum::eigenvalues;
use ndarray::{Array1, Array2, ArrayRef1, array};
use serde::Serialize;

/// e, the roundings of one covariance: difference, division, square and half in an exponent t
/// (which moves e⁻ᵗ by at most 4 t e⁻ᵗ ≤ 4/e units), then exp with 4.
const ENTRY: f64 = 6.0;

/// Places at which both processes are compared.
const PROBES: [f64; 5] = [-0.5, 1.1, 2.7, 4.3, 6.4];

/// Data, pseudo-inputs and the covariance exp(−(x − x')²/2ℓ²).
#[derive(Clone, Debug, Serialize)]
pub struct Process {
    inputs: Vec<f64>,
    targets: Vec<f64>,
    pseudo: Vec<f64>,
    length: f64,
    deviation: f64,
    probes: [f64; 5],
}

fn column(numbers: &[f64]) -> Array2<f64> {
    Array2::from_shape_fn((numbers.len(), 1), |(i, _)| numbers[i])
}

fn norm(a: &ArrayRef1<f64>) -> f64 {
    a.dot(a).sqrt()
}

/// κ, the condition number.
fn condition(a: &Array2<f64>) -> Result<f64> {
    let all = eigenvalues(a)?;
    Ok(all[0] / all[all.len() - 1].max(f64::MIN_POSITIVE))
}

/// ε(A) at the two round-offs of reference and script.
fn epsilon(a: &Array2<f64>) -> Result<f64> {
    let (condition, n) = (condition(a)?, a.nrows() as f64);
    Ok(2.0 * TWO_ROUNDOFFS * condition * (4.0 * n * n + n * ENTRY))
}

/// What the bounds need besides the results.
struct Perturbation {
    /// ‖a‖ ‖A⁻¹b‖ is taken with this solver.
    exact: PositiveDefinite,
    exact_epsilon: f64,
    k_m: PositiveDefinite,
    k_m_epsilon: f64,
    q_m: PositiveDefinite,
    /// ε(Q_M) and the effect of Λ's own error on it.
    q_m_epsilon: f64,
    /// δ, absolute error of an entry of Q.
    delta: f64,
    /// K_{MN} (Λ + σ²I)⁻¹ y.
    scaled_targets: Array1<f64>,
}

impl Process {
    /// Runs `with` on the reference's process.
    fn with<R>(&self, with: impl FnOnce(&GaussianProcess<'_>) -> R) -> R {
        let covariance = |a: &ArrayRef1<f64>, b: &ArrayRef1<f64>| {
            gaussian(&(a / self.length), &(b / self.length))
        };
        with(&GaussianProcess {
            covariance: &covariance,
            noise: self.deviation * self.deviation,
            inputs: column(&self.inputs),
            targets: self.targets.iter().copied().collect(),
        })
    }

    fn perturbation(&self, gp: &GaussianProcess<'_>, z: &Array2<f64>) -> Result<Perturbation> {
        let n = gp.inputs.nrows();
        let exact = gp.matrix(&gp.inputs, &gp.inputs) + Array2::<f64>::eye(n) * gp.noise;
        let (k_m, k_nm) = (gp.matrix(z, z), gp.matrix(&gp.inputs, z));
        let weights = (1.0 - low_rank(&k_nm, &k_m)?.diag().to_owned() + gp.noise).mapv(f64::recip);
        let scaled = Array2::from_shape_fn(k_nm.raw_dim(), |(i, a)| weights[i] * k_nm[[i, a]]);
        let q_m = &k_m + &k_nm.t().dot(&scaled);
        let (k_m_epsilon, factor) = (epsilon(&k_m)?, PositiveDefinite::new(&k_m)?);
        let mut reach = 0.0_f64;
        for row in k_nm.rows() {
            reach = reach.max(norm(&row) * norm(&factor.solve_vector(&row)?));
        }
        let delta = k_m_epsilon * reach;
        let from_weights = condition(&q_m)? * delta / gp.noise;
        Ok(Perturbation {
            exact_epsilon: epsilon(&exact)?,
            exact: PositiveDefinite::new(&exact)?,
            k_m: factor,
            k_m_epsilon,
            q_m_epsilon: epsilon(&q_m)? + from_weights,
            q_m: PositiveDefinite::new(&q_m)?,
            delta,
            scaled_targets: scaled.t().dot(&gp.targets),
        })
    }

    /// Means and variances of both processes at the probes.
    fn predictions(
        &self,
        gp: &GaussianProcess<'_>,
        z: &Array2<f64>,
        error: &Perturbation,
        into: &mut Witnesses,
    ) -> Result<()> {
        let mut add = |name, value: f64, bound: f64| {
            let empty = || Witness {
                value: Vec::new(),
                bound: Vec::new(),
            };
            let witness: &mut Witness = into.entry(name).or_insert_with(empty);
            witness.value.push(value);
            witness.bound.push(2.0 * bound + 4.0 * TWO_ROUNDOFFS);
        };
        let alpha = norm(&error.exact.solve_vector(&gp.targets)?);
        let beta = norm(&error.q_m.solve_vector(&error.scaled_targets)?);
        for x in self.probes {
            let point = array![x];
            let near = |points| gp.matrix(&column(&[x]), points).row(0).to_owned();
            let (k, k_z) = (near(&gp.inputs), near(z));
            let (exact, sparse) = (gp.predict(&point)?, gp.predict_sparse(z, &point)?);
            let of_k_m = error.k_m_epsilon * norm(&error.k_m.solve_vector(&k_z)?);
            let of_q_m = error.q_m_epsilon * norm(&error.q_m.solve_vector(&k_z)?);
            let inverse = norm(&error.exact.solve_vector(&k)?);
            add("mean", exact.mean, error.exact_epsilon * norm(&k) * alpha);
            add(
                "variance",
                exact.variance,
                error.exact_epsilon * norm(&k) * inverse,
            );
            add(
                "sparseMean",
                sparse.mean,
                error.q_m_epsilon * norm(&k_z) * beta * 2.0,
            );
            add(
                "sparseVariance",
                sparse.variance,
                (of_k_m + of_q_m) * norm(&k_z),
            );
        }
        Ok(())
    }

    /// The reference's values and bounds.
    ///
    /// # Errors
    /// A matrix is not positive definite.
    pub fn witnesses(&self) -> Result<Witnesses> {
        self.with(|gp| {
            let z = column(&self.pseudo);
            let error = self.perturbation(gp, &z)?;
            let mut all = Witnesses::new();
            self.predictions(gp, &z, &error, &mut all)?;
            Self::evidences(gp, &z, &error, &mut all)?;
            Ok(all)
        })
    }

    /// Evidence of both processes and the bound.
    fn evidences(
        gp: &GaussianProcess<'_>,
        z: &Array2<f64>,
        error: &Perturbation,
        into: &mut Witnesses,
    ) -> Result<()> {
        let n = gp.inputs.nrows() as f64;
        let y = norm(&gp.targets);
        // ‖C⁻¹‖ ≤ 1/σ² for both sparse covariances, whose entries move by δ.
        let of_sparse = {
            let largest = (n + gp.noise) / gp.noise;
            let own = 2.0 * TWO_ROUNDOFFS * largest * (4.0 * n * n + n * ENTRY);
            own + n * error.delta / gp.noise
        };
        let of_normal = |epsilon: f64| epsilon * (y * y / gp.noise + n);
        let mut add = |name, value: f64, bound: f64| {
            let witness = Witness {
                value: vec![value],
                bound: vec![2.0 * bound + 4.0 * TWO_ROUNDOFFS * value.abs()],
            };
            into.insert(name, witness);
        };
        add(
            "evidence",
            gp.log_evidence()?,
            of_normal(error.exact_epsilon),
        );
        add(
            "sparseEvidence",
            gp.log_evidence_sparse(z)?,
            of_normal(of_sparse),
        );
        let trace = n * error.delta / gp.noise;
        add(
            "titsias",
            gp.titsias_bound(z)?,
            of_normal(of_sparse) + trace,
        );
        Ok(())
    }
}

impl Figure for Process {
    const NAME: &'static str = "process";

    fn start() -> Self {
        let inputs = vec![
            0.1, 0.4, 0.9, 1.3, 1.6, 2.0, 2.3, 2.9, 3.2, 3.8, 4.6, 4.9, 5.3, 5.8,
        ];
        let targets = vec![
            -0.35, 0.1, 0.9, 1.05, 1.35, 0.95, 0.8, -0.15, -0.4, -1.05, -0.65, -0.2, 0.35, 0.9,
        ];
        Self {
            inputs,
            targets,
            // well placed, as the text has them: Titsias' bound misses four nats
            pseudo: vec![0.3, 1.2, 2.3, 3.3, 4.7, 5.6],
            length: 0.8,
            deviation: 0.2,
            probes: PROBES,
        }
    }

    fn other(draw: &mut Draw) -> Self {
        let m = 2 + draw.index(4);
        // One to a stretch, so that no two pseudo-inputs coincide.
        let width = 6.0 / m as f64;
        let pseudo = (0..m).map(|a| {
            let at = (a as f64 + 0.5) * width + draw.number(-0.35, 0.35) * width;
            (at * 100.0).round() / 100.0
        });
        Self {
            pseudo: pseudo.collect(),
            targets: draw.numbers(14, -1.5, 1.5),
            length: draw.number(0.4, 1.0),
            deviation: draw.number(0.1, 0.5),
            ..Self::start()
        }
    }
}
