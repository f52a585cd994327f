//! Whole models with every method: causality, padding, positions, the restriction ladder, merges,
//! replaced tensors.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::common::{
    self, distance, every_method, ffn, ia3, inducer, lora, magnitude, nothing, prefix,
    random_adapter, random_backbone,
};
use approx::assert_abs_diff_eq;
use inducer_reference::gpt2::positions;
use inducer_reference::ia3::{merge_into_input, merge_into_output};
use inducer_reference::sub_layer::Projections;
use inducer_reference::{
    Adapter, AdapterConfig, AttentionConfig, DoubleDouble, Forward, Gpt2, Gpt2Config, Ia3Target,
    Projection, Real, Roberta, RobertaConfig, Variant,
};
use ndarray::{Array2, s};

const IDS: [u32; 7] = [3, 1, 4, 1, 5, 11, 12];

fn small() -> Gpt2Config {
    Gpt2Config::new(11, 16, 8, 2, 2)
}

fn run<T: Real>(
    model: &Gpt2<T>,
    adapter: &Adapter<T>,
    ids: &[u32],
    mask: Option<&[bool]>,
) -> Forward<T> {
    let segments: Vec<u32> = (0..ids.len() as u32).map(|i| 11 + i % 2).collect();
    model
        .forward(ids, Some(&segments), mask, Some(adapter))
        .unwrap()
}

/// Rounding of a whole small model: two layers, sums of at most 24 terms, kernels and gates: below
/// 1000 roundings on the longest path, each amplified by less than 32 (weights of size 0.3 √8 < 1,
/// LoRA's scale 3/2, layer norms of rows whose spread is above 1/8), relative to the greatest
/// logit.
fn bound<T: Real>(logits: &Array2<T>) -> f64 {
    common::bound::<T>(32_000, magnitude(logits).max(1.0))
}

/// The logits agree to rounding in f64 and to 28 digits (times that amplification) in
/// double-double.
fn same_function(name: &str, error_of: [&dyn Fn() -> (f64, f64); 2]) {
    for error in error_of {
        let (error, bound) = error();
        assert!(error <= bound, "{name}: {error:e} > {bound:e}");
    }
}

/// Runs a generic comparison on f64 and double-double; `$broken` must exceed the bound.
macro_rules! same {
    ($name:expr, $compare:ident) => {{
        let of = |(a, b): (Array2<f64>, Array2<f64>)| (distance(&a, &b), bound(&a));
        let of_dd =
            |(a, b): (Array2<DoubleDouble>, Array2<DoubleDouble>)| (distance(&a, &b), bound(&a));
        same_function(
            $name,
            [&|| of($compare::<f64>(false)), &|| {
                of_dd($compare::<DoubleDouble>(false))
            }],
        );
        let (error, bound) = of($compare::<f64>(true));
        assert!(
            error > bound,
            "{}: the control passes, {error:e} ≤ {bound:e}",
            $name
        );
    }};
}

#[test]
fn every_method_runs_and_differs_from_the_backbone() {
    let model = random_backbone::<f64>(&small(), 1);
    let base = model.forward(&IDS[..5], None, None, None).unwrap();
    for (name, config) in every_method() {
        let adapter = random_adapter::<f64>(&config, &small(), 2, 2);
        let out = run(&model, &adapter, &IDS, None);
        assert_eq!(out.logits.dim(), (7, 13), "{name}");
        assert!(out.logits.iter().all(|x| x.is_finite()), "{name}");
        let gates = match config.attention {
            Some(AttentionConfig::Adapter { .. }) | None => 0,
            _ => 2,
        };
        assert_eq!(out.lambda.len(), gates, "{name}");
        assert!(
            out.lambda.iter().flatten().all(|&x| 0.0 < x && x < 1.0),
            "{name}"
        );
        let plain = random_adapter::<f64>(&config, &small(), 0, 2);
        let out = model.forward(&IDS[..5], None, None, Some(&plain)).unwrap();
        let moved = distance(&out.logits, &base.logits);
        assert_eq!(moved > 1e-3, config != nothing(), "{name}: {moved}");
    }
}

#[test]
fn causal_a_later_token_changes_no_earlier_output_under_any_method() {
    let model = random_backbone::<f64>(&small(), 3);
    for (name, config) in every_method() {
        let adapter = random_adapter::<f64>(&config, &small(), 2, 4);
        let whole = run(&model, &adapter, &IDS, None).logits;
        for changed in 1..IDS.len() {
            let mut ids = IDS;
            ids[changed] = 7;
            let other = run(&model, &adapter, &ids, None).logits;
            assert_eq!(
                whole.slice(s![..changed, ..]),
                other.slice(s![..changed, ..]),
                "{name}"
            );
            assert_ne!(
                whole.row(changed),
                other.row(changed),
                "control, {name}: its own output moves"
            );
        }
        // and the row may end anywhere
        let head = run(&model, &adapter, &IDS[..4], None).logits;
        assert!(
            distance(&head, &whole.slice(s![..4, ..]).to_owned()) <= bound(&whole),
            "{name}"
        );
    }
}

#[test]
fn padding_changes_no_output_under_any_method() {
    let model = random_backbone::<f64>(&small(), 5);
    for (name, config) in every_method() {
        let adapter = random_adapter::<f64>(&config, &small(), 2, 6);
        let segments = [11; 9];
        let at = |ids: &[u32], mask: &[bool]| {
            let segments = &segments[..ids.len()];
            model
                .forward(ids, Some(segments), Some(mask), Some(&adapter))
                .unwrap()
        };
        let plain = at(&IDS, &[true; 7]).logits;
        let (t, f) = (true, false);
        let right = at(&[3, 1, 4, 1, 5, 11, 12, 0, 9], &[t, t, t, t, t, t, t, f, f]);
        assert!(
            distance(&plain, &right.logits.slice(s![..7, ..]).to_owned()) <= bound(&plain),
            "{name}, right"
        );
        let ids = [8, 2, 3, 1, 4, 1, 5, 11, 12];
        let left = at(&ids, &[f, f, t, t, t, t, t, t, t]);
        assert!(
            left.logits.iter().all(|x| x.is_finite()),
            "{name}: fully masked rows"
        );
        assert!(
            distance(&plain, &left.logits.slice(s![2.., ..]).to_owned()) <= bound(&plain),
            "{name}, left"
        );
        // control: one padding key visible
        let leaky = at(&ids, &[f, t, t, t, t, t, t, t, t]);
        assert!(
            distance(&plain, &leaky.logits.slice(s![2.., ..]).to_owned()) > bound(&plain),
            "{name}"
        );
    }
}

#[test]
fn positions_count_from_the_first_real_token_and_from_the_prefix() {
    let mask = [false, false, true, true, false];
    assert_eq!(positions(5, Some(&mask), 0).unwrap()[2..4], [0, 1]);
    assert_eq!(positions(5, Some(&mask), 3).unwrap()[2..4], [3, 4]);
    assert_eq!(positions(3, None, 2).unwrap(), vec![2, 3, 4]);
    assert!(positions(3, Some(&mask), 0).is_err());
}

#[test]
fn prefix_offset_moves_the_positions_by_its_length() {
    fn compare<T: Real>(broken: bool) -> (Array2<T>, Array2<T>) {
        let model = random_backbone::<T>(&small(), 7);
        let with = random_adapter::<T>(&prefix(3, true), &small(), 0, 8);
        let without = random_adapter::<T>(&prefix(3, false), &small(), 0, 8);
        let mut moved = model.clone();
        let shift = if broken { 2 } else { 3 };
        let rows = Array2::from_shape_fn((16, 8), |(i, a)| model.wpe[[(i + shift) % 16, a]]);
        moved.wpe = rows;
        let a = model
            .forward(&IDS[..5], None, None, Some(&with))
            .unwrap()
            .logits;
        (
            a,
            moved
                .forward(&IDS[..5], None, None, Some(&without))
                .unwrap()
                .logits,
        )
    }
    same!("prefix offset", compare);
}

#[test]
fn prefix_of_length_zero_is_the_backbone() {
    fn compare<T: Real>(broken: bool) -> (Array2<T>, Array2<T>) {
        let model = random_backbone::<T>(&small(), 7);
        let l = usize::from(broken);
        let mut adapter = random_adapter::<T>(&prefix(l, true), &small(), 0, 8);
        for tensor in adapter.tensors.values_mut() {
            tensor.fill(T::zero()); // a prefix of one zero key and value is not nothing
        }
        let a = model
            .forward(&IDS[..5], None, None, Some(&adapter))
            .unwrap()
            .logits;
        (
            a,
            model.forward(&IDS[..5], None, None, None).unwrap().logits,
        )
    }
    same!("empty prefix", compare);
}

/// `a` and `b` share every tensor of the same name and shape; `change` may edit b's tensors.
fn pair<T: Real>(
    (config_a, config_b): (&AdapterConfig, &AdapterConfig),
    change: impl Fn(&str, &mut ndarray::ArrayD<T>),
) -> (Array2<T>, Array2<T>) {
    let model = random_backbone::<T>(&small(), 9);
    let a = random_adapter::<T>(config_a, &small(), 2, 10);
    let mut b = random_adapter::<T>(config_b, &small(), 2, 11);
    for (name, tensor) in &mut b.tensors {
        if let Some(shared) = a.tensors.get(name) {
            tensor.assign(shared);
        } else {
            change(name, tensor);
        }
    }
    (
        run(&model, &a, &IDS, None).logits,
        run(&model, &b, &IDS, None).logits,
    )
}

#[test]
fn ladder_inducer_without_key_network_is_extension() {
    fn compare<T: Real>(broken: bool) -> (Array2<T>, Array2<T>) {
        let configs = (
            inducer(Variant::Extension, 0, 3),
            inducer(Variant::Inducer, 2, 3),
        );
        pair((&configs.0, &configs.1), |name, tensor| {
            let spared = broken && name.ends_with("key.up_bias");
            if name.contains("key.up") && !spared {
                tensor.fill(T::zero());
            }
        })
    }
    same!("Inducer with C = c = 0", compare);
}

#[test]
fn ladder_a_zero_lora_update_is_the_plain_inducer() {
    fn compare<T: Real>(broken: bool) -> (Array2<T>, Array2<T>) {
        let plain = inducer(Variant::Inducer, 2, 3);
        let with = AdapterConfig {
            lora: Some(lora(&[Projection::Q], 2, true)),
            ..plain.clone()
        };
        pair((&plain, &with), |name, tensor| {
            let spared = broken && name.ends_with(".bias");
            if !name.ends_with(".a") && !spared {
                tensor.fill(T::zero());
            }
        })
    }
    same!("B = b_lora = 0", compare);
}

#[test]
fn ladder_mam_with_a_zero_ffn_adapter_is_inducer_and_lora() {
    fn compare<T: Real>(broken: bool) -> (Array2<T>, Array2<T>) {
        let plain = AdapterConfig {
            lora: Some(lora(&[Projection::Q], 2, true)),
            ..inducer(Variant::Inducer, 2, 3)
        };
        let with = AdapterConfig {
            ffn: Some(ffn(3, false, 2.0)),
            ..plain.clone()
        };
        pair((&plain, &with), |name, tensor| {
            let spared = broken && name.ends_with("up.bias");
            if name.contains("adapter.up") && !spared {
                tensor.fill(T::zero());
            }
        })
    }
    same!("FFN adapter with W_2 = b_2 = 0", compare);
}

#[test]
fn eq08_zero_value_network_is_the_backbone_for_every_key_network() {
    for variant in [Variant::Adaptive, Variant::Extension, Variant::Inducer] {
        let model = random_backbone::<f64>(&small(), 12);
        let mut adapter = random_adapter::<f64>(&inducer(variant, 2, 3), &small(), 0, 13);
        let base = model.forward(&IDS[..5], None, None, None).unwrap().logits;
        let before = model
            .forward(&IDS[..5], None, None, Some(&adapter))
            .unwrap()
            .logits;
        assert!(distance(&before, &base) > bound(&base), "control");
        for (name, tensor) in &mut adapter.tensors {
            if name.contains("value.up") {
                tensor.fill(0.0);
            }
        }
        let after = model
            .forward(&IDS[..5], None, None, Some(&adapter))
            .unwrap()
            .logits;
        assert!(distance(&after, &base) <= bound(&base), "{variant:?}");
    }
}

#[test]
fn eq10_lora_merged_into_the_backbone_is_the_same_model() {
    fn compare<T: Real>(broken: bool) -> (Array2<T>, Array2<T>) {
        let all = [Projection::Q, Projection::K, Projection::V];
        let config = AdapterConfig {
            lora: Some(lora(&all, 3, true)),
            ..nothing()
        };
        let model = random_backbone::<T>(&small(), 14);
        let adapter = random_adapter::<T>(&config, &small(), 0, 15);
        let mut merged = model.clone();
        for (i, block) in merged.blocks.iter_mut().enumerate() {
            let mut parts = adapter.layer(i).unwrap();
            if broken && i == 1 {
                parts.v.as_mut().unwrap().bias = None;
            }
            block.attention.q = parts.q.unwrap().merge(&block.attention.q);
            block.attention.k = parts.k.unwrap().merge(&block.attention.k);
            block.attention.v = parts.v.unwrap().merge(&block.attention.v);
        }
        let a = model
            .forward(&IDS[..5], None, None, Some(&adapter))
            .unwrap()
            .logits;
        (
            a,
            merged.forward(&IDS[..5], None, None, None).unwrap().logits,
        )
    }
    same!("LoRA merged", compare);
}

#[test]
fn ia3_of_ones_is_the_backbone() {
    fn compare<T: Real>(broken: bool) -> (Array2<T>, Array2<T>) {
        pair((&nothing(), &ia3(&Ia3Target::ALL)), |name, tensor| {
            if !(broken && name.ends_with("mlp.ia3")) {
                tensor.fill(T::one());
            }
        })
    }
    same!("l_k = l_v = l_ff = 1", compare);
}

#[test]
fn ia3_merged_into_the_backbone_is_the_same_model() {
    fn compare<T: Real>(broken: bool) -> (Array2<T>, Array2<T>) {
        let model = random_backbone::<T>(&small(), 18);
        let adapter = random_adapter::<T>(&ia3(&Ia3Target::ALL), &small(), 0, 19);
        let mut merged = model.clone();
        for (i, block) in merged.blocks.iter_mut().enumerate() {
            let parts = adapter.layer(i).unwrap().ia3;
            let Projections { k, v, .. } = &mut block.attention;
            let unscaled = v.bias.clone();
            *k = merge_into_output(&parts.key.unwrap(), k);
            *v = merge_into_output(&parts.value.unwrap(), v);
            if broken && i == 1 {
                v.bias = unscaled;
            }
            block.proj = merge_into_input(&parts.ffn.unwrap(), &block.proj);
        }
        let logits = |model: &Gpt2<T>, adapter| {
            let output = model.forward(&IDS[..5], None, None, adapter);
            output.unwrap().logits
        };
        (logits(&model, Some(&adapter)), logits(&merged, None))
    }
    same!("(IA)³ merged", compare);
}

#[test]
fn full_and_bitfit_adapters_replace_the_tensors_that_they_name() {
    let model = random_backbone::<f64>(&small(), 16);
    let other = random_backbone::<f64>(&small(), 17);
    let expected = other.forward(&IDS[..5], None, None, None).unwrap().logits;
    let full = AdapterConfig {
        full: true,
        ..nothing()
    };
    let adapter = Adapter::from_tensors(full, &small(), other.tensors()).unwrap();
    assert_eq!(
        model
            .forward(&IDS[..5], None, None, Some(&adapter))
            .unwrap()
            .logits,
        expected
    );

    let biases = other
        .tensors()
        .into_iter()
        .filter(|(name, _)| name.ends_with(".bias"));
    let bitfit = AdapterConfig {
        bitfit: true,
        ..nothing()
    };
    let adapter = Adapter::from_tensors(bitfit, &small(), biases.collect()).unwrap();
    let mut mixed = model.tensors();
    mixed.extend(adapter.tensors.clone());
    let mixed = Gpt2::from_tensors(small(), &mixed).unwrap();
    let expected = mixed.forward(&IDS[..5], None, None, None).unwrap().logits;
    assert_eq!(
        model
            .forward(&IDS[..5], None, None, Some(&adapter))
            .unwrap()
            .logits,
        expected
    );
    assert_ne!(
        model.forward(&IDS[..5], None, None, None).unwrap().logits,
        expected,
        "control"
    );
}

#[test]
fn segments_add_the_embedding_of_their_token_and_the_head_sees_added_rows() {
    let model = random_backbone::<f64>(&small(), 18);
    let adapter = random_adapter::<f64>(&nothing(), &small(), 2, 19);
    let added = adapter.added();
    // token 11 in segment 3 = token 3 in segment 11; logits of the added rows are ⟨hidden, row⟩
    let a = model
        .forward(&[11], Some(&[3]), None, Some(&adapter))
        .unwrap();
    let b = model
        .forward(&[3], Some(&[11]), None, Some(&adapter))
        .unwrap();
    let c = model
        .forward(&[3], Some(&[12]), None, Some(&adapter))
        .unwrap();
    assert_eq!(a.logits, b.logits);
    assert_ne!(b.logits, c.logits, "control");
    assert_abs_diff_eq!(
        a.logits[[0, 12]],
        a.hidden.row(0).dot(&added.row(1)),
        epsilon = 1e-14
    );
}

#[test]
fn inputs_out_of_range_are_errors_that_name_the_input() {
    let model = random_backbone::<f64>(&small(), 20);
    let adapter = random_adapter::<f64>(&prefix(3, true), &small(), 2, 21);
    let message = |ids: &[u32], segments: Option<&[u32]>, mask: Option<&[bool]>, with: bool| {
        let adapter = with.then_some(&adapter);
        model
            .forward(ids, segments, mask, adapter)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        message(&[3, 11], None, None, false),
        "token id at position 1: expected less than 11, found 11"
    );
    assert_eq!(
        message(&[13], None, None, true),
        "token id at position 0: expected less than 13, found 13"
    );
    assert!(message(&[3], Some(&[99]), None, false).starts_with("segment id at position 0"));
    assert!(
        message(&[3], Some(&[1, 1]), None, false).starts_with("segment ids: expected 1, found 2")
    );
    assert!(
        message(&[3], None, Some(&[]), false).starts_with("attention mask: expected 1, found 0")
    );
    assert!(message(&[3; 17], None, None, false).starts_with("position id at position 16"));
    assert!(message(&[3; 14], None, None, true).starts_with("position id at position 13"));
    assert!(model.forward(&[3; 16], None, None, None).is_ok());
}

#[test]
fn roberta_padding_changes_no_output_under_any_method() {
    let config = RobertaConfig {
        intermediate_size: 20,
        ..RobertaConfig::new(13, 20, 8, 2, 2, 3)
    };
    let mut shapes = config.shapes();
    shapes.extend(config.classifier_shapes());
    let mut rng = common::generator(22);
    let tensors = shapes.iter().map(|(name, shape)| {
        let centre = if name.contains("LayerNorm.weight") {
            1.0
        } else {
            0.0
        };
        (
            name.clone(),
            common::random_tensor::<f64>(&mut rng, name, shape) + centre,
        )
    });
    let model = Roberta::from_tensors(config.clone(), &tensors.collect()).unwrap();
    assert_eq!(
        Roberta::from_tensors(config.clone(), &model.tensors())
            .unwrap()
            .tensors(),
        model.tensors()
    );
    let base = model
        .forward(&[0, 5, 7, 2], None, None, None)
        .unwrap()
        .logits;
    for (name, method) in every_method() {
        let adapter = random_adapter::<f64>(&method, &config, 0, 23);
        let at = |ids: &[u32], mask: Option<&[bool]>| {
            model.forward(ids, None, mask, Some(&adapter)).unwrap()
        };
        let plain = at(&[0, 5, 7, 2], None);
        let (t, f) = (true, false);
        let padded = at(&[0, 5, 7, 2, 1, 1], Some(&[t, t, t, t, f, f]));
        assert_eq!(plain.logits.dim(), (1, 3));
        assert!(
            distance(&plain.logits, &padded.logits) <= bound(&plain.logits),
            "{name}"
        );
        let leaky = at(&[0, 5, 7, 2, 1, 1], None);
        assert!(
            distance(&plain.logits, &leaky.logits) > bound(&plain.logits),
            "control, {name}"
        );
        assert!(
            distance(&plain.logits, &base) > 1e-6,
            "{name}: the head is the adapter's"
        );
    }
}
