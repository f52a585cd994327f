//! What the tests share: seeded random arrays, random models and adapters, and tolerances with a
//! derivation.

#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used)]

use inducer_reference::{
    Adapter, AdapterConfig, AttentionConfig, Backbone, FfnConfig, Gpt2, Gpt2Config, Ia3Config,
    Ia3Target, LoraConfig, Placement, Projection, Real, TensorMap, Variant,
};
use ndarray::{Array1, Array2, Array3, ArrayD, Dimension, IxDyn};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A seeded generator.
pub fn generator(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Uniform in ±scale.
pub fn vector<T: Real>(rng: &mut ChaCha8Rng, n: usize, scale: f64) -> Array1<T> {
    Array1::from_shape_simple_fn(n, || T::from_f64(rng.random_range(-scale..=scale)))
}

pub fn matrix<T: Real>(rng: &mut ChaCha8Rng, shape: (usize, usize), scale: f64) -> Array2<T> {
    Array2::from_shape_simple_fn(shape, || T::from_f64(rng.random_range(-scale..=scale)))
}

pub fn cube<T: Real>(rng: &mut ChaCha8Rng, shape: (usize, usize, usize), scale: f64) -> Array3<T> {
    Array3::from_shape_simple_fn(shape, || T::from_f64(rng.random_range(-scale..=scale)))
}

/// The greatest absolute difference; NaN counts as infinite.
pub fn distance<T: Real, D: Dimension>(a: &ndarray::Array<T, D>, b: &ndarray::Array<T, D>) -> f64 {
    assert_eq!(a.shape(), b.shape(), "shapes");
    a.iter().zip(b).fold(0.0, |worst, (&a, &b)| {
        let error = (a - b).to_f64().abs();
        if error.is_nan() {
            f64::INFINITY
        } else {
            worst.max(error)
        }
    })
}

/// The greatest magnitude.
pub fn magnitude<T: Real, D: Dimension>(a: &ndarray::Array<T, D>) -> f64 {
    a.iter().fold(0.0, |most, x| most.max(x.to_f64().abs()))
}

/// A rounding bound: unit round-off × number of roundings on the longest path × the greatest
/// magnitude on it.
///
/// Each of `operations` roundings perturbs an intermediate of size at most `magnitude` by u ·
/// magnitude, and every later operation of the checked formulas (sums, convex combinations,
/// products with factors already in `magnitude`) passes a perturbation on without enlarging it.
/// Higher-order terms are below 1 % for operations · u < 0.01.
pub fn bound<T: Real>(operations: usize, magnitude: f64) -> f64 {
    1.01 * T::unit_roundoff() * operations as f64 * magnitude
}

/// Random backbone tensors of a size that keeps activations near 1, layer-norm weights near 1, no
/// bias zero.
pub fn random_backbone<T: Real>(config: &Gpt2Config, seed: u64) -> Gpt2<T> {
    let mut rng = generator(seed);
    let mut tensors = TensorMap::new();
    for (name, shape) in config.shapes() {
        tensors.insert(name.clone(), random_tensor(&mut rng, &name, &shape));
    }
    Gpt2::from_tensors(config.clone(), &tensors).unwrap()
}

pub fn random_tensor<T: Real>(rng: &mut ChaCha8Rng, name: &str, shape: &[usize]) -> ArrayD<T> {
    let centre = if name.contains("ln_") && name.ends_with("weight")
        || name.ends_with("layer_norm.weight")
        || name.contains(".ia3")
    {
        1.0
    } else {
        0.0
    };
    let scale = if name.contains("wte") || name.contains("wpe") {
        0.5
    } else {
        0.3
    };
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        T::from_f64(centre + rng.random_range(-scale..=scale))
    })
}

/// An adapter with every tensor random, task embeddings included.
pub fn random_adapter<T: Real>(
    config: &AdapterConfig,
    backbone: &impl Backbone,
    added: usize,
    seed: u64,
) -> Adapter<T> {
    let mut rng = generator(seed);
    let layout = backbone.layout();
    let mut shapes = layout.adapter_shapes(config);
    if let (Some(name), true) = (layout.added, added > 0) {
        shapes.insert(name.into(), vec![added, layout.hidden]);
    }
    let tensors = shapes
        .iter()
        .map(|(name, shape)| (name.clone(), random_tensor(&mut rng, name, shape)))
        .collect();
    Adapter::from_tensors(config.clone(), backbone, tensors).unwrap()
}

/// A configuration without any part.
pub fn nothing() -> AdapterConfig {
    AdapterConfig {
        peft_type: "INDUCER".into(),
        task_type: None,
        base_model_name_or_path: None,
        attention: None,
        lora: None,
        ia3: None,
        ffn: None,
        bitfit: false,
        full: false,
    }
}

pub fn inducer(variant: Variant, r_k: usize, r_v: usize) -> AdapterConfig {
    AdapterConfig {
        attention: Some(AttentionConfig::Inducer {
            variant,
            key_bottleneck: variant.has_key_network().then_some(r_k),
            value_bottleneck: r_v,
        }),
        ..nothing()
    }
}

pub fn prefix(length: usize, offset_positions: bool) -> AdapterConfig {
    AdapterConfig {
        attention: Some(AttentionConfig::Prefix {
            length,
            offset_positions,
            reparametrisation: None,
        }),
        ..nothing()
    }
}

pub fn adapter(bottleneck: usize, layer_norm: bool) -> AdapterConfig {
    AdapterConfig {
        attention: Some(AttentionConfig::Adapter {
            bottleneck,
            layer_norm,
        }),
        ..nothing()
    }
}

pub fn lora(targets: &[Projection], rank: usize, bias: bool) -> LoraConfig {
    LoraConfig {
        targets: targets.to_vec(),
        rank,
        alpha: 3.0,
        dropout: 0.1,
        bias,
        use_rslora: false,
    }
}

pub fn ffn(bottleneck: usize, layer_norm: bool, scale: f64) -> FfnConfig {
    FfnConfig::Adapter {
        placement: Placement::Parallel,
        bottleneck,
        layer_norm,
        scale,
    }
}

/// (IA)³ on these.
pub fn ia3(targets: &[Ia3Target]) -> AdapterConfig {
    AdapterConfig {
        ia3: Some(Ia3Config {
            targets: targets.to_vec(),
        }),
        ..nothing()
    }
}

/// Every method of the paper, small, and (IA)³.
pub fn every_method() -> Vec<(&'static str, AdapterConfig)> {
    let q = &[Projection::Q];
    let all = &[Projection::Q, Projection::K, Projection::V];
    let full_inducer = || inducer(Variant::Inducer, 2, 3);
    vec![
        ("backbone", nothing()),
        (
            "full",
            AdapterConfig {
                full: true,
                ..nothing()
            },
        ),
        (
            "bitfit",
            AdapterConfig {
                bitfit: true,
                ..nothing()
            },
        ),
        ("adapter", adapter(3, true)),
        ("adapter without norm", adapter(3, false)),
        (
            "lora",
            AdapterConfig {
                lora: Some(lora(all, 2, true)),
                ..nothing()
            },
        ),
        (
            "lora without bias",
            AdapterConfig {
                lora: Some(lora(q, 2, false)),
                ..nothing()
            },
        ),
        (
            "rslora",
            AdapterConfig {
                lora: Some(LoraConfig {
                    use_rslora: true,
                    ..lora(q, 2, false)
                }),
                ..nothing()
            },
        ),
        ("ia3", ia3(&Ia3Target::ALL)),
        ("prefix", prefix(3, true)),
        ("prefix without offset", prefix(3, false)),
        (
            "mam adapter",
            AdapterConfig {
                ffn: Some(ffn(3, false, 2.0)),
                ..prefix(2, true)
            },
        ),
        ("adaptive", inducer(Variant::Adaptive, 0, 3)),
        ("extension", inducer(Variant::Extension, 0, 3)),
        ("gating", inducer(Variant::Gating, 2, 3)),
        ("inducer", full_inducer()),
        (
            "inducer + lora",
            AdapterConfig {
                lora: Some(lora(q, 2, true)),
                ..full_inducer()
            },
        ),
        (
            "mam inducer",
            AdapterConfig {
                lora: Some(lora(q, 2, true)),
                ffn: Some(ffn(3, true, 1.0)),
                ..full_inducer()
            },
        ),
    ]
}
