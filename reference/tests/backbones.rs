//! Where a method acts in the two backbones: the parallel adapter's input and scale, RoBERTa's
//! positions under a prefix.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::common::{
    self, distance, ffn, generator, magnitude, nothing, prefix, random_adapter, random_backbone,
    random_tensor,
};
use inducer_reference::attention::Linear;
use inducer_reference::{Adapter, AdapterConfig, Gpt2Config, Roberta, RobertaConfig};
use ndarray::{Array2, Axis, concatenate};

const R: usize = 3;
/// Far enough to the right that ReLU and both gelus are the identity in f64.
const ACTIVE: f64 = 60.0;

fn gpt2_config() -> Gpt2Config {
    Gpt2Config::new(11, 16, 8, 2, 2)
}

fn roberta_config() -> RobertaConfig {
    RobertaConfig::new(13, 20, 8, 2, 2, 3)
}

fn roberta() -> Roberta<f64> {
    let mut shapes = roberta_config().shapes();
    shapes.extend(roberta_config().classifier_shapes());
    let mut rng = generator(95);
    let tensors = shapes.iter().map(|(name, shape)| {
        let centre = if name.contains("LayerNorm.weight") {
            1.0
        } else {
            0.0
        };
        (
            name.clone(),
            random_tensor::<f64>(&mut rng, name, shape) + centre,
        )
    });
    Roberta::from_tensors(roberta_config(), &tensors.collect()).unwrap()
}

fn always_active(mut adapter: Adapter<f64>) -> Adapter<f64> {
    for (name, tensor) in &mut adapter.tensors {
        if name.ends_with("adapter.down.bias") {
            *tensor += ACTIVE;
        }
    }
    adapter
}

/// The FFN with the adapter's units beside its own: φ is the identity on them, s scales their way
/// out.
fn widen(fc: &mut Linear<f64>, proj: &mut Linear<f64>, adapter: &Adapter<f64>, i: usize, s: f64) {
    let part = adapter.layer(i).unwrap().ffn.unwrap().adapter;
    fc.weight = concatenate(Axis(1), &[fc.weight.view(), part.down.weight.view()]).unwrap();
    fc.bias = concatenate(Axis(0), &[fc.bias.view(), part.down.bias.view()]).unwrap();
    proj.weight =
        concatenate(Axis(0), &[proj.weight.view(), (&part.up.weight * s).view()]).unwrap();
    proj.bias = &proj.bias + &(&part.up.bias * s);
}

/// Rounding of a small model whose widest intermediate is `ACTIVE` instead of 1.
fn bound(logits: &Array2<f64>) -> f64 {
    common::bound::<f64>(32_000, ACTIVE * magnitude(logits).max(1.0))
}

#[test]
fn parallel_adapter_of_always_active_units_is_a_wider_ffn_in_gpt2() {
    let model = random_backbone::<f64>(&gpt2_config(), 96);
    let config = AdapterConfig {
        ffn: Some(ffn(R, false, 2.0)),
        ..nothing()
    };
    let adapter = always_active(random_adapter(&config, &gpt2_config(), 0, 97));
    let ids = [3, 1, 4, 1];
    let with = model
        .forward(&ids, None, None, Some(&adapter))
        .unwrap()
        .logits;
    for (s, same) in [(2.0, true), (1.0, false)] {
        let mut wide = model.clone();
        for (i, block) in wide.blocks.iter_mut().enumerate() {
            widen(&mut block.fc, &mut block.proj, &adapter, i, s);
        }
        let merged = wide.forward(&ids, None, None, None).unwrap().logits;
        assert_eq!(
            distance(&with, &merged) <= bound(&with),
            same,
            "s = {s}: {}",
            distance(&with, &merged)
        );
    }
}

#[test]
fn parallel_adapter_of_always_active_units_is_a_wider_ffn_in_roberta() {
    let model = roberta();
    let config = AdapterConfig {
        ffn: Some(ffn(R, false, 2.0)),
        ..nothing()
    };
    let mut adapter = always_active(random_adapter(&config, &roberta_config(), 0, 98));
    for (name, tensor) in model.tensors() {
        if name.starts_with("classifier") {
            adapter.tensors.insert(name, tensor);
        }
    }
    let ids = [0, 5, 7, 2];
    let with = model.forward(&ids, None, None, Some(&adapter)).unwrap();
    for (s, same) in [(2.0, true), (1.0, false)] {
        let mut wide = model.clone();
        for (i, layer) in wide.layers.iter_mut().enumerate() {
            widen(&mut layer.intermediate, &mut layer.output, &adapter, i, s);
        }
        let merged = wide.forward(&ids, None, None, None).unwrap();
        let error = distance(&with.hidden, &merged.hidden);
        assert_eq!(error <= bound(&with.hidden), same, "s = {s}: {error}");
    }
}

#[test]
fn roberta_prefix_offset_moves_the_positions_by_its_length() {
    let model = roberta();
    let with = random_adapter::<f64>(&prefix(3, true), &roberta_config(), 0, 99);
    let without = random_adapter::<f64>(&prefix(3, false), &roberta_config(), 0, 99);
    let ids = [0, 5, 7, 2];
    let expected = model.forward(&ids, None, None, Some(&with)).unwrap().hidden;
    for (shift, same) in [(3, true), (2, false)] {
        let mut moved = model.clone();
        moved.position =
            Array2::from_shape_fn((20, 8), |(i, a)| model.position[[(i + shift) % 20, a]]);
        let hidden = moved
            .forward(&ids, None, None, Some(&without))
            .unwrap()
            .hidden;
        assert_eq!(
            distance(&hidden, &expected) <= bound(&expected),
            same,
            "{shift}"
        );
    }
}
