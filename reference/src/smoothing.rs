//! The classical kernels of smoothing on a line: the Nadaraya–Watson estimator (§4.1) before it was
//! attention.
//!
//! ```text
//! f(x) = Σ_j K((x − x_j)/h) y_j / Σ_j K((x − x_j)/h)
//! gaussian      K(u) = exp(−u²/2)
//! laplace       K(u) = exp(−|u|)
//! epanechnikov  K(u) = max(1 − u², 0)
//! uniform       K(u) = 1 for |u| ≤ 1, else 0
//! ```
//!
//! Constant factors (1/√2π and the like) are left out: they cancel in the estimator. Sources:
//! Nadaraya (1964), Watson (1964); the kernels as in Wand and Jones, "Kernel Smoothing" (1995),
//! table 2.1. Attention has the kernel of [`kernel`](crate::kernel) in p dimensions instead, a
//! Gaussian times a weight of each key.
//!
//! With a kernel of bounded support a point may be out of every support point's reach; the estimate
//! is then zero, as [`estimate`](crate::nadaraya_watson::estimate) says.
//!
//! Checked by `smoothing_kernels_are_even_one_at_zero_and_never_rise` below and by the claims
//! `nw-…`, which hold for every kernel.

use crate::scalar::Real;
use ndarray::{Array1, ArrayRef1};

/// A kernel of one variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Smoothing {
    /// exp(−u²/2).
    Gaussian,
    /// exp(−|u|).
    Laplace,
    /// 1 − u² within the unit interval.
    Epanechnikov,
    /// 1 within the unit interval.
    Uniform,
}

impl Smoothing {
    /// All four.
    pub const ALL: [Self; 4] = [
        Self::Gaussian,
        Self::Laplace,
        Self::Epanechnikov,
        Self::Uniform,
    ];

    /// K(u).
    ///
    /// ```
    /// use inducer_reference::smoothing::Smoothing;
    /// assert_eq!(Smoothing::Epanechnikov.at(0.5), 0.75);
    /// assert_eq!(Smoothing::Uniform.at(-1.5), 0.0);
    /// assert_eq!(Smoothing::Laplace.at(-1.0_f64), (-1.0_f64).exp());
    /// ```
    pub fn at<T: Real>(self, u: T) -> T {
        let one = T::one();
        let size = if u < T::zero() { -u } else { u };
        match self {
            Self::Gaussian => (-(u * u / (one + one))).exp(),
            Self::Laplace => (-size).exp(),
            Self::Epanechnikov if size < one => one - u * u,
            Self::Uniform if size <= one => one,
            Self::Epanechnikov | Self::Uniform => T::zero(),
        }
    }

    /// K((x − x_j)/h) for every support point: a row of M.
    ///
    /// # Shapes
    /// `points`: `[m]`, bandwidth `h` > 0 → `[m]`.
    ///
    /// ```
    /// use inducer_reference::smoothing::Smoothing;
    /// use ndarray::array;
    /// let row = Smoothing::Epanechnikov.row(1.0, &array![1.0, 2.0, 9.0], 2.0);
    /// assert_eq!(row, array![1.0, 0.75, 0.0]);
    /// ```
    pub fn row<T: Real>(self, x: T, points: &ArrayRef1<T>, h: T) -> Array1<T> {
        points.mapv(|point| self.at((x - point) / h))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_kernels_are_even_one_at_zero_and_never_rise() {
        for kernel in Smoothing::ALL {
            assert_eq!(kernel.at(0.0), 1.0);
            for step in 0..300 {
                let u = f64::from(step) / 100.0;
                assert_eq!(kernel.at(u), kernel.at(-u), "{kernel:?} {u}");
                assert!(kernel.at(u + 0.01) <= kernel.at(u), "{kernel:?} {u}");
            }
        }
    }
}
