//! (IA)³ (Liu et al. 2022, section 3.3): learned vectors that rescale keys, values and the FFN's
//! hidden units.
//!
//! ```text
//! attention    softmax(Q (l_k ⊙ K)ᵀ/√p) (l_v ⊙ V)      l_k, l_v ∈ R^d, p entries for each head
//! FFN          (l_ff ⊙ γ(x W_1 + b_1)) W_2 + b_2        l_ff ∈ R^{d_ff}, γ the activation
//! merged       W^k diag(l_k), l_k ⊙ b^k;  W^v diag(l_v), l_v ⊙ b^v;  diag(l_ff) W_2, b_2 as it was
//! ```
//!
//! Every vector starts as ones, where the model is the frozen one. A scale of the queries or of
//! the heads before W^o, which PEFT's layout can hold, adds no function: l_q is part of l_k, and
//! l_o of l_v.
//!
//! Departure from the paper: none. Its T5 has no biases; l ⊙ acts after the projection's bias (and
//! after LoRA's update, if there is one), as in PEFT.
//!
//! Checked by `exact_ia3_…` over a prime field, by `ia3_…_match_peft` (golden numbers of the peft
//! package) and on whole models.

use crate::attention::Linear;
use crate::scalar::Field;
use ndarray::{Array1, Array2, Axis};

/// The vectors of one layer. One that is missing is all ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Ia3<F> {
    /// l_k: `[d]`.
    pub key: Option<Array1<F>>,
    /// l_v: `[d]`.
    pub value: Option<Array1<F>>,
    /// l_ff: `[d_ff]`.
    pub ffn: Option<Array1<F>>,
}

impl<F> Ia3<F> {
    /// No vector: the frozen layer.
    #[must_use]
    pub fn none() -> Self {
        Self {
            key: None,
            value: None,
            ffn: None,
        }
    }
}

/// l ⊙ x for every row of x; x itself where there is no l.
///
/// # Shapes
/// `l`: `[c]`; `x`: `[n, c]` → `[n, c]`.
///
/// ```
/// use inducer_reference::ia3::rescale;
/// use ndarray::array;
/// let x = array![[1.0, 2.0], [3.0, 4.0]];
/// assert_eq!(rescale(Some(&array![10.0, 0.5]), x.clone()), array![[10.0, 1.0], [30.0, 2.0]]);
/// assert_eq!(rescale(None, x.clone()), x);
/// ```
pub fn rescale<F: Field>(l: Option<&Array1<F>>, x: Array2<F>) -> Array2<F> {
    match l {
        Some(l) => x * l,
        None => x,
    }
}

/// The projection whose output is l ⊙ (x W + b): W diag(l) and l ⊙ b. It merges l_k and l_v.
///
/// # Shapes
/// `l`: `[out]`; W: `[in, out]`.
///
/// ```
/// use inducer_reference::{attention::Linear, ia3::merge_into_output};
/// use ndarray::array;
/// let linear = Linear { weight: array![[1.0, 2.0]], bias: array![3.0, 4.0] };
/// let merged = merge_into_output(&array![10.0, 0.5], &linear);
/// assert_eq!((merged.weight, merged.bias), (array![[10.0, 1.0]], array![30.0, 2.0]));
/// ```
pub fn merge_into_output<F: Field>(l: &Array1<F>, linear: &Linear<F>) -> Linear<F> {
    Linear {
        weight: &linear.weight * l,
        bias: &linear.bias * l,
    }
}

/// The projection that takes h where the given one takes l ⊙ h: diag(l) W, and b as it was. It
/// merges l_ff.
///
/// # Shapes
/// `l`: `[in]`; W: `[in, out]`.
///
/// ```
/// use inducer_reference::{attention::Linear, ia3::merge_into_input};
/// use ndarray::array;
/// let linear = Linear { weight: array![[1.0], [2.0]], bias: array![3.0] };
/// let merged = merge_into_input(&array![10.0, 0.5], &linear);
/// assert_eq!((merged.weight, merged.bias), (array![[10.0], [1.0]], array![3.0]));
/// ```
pub fn merge_into_input<F: Field>(l: &Array1<F>, linear: &Linear<F>) -> Linear<F> {
    Linear {
        weight: &linear.weight * &l.view().insert_axis(Axis(1)),
        bias: linear.bias.clone(),
    }
}
