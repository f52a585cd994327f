//! The bottleneck networks MLP_k and MLP_v of one head (Eq. 11 and the text below it).
//!
//! ```text
//! MLP_k^(h)(q) = tanh(q A^(h) + a^(h)) C^(h) + c^(h)
//! MLP_v^(h)(q) = tanh(q W_1^(h) + b_1^(h)) W_2^(h) (+ b_2)
//! ```
//!
//! A ∈ R^{p×r_k}, C ∈ R^{r_k×p}, W_1 ∈ R^{p×r_v}, and W_2 ∈ R^{r_v×p} or, extended, R^{r_v×d}. With
//! extended values b_2 ∈ R^d is shared by the heads and added once per layer, unweighted by λ: it
//! is not part of this struct then ([`extended`](crate::extended) adds it). In the Adaptive variant
//! each head has its own b_2^(h) ∈ R^p.
//!
//! Checked by `eq05_key_is_the_query_plus_its_bottleneck` and through every model test.

use crate::scalar::{Field, Real};
use ndarray::{Array1, Array2, ArrayRef2};

/// tanh(q W_1 + b_1) W_2 + b_2 for one head.
#[derive(Clone, Debug, PartialEq)]
pub struct Bottleneck<T> {
    /// W_1^(h) (or A): `[p, r]`.
    pub down: Array2<T>,
    /// b_1^(h) (or a): `[r]`.
    pub down_bias: Array1<T>,
    /// W_2^(h) (or C): `[r, c]`, c = p or d.
    pub up: Array2<T>,
    /// b_2^(h) (or c): `[c]`; `None` where the bias is the layer's, not the head's.
    pub up_bias: Option<Array1<T>>,
}

impl<T: Real> Bottleneck<T> {
    /// The hidden units tanh(q W_1 + b_1).
    ///
    /// # Shapes
    /// `q`: `[n, p]` → `[n, r]`.
    pub fn hidden(&self, q: &ArrayRef2<T>) -> Array2<T> {
        (q.dot(&self.down) + &self.down_bias).mapv(T::tanh)
    }

    /// MLP(q), with the head's own b_2 if it has one.
    ///
    /// # Shapes
    /// `q`: `[n, p]` → `[n, c]`.
    ///
    /// ```
    /// use inducer_reference::bottleneck::Bottleneck;
    /// use ndarray::array;
    /// let mlp = Bottleneck {
    ///     down: array![[1.0]],
    ///     down_bias: array![-2.0],
    ///     up: array![[3.0]],
    ///     up_bias: Some(array![0.5]),
    /// };
    /// assert_eq!(mlp.forward(&array![[2.0_f64]]), array![[0.5]]); // tanh(2·1 − 2)·3 + 0.5
    /// ```
    pub fn forward(&self, q: &ArrayRef2<T>) -> Array2<T> {
        self.from_hidden(&self.hidden(q))
    }
}

impl<F: Field> Bottleneck<F> {
    /// hidden · W_2 + b_2: the part of (11) that any field can do.
    ///
    /// # Shapes
    /// `hidden`: `[n, r]` → `[n, c]`.
    #[allow(clippy::wrong_self_convention)]
    pub fn from_hidden(&self, hidden: &ArrayRef2<F>) -> Array2<F> {
        let product = hidden.dot(&self.up);
        match &self.up_bias {
            Some(bias) => product + bias,
            None => product,
        }
    }
}
