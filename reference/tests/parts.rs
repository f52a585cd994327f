//! The single parts against their formulas written out, the sub-layer against the augmented
//! estimator, the paper's start.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::common::{bound, cube, distance, generator, magnitude, matrix, vector};
use approx::assert_abs_diff_eq;
use inducer_reference::adapter::BottleneckAdapter;
use inducer_reference::attention::{Linear, attend, row_block, shifted_kernel, split_heads};
use inducer_reference::bottleneck::Bottleneck;
use inducer_reference::dropout::Masks;
use inducer_reference::gelu::{gelu, gelu_new};
use inducer_reference::inducer::{
    augmented_estimate, key, lambda, lambda_by_second_softmax, own_scores, residual_form,
};
use inducer_reference::kernel::scores;
use inducer_reference::layer_norm::LayerNorm;
use inducer_reference::lora::Lora;
use inducer_reference::parts::{AttentionPart, LayerParts};
use inducer_reference::prefix::Reparametrised;
use inducer_reference::sub_layer::Projections;
use inducer_reference::variants::Inducer;
use inducer_reference::visible::Visible;
use inducer_reference::{DoubleDouble, Real, Variant, cross_entropy, shift_labels};
use ndarray::{Array1, Array2, Array3, Axis, array, s};
use ndarray_linalg::SVD;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

fn linear<T: Real>(rng: &mut ChaCha8Rng, d_in: usize, d_out: usize, scale: f64) -> Linear<T> {
    Linear {
        weight: matrix(rng, (d_in, d_out), scale),
        bias: vector(rng, d_out, scale),
    }
}

#[test]
fn eq01_adapter_is_a_residual_bottleneck() {
    let mut rng = generator(51);
    let (d, r) = (5, 3);
    let adapter = BottleneckAdapter {
        layer_norm: None,
        down: linear::<f64>(&mut rng, d, r, 1.0),
        up: linear(&mut rng, r, d, 1.0),
    };
    let h = matrix::<f64>(&mut rng, (4, d), 1.0);
    let by_hand = |residual: f64| {
        Array2::from_shape_fn((4, d), |(i, a)| {
            let unit = |b: usize| {
                (0..d)
                    .map(|c| h[[i, c]] * adapter.down.weight[[c, b]])
                    .sum::<f64>()
                    + adapter.down.bias[b]
            };
            let up: f64 = (0..r)
                .map(|b| unit(b).max(0.0) * adapter.up.weight[[b, a]])
                .sum();
            residual * h[[i, a]] + up + adapter.up.bias[a]
        })
    };
    // sums of d + 1, r + 1 and 1 terms, of magnitude at most (d + 1)(r + 1) + 2
    let most = bound::<f64>(2 * (d + r + 4), 26.0);
    assert!(distance(&adapter.forward(&h), &by_hand(1.0)) <= most);
    assert!(
        distance(&adapter.forward(&h), &by_hand(0.0)) > most,
        "control: no residual"
    );
    let norm = LayerNorm {
        weight: vector(&mut rng, d, 1.0),
        bias: vector(&mut rng, d, 1.0),
        epsilon: 1e-5,
    };
    let normed = BottleneckAdapter {
        layer_norm: Some(norm.clone()),
        ..adapter.clone()
    };
    assert_eq!(normed.forward(&h), &h + &adapter.branch(&norm.forward(&h)));
}

#[test]
fn eq05_key_is_the_query_plus_its_bottleneck() {
    let mut rng = generator(52);
    let (p, r) = (4, 2);
    let mlp = Bottleneck {
        down: matrix::<f64>(&mut rng, (p, r), 1.0),
        down_bias: vector(&mut rng, r, 1.0),
        up: matrix(&mut rng, (r, p), 1.0),
        up_bias: Some(vector(&mut rng, p, 1.0)),
    };
    let q = matrix::<f64>(&mut rng, (3, p), 1.0);
    let bias = mlp.up_bias.clone().unwrap();
    let by_hand = Array2::from_shape_fn((3, p), |(i, a)| {
        let unit = |b: usize| {
            ((0..p).map(|c| q[[i, c]] * mlp.down[[c, b]]).sum::<f64>() + mlp.down_bias[b]).tanh()
        };
        q[[i, a]] + (0..r).map(|b| unit(b) * mlp.up[[b, a]]).sum::<f64>() + bias[a]
    });
    for variant in Variant::ALL {
        let inducer = Inducer {
            variant,
            mlp_k: vec![mlp.clone()],
            mlp_v: vec![mlp.clone()],
            b_2: Array1::zeros(p),
        };
        let p_k = inducer.key(0, &q);
        match variant.has_key_network() {
            true => assert!(distance(&p_k, &by_hand) <= bound::<f64>(2 * (p + r + 8), 6.0)),
            false => assert_eq!(p_k, q),
        }
        assert_ne!(
            distance(&p_k, &by_hand) > 0.1,
            variant.has_key_network(),
            "control"
        );
    }
}

#[test]
fn layer_norm_output_has_mean_beta_and_variance_gamma_squared() {
    let mut rng = generator(53);
    let d = 7;
    let x = matrix::<f64>(&mut rng, (5, d), 3.0);
    let (gamma, beta) = (1.75, -0.4);
    let moments = |epsilon: f64| {
        let norm = LayerNorm {
            weight: Array1::from_elem(d, gamma),
            bias: Array1::from_elem(d, beta),
            epsilon,
        };
        let y = norm.forward(&x);
        let mean = y.mean_axis(Axis(1)).unwrap();
        let variance = y.var_axis(Axis(1), 0.0);
        (
            distance(&mean, &Array1::from_elem(5, beta)),
            distance(&variance, &Array1::from_elem(5, gamma * gamma)),
        )
    };
    let (mean, variance) = moments(0.0);
    let most = bound::<f64>(4 * d + 16, 2.0 * (gamma * gamma + 1.0) * 3.0);
    assert!(mean <= most && variance <= most);
    let (mean, variance) = moments(0.5);
    assert!(
        mean <= most && variance > 1e-3,
        "control: ε under the root shrinks the variance, not the mean"
    );
}

#[test]
fn gelu_values_are_the_known_ones() {
    for i in -60..=60 {
        let x = f64::from(i) / 10.0;
        // ½x(1 + g(x)) with g odd: gelu(x) − gelu(−x) = x
        let most = bound::<f64>(8, 2.0 * x.abs().max(1.0));
        assert_abs_diff_eq!(gelu(x) - gelu(-x), x, epsilon = most);
        assert_abs_diff_eq!(gelu_new(x) - gelu_new(-x), x, epsilon = most);
    }
    // Φ(2)·2, and the tanh form at 2, from tables of 15 digits
    assert_abs_diff_eq!(gelu(2.0_f64), 1.954_499_736_103_642, epsilon = 1e-14);
    assert_abs_diff_eq!(gelu_new(2.0_f64), 1.954_597_694_087_775, epsilon = 1e-14);
}

#[test]
fn gelu_forms_differ_by_less_than_a_thousandth() {
    let differences =
        (-600..=600).map(|i| (gelu(f64::from(i) / 100.0) - gelu_new(f64::from(i) / 100.0)).abs());
    let worst = differences.fold(0.0, f64::max);
    assert!(
        worst < 1e-3 && worst > 1e-4,
        "{worst}: near, and not the same function"
    );
}

#[test]
fn loss_of_uniform_logits_is_the_logarithm_of_the_number_of_classes() {
    for smoothing in [0.0, 0.1] {
        let (loss, count) =
            cross_entropy(&Array2::<f64>::zeros((3, 8)), &[1, -100, 7], smoothing).unwrap();
        assert_eq!(count, 2);
        assert_abs_diff_eq!(loss, 8.0_f64.ln(), epsilon = 1e-15);
    }
    let tilted = cross_entropy(&array![[1.0_f64, 0.0]], &[0], 0.0).unwrap().0;
    assert_abs_diff_eq!(tilted, (1.0 + (-1.0_f64).exp()).ln(), epsilon = 1e-15);
    let shifted = cross_entropy(&array![[801.0_f64, 800.0]], &[0], 0.0)
        .unwrap()
        .0;
    assert!((tilted - shifted).abs() < 1e-15, "no overflow");
}

#[test]
fn loss_smoothing_is_a_mixture_with_the_uniform_target() {
    let logits = matrix::<f64>(&mut generator(54), (4, 5), 3.0);
    let labels = [0, 4, -100, 2];
    let at = |smoothing: f64| cross_entropy(&logits, &labels, smoothing).unwrap().0;
    // the loss of every label in turn, averaged, is the uniform target's
    let uniform: f64 = (0..5)
        .map(|class| {
            let labels: Vec<i64> = labels
                .iter()
                .map(|&label| if label < 0 { label } else { class })
                .collect();
            cross_entropy(&logits, &labels, 0.0).unwrap().0
        })
        .sum::<f64>()
        / 5.0;
    let most = bound::<f64>(64, 10.0);
    assert_abs_diff_eq!(at(0.1), 0.9 * at(0.0) + 0.1 * uniform, epsilon = most);
    // control: ε spread over the other classes only
    let others = (5.0 * uniform - at(0.0)) / 4.0;
    assert!((at(0.1) - (0.9 * at(0.0) + 0.1 * others)).abs() > most);
}

#[test]
fn loss_of_bad_labels_is_an_error_that_names_the_row() {
    let logits = Array2::<f64>::zeros((2, 3));
    let message = |labels: &[i64]| cross_entropy(&logits, labels, 0.0).unwrap_err().to_string();
    assert_eq!(
        message(&[1, 3]),
        "label at position 1: expected less than 3, or −100, found 3"
    );
    assert!(message(&[-1, 0]).starts_with("label at position 0"));
    assert!(message(&[0]).starts_with("labels: expected 2, found 1"));
    assert!(message(&[-100, -100]).starts_with("labelled rows"));
}

#[test]
fn eq10_update_has_at_most_rank_r() {
    let mut rng = generator(55);
    let d = 9;
    for r in 1..5 {
        let lora = Lora {
            a: matrix::<f64>(&mut rng, (r, d), 1.0),
            b: matrix(&mut rng, (d, r), 1.0),
            bias: None,
            scale: 1.5,
        };
        let singular = |m: &Array2<f64>| m.svd(false, false).unwrap().1;
        let values = singular(&lora.weight_update());
        // the product's rounding, d r entries of size r, and LAPACK's backward error
        let most = 8.0 * (d * d) as f64 * f64::unit_roundoff() * 1.5 * r as f64 * d as f64;
        assert!(
            values.slice(s![r..]).iter().all(|&value| value <= most),
            "{values}"
        );
        assert!(values[r - 1] > most, "and no less, for random factors");
        assert!(
            singular(&matrix(&mut rng, (d, d), 1.0))[r] > most,
            "control: a random matrix"
        );
    }
}

#[test]
fn prefix_reparametrised_layout_is_that_of_past_keys_and_values() {
    let mut rng = generator(56);
    let (l, d, width, layers, heads) = (3, 4, 5, 3, 2);
    let network = Reparametrised {
        embedding: matrix::<f64>(&mut rng, (l, d), 1.0),
        first: linear(&mut rng, d, width, 1.0),
        second: linear(&mut rng, width, 2 * layers * d, 1.0),
    };
    let prefixes = network.prefixes(heads);
    assert_eq!(prefixes.len(), layers);
    let p = d / heads;
    let value = |bent: bool, a: usize, column: usize| {
        let unit = |b: usize| {
            let x = (0..d)
                .map(|c| network.embedding[[a, c]] * network.first.weight[[c, b]])
                .sum::<f64>()
                + network.first.bias[b];
            if bent { x.tanh() } else { x }
        };
        (0..width)
            .map(|b| unit(b) * network.second.weight[[b, column]])
            .sum::<f64>()
            + network.second.bias[column]
    };
    let mut straight = 0.0_f64;
    for (i, prefix) in prefixes.iter().enumerate() {
        for ((h, a, c), &key) in prefix.key.indexed_iter() {
            // row a reshaped to [2 L, H, p]: key at 2 i, value at 2 i + 1
            let column = |block: usize| (block * heads + h) * p + c;
            let most = bound::<f64>(2 * (d + width + 10), 7.0);
            assert_abs_diff_eq!(key, value(true, a, column(2 * i)), epsilon = most);
            assert_abs_diff_eq!(
                prefix.value[[h, a, c]],
                value(true, a, column(2 * i + 1)),
                epsilon = most
            );
            straight = straight.max((key - value(false, a, column(2 * i))).abs());
        }
    }
    assert!(straight > 1e-2, "control: without tanh");
}

/// A random sub-layer with an inducer of the given variant in it, and its input.
struct SubLayer<T> {
    projections: Projections<T>,
    inducer: Inducer<T>,
    x: Array2<T>,
    visible: Visible,
}

const HEADS: usize = 3;
const P: usize = 2;
const R: usize = 2;

fn sub_layer<T: Real>(
    seed: u64,
    variant: Variant,
    mut draw: impl FnMut(&mut ChaCha8Rng) -> f64,
) -> SubLayer<T> {
    let mut rng = generator(seed);
    let d = HEADS * P;
    let projections = Projections {
        q: linear(&mut rng, d, d, 0.6),
        k: linear(&mut rng, d, d, 0.6),
        v: linear(&mut rng, d, d, 0.6),
        o: linear(&mut rng, d, d, 0.6),
        heads: HEADS,
    };
    let x = matrix(&mut rng, (5, d), 1.0);
    let mut small =
        |shape: (usize, usize)| Array2::from_shape_simple_fn(shape, || T::from_f64(draw(&mut rng)));
    let mut network = |width: usize, own: bool| Bottleneck {
        down: small((P, R)),
        down_bias: small((1, R)).row(0).to_owned(),
        up: small((R, width)),
        up_bias: own.then(|| small((1, width)).row(0).to_owned()),
    };
    let width = if variant.extends_values() { d } else { P };
    let mlp_k = if variant.has_key_network() {
        (0..HEADS).map(|_| network(P, true)).collect()
    } else {
        Vec::new()
    };
    let mlp_v: Vec<_> = (0..HEADS)
        .map(|_| network(width, !variant.extends_values()))
        .collect();
    let b_2 = if variant.extends_values() {
        network(d, true).up_bias.unwrap()
    } else {
        Array1::zeros(d)
    };
    SubLayer {
        projections,
        inducer: Inducer {
            variant,
            mlp_k,
            mlp_v,
            b_2,
        },
        x,
        visible: Visible::causal(5),
    }
}

impl<T: Real> SubLayer<T> {
    fn run(&self, attention: AttentionPart<T>) -> inducer_reference::sub_layer::SubLayer<T> {
        let parts = LayerParts {
            attention,
            ..LayerParts::none()
        };
        self.projections.forward(&self.x, &self.visible, &parts)
    }

    fn with_inducer(&self) -> inducer_reference::sub_layer::SubLayer<T> {
        self.run(AttentionPart::Inducer(self.inducer.clone()))
    }

    /// Σ_h of the estimator over n + 1 support points with extended values, plus b_2 and b^o;
    /// nothing simplified.
    fn augmented(&self, with_f: bool) -> Array2<T> {
        let heads = |linear: &Linear<T>| split_heads(&linear.forward(&self.x), HEADS);
        let (q, k, v) = (
            heads(&self.projections.q),
            heads(&self.projections.k),
            heads(&self.projections.v),
        );
        let output = &self.projections.o;
        let mut sum = Array2::zeros(self.x.raw_dim()) + &self.inducer.b_2 + &output.bias;
        for h in 0..HEADS {
            let (q, k, v) = (
                q.index_axis(Axis(0), h),
                k.index_axis(Axis(0), h),
                v.index_axis(Axis(0), h),
            );
            let (weights, shifts) = shifted_kernel(&scores(&q, &k), &self.visible);
            let own: Array1<T> = own_scores(&q, &self.inducer.key(h, &q))
                .iter()
                .zip(&shifts)
                .map(|(&s, shift)| (s - shift.unwrap()).exp())
                .collect();
            let values = v.dot(&row_block(&output.weight, h, P));
            let f = attend(&q, &k, &values, &self.visible).f;
            let mlp_v = self.inducer.mlp_v[h].forward(&q);
            let own_value = if with_f { f + mlp_v } else { mlp_v };
            sum = sum + augmented_estimate(&own, &weights, &own_value, &values);
        }
        sum
    }
}

fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    rng.random_range(-1.0..=1.0)
}

#[test]
fn eq07_model_output_is_that_of_the_augmented_estimator() {
    fn errors<T: Real>(seed: u64) -> (f64, f64, f64) {
        let of = |variant, with_f| {
            let layer = sub_layer::<T>(seed, variant, uniform);
            distance(&layer.with_inducer().output, &layer.augmented(with_f))
        };
        // Values below 12, scores below 10: products of d and p terms, a kernel row (scores' errors
        // enlarge by its slope 1), three heads: 300 roundings at most.
        let most = bound::<T>(300, 12.0 * 10.0);
        (
            of(Variant::Inducer, true)
                .max(of(Variant::Extension, true))
                .max(of(Variant::Gating, false)),
            of(Variant::Inducer, false),
            most,
        )
    }
    for seed in 60..70 {
        let (error, control, most) = errors::<f64>(seed);
        assert!(
            error <= most && control > most,
            "{seed}: {error:e} {control:e} {most:e}"
        );
        let (error, control, most) = errors::<DoubleDouble>(seed);
        assert!(
            error <= most && control > most,
            "{seed}: {error:e} {control:e} {most:e}"
        );
        assert!(error < 1e-28, "{seed}: 28 digits");
    }
}

#[test]
fn dropout_of_ones_changes_nothing_and_each_site_has_its_factors() {
    for variant in [Variant::Inducer, Variant::Gating] {
        let layer = sub_layer::<f64>(71, variant, uniform);
        let run = |dropout: Masks<f64>| {
            let parts = LayerParts {
                attention: AttentionPart::Inducer(layer.inducer.clone()),
                dropout,
                ..LayerParts::none()
            };
            let found = layer.projections.forward(&layer.x, &layer.visible, &parts);
            (found.output, found.lambda.unwrap())
        };
        let gate = |factor: f64| Masks {
            gate: Some(Array2::from_elem((5, HEADS), factor)),
            ..Masks::none()
        };
        let attention = |factor: f64| Masks {
            attention: Some(Array3::from_elem((HEADS, 5, 5), factor)),
            ..Masks::none()
        };
        let (plain, lambda) = run(Masks::none());
        assert_eq!(run(gate(1.0)).0, plain);
        assert_eq!(run(attention(1.0)).0, plain);
        // without λ's share and without f's, each time with the biases, all is there once
        let (no_gate, no_f) = (run(gate(0.0)).0, run(attention(0.0)).0);
        let biases = &layer.inducer.b_2 + &layer.projections.o.bias;
        let both = &no_gate + &no_f - &biases;
        assert!(distance(&both, &plain) < bound::<f64>(60, 20.0));
        assert!(distance(&no_gate, &plain) > 1e-3 && distance(&no_f, &plain) > 1e-3);
        // λ itself is that of all keys, whatever is dropped
        assert_eq!(run(attention(0.0)).1, lambda);
    }
}

/// The paper's start: fmod(N(0, 1), 2) · 0.01, so at most 0.02 in magnitude.
fn start(rng: &mut ChaCha8Rng) -> f64 {
    let normal: f64 = (0..12).map(|_| rng.random_range(0.0..1.0)).sum::<f64>() - 6.0;
    normal % 2.0 * 0.01
}

/// What the update can be at most when every tensor of MLP_v is at most `w`: b_2, plus λ tanh(q W_1
/// + b_1) W_2.
fn most_moved<T: Real>(layer: &SubLayer<T>, w: f64) -> f64 {
    let q = layer.projections.q.forward(&layer.x);
    let unit = (w * (P as f64 * magnitude(&q) + 1.0)).tanh();
    let head = R as f64 * unit * w;
    if layer.inducer.variant.extends_values() {
        return HEADS as f64 * head + w;
    }
    // before W^o: each of the d inputs moves by (head + w), weighted by λ ≤ 1
    (HEADS * P) as f64 * magnitude(&layer.projections.o.weight) * (head + w)
}

#[test]
fn init_output_is_near_the_frozen_one_and_under_gating_lambda_f_away() {
    for seed in 70..86 {
        for variant in Variant::ALL {
            let layer = sub_layer::<f64>(seed, variant, start);
            let frozen = layer.run(AttentionPart::None).output;
            let tuned = layer.with_inducer();
            let most = most_moved(&layer, 0.02) + bound::<f64>(100, 12.0);
            let moved = distance(&tuned.output, &frozen);
            if variant == Variant::Gating {
                // λ f W^o, by the identity Gating − Inducer = −λ f W^o
                let as_inducer = Inducer {
                    variant: Variant::Inducer,
                    ..layer.inducer.clone()
                };
                let removed = distance(
                    &tuned.output,
                    &layer.run(AttentionPart::Inducer(as_inducer)).output,
                );
                assert!(moved >= removed - most, "{seed}");
                assert!(
                    removed > most,
                    "{seed}: and that is far: {removed} against {most}"
                );
            } else {
                assert!(moved <= most, "{seed} {variant:?}: {moved} > {most}");
                assert!(moved > most / 1000.0, "{seed} {variant:?}: a vacuous bound");
            }
        }
        // control: standard deviation 1 instead of 0.01
        let wild = sub_layer::<f64>(seed, Variant::Inducer, |rng| start(rng) * 100.0);
        let moved = distance(
            &wild.with_inducer().output,
            &wild.run(AttentionPart::None).output,
        );
        assert!(moved > most_moved(&wild, 0.02), "{seed}: control, {moved}");
    }
}

#[test]
fn inducer_output_depends_on_its_own_query_and_the_visible_keys_alone() {
    let mut rng = generator(90);
    let (q, k, v) = (
        matrix::<f64>(&mut rng, (4, 3), 1.0),
        matrix::<f64>(&mut rng, (6, 3), 1.0),
        matrix::<f64>(&mut rng, (6, 3), 1.0),
    );
    let networks = cube::<f64>(&mut rng, (2, 3, 3), 1.0);
    let f_tilde = |q: &Array2<f64>| {
        let attended = attend(q, &k, &v, &Visible::all(q.nrows(), 6));
        let (mlp_k, mlp_v) = (
            q.dot(&networks.index_axis(Axis(0), 0)),
            q.dot(&networks.index_axis(Axis(0), 1)),
        );
        residual_form(
            &attended.f,
            &lambda(&own_scores(q, &key(q, &mlp_k)), &attended.lse),
            &mlp_v,
        )
    };
    let together = f_tilde(&q);
    for i in 0..4 {
        let alone = f_tilde(&q.slice(s![i..=i, ..]).to_owned());
        let error = distance(&alone.row(0).to_owned(), &together.row(i).to_owned());
        assert!(error <= bound::<f64>(200, 4.0), "{error:e}");
        let neighbour = f_tilde(&q.slice(s![(i + 1) % 4..=(i + 1) % 4, ..]).to_owned());
        assert!(
            distance(&neighbour.row(0).to_owned(), &together.row(i).to_owned()) > 1e-6,
            "control"
        );
    }
}

#[test]
fn authors_lambda_without_the_mask_depends_on_the_padding_and_ours_does_not() {
    // Their RoBERTa code takes λ from a softmax over all keys, padding included; the sum of (7)
    // runs over visible keys.
    let mut rng = generator(91);
    let (q, k) = (
        matrix::<f64>(&mut rng, (3, 2), 1.0),
        matrix::<f64>(&mut rng, (6, 2), 1.0),
    );
    let s = own_scores(&q, &q);
    let real = |keys: usize| {
        let mask: Vec<bool> = (0..keys).map(|j| j < 4).collect();
        let k = k.slice(s![..keys, ..]).to_owned();
        let visible = Visible::all(3, keys).hiding(&mask);
        let ours = lambda(&s, &attend(&q, &k, &k, &visible).lse);
        (ours, lambda_by_second_softmax(&s, &scores(&q, &k)))
    };
    let ((ours, theirs), (ours_padded, theirs_padded)) = (real(4), real(6));
    let most = bound::<f64>(64, 2.0);
    assert!(
        distance(&ours, &theirs) <= most,
        "without padding the two agree"
    );
    assert!(distance(&ours, &ours_padded) <= most);
    let moved = distance(&theirs, &theirs_padded);
    println!("two padding keys after four real ones move the authors' λ by {moved:.3}");
    assert!(moved > 0.01, "{moved}");
}

#[test]
fn labels_are_those_of_the_next_token_and_the_last_has_none() {
    assert_eq!(shift_labels(&[7, 8, 9]), [8, 9, -100]);
    assert_eq!(shift_labels(&[5]), [-100]);
    assert_eq!(shift_labels(&[]), [0; 0]);
}
