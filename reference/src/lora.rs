//! LoRA on a projection (Eq. 10), with the trainable bias that the paper's counts need.
//!
//! ```text
//! q = x W^q + b^q + (α/r) (x Aᵀ Bᵀ + b_lora)        A ∈ R^{r×d}, B ∈ R^{d×r}, b_lora ∈ R^d
//! merged: W^q + (α/r) Aᵀ Bᵀ,  b^q + (α/r) b_lora
//! rsLoRA (Kalajdzievski 2023): α/√r in place of α/r, so that the size does not depend on r
//! ```
//!
//! Departure from the paper: (10) shows no bias; the authors' code has one in NLG (inside the
//! scaled bracket) and none in NLU.
//!
//! Checked by `exact_eq10_merged_equals_unmerged`, `eq10_update_has_at_most_rank_r` and
//! `ladder_a_zero_lora_update_is_the_plain_inducer`.

use crate::attention::Linear;
use crate::dropout::dropped;
use crate::scalar::Field;
use ndarray::{Array1, Array2, ArrayRef2};

/// A low-rank update of one projection.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora<F> {
    /// A: `[r, d]`.
    pub a: Array2<F>,
    /// B: `[d, r]`.
    pub b: Array2<F>,
    /// b_lora: `[d]`, if the update has a bias.
    pub bias: Option<Array1<F>>,
    /// α/r, or α/√r (rsLoRA).
    pub scale: F,
}

impl<F: Field> Lora<F> {
    /// (α/r) (x Aᵀ Bᵀ + b_lora).
    ///
    /// # Shapes
    /// `x`: `[n, d]` → `[n, d]`.
    ///
    /// ```
    /// use inducer_reference::lora::Lora;
    /// use ndarray::array;
    /// let lora = Lora { a: array![[2.0]], b: array![[3.0]], bias: Some(array![1.0]), scale: 0.5 };
    /// assert_eq!(lora.delta(&array![[4.0]]), array![[12.5]]); // 0.5 (4·2·3 + 1)
    /// ```
    pub fn delta(&self, x: &ArrayRef2<F>) -> Array2<F> {
        self.delta_of(x, None)
    }

    /// The same with dropout's factors on x.
    ///
    /// # Shapes
    /// `x`, `keep`: `[n, d]` → `[n, d]`.
    pub fn delta_of(&self, x: &ArrayRef2<F>, keep: Option<&Array2<F>>) -> Array2<F> {
        let x = dropped(x.to_owned(), keep);
        let product = x.dot(&self.a.t()).dot(&self.b.t());
        let inside = match &self.bias {
            Some(bias) => product + bias,
            None => product,
        };
        inside * self.scale
    }

    /// (α/r) Aᵀ Bᵀ, a matrix of rank at most r.
    ///
    /// # Shapes
    /// → `[d, d]`.
    pub fn weight_update(&self) -> Array2<F> {
        self.a.t().dot(&self.b.t()) * self.scale
    }

    /// The projection with the update folded in: the same function without a second branch.
    ///
    /// # Shapes
    /// `projection`: W `[d, d]`, b `[d]`.
    pub fn merge(&self, projection: &Linear<F>) -> Linear<F> {
        let bias = match &self.bias {
            Some(bias) => &projection.bias + &(bias * self.scale),
            None => projection.bias.clone(),
        };
        Linear {
            weight: &projection.weight + &self.weight_update(),
            bias,
        }
    }
}
