//! Initial values (section 5), each tensor from its own generator: seed and name decide, not the
//! order of creation.

use crate::error::Result;
use candle_core::{DType, Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution, StandardNormal, Uniform};

/// How a tensor starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All the same.
    Constant(f64),
    /// N(0, σ²).
    Normal(f64),
    /// fmod(N(0,1), 2) · σ: the authors' truncation at two deviations.
    TruncatedNormal(f64),
    /// U(−a, a).
    Uniform(f64),
}

/// The start of a tensor of a method, by its name in files (section 5); `range` is the backbone's
/// own deviation.
pub fn of(name: &str, shape: &[usize], hidden: usize, range: f64) -> Init {
    let last = shape.last().copied().unwrap_or(1) as f64;
    if name.contains(".lora.") {
        // Kaiming-uniform with a = √5 is U(±1/√fan_in)
        if name.ends_with(".a") {
            Init::Uniform(1.0 / (hidden as f64).sqrt())
        } else {
            Init::Constant(0.0)
        }
    } else if name.ends_with("layer_norm.weight") {
        Init::Constant(1.0)
    } else if name.ends_with("layer_norm.bias") {
        Init::Constant(0.0)
    } else if name.contains(".inducer.") || name.contains(".adapter.") {
        Init::TruncatedNormal(0.01)
    } else if name == "transformer.prefix.embedding" {
        Init::Normal(1.0)
    } else if name.starts_with("transformer.prefix.") {
        // PyTorch's Linear, but the biases start at 0
        if name.ends_with(".weight") {
            Init::Uniform(1.0 / last.sqrt())
        } else {
            Init::Constant(0.0)
        }
    } else {
        Init::Normal(range)
    }
}

/// A generator for one purpose of a run.
pub fn generator(seed: u64, purpose: &str) -> ChaCha12Rng {
    let mut key = crate::ops::dropout::mix(seed);
    for b in purpose.bytes() {
        key = crate::ops::dropout::mix(key ^ u64::from(b));
    }
    ChaCha12Rng::seed_from_u64(key)
}

/// A tensor with its initial values.
///
/// # Errors
/// A candle error.
pub fn tensor(
    init: Init,
    seed: u64,
    name: &str,
    shape: &[usize],
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    let count = shape.iter().product();
    let mut rng = generator(seed, name);
    let mut draw = || -> f64 {
        match init {
            Init::Constant(c) => c,
            Init::Normal(sigma) => sigma * rng.sample::<f64, _>(StandardNormal),
            Init::TruncatedNormal(sigma) => sigma * (rng.sample::<f64, _>(StandardNormal) % 2.0),
            Init::Uniform(a) => Uniform::new_inclusive(-a, a).map_or(0.0, |u| u.sample(&mut rng)),
        }
    };
    let data: Vec<f32> = (0..count).map(|_| draw() as f32).collect();
    Ok(Tensor::from_vec(data, shape, &Device::Cpu)?
        .to_dtype(dtype)?
        .to_device(device)?)
}
