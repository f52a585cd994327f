//! What a training step must compute, counted in multiplications and additions of its matrix
//! products.

use inducer_gpu::adapter::{Attention, Ffn};
use inducer_gpu::{AdapterConfig, Gpt2Config};

/// Floating-point operations of one training step's matrix products, each useful one counted once:
/// forward pass, gradients of activations down to the lowest trainable tensor, gradients of trained
/// weights, recomputed scores not counted.
///
/// Per layer and token a backbone has `2 · (3d² + d² + 8d²)` forward and as many for the
/// activations' gradients; causal attention over a row of n tokens `2 · 2 · d · n(n+1)/2` forward
/// and twice that backward; the head `2 V d` for each labelled position, twice. What a part of
/// one's own multiplies is not known and not counted.
pub fn flops(
    config: &Gpt2Config,
    method: &AdapterConfig,
    lengths: &[usize],
    labelled: usize,
) -> f64 {
    let (d, layers) = (config.n_embd as f64, config.n_layer as f64);
    let p = config.head_width() as f64;
    let tokens = lengths.iter().sum::<usize>() as f64;
    let weights = (4.0 * d * d + 2.0 * d * config.inner() as f64) * layers;
    let pairs: f64 = lengths.iter().map(|n| (n * (n + 1) / 2) as f64).sum();
    let mut total = 0.0;
    // forward and activations' gradients; the lowest layer's projection needs no gradient of its
    // input when nothing below is trained
    let below = if method.full { 0.0 } else { 3.0 * d * d };
    total += 2.0 * tokens * (2.0 * weights - below);
    if method.full {
        total += 2.0 * tokens * weights + 2.0 * labelled as f64 * config.vocab_size as f64 * d;
    }
    total += 3.0 * 4.0 * d * pairs * layers;
    total += 2.0 * 2.0 * labelled as f64 * config.vocab_size as f64 * d;
    // a small product costs its forward pass, its input's gradient and its weight's gradient
    let small = |weights: f64| 3.0 * 2.0 * tokens * weights * layers;
    total += match &method.attention {
        Some(Attention::Inducer(c)) => {
            let h = d / p;
            let (rk, rv) = (c.key_bottleneck as f64, c.value_bottleneck as f64);
            small(h * 2.0 * p * rk + h * (p * rv + rv * d))
        }
        Some(Attention::Prefix(c)) => small(2.0 * d * c.length as f64),
        Some(Attention::Adapter(c)) => small(2.0 * d * c.bottleneck as f64),
        None => 0.0,
    };
    if let Some(lora) = &method.lora {
        total += small(2.0 * d * lora.rank as f64 * lora.targets.len() as f64);
    }
    if let Some(Ffn::Adapter(c)) = &method.ffn {
        total += small(2.0 * d * c.bottleneck as f64);
    }
    total
}

/// Rate of this machine's own matrix product, `[512, 768] × [768, 3072]` in f32 or with operands in
/// bf16, in operations a second: the best of `repeats`.
pub fn product_rate(repeats: usize, in_bf16: bool) -> f64 {
    use inducer_gpu::kernels::gemm::{Mat, MatMut};
    let (m, k, n) = (512, 768, 3072);
    let a = vec![0.5_f32; m * k];
    let b = vec![0.25_f32; k * n];
    let mut c = vec![0.0_f32; m * n];
    let mut best = f64::INFINITY;
    for _ in 0..repeats.max(1) {
        let start = std::time::Instant::now();
        let product = Mat::new(&a, [m, k]).times(Mat::new(&b, [k, n]));
        product
            .in_bf16(in_bf16)
            .in_parallel()
            .write(MatMut::new(&mut c, n));
        best = best.min(start.elapsed().as_secs_f64());
    }
    2.0 * (m * n * k) as f64 / best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Preset, method};
    use crate::run::Knobs;
    use inducer_gpu::{Method, Named};

    fn parts(of: Method) -> AdapterConfig {
        method(Named::Paper(of), &Knobs::default()).unwrap()
    }

    #[test]
    fn operations_of_one_token_on_the_tiny_preset_by_hand() {
        // d 128, 4 layers, inner 512: weights 4 · (4 · 128² + 2 · 128 · 512) = 786,432; one token,
        // one pair, one label
        let c = Preset::Tiny.config();
        let backbone =
            2.0 * (2.0 * 786_432.0 - 3.0 * 16_384.0) + 12.0 * 128.0 * 4.0 + 4.0 * 4096.0 * 128.0;
        assert_eq!(flops(&c, &parts(Method::None), &[1], 1), backbone);
        // LoRA of rank 54 on q and v adds three times 2 · 2 · 2 · 128 · 54 for each layer
        let lora = 4.0 * 3.0 * 2.0 * (2.0 * 128.0 * 54.0 * 2.0);
        assert_eq!(flops(&c, &parts(Method::Lora), &[1], 1), backbone + lora);
    }
}
