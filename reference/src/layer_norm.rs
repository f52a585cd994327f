//! Layer normalisation of a backbone.
//!
//! ```text
//! LN(x) = (x − mean(x)) / √(var(x) + ε) · γ + β
//! ```
//!
//! Mean and variance, the mean of squared deviations, are over the d coordinates.
//!
//! Checked by `layer_norm_output_has_mean_beta_and_variance_gamma_squared`.

use crate::scalar::Real;
use ndarray::{Array1, Array2, ArrayRef2};

/// γ, β and ε of one layer normalisation.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNorm<T> {
    /// γ: `[d]`.
    pub weight: Array1<T>,
    /// β: `[d]`.
    pub bias: Array1<T>,
    /// ε, under the square root.
    pub epsilon: f64,
}

impl<T: Real> LayerNorm<T> {
    /// LN of each row.
    ///
    /// # Shapes
    /// `x`: `[n, d]` → `[n, d]`.
    ///
    /// ```
    /// use inducer_reference::layer_norm::LayerNorm;
    /// use ndarray::array;
    /// let norm = LayerNorm { weight: array![2.0, 2.0], bias: array![1.0, 1.0], epsilon: 0.0 };
    /// // mean 5, deviation 2: (3 − 5)/2 · 2 + 1 and (7 − 5)/2 · 2 + 1
    /// assert_eq!(norm.forward(&array![[3.0, 7.0]]), array![[-1.0, 3.0]]);
    /// ```
    pub fn forward(&self, x: &ArrayRef2<T>) -> Array2<T> {
        let d = T::from_usize(x.ncols());
        let mut y = x.to_owned();
        for mut row in y.rows_mut() {
            let mean = row.sum() / d;
            row.mapv_inplace(|x| x - mean);
            let variance = row.dot(&row) / d;
            let scale = T::one() / (variance + T::from_f64(self.epsilon)).sqrt();
            row.mapv_inplace(|x| x * scale);
        }
        y * &self.weight + &self.bias
    }
}
