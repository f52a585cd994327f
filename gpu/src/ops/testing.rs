//! Fused against composed: the same inputs, values and gradients compared in f64 and f32.

use crate::error::Result;
use crate::kernels::precision::upcast;
use crate::kernels::{cuda, without_cpu_kernels};
use crate::tape::{Gradients, Parameter, Tape, Value};
use candle_core::{DType, Device, Tensor};
use rand::{Rng, SeedableRng};

/// Random normal parameters of the given shapes.
pub fn parameters(seed: u64, shapes: &[&[usize]], dtype: DType) -> Vec<Parameter> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    shapes
        .iter()
        .enumerate()
        .map(|(i, s)| {
            let data: Vec<f64> = (0..s.iter().product())
                .map(|_| rng.sample::<f64, _>(rand_distr::StandardNormal))
                .collect();
            let t = Tensor::from_vec(data, *s, &Device::Cpu)
                .unwrap()
                .to_dtype(dtype)
                .unwrap();
            Parameter::new(format!("x{i}"), t, true)
        })
        .collect()
}

/// Runs `f` and the backward pass of a fixed random contraction of its results.
pub fn evaluate(
    params: &[Parameter],
    f: impl Fn(&Tape, &[Value]) -> Result<Vec<Value>>,
) -> (Vec<Tensor>, Gradients) {
    let tape = Tape::new();
    let values: Vec<Value> = params
        .iter()
        .map(|p| tape.parameter(p))
        .collect::<Result<_>>()
        .unwrap();
    let outputs = f(&tape, &values).unwrap();
    let tensors: Vec<Tensor> = outputs.iter().map(|v| v.tensor.clone()).collect();
    let refs: Vec<&Value> = outputs.iter().collect();
    let loss = tape
        .composed_many(&refs, |a| {
            let mut total: Option<Tensor> = None;
            for (k, t) in a.iter().enumerate() {
                let n = t.elem_count();
                let w: Vec<f64> = (0..n)
                    .map(|i| ((i * 37 + k * 11 + 5) % 17) as f64 / 8.0 - 1.0)
                    .collect();
                let w =
                    Tensor::from_vec(w, t.shape().clone(), &Device::Cpu)?.to_dtype(t.dtype())?;
                let part = upcast(&(t * w)?)?.sum_all()?;
                total = Some(match total {
                    None => part,
                    Some(x) => (x + part)?,
                });
            }
            Ok(vec![total.unwrap()])
        })
        .unwrap()
        .remove(0);
    let grads = tape.backward(&loss, params).unwrap();
    (tensors, grads)
}

/// Largest difference relative to the largest magnitude.
pub fn distance(a: &Tensor, b: &Tensor) -> f64 {
    let v = |t: &Tensor| {
        t.to_dtype(DType::F64)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<f64>()
            .unwrap()
    };
    assert_eq!(a.dims(), b.dims());
    let (a, b) = (v(a), v(b));
    let top = b.iter().fold(1e-30_f64, |m, x| m.max(x.abs()));
    a.iter()
        .zip(&b)
        .map(|(x, y)| {
            assert!(x.is_finite() && y.is_finite());
            (x - y).abs() / top
        })
        .fold(0.0, f64::max)
}

/// As many roundings to 2⁻⁸ of the greatest number as follow one another in the longest of the
/// operations, attention composed of tensors: scores, scale, exponential, sum, quotient, product;
/// and of the gradients those of the weights, their product with them, its sum, the difference, the
/// scale and the product with the keys.
pub const BOUND_BF16: f64 = 12.0 / 256.0;

/// Every form of an operation agrees with the composed one, in values and in the gradient of every
/// input: the fused form, the one for other devices, a card's kernels as they are emulated, and
/// mixed precision.
///
/// f64: 1e-12; f32: 4e-5, which is 2⁻²⁴ times the longest reduction in these tests (a few hundred
/// terms) with room for cancellation; bf16: [`BOUND_BF16`], of numbers that it holds, against the
/// composed form in f64.
pub fn agree(
    shapes: &[&[usize]],
    form: impl Fn(&Tape, &[Value]) -> Result<Vec<Value>>,
    composed: impl Fn(&Tape, &[Value]) -> Result<Vec<Value>>,
) {
    for seed in 0..4 {
        for (dtype, bound) in [(DType::F64, 1e-12), (DType::F32, 4e-5)] {
            let params = parameters(seed, shapes, dtype);
            let expected = evaluate(&params, &composed);
            let what = |form: &str| format!("{dtype:?}, seed {seed}, {form}");
            near(&evaluate(&params, &form), &expected, bound, &what("fused"));
            let found = without_cpu_kernels(|| evaluate(&params, &form));
            near(&found, &expected, bound, &what("tensors"));
            if cuda::EMULATED {
                let found = cuda::emulated(|| evaluate(&params, &form));
                near(&found, &expected, bound, &what("card"));
            }
        }
        let halves = parameters(seed, shapes, DType::BF16);
        let of = |p: &Parameter| {
            let tensor = p.tensor.to_dtype(DType::F64).unwrap();
            Parameter::new(&p.name, tensor, true)
        };
        let expected = evaluate(&halves.iter().map(of).collect::<Vec<_>>(), &composed);
        let what = |form: &str| format!("bf16, seed {seed}, {form}");
        near(
            &evaluate(&halves, &form),
            &expected,
            BOUND_BF16,
            &what("tensors"),
        );
        if cuda::EMULATED {
            let found = cuda::emulated(|| evaluate(&halves, &form));
            near(&found, &expected, BOUND_BF16, &what("card"));
        }
    }
}

/// Results and gradients within a bound of the greatest; no gradient is nothing.
fn near(
    (found, found_gradients): &(Vec<Tensor>, Gradients),
    (expected, gradients): &(Vec<Tensor>, Gradients),
    bound: f64,
    what: &str,
) {
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        let e = distance(a, b);
        assert!(e <= bound, "result {i}, {what}: {e:e}");
    }
    for (name, b) in gradients.iter() {
        let a = &found_gradients[name];
        let e = distance(a, b);
        assert!(e <= bound, "gradient of {name}, {what}: {e:e}");
        assert!(distance(a, &b.zeros_like().unwrap()) > 0.0);
    }
}
