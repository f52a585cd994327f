//! Where the authors' published code departs from the paper, with the size of the difference.

use crate::Claim;
use crate::cases::{Draw, Head, Sample};
use crate::identity::{FieldIdentity, RealIdentity, Sides};
use inducer_reference::Real;
use inducer_reference::adapter::{BottleneckAdapter, relu};
use inducer_reference::attention::Linear;
use inducer_reference::extended::update;
use inducer_reference::lora::Lora;
use inducer_reference::nadaraya_watson::{gate, row_sums, scale_rows};
use ndarray::{Array1, Array2, Array3, Axis};

/// The claims of this file.
#[must_use]
pub fn claims() -> Vec<Claim> {
    vec![
        Claim::new("authors-padding").exact::<Padding>(),
        Claim::new("authors-shared-bias").exact::<SharedBias>(),
        Claim::new("authors-without-extension").exact::<WithoutExtension>(),
        Claim::new("authors-lora-bias").exact::<LoraBias>(),
        Claim::new("authors-activations").real::<Activations>(),
    ]
}

/// λ with padding keys in its denominator is ours times (κ + Σ visible)/(κ + Σ visible + Σ
/// padding).
struct Padding;

impl FieldIdentity for Padding {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let (n, m, padding) = (draw.size(1, 4), draw.size(1, 5), draw.size(1, 4));
        let own: Array1<F> = draw.kernels(n);
        let (visible, hidden): (Array2<F>, Array2<F>) =
            (draw.kernels((n, m)), draw.kernels((n, padding)));
        let (seen, unseen) = (row_sums(&visible), row_sums(&hidden));
        let theirs = gate(&own, &(&seen + &unseen));
        let ours = gate(&own, &seen);
        let share: Array1<F> = (0..n)
            .map(|i| (own[i] + seen[i]) / (own[i] + seen[i] + unseen[i]))
            .collect();
        Sides::of(
            "the authors' λ on a padded row",
            theirs,
            if control { ours } else { ours * share },
        )
    }
}

/// b_2 inside (8), weighted by every head's λ, instead of once: a difference of (Σ_h λ^(h) − 1)
/// b_2.
struct SharedBias;

impl FieldIdentity for SharedBias {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let (n, h, d) = (draw.size(1, 4), draw.size(1, 3), draw.size(1, 4));
        let r = draw.size(1, 3);
        let (lambda, b_2): (Array2<F>, Array1<F>) = (draw.elements((n, h)), draw.elements(d));
        let (hidden, up): (Array3<F>, Array3<F>) =
            (draw.elements((h, n, r)), draw.elements((h, r, d)));
        let mut by_8 = Array2::zeros((n, d));
        for k in 0..h {
            let value = hidden
                .index_axis(Axis(0), k)
                .dot(&up.index_axis(Axis(0), k))
                + &b_2;
            by_8 = by_8 + scale_rows(&lambda.column(k), &value);
        }
        let factor = lambda
            .sum_axis(Axis(1))
            .mapv(|sum| if control { F::zero() } else { sum - F::one() });
        let bias = Array2::from_shape_fn((n, d), |(_, c)| b_2[c]);
        Sides::of(
            "the update by (8) alone, less that by (11)",
            &by_8 - &update(&hidden, &lambda, &up, &b_2),
            scale_rows(&factor, &bias),
        )
    }
}

/// RoBERTa without value extension: the term is added to the attention probabilities, so that the
/// output gets λ u V in place of λ u.
struct WithoutExtension;

impl FieldIdentity for WithoutExtension {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let (n, m, c) = (draw.size(1, 4), draw.size(1, 4), draw.size(1, 4));
        let (weights, values): (Array2<F>, Array2<F>) =
            (draw.kernels((n, m)), draw.elements((m, c)));
        let (lambda, update): (Array1<F>, Array2<F>) = (draw.elements(n), draw.elements((n, m)));
        let softmax = inducer_reference::nadaraya_watson::smoother(&weights);
        let theirs = (&softmax + &scale_rows(&lambda, &update)).dot(&values);
        let added = if control {
            Array2::zeros((n, c))
        } else {
            scale_rows(&lambda, &update.dot(&values))
        };
        Sides::of(
            "the term added to the probabilities",
            theirs,
            softmax.dot(&values) + added,
        )
    }
}

/// LoRA has a bias in NLG and none in NLU, and (10) shows none: the update differs by (α/r) b_lora
/// for every input.
struct LoraBias;

impl FieldIdentity for LoraBias {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let (n, d, r) = (draw.size(1, 4), draw.size(1, 4), draw.size(1, 3));
        let (x, bias): (Array2<F>, Array1<F>) = (draw.elements((n, d)), draw.elements(d));
        let with = super::lora::update(draw, d, r, Some(bias.clone()));
        let without = Lora {
            bias: None,
            ..with.clone()
        };
        let scale = if control { F::zero() } else { with.scale };
        let added = Array2::from_shape_fn((n, d), |(_, c)| scale * bias[c]);
        Sides::of(
            "LoRA with a bias",
            with.delta(&x),
            without.delta(&x) + added,
        )
    }
}

/// φ is tanh in MLP_k and MLP_v and ReLU in adapters: with the other φ the output differs by (tanh
/// z − ReLU z) W_2, z = x W_1 + b_1.
struct Activations;

impl RealIdentity for Activations {
    fn sides<T: Real>(draw: &mut Draw, control: bool) -> Sides<T> {
        let head = Head::random(draw).lift::<T>();
        let (x, mlp) = (&head.q, &head.mlp_v);
        let up_bias = mlp
            .up_bias
            .clone()
            .unwrap_or_else(|| Array1::zeros(head.v.ncols()));
        let adapter = BottleneckAdapter {
            layer_norm: None,
            down: Linear {
                weight: mlp.down.clone(),
                bias: mlp.down_bias.clone(),
            },
            up: Linear {
                weight: mlp.up.clone(),
                bias: up_bias,
            },
        };
        let difference = |z: T| match control {
            true => T::zero(),
            false => z.tanh() - relu(z),
        };
        let between = adapter.down.forward(x).mapv(difference).dot(&mlp.up);
        Sides::of(
            "MLP_v, less the same network as an adapter",
            mlp.forward(x) - adapter.branch(x),
            between,
        )
    }
}
