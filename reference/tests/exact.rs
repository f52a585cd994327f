//! Algebraic identities of the paper over the prime field of 2^61 − 1: equality is exact, for every
//! kernel.
//!
//! Kernel values, values, hidden units and weights are independent random field elements. Each
//! identity is between rational functions of degree below 1000 in them, so one that is false passes
//! a single draw with probability below 10³/2^61 < 10⁻¹⁵, and `DRAWS` of them with less than
//! 10^(−15 · DRAWS). Every check also runs with one term changed, and must fail.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use inducer_reference::attention::{
    Linear, concatenate_heads, output_by_concatenation, output_by_row_blocks, row_block,
    split_heads,
};
use inducer_reference::extended::{extended_estimate, update, update_as_one_product};
use inducer_reference::ia3::{merge_into_input, merge_into_output, rescale};
use inducer_reference::inducer::{
    augmented_estimate, key, lambda_by_definition, mixture_form, residual_form, value,
};
use inducer_reference::lora::Lora;
use inducer_reference::nadaraya_watson::{estimate, gate, mixture, row_sums, scale_rows, smoother};
use inducer_reference::scalar::prime::MODULUS;
use inducer_reference::variants::{Heads, gating_minus_inducer, sub_layer_output};
use inducer_reference::{Prime, Variant};
use ndarray::{Array1, Array2, Array3, Axis, concatenate, s};
use num_traits::Zero;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DRAWS: u64 = 16;

struct Draw(ChaCha8Rng);

impl Draw {
    fn scalar(&mut self) -> Prime {
        Prime::new(self.0.random_range(1..MODULUS))
    }
    fn vector(&mut self, n: usize) -> Array1<Prime> {
        Array1::from_shape_simple_fn(n, || self.scalar())
    }
    fn matrix(&mut self, n: usize, m: usize) -> Array2<Prime> {
        Array2::from_shape_simple_fn((n, m), || self.scalar())
    }
    fn cube(&mut self, a: usize, b: usize, c: usize) -> Array3<Prime> {
        Array3::from_shape_simple_fn((a, b, c), || self.scalar())
    }
    /// A kernel matrix with a random visible set in each row, never empty.
    fn weights(&mut self, n: usize, m: usize) -> Array2<Prime> {
        let mut weights = self.matrix(n, m);
        for mut row in weights.rows_mut() {
            let kept = self.0.random_range(0..m);
            for (j, weight) in row.iter_mut().enumerate() {
                if j != kept && self.0.random_bool(0.3) {
                    *weight = Prime::new(0);
                }
            }
        }
        weights
    }
    fn size(&mut self, least: usize) -> usize {
        self.0.random_range(least..5)
    }
    fn linear(&mut self, d_in: usize, d_out: usize) -> Linear<Prime> {
        Linear {
            weight: self.matrix(d_in, d_out),
            bias: self.vector(d_out),
        }
    }
}

/// The identity holds in every draw, and its broken form in none.
fn proves(identity: impl Fn(&mut Draw, bool) -> bool) {
    for seed in 0..DRAWS {
        let draw = || Draw(ChaCha8Rng::seed_from_u64(seed));
        assert!(identity(&mut draw(), false), "fails at seed {seed}");
        assert!(
            !identity(&mut draw(), true),
            "the control passes at seed {seed}"
        );
    }
}

#[test]
fn exact_prime_field_is_a_field() {
    proves(|draw, broken| {
        let (a, b, c) = (draw.scalar(), draw.scalar(), draw.scalar());
        let distributes = a * (b + c) == a * b + if broken { c } else { a * c };
        distributes
            && a / a == Prime::new(1)
            && a - a == Prime::new(0)
            && (a / b) * b == a
            && -a + a == Prime::new(0)
    });
    assert_eq!(
        Prime::new(MODULUS - 1) * Prime::new(MODULUS - 1),
        Prime::new(1)
    );
    assert_eq!(Prime::new(2).pow(61), Prime::new(1));
    assert_eq!(Prime::new(MODULUS + 5).value(), 5);
    assert!(Prime::new(MODULUS).is_zero() && !Prime::new(1).is_zero());
    assert_eq!(format!("{:?}", Prime::new(5)), "5 (mod 2^61 - 1)");
}

#[test]
fn exact_eq07_equals_eq08_for_every_kernel() {
    proves(|draw, broken| {
        let (n, m, c) = (draw.size(1), draw.size(1), draw.size(1));
        let (weights, own) = (draw.weights(n, m), draw.vector(n));
        let (values, mlp_v) = (draw.matrix(m, c), draw.matrix(n, c));
        let f = estimate(&weights, &values);
        let own_value = value(&f, &mlp_v);
        let lambda = if broken {
            // λ from n points: the inducer is missing from its own denominator
            &own / &row_sums(&weights)
        } else {
            lambda_by_definition(&own, &row_sums(&weights))
        };
        let left = augmented_estimate(&own, &weights, &own_value, &values);
        left == mixture_form(&f, &lambda, &own_value) && left == residual_form(&f, &lambda, &mlp_v)
    });
}

#[test]
fn exact_eq08_zero_value_gives_f_for_every_key() {
    proves(|draw, broken| {
        let (n, m, c) = (draw.size(1), draw.size(1), draw.size(1));
        let (weights, own, values) = (draw.weights(n, m), draw.vector(n), draw.matrix(m, c));
        let f = estimate(&weights, &values);
        let mlp_v = if broken {
            draw.matrix(n, c)
        } else {
            Array2::from_elem((n, c), Prime::new(0))
        };
        augmented_estimate(&own, &weights, &value(&f, &mlp_v), &values) == f
    });
}

#[test]
fn exact_eq05_eq06_key_and_value_are_sums() {
    proves(|draw, broken| {
        let (q, mlp) = (draw.matrix(2, 3), draw.matrix(2, 3));
        let expected =
            Array2::from_shape_fn((2, 3), |at| if broken { mlp[at] } else { q[at] + mlp[at] });
        key(&q, &mlp) == expected && value(&q, &mlp) == expected
    });
}

#[test]
fn exact_prefix_attention_is_the_gated_mixture_for_every_kernel() {
    proves(|draw, broken| {
        let (n, m, l, c) = (draw.size(1), draw.size(1), draw.size(1), draw.size(1));
        let (weights, own) = (draw.weights(n, m), draw.matrix(n, l));
        let (values, p_v) = (draw.matrix(m, c), draw.matrix(l, c));
        let all_weights = concatenate(Axis(1), &[own.view(), weights.view()]).unwrap();
        let all_values = concatenate(Axis(0), &[p_v.view(), values.view()]).unwrap();
        let mu = gate(&row_sums(&own), &row_sums(&weights));
        let (f, g) = (estimate(&weights, &values), estimate(&own, &p_v));
        let right = if broken {
            mixture(&g, &mu, &f)
        } else {
            mixture(&f, &mu, &g)
        };
        estimate(&all_weights, &all_values) == right
    });
}

#[test]
fn exact_eq07_for_one_query_is_a_prefix_of_length_one() {
    proves(|draw, broken| {
        let (m, c) = (draw.size(1), draw.size(1));
        let (weights, own) = (draw.weights(1, m), draw.vector(1));
        let (values, own_value) = (draw.matrix(m, c), draw.matrix(1, c));
        let l = if broken { 2 } else { 1 }; // the same token twice is another prefix
        let p_k = Array2::from_elem((1, l), own[0]);
        let p_v = Array2::from_shape_fn((l, c), |(_, a)| own_value[[0, a]]);
        let mu = gate(&row_sums(&p_k), &row_sums(&weights));
        let prefix = mixture(&estimate(&weights, &values), &mu, &estimate(&p_k, &p_v));
        augmented_estimate(&own, &weights, &own_value, &values) == prefix
    });
}

#[test]
fn exact_nw_constant_values_are_reproduced() {
    proves(|draw, broken| {
        let (n, m) = (draw.size(1), draw.size(2));
        let (mut weights, constant) = (draw.matrix(n, m), draw.scalar());
        let values = Array2::from_elem((m, 1), constant);
        let mut f = estimate(&weights, &values);
        if broken {
            // one weight missing from the denominator
            let numerator = weights.dot(&values);
            weights.column_mut(0).fill(Prime::new(0));
            f = numerator / row_sums(&weights).insert_axis(Axis(1));
        }
        f == Array2::from_elem((n, 1), constant)
    });
}

#[test]
fn exact_nw_rows_of_the_smoother_sum_to_one() {
    proves(|draw, broken| {
        let (n, m) = (draw.size(2), draw.size(2));
        let weights = draw.weights(n, m);
        let normalised = if broken {
            smoother(&weights.t()).reversed_axes()
        } else {
            smoother(&weights)
        };
        row_sums(&normalised) == Array1::from_elem(n, Prime::new(1))
    });
}

#[test]
fn exact_nw_order_of_support_points_is_irrelevant() {
    proves(|draw, broken| {
        let (n, m, c) = (draw.size(1), draw.size(2), draw.size(1));
        let (weights, values) = (draw.matrix(n, m), draw.matrix(m, c));
        let keys_reversed = weights.slice(s![.., ..;-1]).to_owned();
        let values_reversed = values.slice(s![..;-1, ..]).to_owned();
        let other = estimate(
            &keys_reversed,
            if broken { &values } else { &values_reversed },
        );
        estimate(&weights, &values) == other
    });
}

#[test]
fn exact_nw_a_repeated_point_counts_as_its_weight_says() {
    proves(|draw, broken| {
        let (n, m, c) = (draw.size(1), draw.size(2), draw.size(1));
        let (weights, values) = (draw.matrix(n, m), draw.matrix(m, c));
        let twice = concatenate(Axis(1), &[weights.view(), weights.view()]).unwrap();
        let values_twice = concatenate(Axis(0), &[values.view(), values.view()]).unwrap();
        let all_repeated = estimate(&twice, &values_twice) == estimate(&weights, &values);
        let first_repeated = estimate(
            &twice.slice(s![.., ..=m]),
            &values_twice.slice(s![..=m, ..]),
        );
        let mut doubled = weights.clone();
        if !broken {
            doubled.column_mut(0).mapv_inplace(|weight| weight + weight);
        }
        all_repeated && first_repeated == estimate(&doubled, &values)
    });
}

#[test]
fn exact_nw_affine_maps_of_the_values_pass_through() {
    proves(|draw, broken| {
        let (n, m, c) = (draw.size(1), draw.size(2), draw.size(2));
        let (weights, values, map) = (draw.matrix(n, m), draw.matrix(m, c), draw.linear(c, 3));
        let right = if broken {
            estimate(
                &weights.mapv(|weight| weight * weight + weight),
                &map.forward(&values),
            )
        } else {
            estimate(&weights, &map.forward(&values))
        };
        map.forward(&estimate(&weights, &values)) == right
    });
}

#[test]
fn exact_eq04_concatenation_equals_the_sum_of_row_blocks() {
    proves(|draw, broken| {
        let (h, n, p) = (draw.size(1), draw.size(1), draw.size(2));
        let heads = draw.cube(h, n, p);
        let mut output = draw.linear(h * p, h * p);
        let left = output_by_concatenation(&heads, &output);
        if broken {
            let block = row_block(&output.weight, 0, p).to_owned();
            let mut square = output.weight.slice_mut(s![..p, ..p]);
            square.assign(&block.slice(s![.., ..p]).t());
        }
        left == output_by_row_blocks(&heads, &output)
            && split_heads(&concatenate_heads(&heads), h) == heads
    });
}

#[test]
fn exact_eq09_values_move_inside_the_output_projection() {
    proves(|draw, broken| {
        let (h, n, m, p) = (draw.size(2), draw.size(1), draw.size(1), draw.size(1));
        let d = h * p;
        let (values, output) = (draw.cube(h, m, p), draw.linear(d, d));
        let weights: Vec<_> = (0..h).map(|_| draw.weights(n, m)).collect();
        let mut f = Array3::from_elem((h, n, p), Prime::new(0));
        let mut inside = Array2::from_elem((n, d), Prime::new(0)) + &output.bias;
        for a in 0..h {
            let v = values.index_axis(Axis(0), a);
            f.index_axis_mut(Axis(0), a)
                .assign(&estimate(&weights[a], &v));
            let block = if broken { (a + 1) % h } else { a };
            inside = inside + extended_estimate(&weights[a], &v, &output.weight, block);
        }
        output_by_concatenation(&f, &output) == inside
    });
}

#[test]
fn exact_eq10_merged_equals_unmerged() {
    proves(|draw, broken| {
        let (n, d, r) = (draw.size(1), draw.size(2), draw.size(1));
        let (x, projection) = (draw.matrix(n, d), draw.linear(d, d));
        let bias = draw.0.random_bool(0.5).then(|| draw.vector(d));
        let lora = Lora {
            a: draw.matrix(r, d),
            b: draw.matrix(d, r),
            bias,
            scale: draw.scalar(),
        };
        let mut merged = lora.merge(&projection);
        if broken {
            // the scale on W + Aᵀ Bᵀ instead of on the update alone
            merged.weight = merged.weight + &projection.weight * lora.scale - &projection.weight;
        }
        merged.forward(&x) == projection.forward(&x) + lora.delta(&x)
    });
}

#[test]
fn exact_ia3_key_and_value_scales_merge_into_their_projections() {
    proves(|draw, broken| {
        let (n, d) = (draw.size(1), draw.size(1));
        let (x, projection, l) = (draw.matrix(n, d), draw.linear(d, d), draw.vector(d));
        let mut merged = merge_into_output(&l, &projection);
        if broken {
            merged.bias = projection.bias.clone(); // l ⊙ (x W) + b
        }
        merged.forward(&x) == rescale(Some(&l), projection.forward(&x))
    });
}

#[test]
fn exact_ia3_ffn_scale_merges_into_the_second_product() {
    proves(|draw, broken| {
        let (n, d) = (draw.size(1), draw.size(1));
        let inner = if broken { d } else { draw.size(1) };
        let (hidden, output) = (draw.matrix(n, inner), draw.linear(inner, d));
        let l = draw.vector(inner);
        let unmerged = if broken {
            rescale(Some(&l), output.forward(&hidden)) // l_ff after W_2
        } else {
            output.forward(&rescale(Some(&l), hidden.clone()))
        };
        merge_into_input(&l, &output).forward(&hidden) == unmerged
    });
}

/// What PEFT's layout adds to the method adds no function: l_q is part of l_k, l_o of l_v.
#[test]
fn exact_ia3_scales_of_queries_and_heads_are_scales_of_keys_and_values() {
    proves(|draw, broken| {
        let (n, m, p) = (draw.size(1), draw.size(1), draw.size(1));
        let (q, k, v) = (draw.matrix(n, p), draw.matrix(m, p), draw.matrix(m, p));
        let (weights, a, b) = (draw.weights(n, m), draw.vector(p), draw.vector(p));
        let both = if broken { &a + &b } else { &a * &b };
        let scaled = |l, x: &Array2<Prime>| rescale(Some(l), x.clone());
        scaled(&a, &q).dot(&scaled(&b, &k).t()) == q.dot(&scaled(&both, &k).t())
            && scaled(&a, &estimate(&weights, &scaled(&b, &v)))
                == estimate(&weights, &scaled(&both, &v))
    });
}

#[test]
fn exact_ia3_of_ones_is_the_frozen_model() {
    proves(|draw, broken| {
        let (n, d) = (draw.size(1), draw.size(1));
        let (x, linear) = (draw.matrix(n, d), draw.linear(d, d));
        let mut l = Array1::from_elem(d, Prime::new(1));
        if broken {
            l[0] = draw.scalar();
        }
        rescale(Some(&l), x.clone()) == x
            && merge_into_input(&l, &linear) == linear
            && merge_into_output(&l, &linear) == linear
    });
}

#[test]
fn exact_eq11_sum_over_heads_is_one_product() {
    proves(|draw, broken| {
        let (h, n, r, d) = (draw.size(2), draw.size(1), draw.size(1), draw.size(1));
        let (hidden, up) = (draw.cube(h, n, r), draw.cube(h, r, d));
        let (lambda, b_2) = (draw.matrix(n, h), draw.vector(d));
        let mut product = update_as_one_product(&hidden, &lambda, &up, &b_2);
        if broken {
            // one λ after the product instead of one for each head inside
            let ones = Array2::from_elem((n, h), Prime::new(1));
            let no_bias = Array1::from_elem(d, Prime::new(0));
            product = scale_rows(&lambda.column(0), &update(&hidden, &ones, &up, &no_bias)) + &b_2;
        }
        update(&hidden, &lambda, &up, &b_2) == product
    });
}

/// Random heads with extended (d) or ordinary (p) values.
fn heads(draw: &mut Draw, h: usize, n: usize, p: usize, c: usize) -> Heads<Prime> {
    Heads {
        f: draw.cube(h, n, p),
        lambda: draw.matrix(n, h),
        mlp_v: draw.cube(h, n, c),
    }
}

#[test]
fn exact_eq11_shared_bias_is_added_once_and_unweighted() {
    proves(|draw, broken| {
        let (h, n, p) = (draw.size(1), draw.size(1), draw.size(1));
        let d = h * p;
        let (heads, output, b_2) = (heads(draw, h, n, p, d), draw.linear(d, d), draw.vector(d));
        let zero = Array1::from_elem(d, Prime::new(0));
        let bias = Array2::from_elem((n, d), Prime::new(0)) + &b_2;
        let bias = if broken {
            scale_rows(&heads.lambda.column(0), &bias)
        } else {
            bias
        };
        [Variant::Extension, Variant::Gating, Variant::Inducer]
            .iter()
            .all(|&variant| {
                let with = sub_layer_output(variant, &heads, &output, &b_2);
                with == sub_layer_output(variant, &heads, &output, &zero) + &bias
            })
    });
}

#[test]
fn exact_eq09_inducer_is_the_augmented_estimator_over_extended_values() {
    proves(|draw, broken| {
        let (h, n, m, p) = (draw.size(1), draw.size(1), draw.size(2), draw.size(1));
        let d = h * p;
        let (output, b_2, values) = (draw.linear(d, d), draw.vector(d), draw.cube(h, m, p));
        let mut parts = heads(draw, h, n, p, d);
        let mut sum = Array2::from_elem((n, d), Prime::new(0)) + &output.bias + &b_2;
        for a in 0..h {
            let (weights, own) = (draw.weights(n, m), draw.vector(n));
            let v = values.index_axis(Axis(0), a);
            parts
                .f
                .index_axis_mut(Axis(0), a)
                .assign(&estimate(&weights, &v));
            parts
                .lambda
                .column_mut(a)
                .assign(&gate(&own, &row_sums(&weights)));
            let f = extended_estimate(&weights, &v, &output.weight, a);
            let mlp_v = parts.mlp_v.index_axis(Axis(0), a).to_owned();
            let own_value = if broken { mlp_v } else { value(&f, &mlp_v) };
            let v_w_o = v.dot(&row_block(&output.weight, a, p));
            sum = sum + augmented_estimate(&own, &weights, &own_value, &v_w_o);
        }
        sum == sub_layer_output(Variant::Inducer, &parts, &output, &b_2)
    });
}

#[test]
fn exact_ladder_gating_is_the_augmented_estimator_without_f_in_the_value() {
    proves(|draw, broken| {
        let (h, n, p) = (draw.size(1), draw.size(1), draw.size(1));
        let d = h * p;
        let (heads, output, b_2) = (heads(draw, h, n, p, d), draw.linear(d, d), draw.vector(d));
        let mut sum = Array2::from_elem((n, d), Prime::new(0)) + &output.bias + &b_2;
        for a in 0..h {
            let f = heads
                .f
                .index_axis(Axis(0), a)
                .dot(&row_block(&output.weight, a, p));
            let mlp_v = heads.mlp_v.index_axis(Axis(0), a).to_owned();
            let own_value = if broken { value(&f, &mlp_v) } else { mlp_v };
            sum = sum + mixture(&f, &heads.lambda.column(a), &own_value);
        }
        sum == sub_layer_output(Variant::Gating, &heads, &output, &b_2)
    });
}

#[test]
fn exact_ladder_gating_minus_inducer_is_minus_lambda_f() {
    proves(|draw, broken| {
        let (h, n, p) = (draw.size(1), draw.size(1), draw.size(1));
        let d = h * p;
        let (heads, output, b_2) = (heads(draw, h, n, p, d), draw.linear(d, d), draw.vector(d));
        let difference = sub_layer_output(Variant::Gating, &heads, &output, &b_2)
            - sub_layer_output(Variant::Inducer, &heads, &output, &b_2);
        let predicted = gating_minus_inducer(&heads, &output);
        difference == if broken { -predicted } else { predicted }
    });
}

#[test]
fn exact_ladder_extension_contains_adaptive() {
    proves(|draw, broken| {
        let (h, n, p, r) = (draw.size(1), draw.size(1), draw.size(2), draw.size(2));
        let d = h * p;
        let r = if broken { p } else { r }; // the control W_2 = W^{o(h)} needs r = p
        let (hidden, up, output) = (draw.cube(h, n, r), draw.cube(h, r, p), draw.linear(d, d));
        let mut adaptive = heads(draw, h, n, p, p);
        let mut extension = Heads {
            mlp_v: draw.cube(h, n, d),
            ..adaptive.clone()
        };
        for a in 0..h {
            let (u, up) = (hidden.index_axis(Axis(0), a), up.index_axis(Axis(0), a));
            let block = row_block(&output.weight, a, p);
            adaptive
                .mlp_v
                .index_axis_mut(Axis(0), a)
                .assign(&u.dot(&up));
            let w_2 = if broken {
                block.to_owned()
            } else {
                up.dot(&block)
            };
            extension
                .mlp_v
                .index_axis_mut(Axis(0), a)
                .assign(&u.dot(&w_2));
        }
        let zero = Array1::from_elem(d, Prime::new(0));
        sub_layer_output(Variant::Adaptive, &adaptive, &output, &zero)
            == sub_layer_output(Variant::Extension, &extension, &output, &zero)
    });
}
