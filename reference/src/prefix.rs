//! Prefix-tuning as a gated mixture (§4.2; He et al. 2021a, Eq. 7), and its reparametrisation.
//!
//! ```text
//! f_prefix(q) = (1 − μ(q)) f(q) + μ(q) softmax(q P_kᵀ/√p) P_v
//! μ(q) = Σ_a κ(q, P_k,a) / (Σ_a κ(q, P_k,a) + Σ_{j∈V(i)} κ(q, k_j)) = σ(LSE_prefix(q) − LSE(q))
//! P = tanh(E W_1 + 1 b_1ᵀ) W_2 + 1 b_2ᵀ                                    (while training)
//! ```
//!
//! Every query sees the whole prefix, in a causal model too: it stands before the text.
//!
//! Checked by `prefix_attention_is_the_gated_mixture`,
//! `prefix_mu_is_the_logistic_of_two_logsumexps`, `prefix_of_length_zero_is_the_backbone` and
//! `prefix_reparametrised_layout_is_that_of_past_keys_and_values`.

use crate::attention::{Attended, Linear, attend, attend_dropped, logistic_gate, split_heads};
use crate::kernel::scores;
use crate::nadaraya_watson::{gate, mixture};
use crate::scalar::Real;
use crate::visible::Visible;
use ndarray::{Array1, Array2, Array3, ArrayRef2, Axis, s};

/// A layer's stored prefix.
#[derive(Clone, Debug, PartialEq)]
pub struct Prefix<T> {
    /// P_k: `[H, l, p]`.
    pub key: Array3<T>,
    /// P_v: `[H, l, p]`.
    pub value: Array3<T>,
}

/// f_prefix(q) as the gated mixture, and μ(q), for one head.
///
/// # Shapes
/// `q`: `[n, p]`; `attended`: f `[n, p]`, LSE n; `p_k`, `p_v`: `[l, p]` → `[n, p]` and μ `[n]`
/// (zero for l = 0).
pub fn gated<T: Real>(
    q: &ArrayRef2<T>,
    attended: &Attended<T>,
    p_k: &ArrayRef2<T>,
    p_v: &ArrayRef2<T>,
) -> (Array2<T>, Array1<T>) {
    gated_dropped(q, attended, p_k, p_v, None)
}

/// The same with dropout's factors on the weights over the prefix.
///
/// # Shapes
/// As [`gated`]; `keep`: `[n, l]`.
pub fn gated_dropped<T: Real>(
    q: &ArrayRef2<T>,
    attended: &Attended<T>,
    p_k: &ArrayRef2<T>,
    p_v: &ArrayRef2<T>,
    keep: Option<&Array2<T>>,
) -> (Array2<T>, Array1<T>) {
    let all = Visible::all(q.nrows(), p_k.nrows());
    let over_prefix = attend_dropped(q, p_k, p_v, &all, keep);
    // log Σ_a κ(q, P_k,a) of an empty prefix is log 0: μ = 0.
    let Some(lse_prefix) = over_prefix.lse.iter().copied().collect::<Option<Vec<T>>>() else {
        return (attended.f.clone(), Array1::zeros(q.nrows()));
    };
    let mu = logistic_gate(&Array1::from(lse_prefix), &attended.lse);
    (mixture(&attended.f, &mu, &over_prefix.f), mu)
}

/// f_prefix(q) as attention over the keys [P_k; K] and values [P_v; V]: what past keys and values
/// compute.
///
/// # Shapes
/// `q`: `[n, p]`; `k`, `v`: `[m, p]`; `p_k`, `p_v`: `[l, p]`; `visible`: (n, m) → `[n, p]`.
pub fn concatenated<T: Real>(
    q: &ArrayRef2<T>,
    (k, v): (&ArrayRef2<T>, &ArrayRef2<T>),
    (p_k, p_v): (&ArrayRef2<T>, &ArrayRef2<T>),
    visible: &Visible,
) -> Array2<T> {
    let l = p_k.nrows();
    let sees = Array2::from_shape_fn((q.nrows(), l + k.nrows()), |(i, a)| {
        a < l || visible.sees(i, a - l)
    });
    let stacked = |top: &ArrayRef2<T>, bottom: &ArrayRef2<T>| {
        Array2::from_shape_fn((l + bottom.nrows(), bottom.ncols()), |(a, c)| {
            if a < l {
                top[[a, c]]
            } else {
                bottom[[a - l, c]]
            }
        })
    };
    attend(
        q,
        &stacked(p_k, k),
        &stacked(p_v, v),
        &Visible::from_matrix(sees),
    )
    .f
}

/// μ(q) from the definition: sums of the kernel itself, no logarithm.
///
/// # Shapes
/// `q`: `[n, p]`; `p_k`: `[l, p]`; `k`: `[m, p]`; `visible`: (n, m) → `[n]`.
pub fn mu_by_definition<T: Real>(
    q: &ArrayRef2<T>,
    p_k: &ArrayRef2<T>,
    k: &ArrayRef2<T>,
    visible: &Visible,
) -> Array1<T> {
    let own = scores(q, p_k).mapv(T::exp).sum_axis(Axis(1));
    let kernel = scores(q, k).mapv(T::exp);
    let sum_over = |i: usize| visible.of(i).fold(T::zero(), |sum, j| sum + kernel[[i, j]]);
    let rest: Array1<T> = (0..q.nrows()).map(sum_over).collect();
    gate(&own, &rest)
}

/// The prefix under training: P = tanh(E W_1 + b_1) W_2 + b_2 (Li & Liang 2021).
#[derive(Clone, Debug, PartialEq)]
pub struct Reparametrised<T> {
    /// E: `[l, d]`.
    pub embedding: Array2<T>,
    /// W_1: `[d, width]`, b_1.
    pub first: Linear<T>,
    /// W_2: `[width, 2 L d]`, b_2.
    pub second: Linear<T>,
}

impl<T: Real> Reparametrised<T> {
    /// P, laid out as past keys and values: reshaped to `[l, 2 L, H, p]`, key of layer i at 2 i,
    /// value at 2 i + 1.
    ///
    /// # Shapes
    /// → L prefixes of `[H, l, p]`.
    pub fn prefixes(&self, heads: usize) -> Vec<Prefix<T>> {
        let hidden = self.first.forward(&self.embedding).mapv(T::tanh);
        let flat = self.second.forward(&hidden);
        let d = self.embedding.ncols();
        let block = |index: usize| {
            let columns = flat.slice(s![.., index * d..(index + 1) * d]);
            split_heads(&columns, heads)
        };
        (0..flat.ncols() / (2 * d))
            .map(|i| Prefix {
                key: block(2 * i),
                value: block(2 * i + 1),
            })
            .collect()
    }
}
