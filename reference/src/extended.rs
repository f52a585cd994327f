//! Extended values (Eqs. 9 and 11): the inducer's value lives in R^d, after W^o.
//!
//! ```text
//! (9)   f^(h)(q) := softmax(q K^(h)ᵀ/√p) V^(h) W^{o(h)} ∈ R^d
//!       output_i = Σ_h [f^(h)(q_i^(h)) + λ_i^(h) MLP_v^(h)(q_i^(h))] + b^o
//! (11)  MLP_v^(h)(q) = tanh(q W_1^(h) + b_1^(h)) W_2^(h) + b_2
//!       Σ_h λ^(h) tanh(q^(h) W_1^(h) + b_1^(h)) W_2^(h) + b_2
//!         = [λ^(1) u^(1), …, λ^(H) u^(H)] [W_2^(1); …; W_2^(H)] + b_2
//! ```
//!
//! Departure from the paper: b_2 is shared by all heads and added once, unweighted by λ, like b^o
//! in (4). The text allows this reading, the authors' code does it, and the paper's parameter
//! counts need it.
//!
//! Checked by `exact_eq09_values_move_inside_the_output_projection`,
//! `exact_eq11_sum_over_heads_is_one_product` and
//! `exact_eq11_shared_bias_is_added_once_and_unweighted`.

use crate::attention::row_block;
use crate::nadaraya_watson::{estimate, scale_rows};
use crate::scalar::Field;
use ndarray::{Array2, ArrayRef1, ArrayRef2, ArrayRef3};

/// V^(h) W^{o(h)}: the values of (9), rows of R^d.
///
/// # Shapes
/// `v`: `[m, p]`; `w_o`: `[d, d]`; head `h` → `[m, d]`.
pub fn extended_values<F: Field>(v: &ArrayRef2<F>, w_o: &ArrayRef2<F>, h: usize) -> Array2<F> {
    v.dot(&row_block(w_o, h, v.ncols()))
}

/// f^(h)(q) ∈ R^d of (9): the estimator over extended values.
///
/// # Shapes
/// `weights` M^(h): `[n, m]`; `v`: `[m, p]`; `w_o`: `[d, d]` → `[n, d]`.
pub fn extended_estimate<F: Field>(
    weights: &ArrayRef2<F>,
    v: &ArrayRef2<F>,
    w_o: &ArrayRef2<F>,
    h: usize,
) -> Array2<F> {
    estimate(weights, &extended_values(v, w_o, h))
}

/// Σ_h λ^(h) u^(h) W_2^(h) + b_2, head by head (Eq. 11).
///
/// # Shapes
/// `hidden` u: `[H, n, r]`; `lambda`: `[n, H]`; `up` W_2: `[H, r, d]`; `b_2`: `[d]` → `[n, d]`.
///
/// ```
/// use inducer_reference::extended::update;
/// use ndarray::array;
/// // two heads, one unit each: 0.5·2·3 + 1·1·4 + 10
/// let hidden = array![[[2.0]], [[1.0]]];
/// let up = array![[[3.0]], [[4.0]]];
/// assert_eq!(update(&hidden, &array![[0.5, 1.0]], &up, &array![10.0]), array![[17.0]]);
/// ```
pub fn update<F: Field>(
    hidden: &ArrayRef3<F>,
    lambda: &ArrayRef2<F>,
    up: &ArrayRef3<F>,
    b_2: &ArrayRef1<F>,
) -> Array2<F> {
    let mut sum = Array2::zeros((lambda.nrows(), b_2.len()));
    for (h, (hidden, up)) in hidden.outer_iter().zip(up.outer_iter()).enumerate() {
        sum = sum + scale_rows(&lambda.column(h), &hidden.dot(&up));
    }
    sum + b_2
}

/// The same as one (H r) → d product of the λ-scaled hidden units (Eq. 11, single-product form).
///
/// # Shapes
/// As [`update`].
pub fn update_as_one_product<F: Field>(
    hidden: &ArrayRef3<F>,
    lambda: &ArrayRef2<F>,
    up: &ArrayRef3<F>,
    b_2: &ArrayRef1<F>,
) -> Array2<F> {
    let (heads, n, r) = hidden.dim();
    let scaled = Array2::from_shape_fn((n, heads * r), |(i, c)| {
        lambda[[i, c / r]] * hidden[[c / r, i, c % r]]
    });
    let stacked = Array2::from_shape_fn((heads * r, b_2.len()), |(c, a)| up[[c / r, c % r, a]]);
    scaled.dot(&stacked) + b_2
}
