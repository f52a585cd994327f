//! The bottleneck adapter (Eq. 1), after attention (Houlsby) or beside the FFN (MAM).
//!
//! ```text
//! (1)            h ← h + φ(h W_1 + b_1) W_2 + b_2           φ = ReLU
//! with its norm  y ← y + φ(LN(y) W_1 + b_1) W_2 + b_2       (Adapter-108)
//! parallel       FFN(x) + s · (φ(x W_1 + b_1) W_2 + b_2)    (MAM)
//! ```
//!
//! y is the output of the attention sub-layer, after W^o.
//!
//! Departure from the paper: the paper leaves φ and the LayerNorm open; both are the authors'
//! code's.
//!
//! Checked by `eq01_adapter_is_a_residual_bottleneck` and on whole models.

use crate::attention::Linear;
use crate::layer_norm::LayerNorm;
use crate::scalar::Real;
use ndarray::{Array2, ArrayRef2};

/// A bottleneck adapter's tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct BottleneckAdapter<T> {
    /// The LayerNorm on the adapter's input, if it has one.
    pub layer_norm: Option<LayerNorm<T>>,
    /// W_1: `[d, r]`, b_1: `[r]`.
    pub down: Linear<T>,
    /// W_2: `[r, d]`, b_2: `[d]`.
    pub up: Linear<T>,
}

impl<T: Real> BottleneckAdapter<T> {
    /// φ(LN(h) W_1 + b_1) W_2 + b_2, without the residual.
    ///
    /// # Shapes
    /// `h`: `[n, d]` → `[n, d]`.
    pub fn branch(&self, h: &ArrayRef2<T>) -> Array2<T> {
        let input = match &self.layer_norm {
            Some(norm) => norm.forward(h),
            None => h.to_owned(),
        };
        self.up.forward(&self.down.forward(&input).mapv(relu))
    }

    /// h + φ(LN(h) W_1 + b_1) W_2 + b_2 (Eq. 1).
    ///
    /// # Shapes
    /// `h`: `[n, d]` → `[n, d]`.
    ///
    /// ```
    /// use inducer_reference::adapter::BottleneckAdapter;
    /// use inducer_reference::attention::Linear;
    /// use ndarray::array;
    /// let adapter = BottleneckAdapter {
    ///     layer_norm: None,
    ///     down: Linear { weight: array![[2.0]], bias: array![-1.0] },
    ///     up: Linear { weight: array![[10.0]], bias: array![0.5] },
    /// };
    /// assert_eq!(adapter.forward(&array![[3.0]]), array![[53.5]]); // 3 + (3·2 − 1)·10 + 0.5
    /// assert_eq!(adapter.forward(&array![[0.0]]), array![[0.5]]); // ReLU(−1) = 0
    /// ```
    pub fn forward(&self, h: &ArrayRef2<T>) -> Array2<T> {
        h.to_owned() + self.branch(h)
    }
}

/// ReLU(x) = max(x, 0).
pub fn relu<T: Real>(x: T) -> T {
    if x > T::zero() { x } else { T::zero() }
}
