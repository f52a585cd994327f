//! Attention (Eqs. 2–4): projections, heads, the softmax as a row-normalised kernel, its
//! log-sum-exp, the output blocks.
//!
//! ```text
//! (2)  Q = X W^q + 1 b^qᵀ,  K = X W^k + 1 b^kᵀ,  V = X W^v + 1 b^vᵀ
//! (3)  head: softmax(Q Kᵀ/√p) V = D⁻¹ M V,  M_ij = exp(⟨q_i, k_j⟩/√p)
//! (4)  [head_1 … head_H] W^o + 1 b^oᵀ = Σ_h head_h W^{o(h)} + 1 b^oᵀ
//!      LSE_i = log Σ_{j∈V(i)} exp(⟨q_i, k_j⟩/√p)
//! ```
//!
//! Departure from the paper: the kernel of row i is divided by exp(c_i), c_i the row's greatest
//! visible score. The factor cancels in (3), and the exponentials cannot overflow.
//!
//! Checked by `nw_attention_is_the_nadaraya_watson_estimator_of_its_row`,
//! `eq03_adding_a_constant_to_a_row_of_scores_changes_nothing` and
//! `exact_eq04_concatenation_equals_the_sum_of_row_blocks`.

use crate::dropout::dropped;
use crate::kernel::scores;
use crate::nadaraya_watson::{row_sums, smoother};
use crate::scalar::{Field, Real};
use crate::visible::Visible;
use ndarray::{Array1, Array2, Array3, ArrayRef1, ArrayRef2, ArrayView2, Axis, s};

/// A row's log-sum-exp; `None` is log 0, for a query that sees no key.
pub type LogSumExp<T> = Option<T>;

/// What one pass of ordinary attention leaves behind: its output and its row log-sum-exp.
#[derive(Clone, Debug)]
pub struct Attended<T> {
    /// f(q_i), the estimator's value: `[n, c]`.
    pub f: Array2<T>,
    /// LSE_i: `[n]`.
    pub lse: Vec<LogSumExp<T>>,
}

/// x ↦ x W + b with W: `[in, out]`, as (2) writes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear<T> {
    /// W: `[in, out]`.
    pub weight: Array2<T>,
    /// b: `[out]`.
    pub bias: Array1<T>,
}

impl<F: Field> Linear<F> {
    /// X W + 1 bᵀ (Eq. 2).
    ///
    /// # Shapes
    /// `x`: `[n, in]` → `[n, out]`.
    pub fn forward(&self, x: &ArrayRef2<F>) -> Array2<F> {
        x.dot(&self.weight) + &self.bias
    }
}

/// The kernel's values of each row divided by exp(c_i), zero outside V(i), and the shifts c_i.
///
/// # Shapes
/// `scores`: `[n, m]` → `[n, m]` and n shifts (`None` for a row that sees nothing).
///
/// # Numerics
/// Every weight lies in `[0, 1]` and each row that sees a key has one equal to 1, so its sum lies
/// in `[1, m]`.
pub fn shifted_kernel<T: Real>(
    scores: &ArrayRef2<T>,
    visible: &Visible,
) -> (Array2<T>, Vec<Option<T>>) {
    let mut weights = Array2::zeros(scores.raw_dim());
    let mut shifts = Vec::with_capacity(scores.nrows());
    for (i, row) in scores.rows().into_iter().enumerate() {
        let shift = visible.of(i).map(|j| row[j]).reduce(T::maximum);
        if let Some(shift) = shift {
            for j in visible.of(i) {
                weights[[i, j]] = (row[j] - shift).exp();
            }
        }
        shifts.push(shift);
    }
    (weights, shifts)
}

/// LSE_i = c_i + log Σ_j exp(s_ij − c_i).
///
/// # Shapes
/// `shifts` c: n; `weights`: `[n, m]` → n.
pub fn log_sum_exp<T: Real>(shifts: &[Option<T>], weights: &ArrayRef2<T>) -> Vec<LogSumExp<T>> {
    let sums = row_sums(weights);
    let with_sum = shifts.iter().zip(sums);
    with_sum
        .map(|(shift, sum)| shift.map(|shift| shift + sum.ln()))
        .collect()
}

/// Attention of one head over the visible keys (Eq. 3), with its log-sum-exp.
///
/// # Shapes
/// `q`: `[n, p]`, `k`: `[m, p]`, `v`: `[m, c]`, `visible`: (n, m) → f: `[n, c]`, LSE: n.
///
/// ```
/// use inducer_reference::attention::attend;
/// use inducer_reference::visible::Visible;
/// use ndarray::array;
/// // Two keys at the same place: the mean of their values, and LSE = log(e^0 + e^0).
/// let (q, k, v) = (array![[0.0]], array![[1.0], [1.0]], array![[2.0], [4.0]]);
/// let attended = attend(&q, &k, &v, &Visible::all(1, 2));
/// assert_eq!(attended.f, array![[3.0]]);
/// assert_eq!(attended.lse, vec![Some(2.0_f64.ln())]);
/// ```
pub fn attend<T: Real>(
    q: &ArrayRef2<T>,
    k: &ArrayRef2<T>,
    v: &ArrayRef2<T>,
    visible: &Visible,
) -> Attended<T> {
    attend_dropped(q, k, v, visible, None)
}

/// The same with dropout's factors on the weights, after they are normalised.
///
/// # Shapes
/// As [`attend`]; `keep`: `[n, m]`.
pub fn attend_dropped<T: Real>(
    q: &ArrayRef2<T>,
    k: &ArrayRef2<T>,
    v: &ArrayRef2<T>,
    visible: &Visible,
    keep: Option<&Array2<T>>,
) -> Attended<T> {
    let (weights, shifts) = shifted_kernel(&scores(q, k), visible);
    Attended {
        f: dropped(smoother(&weights), keep).dot(v),
        lse: log_sum_exp(&shifts, &weights),
    }
}

/// The logistic function σ(x) = 1/(1 + e^{−x}).
///
/// # Numerics
/// Never overflows: for x < 0 it is e^x/(1 + e^x).
///
/// ```
/// use inducer_reference::attention::logistic;
/// assert_eq!(logistic(0.0_f64), 0.5);
/// assert_eq!(logistic(-1e4_f64), 0.0);
/// ```
pub fn logistic<T: Real>(x: T) -> T {
    let one = T::one();
    if x < T::zero() {
        let e = x.exp();
        e / (one + e)
    } else {
        one / (one + (-x).exp())
    }
}

/// The gate σ(s − LSE) (single-pass form of λ and μ): exp(s) / (exp(s) + exp(LSE)), without either
/// exponential.
///
/// # Shapes
/// `s`: `[n]` scores of the added point (or log-sum-exp of the prefix); `lse`: n → `[n]`. 1 where
/// nothing else is visible.
pub fn logistic_gate<T: Real>(s: &ArrayRef1<T>, lse: &[LogSumExp<T>]) -> Array1<T> {
    let gate = |(&s, lse): (&T, &LogSumExp<T>)| lse.map_or(T::one(), |lse| logistic(s - lse));
    s.iter().zip(lse).map(gate).collect()
}

/// The blocks of the heads: columns h p .. (h + 1) p of `x`.
///
/// # Shapes
/// `x`: `[n, d]` → `[H, n, p]`.
pub fn split_heads<F: Field>(x: &ArrayRef2<F>, heads: usize) -> Array3<F> {
    let (n, p) = (x.nrows(), x.ncols() / heads);
    Array3::from_shape_fn((heads, n, p), |(h, i, a)| x[[i, h * p + a]])
}

/// [head_1, …, head_H]: the heads side by side (Eq. 4, left).
///
/// # Shapes
/// `heads`: `[H, n, p]` → `[n, H p]`.
pub fn concatenate_heads<F: Field>(heads: &Array3<F>) -> Array2<F> {
    let (_, n, p) = heads.dim();
    Array2::from_shape_fn((n, heads.len_of(Axis(0)) * p), |(i, c)| {
        heads[[c / p, i, c % p]]
    })
}

/// W^{o(h)}: the h-th row block of W^o (Eq. 4).
///
/// # Shapes
/// `w_o`: `[d, d]` → `[p, d]`.
pub fn row_block<F: Field>(w_o: &ArrayRef2<F>, h: usize, p: usize) -> ArrayView2<'_, F> {
    w_o.slice(s![h * p..(h + 1) * p, ..])
}

/// [head_1, …, head_H] W^o + 1 b^oᵀ (Eq. 4, left).
///
/// # Shapes
/// `heads`: `[H, n, p]`; `output`: W^o `[d, d]`, b^o `[d]` → `[n, d]`.
pub fn output_by_concatenation<F: Field>(heads: &Array3<F>, output: &Linear<F>) -> Array2<F> {
    output.forward(&concatenate_heads(heads))
}

/// Σ_h head_h W^{o(h)} + 1 b^oᵀ (Eq. 4, right): the decomposition on which the extended values of
/// (9) build.
///
/// # Shapes
/// `heads`: `[H, n, p]`; `output`: W^o `[d, d]`, b^o `[d]` → `[n, d]`.
pub fn output_by_row_blocks<F: Field>(heads: &Array3<F>, output: &Linear<F>) -> Array2<F> {
    let (_, n, p) = heads.dim();
    let mut sum = Array2::zeros((n, output.bias.len()));
    for (h, head) in heads.outer_iter().enumerate() {
        sum = sum + head.dot(&row_block(&output.weight, h, p));
    }
    sum + &output.bias
}
