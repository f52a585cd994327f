//! The attention sub-layer of a backbone with a method in it (Eqs. 2–11 in their place).
//!
//! ```text
//! q, k, v = x W + b (+ LoRA), l_k ⊙ k, l_v ⊙ v    (2), (10), (IA)³
//! f^(h), LSE^(h) = attention of head h            (3)
//! Prefix    f_prefix^(h), μ^(h)                   §4.2
//! Inducer   P_k, λ^(h), MLP_v^(h) and one of the four outputs      (5)–(9), (11)
//! output = [·] W^o + b^o (+ adapter)              (4), (1)
//! ```
//!
//! Checked on whole models, and against the augmented estimator by
//! `eq07_model_output_is_that_of_the_augmented_estimator`.

use crate::attention::{Attended, Linear, attend_dropped, output_by_concatenation, split_heads};
use crate::ia3::rescale;
use crate::inducer::{lambda, own_scores};
use crate::lora::Lora;
use crate::nadaraya_watson::scale_rows;
use crate::parts::{AttentionPart, LayerParts};
use crate::prefix::{Prefix, gated_dropped};
use crate::scalar::Real;
use crate::variants::{Heads, Inducer, sub_layer_output};
use crate::visible::Visible;
use ndarray::{Array1, Array2, Array3, ArrayRef2, Axis};

/// The four projections of an attention sub-layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Projections<T> {
    /// W^q, b^q.
    pub q: Linear<T>,
    /// W^k, b^k.
    pub k: Linear<T>,
    /// W^v, b^v.
    pub v: Linear<T>,
    /// W^o, b^o.
    pub o: Linear<T>,
    /// H.
    pub heads: usize,
}

/// The sub-layer's output, before dropout and residual.
#[derive(Clone, Debug)]
pub struct SubLayer<T> {
    /// `[n, d]`.
    pub output: Array2<T>,
    /// λ (or μ for a prefix): `[n, H]`; `None` for a method without a gate.
    pub lambda: Option<Array2<T>>,
}

impl<T: Real> Projections<T> {
    /// The sub-layer with a method's parts in it.
    ///
    /// # Shapes
    /// `x`: `[n, d]`; `visible`: (n, n) → `[n, d]`.
    pub fn forward(
        &self,
        x: &ArrayRef2<T>,
        visible: &Visible,
        parts: &LayerParts<T>,
    ) -> SubLayer<T> {
        let [keep_q, keep_k, keep_v] = parts.dropout.lora.each_ref().map(Option::as_ref);
        let q = project(&self.q, x, parts.q.as_ref(), keep_q);
        let k = project(&self.k, x, parts.k.as_ref(), keep_k);
        let k = rescale(parts.ia3.key.as_ref(), k);
        let v = project(&self.v, x, parts.v.as_ref(), keep_v);
        let v = rescale(parts.ia3.value.as_ref(), v);
        let split = |x: &Array2<T>| split_heads(x, self.heads);
        let (q, k, v) = (split(&q), split(&k), split(&v));
        let attended: Vec<Attended<T>> = (0..self.heads)
            .map(|h| {
                let keep = parts.dropout.attention.as_ref().map(|keep| head(keep, h));
                let [q, k, v] = [&q, &k, &v].map(|x| head(x, h));
                attend_dropped(&q, &k, &v, visible, keep.as_ref())
            })
            .collect();
        match &parts.attention {
            AttentionPart::None => self.plain(&attended),
            AttentionPart::Adapter(adapter) => SubLayer {
                output: adapter.forward(&self.plain(&attended).output),
                lambda: None,
            },
            AttentionPart::Prefix(prefix) => {
                self.with_prefix(&q, &attended, prefix, parts.dropout.prefix.as_ref())
            }
            AttentionPart::Inducer(inducer) => {
                self.with_inducer(&q, &attended, inducer, parts.dropout.gate.as_ref())
            }
        }
    }

    /// [f^(1), …, f^(H)] W^o + b^o (Eq. 4).
    fn plain(&self, attended: &[Attended<T>]) -> SubLayer<T> {
        let f: Vec<_> = attended.iter().map(|head| head.f.clone()).collect();
        SubLayer {
            output: output_by_concatenation(&stack_heads(&f), &self.o),
            lambda: None,
        }
    }

    /// The gated mixture in each head (§4.2).
    fn with_prefix(
        &self,
        q: &Array3<T>,
        attended: &[Attended<T>],
        prefix: &Prefix<T>,
        keep: Option<&Array3<T>>,
    ) -> SubLayer<T> {
        let heads = attended.iter().enumerate();
        let (f, mu): (Vec<_>, Vec<_>) = heads
            .map(|(h, attended)| {
                let [q, p_k, p_v] = [q, &prefix.key, &prefix.value].map(|x| head(x, h));
                let keep = keep.map(|keep| head(keep, h));
                gated_dropped(&q, attended, &p_k, &p_v, keep.as_ref())
            })
            .unzip();
        SubLayer {
            output: output_by_concatenation(&stack_heads(&f), &self.o),
            lambda: Some(columns(&mu)),
        }
    }

    /// P_k, λ and MLP_v of each head (Eqs. 5, 7, 11), then the variant's output. Dropout's factors
    /// are on the λ that weighs MLP_v, not on the one that Gating takes from f.
    fn with_inducer(
        &self,
        q: &Array3<T>,
        attended: &[Attended<T>],
        inducer: &Inducer<T>,
        keep: Option<&Array2<T>>,
    ) -> SubLayer<T> {
        let gates: Vec<Array1<T>> = attended
            .iter()
            .enumerate()
            .map(|(h, attended)| {
                let q = head(q, h);
                lambda(&own_scores(&q, &inducer.key(h, &q)), &attended.lse)
            })
            .collect();
        let f: Vec<_> = attended.iter().map(|head| head.f.clone()).collect();
        let networks = inducer.mlp_v.iter().enumerate();
        let mlp_v: Vec<_> = networks
            .map(|(h, mlp_v)| {
                let value = mlp_v.forward(&head(q, h));
                match keep {
                    Some(keep) => scale_rows(&keep.column(h), &value),
                    None => value,
                }
            })
            .collect();
        let heads = Heads {
            f: stack_heads(&f),
            lambda: columns(&gates),
            mlp_v: stack_heads(&mlp_v),
        };
        SubLayer {
            output: sub_layer_output(inducer.variant, &heads, &self.o, &inducer.b_2),
            lambda: Some(heads.lambda),
        }
    }
}

/// x W + b, plus LoRA's update if there is one (Eqs. 2, 10).
fn project<T: Real>(
    projection: &Linear<T>,
    x: &ArrayRef2<T>,
    lora: Option<&Lora<T>>,
    keep: Option<&Array2<T>>,
) -> Array2<T> {
    let plain = projection.forward(x);
    match lora {
        Some(lora) => plain + lora.delta_of(x, keep),
        None => plain,
    }
}

fn head<T: Real>(x: &Array3<T>, h: usize) -> Array2<T> {
    x.index_axis(Axis(0), h).to_owned()
}

/// Arrays of equal shape, one a head, as `[H, n, c]`.
fn stack_heads<T: Real>(heads: &[Array2<T>]) -> Array3<T> {
    let (n, c) = heads.first().map_or((0, 0), Array2::dim);
    Array3::from_shape_fn((heads.len(), n, c), |(h, i, a)| heads[h][[i, a]])
}

/// Vectors of equal length, one a head, as the columns of `[n, H]`.
fn columns<T: Real>(heads: &[Array1<T>]) -> Array2<T> {
    let n = heads.first().map_or(0, Array1::len);
    Array2::from_shape_fn((n, heads.len()), |(i, h)| heads[h][i])
}
