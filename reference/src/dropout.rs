//! Dropout with factors that are given: 0 for what is dropped, 1/(1 − rate) for what stays.
//!
//! ```text
//! weights     softmax(q Kᵀ/√p) ∘ M_a        the log-sum-exp, and so λ and μ, are those of all keys
//! prefix      softmax(q P_kᵀ/√p) ∘ M_p
//! gate        (λ ∘ M_λ) MLP_v(q)            Gating's (1 − λ) f keeps the λ that is not dropped
//! branches    x + M ∘ attention(x),  x + M ∘ FFN(x)
//! LoRA        x Aᵀ Bᵀ becomes (M_x ∘ x) Aᵀ Bᵀ, with factors for each projection
//! ```
//!
//! Which numbers are dropped is nobody's business here: the reference draws nothing.
//!
//! Checked by `dropout_of_ones_changes_nothing_and_each_site_has_its_factors` and on whole models
//! by the ledger's row `dropout-masks`.

use crate::scalar::Field;
use ndarray::{Array2, Array3};

/// The factors at every site of one layer; a site without factors drops nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Masks<T> {
    /// Of the attention's weights: `[H, n, n]`.
    pub attention: Option<Array3<T>>,
    /// Of the weights over a prefix: `[H, n, l]`.
    pub prefix: Option<Array3<T>>,
    /// Of λ: `[n, H]`.
    pub gate: Option<Array2<T>>,
    /// Of the attention's output: `[n, d]`.
    pub attention_branch: Option<Array2<T>>,
    /// Of the FFN's output: `[n, d]`. In GPT-2 what stands beside the FFN is dropped with it, in
    /// RoBERTa not.
    pub ffn_branch: Option<Array2<T>>,
    /// Of LoRA's input on W^q, W^k and W^v: `[n, d]` each.
    pub lora: [Option<Array2<T>>; 3],
}

impl<T> Masks<T> {
    /// No dropout anywhere.
    #[must_use]
    pub fn none() -> Self {
        Self {
            attention: None,
            prefix: None,
            gate: None,
            attention_branch: None,
            ffn_branch: None,
            lora: [None, None, None],
        }
    }
}

impl<T> Default for Masks<T> {
    fn default() -> Self {
        Self::none()
    }
}

/// `x ∘ M`, or x where nothing is dropped.
///
/// # Shapes
/// `x`, `keep` M: `[n, c]` → `[n, c]`.
///
/// ```
/// use inducer_reference::dropout::dropped;
/// use ndarray::array;
/// assert_eq!(dropped(array![[3.0, 5.0]], Some(&array![[0.0, 2.0]])), array![[0.0, 10.0]]);
/// assert_eq!(dropped(array![[3.0]], None), array![[3.0]]);
/// ```
pub fn dropped<F: Field>(x: Array2<F>, keep: Option<&Array2<F>>) -> Array2<F> {
    match keep {
        Some(keep) => x * keep,
        None => x,
    }
}
