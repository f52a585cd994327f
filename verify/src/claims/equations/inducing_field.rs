//! Gaussian processes with inducing variables over any field: what of them is algebra, exact for
//! every positive definite covariance.
//!
//! The density is taken apart: its quadratic form yᵀ C⁻¹ y and its determinant det C are rational,
//! the logarithm is not needed. Systems are solved by elimination, which any field can do;
//! [`inducing`](super::inducing) measures the reference's own functions, which use LAPACK.

use crate::cases::{Draw, Sample};
use crate::identity::{FieldIdentity, Sides};
use inducer_reference::Field;
use ndarray::{Array1, Array2, ArrayRef2, s};
use std::ops::Range;

/// [A, B].
fn beside<F: Field>(a: &ArrayRef2<F>, b: &ArrayRef2<F>) -> Array2<F> {
    let n = a.ncols();
    Array2::from_shape_fn((a.nrows(), n + b.ncols()), |(i, j)| match j < n {
        true => a[[i, j]],
        false => b[[i, j - n]],
    })
}

/// A⁻¹ B and det A by Gauss–Jordan elimination without pivoting: the pivots are quotients of
/// leading minors, positive where A is positive definite.
pub fn solve<F: Field>(a: &ArrayRef2<F>, b: &ArrayRef2<F>) -> (Array2<F>, F) {
    let n = a.nrows();
    let mut both = beside(a, b);
    let mut determinant = F::one();
    for pivot in 0..n {
        let value = both[[pivot, pivot]];
        determinant = determinant * value;
        both.row_mut(pivot).mapv_inplace(|x| x / value);
        let row = both.row(pivot).to_owned();
        for other in (0..n).filter(|other| *other != pivot) {
            let factor = both[[other, pivot]];
            let mut line = both.row_mut(other);
            line.zip_mut_with(&row, |x, r| *x = *x - factor * *r);
        }
    }
    (both.slice(s![.., n..]).to_owned(), determinant)
}

/// A regression as its matrices, with one point to predict at.
pub struct Process<F> {
    /// K of the inputs: `[N, N]`.
    pub k: Array2<F>,
    /// K between inputs and inducing inputs: `[N, M]`.
    pub k_nm: Array2<F>,
    /// K of the inducing inputs: `[M, M]`.
    pub k_m: Array2<F>,
    /// κ between the point and the inputs: `[N, 1]`.
    pub k_star: Array2<F>,
    /// κ between the point and the inducing inputs: `[M, 1]`.
    pub k_star_m: Array2<F>,
    /// κ of the point with itself.
    pub prior: F,
    /// σ².
    pub noise: F,
    /// Targets: `[N, 1]`.
    pub y: Array2<F>,
}

/// Mean and variance (noise included) at the point, quadratic form and determinant of the targets'
/// covariance.
pub type Found<F> = [F; 4];

impl<F: Field> Process<F> {
    fn with_noise(&self, mut covariance: Array2<F>) -> Array2<F> {
        covariance.diag_mut().mapv_inplace(|x| x + self.noise);
        covariance
    }

    /// Q = K_{NM} K_M⁻¹ K_{MN}.
    pub fn q(&self) -> Array2<F> {
        self.k_nm.dot(&solve(&self.k_m, &self.k_nm.t()).0)
    }

    /// diag(K − Q).
    fn lambda(&self, q: &Array2<F>) -> Array1<F> {
        &self.k.diag() - &q.diag()
    }

    /// A process by its definition: targets of covariance C, of covariance c with the value at the
    /// point.
    fn conditioned(&self, covariance: &Array2<F>, with_point: &Array2<F>) -> Found<F> {
        let (solved, determinant) = solve(covariance, &beside(&self.y, with_point));
        let (weights, spread) = (solved.column(0), solved.column(1));
        [
            with_point.column(0).dot(&weights),
            self.prior - with_point.column(0).dot(&spread) + self.noise,
            self.y.column(0).dot(&weights),
            determinant,
        ]
    }

    /// The exact process.
    pub fn exact(&self) -> Found<F> {
        self.conditioned(&self.with_noise(self.k.clone()), &self.k_star)
    }

    /// The pseudo-input process by its definition: covariance Q + Λ + σ²I, and K_{NM} K_M⁻¹ k_*
    /// with the point.
    pub fn pseudo_inputs(&self) -> Found<F> {
        let q = self.q();
        let lambda = Array2::from_diag(&self.lambda(&q));
        let covariance = self.with_noise(q + lambda);
        let with_point = self.k_nm.dot(&solve(&self.k_m, &self.k_star_m).0);
        self.conditioned(&covariance, &with_point)
    }

    /// The pseudo-input process by its predictive equations (Snelson & Ghahramani 2005), which
    /// solve with M × M matrices only; the determinant by Sylvester's theorem, det(Λ + σ²I) det Q_M
    /// / det K_M.
    pub fn predictive_equations(&self) -> Found<F> {
        let diagonal = self.lambda(&self.q()).mapv(|lambda| lambda + self.noise);
        let weighted =
            |x: &Array2<F>| Array2::from_shape_fn(x.raw_dim(), |(i, a)| x[[i, a]] / diagonal[i]);
        let (scaled, scaled_y) = (weighted(&self.k_nm), weighted(&self.y));
        let q_m = &self.k_m + &self.k_nm.t().dot(&scaled);
        let projected = self.k_nm.t().dot(&scaled_y);
        let (by_q, det_q) = solve(&q_m, &beside(&projected, &self.k_star_m));
        let (by_k, det_k) = solve(&self.k_m, &self.k_star_m);
        let star = self.k_star_m.column(0);
        [
            star.dot(&by_q.column(0)),
            self.prior - (star.dot(&by_k.column(0)) - star.dot(&by_q.column(1))) + self.noise,
            self.y.column(0).dot(&scaled_y.column(0)) - projected.column(0).dot(&by_q.column(0)),
            diagonal.iter().fold(det_q / det_k, |all, x| all * *x),
        ]
    }

    /// Quadratic form and determinant of Titsias' covariance Q + σ²I, and the trace of K − Q that
    /// his bound subtracts.
    pub fn titsias(&self) -> [F; 3] {
        let q = self.q();
        let trace = self.lambda(&q).sum();
        let [_, _, square, determinant] = self.conditioned(&self.with_noise(q), &self.k_star);
        [square, determinant, trace]
    }
}

impl<F: Sample> Process<F> {
    /// A random covariance G Gᵀ + I of N inputs and a point; of the N these are the inducing ones.
    fn random(draw: &mut Draw, inducing: impl FnOnce(usize) -> Range<usize>) -> Self {
        let n = draw.size(3, 4);
        let factor: Array2<F> = draw.elements((n + 1, 2));
        let mut all = factor.dot(&factor.t());
        all.diag_mut().mapv_inplace(|x| x + F::one());
        let inducing = inducing(n);
        Self {
            k: all.slice(s![..n, ..n]).to_owned(),
            k_nm: all.slice(s![..n, inducing.clone()]).to_owned(),
            k_m: all.slice(s![inducing.clone(), inducing.clone()]).to_owned(),
            k_star: all.slice(s![..n, n..]).to_owned(),
            k_star_m: all.slice(s![inducing, n..]).to_owned(),
            prior: all[[n, n]],
            noise: F::positive(draw),
            y: draw.elements((n, 1)),
        }
    }
}

/// With the training inputs as inducing inputs Q = K, and both sparse processes are the exact one.
/// In the control one input is left out.
pub struct ExactLimit;

impl FieldIdentity for ExactLimit {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let process = Process::<F>::random(draw, |n| usize::from(control)..n);
        let exact = process.exact();
        let [_, _, square, determinant] = exact;
        Sides::of(
            "pseudo-inputs at the inputs",
            Array1::from_iter(process.pseudo_inputs()),
            Array1::from_iter(exact),
        )
        .and(
            "Titsias' bound with inducing inputs at the inputs",
            Array1::from_iter(process.titsias()),
            Array1::from_iter([square, determinant, F::zero()]),
        )
    }
}

/// The predictive equations are the process of covariance Q + Λ + σ²I. In the control the equations
/// have Λ = 0: the process of covariance Q + σ²I, which understates its own variance.
pub struct PredictiveEquations;

impl FieldIdentity for PredictiveEquations {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let m = draw.size(1, 2);
        let mut process = Process::<F>::random(draw, |_| 0..m);
        let defined = process.pseudo_inputs();
        if control {
            process.k = process.q();
        }
        Sides::of(
            "predictive equations",
            Array1::from_iter(process.predictive_equations()),
            Array1::from_iter(defined),
        )
    }
}
