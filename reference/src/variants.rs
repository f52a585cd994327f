//! The ablation ladder (§6.2): Adaptive, Extension, Gating and Inducer as one sub-layer output over
//! given λ and hidden units.
//!
//! ```text
//! Adaptive   P_k = q             [f^(h) + λ^(h) (u^(h) U^(h) + b_2^(h))]_h W^o + b^o
//! Extension  P_k = q             Σ_h f^(h) W^{o(h)} + λ^(h) u^(h) W_2^(h) + b_2 + b^o
//! Gating     P_k = q + MLP_k(q)  Σ_h (1 − λ^(h)) f^(h) W^{o(h)} + λ^(h) u^(h) W_2^(h) + b_2 + b^o
//! Inducer    P_k = q + MLP_k(q)  Σ_h f^(h) W^{o(h)} + λ^(h) u^(h) W_2^(h) + b_2 + b^o
//! ```
//!
//! u^(h) = tanh(q^(h) W_1^(h) + b_1^(h)). Each step of the ladder changes one thing, and each is
//! the one before under a restriction: Inducer with C = c = 0 is Extension; Extension with W_2^(h)
//! = U^(h) W^{o(h)} is Adaptive up to the bias; Gating − Inducer = −λ f W^o.
//!
//! Checked over the prime field by `exact_ladder_…`, on whole models by `ladder_…`.

use crate::attention::{Linear, output_by_row_blocks, row_block};
use crate::bottleneck::Bottleneck;
use crate::inducer::{key, residual_form};
use crate::nadaraya_watson::scale_rows;
use crate::scalar::{Field, Real};
use ndarray::{Array1, Array2, Array3, ArrayRef2, Axis, Zip};
use serde::{Deserialize, Serialize};

/// The variants of the inducer, by the paper's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// No MLP_k, values in R^p: f + λ MLP_v(q).
    Adaptive,
    /// No MLP_k, extended values in R^d.
    Extension,
    /// MLP_k, extended values, P_v without f: (1 − λ) f W^o + λ MLP_v(q).
    Gating,
    /// MLP_k and extended values: the paper's method.
    Inducer,
}

impl Variant {
    /// All four, in the ladder's order.
    pub const ALL: [Self; 4] = [Self::Adaptive, Self::Extension, Self::Gating, Self::Inducer];

    /// Whether P_k = q + MLP_k(q) (otherwise P_k = q).
    #[must_use]
    pub fn has_key_network(self) -> bool {
        matches!(self, Self::Gating | Self::Inducer)
    }

    /// Whether MLP_v returns R^d (Eqs. 9, 11) rather than R^p.
    #[must_use]
    pub fn extends_values(self) -> bool {
        !matches!(self, Self::Adaptive)
    }
}

/// What the heads hand over to the sub-layer's output: everything after kernel and tanh.
#[derive(Clone, Debug)]
pub struct Heads<F> {
    /// f^(h)(q_i) ∈ R^p: `[H, n, p]`.
    pub f: Array3<F>,
    /// λ_i^(h): `[n, H]`.
    pub lambda: Array2<F>,
    /// MLP_v^(h)(q_i^(h)) ∈ R^p (Adaptive, its bias included) or R^d (its shared bias not):
    /// `[H, n, c]`.
    pub mlp_v: Array3<F>,
}

/// The sub-layer's output under a variant.
///
/// # Shapes
/// `heads`: H heads, n queries; `output`: W^o `[d, d]`, b^o `[d]`; `b_2`: `[d]`, ignored by
/// Adaptive → `[n, d]`.
///
/// ```
/// use inducer_reference::attention::Linear;
/// use inducer_reference::variants::{Heads, Variant, sub_layer_output};
/// use ndarray::array;
/// let heads = Heads { f: array![[[8.0]]], lambda: array![[0.25]], mlp_v: array![[[4.0]]] };
/// let output = Linear { weight: array![[2.0]], bias: array![100.0] };
/// let of = |variant| sub_layer_output(variant, &heads, &output, &array![1.0])[[0, 0]];
/// assert_eq!(of(Variant::Adaptive), (8.0 + 0.25 * 4.0) * 2.0 + 100.0);
/// assert_eq!(of(Variant::Inducer), 8.0 * 2.0 + 0.25 * 4.0 + 1.0 + 100.0);
/// assert_eq!(of(Variant::Gating), 0.75 * 8.0 * 2.0 + 0.25 * 4.0 + 1.0 + 100.0);
/// ```
pub fn sub_layer_output<F: Field>(
    variant: Variant,
    heads: &Heads<F>,
    output: &Linear<F>,
    b_2: &Array1<F>,
) -> Array2<F> {
    match variant {
        Variant::Adaptive => adaptive(heads, output),
        Variant::Extension | Variant::Inducer => extended(heads, output, b_2, |_| F::one()),
        Variant::Gating => extended(heads, output, b_2, |lambda| F::one() - lambda),
    }
}

/// [f^(h) + λ^(h) MLP_v^(h)]_h W^o + b^o: (8) in each head, before W^o.
fn adaptive<F: Field>(heads: &Heads<F>, output: &Linear<F>) -> Array2<F> {
    let mut f_tilde = Array3::zeros(heads.f.raw_dim());
    for h in 0..heads.f.len_of(Axis(0)) {
        let (f, mlp_v) = (
            heads.f.index_axis(Axis(0), h),
            heads.mlp_v.index_axis(Axis(0), h),
        );
        let head = residual_form(&f, &heads.lambda.column(h), &mlp_v);
        f_tilde.index_axis_mut(Axis(0), h).assign(&head);
    }
    output_by_row_blocks(&f_tilde, output)
}

/// Σ_h [share(λ^(h)) f^(h) W^{o(h)} + λ^(h) MLP_v^(h)] + b_2 + b^o: (9) with share = 1, Gating with
/// share = 1 − λ.
fn extended<F: Field>(
    heads: &Heads<F>,
    output: &Linear<F>,
    b_2: &Array1<F>,
    share: impl Fn(F) -> F,
) -> Array2<F> {
    let (_, n, p) = heads.f.dim();
    let mut sum = Array2::zeros((n, output.bias.len()));
    for h in 0..heads.f.len_of(Axis(0)) {
        let (f, mlp_v) = (
            heads.f.index_axis(Axis(0), h),
            heads.mlp_v.index_axis(Axis(0), h),
        );
        let lambda = heads.lambda.column(h);
        let f_w_o = f.dot(&row_block(&output.weight, h, p));
        sum = sum + scale_rows(&lambda.mapv(&share), &f_w_o);
        sum = sum + scale_rows(&lambda, &mlp_v);
    }
    sum + b_2 + &output.bias
}

/// −λ f W^o summed over the heads: what separates Gating from Inducer (§6.2).
///
/// # Shapes
/// As [`sub_layer_output`] → `[n, d]`.
pub fn gating_minus_inducer<F: Field>(heads: &Heads<F>, output: &Linear<F>) -> Array2<F> {
    let mut weighted = heads.f.clone();
    for (h, mut head) in weighted.outer_iter_mut().enumerate() {
        let lambda = heads.lambda.column(h);
        Zip::from(head.rows_mut())
            .and(&lambda)
            .for_each(|mut row, &lambda| row.mapv_inplace(|f| -(lambda * f)));
    }
    let no_bias = Linear {
        weight: output.weight.clone(),
        bias: Array1::zeros(output.bias.len()),
    };
    output_by_row_blocks(&weighted, &no_bias)
}

/// One layer's inducer: a variant with the tensors that it needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Inducer<T> {
    /// Which of the four.
    pub variant: Variant,
    /// MLP_k of each head; empty without key network.
    pub mlp_k: Vec<Bottleneck<T>>,
    /// MLP_v of each head.
    pub mlp_v: Vec<Bottleneck<T>>,
    /// The shared b_2: `[d]`; zero for Adaptive.
    pub b_2: Array1<T>,
}

impl<T: Real> Inducer<T> {
    /// P_k of head h (Eq. 5): q + MLP_k(q), or q itself in Adaptive and Extension.
    ///
    /// # Shapes
    /// `q`: `[n, p]` → `[n, p]`.
    pub fn key(&self, h: usize, q: &ArrayRef2<T>) -> Array2<T> {
        match self.mlp_k.get(h) {
            Some(mlp_k) if self.variant.has_key_network() => key(q, &mlp_k.forward(q)),
            _ => q.to_owned(),
        }
    }
}
