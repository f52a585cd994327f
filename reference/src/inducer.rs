//! Inducer attention (Eqs. 5–8): one virtual token for each query, close to that query.
//!
//! ```text
//! (5)  P_k,i = q_i + MLP_k(q_i)
//! (6)  P_v,i = f(q_i) + MLP_v(q_i)
//! (7)  f̃(q_i) = NW(q_i; [P_k,i; K], [P_v,i; V]) = λ_i P_v,i + (1 − λ_i) f(q_i)
//!      λ_i = κ(q_i, P_k,i) / (κ(q_i, P_k,i) + Σ_{j∈V(i)} κ(q_i, k_j)) = σ(s_i − LSE_i)
//!      s_i = ⟨q_i, P_k,i⟩/√p
//! (8)  f̃(q_i) = f(q_i) + λ_i MLP_v(q_i)
//! ```
//!
//! Departures from the paper: the score s_i is divided by √p like any other score (so is it in the
//! authors' code), and λ comes from the log-sum-exp of the ordinary attention row instead of a
//! second softmax over n + 1 columns. The two are equal:
//! `eq07_lambda_is_the_logistic_of_score_minus_logsumexp`.
//!
//! Checked also by `exact_eq07_equals_eq08_for_every_kernel` and
//! `eq08_residual_form_equals_the_augmented_estimator`.

use crate::attention::{LogSumExp, logistic_gate};
use crate::kernel::score;
use crate::nadaraya_watson::{estimate, gate, mixture, scale_rows};
use crate::scalar::{Field, Real};
use ndarray::{Array1, Array2, ArrayRef1, ArrayRef2};

/// P_k,i = q_i + MLP_k(q_i) (Eq. 5).
///
/// # Shapes
/// `q`, `mlp_k`: `[n, p]` → `[n, p]`.
pub fn key<F: Field>(q: &ArrayRef2<F>, mlp_k: &ArrayRef2<F>) -> Array2<F> {
    q + mlp_k
}

/// P_v,i = f(q_i) + MLP_v(q_i) (Eq. 6).
///
/// # Shapes
/// `f`, `mlp_v`: `[n, c]` → `[n, c]`.
pub fn value<F: Field>(f: &ArrayRef2<F>, mlp_v: &ArrayRef2<F>) -> Array2<F> {
    f + mlp_v
}

/// The left-hand side of (7): for each query the estimator over its own n + 1 support points,
/// nothing simplified.
///
/// # Shapes
/// `own_weight` κ(q_i, P_k,i): `[n]`; `weights` M: `[n, m]`, zero outside V(i); `own_value` P_v:
/// `[n, c]`; `values` V: `[m, c]` → `[n, c]`.
///
/// ```
/// use inducer_reference::inducer::augmented_estimate;
/// use ndarray::array;
/// // weights 2 (own), 1, 1 with values 10 (own), 2, 4: (20 + 2 + 4)/4
/// let (own_weight, weights) = (array![2.0], array![[1.0, 1.0]]);
/// let (own_value, values) = (array![[10.0]], array![[2.0], [4.0]]);
/// let f = augmented_estimate(&own_weight, &weights, &own_value, &values);
/// assert_eq!(f, array![[6.5]]);
/// ```
pub fn augmented_estimate<F: Field>(
    own_weight: &ArrayRef1<F>,
    weights: &ArrayRef2<F>,
    own_value: &ArrayRef2<F>,
    values: &ArrayRef2<F>,
) -> Array2<F> {
    let (n, m) = weights.dim();
    let c = values.ncols();
    let mut output = Array2::zeros((n, c));
    for i in 0..n {
        // K̃^(i) and Ṽ^(i): the query's own point first.
        let row = Array2::from_shape_fn((1, m + 1), |(_, j)| match j {
            0 => own_weight[i],
            j => weights[[i, j - 1]],
        });
        let points = Array2::from_shape_fn((m + 1, c), |(j, a)| match j {
            0 => own_value[[i, a]],
            j => values[[j - 1, a]],
        });
        output.row_mut(i).assign(&estimate(&row, &points).row(0));
    }
    output
}

/// The right-hand side of (7): λ_i P_v,i + (1 − λ_i) f(q_i).
///
/// # Shapes
/// `f`, `own_value`: `[n, c]`; `lambda`: `[n]` → `[n, c]`.
pub fn mixture_form<F: Field>(
    f: &ArrayRef2<F>,
    lambda: &ArrayRef1<F>,
    own_value: &ArrayRef2<F>,
) -> Array2<F> {
    mixture(f, lambda, own_value)
}

/// f̃ = f + λ MLP_v (Eq. 8), the residual form.
///
/// # Shapes
/// `f`, `mlp_v`: `[n, c]`; `lambda`: `[n]` → `[n, c]`.
///
/// ```
/// use inducer_reference::inducer::residual_form;
/// use ndarray::array;
/// assert_eq!(residual_form(&array![[3.0]], &array![0.5], &array![[7.0]]), array![[6.5]]);
/// ```
pub fn residual_form<F: Field>(
    f: &ArrayRef2<F>,
    lambda: &ArrayRef1<F>,
    mlp_v: &ArrayRef2<F>,
) -> Array2<F> {
    f.to_owned() + scale_rows(lambda, mlp_v)
}

/// λ_i from the kernel's values, as (7) defines it.
///
/// # Shapes
/// `own_weight` κ(q_i, P_k,i): `[n]`; `row_sums` Σ_{j∈V(i)} κ(q_i, k_j): `[n]` → `[n]`.
pub fn lambda_by_definition<F: Field>(
    own_weight: &ArrayRef1<F>,
    row_sums: &ArrayRef1<F>,
) -> Array1<F> {
    gate(own_weight, row_sums)
}

/// s_i = ⟨q_i, P_k,i⟩/√p, the inducer's own score.
///
/// # Shapes
/// `q`, `p_k`: `[n, p]` → `[n]`.
pub fn own_scores<T: Real>(q: &ArrayRef2<T>, p_k: &ArrayRef2<T>) -> Array1<T> {
    let rows = q.rows().into_iter().zip(p_k.rows());
    rows.map(|(q, p_k)| score(&q, &p_k)).collect()
}

/// λ_i = σ(s_i − LSE_i): the single-pass form. One where no key is visible.
///
/// # Shapes
/// `s`: `[n]`; `lse`: n → `[n]`.
///
/// ```
/// use approx::assert_abs_diff_eq;
/// use inducer_reference::inducer::lambda;
/// use ndarray::array;
/// // κ = 3 at the inducer, the visible keys' sum 1: λ = 3/4
/// let lambda = lambda(&array![3.0_f64.ln()], &[Some(0.0)]);
/// assert_abs_diff_eq!(lambda[0], 0.75, epsilon = 1e-15);
/// ```
pub fn lambda<T: Real>(s: &ArrayRef1<T>, lse: &[LogSumExp<T>]) -> Array1<T> {
    logistic_gate(s, lse)
}

/// The authors' λ: the first column of a softmax over the n + 1 scores [s_i, ⟨q_i, k_j⟩/√p],
/// unnecessary but equal.
///
/// # Shapes
/// `s`: `[n]`; `scores`: `[n, m]`, all visible → `[n]`.
pub fn lambda_by_second_softmax<T: Real>(s: &ArrayRef1<T>, scores: &ArrayRef2<T>) -> Array1<T> {
    let row = |i: usize| {
        let all = std::iter::once(s[i]).chain(scores.row(i).to_vec());
        let greatest = all.clone().fold(s[i], T::maximum);
        let sum = all.fold(T::zero(), |sum, score| sum + (score - greatest).exp());
        (s[i] - greatest).exp() / sum
    };
    (0..s.len()).map(row).collect()
}
