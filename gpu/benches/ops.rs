//! Each fused operation, forward and backward, against the same function in candle's own
//! operations, as any other device runs it: `cargo bench -p inducer-gpu`.
//!
//! Sizes of GPT-2 small with 512 tokens in three rows; the threads of the machine.

use candle_core::{DType, Device, Tensor};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use inducer_gpu::kernels::without_cpu_kernels;
use inducer_gpu::ops::activation::Activation;
use inducer_gpu::ops::attention::{Heads, Rows, Visible, attention};
use inducer_gpu::ops::cross_entropy::{Head, cross_entropy};
use inducer_gpu::ops::dropout::Dropout;
use inducer_gpu::ops::inducer::{gated_hidden, inducer_score};
use inducer_gpu::ops::layer_norm::layer_norm;
use inducer_gpu::ops::linear::Linear;
use inducer_gpu::{Parameter, Result, Tape, Value};

const TOKENS: usize = 512;
const HEADS: Heads = Heads {
    count: 12,
    width: 64,
};
const ROWS: Rows<'_> = Rows {
    heads: HEADS,
    offsets: &[0, TOKENS / 4, TOKENS / 2, TOKENS],
    visible: Visible::Causal,
};

fn random(name: &str, shape: &[usize], trainable: bool) -> Parameter {
    let init = inducer_gpu::tensors::Init::Normal(0.1);
    let tensor = init.tensor(1, name, shape, DType::F32, &Device::Cpu);
    Parameter::new(name, tensor.unwrap_or_else(|e| panic!("{e}")), trainable)
}

fn trained(name: &str, shape: &[usize]) -> Parameter {
    random(name, shape, true)
}

fn frozen(name: &str, shape: &[usize]) -> Parameter {
    random(name, shape, false)
}

/// One forward and, with `backward`, one backward pass of `f`.
fn pass(
    parameters: &[Parameter],
    f: &dyn Fn(&Tape, &[Value]) -> Result<Value>,
    backward: bool,
) -> Result<Option<Tensor>> {
    let tape = if backward { Tape::new() } else { Tape::off() };
    let values: Vec<Value> = parameters
        .iter()
        .map(|p| tape.parameter(p))
        .collect::<Result<_>>()?;
    let y = f(&tape, &values)?;
    if !backward {
        return Ok(None);
    }
    let ones = y.tensor.ones_like()?;
    let loss = tape.composed(&[&y], |a| (&a[0] * &ones)?.sum_all())?;
    let gradients = tape.backward(&loss, parameters)?;
    Ok(gradients.values().next().cloned())
}

type Form = Box<dyn Fn(&Tape, &[Value]) -> Result<Value>>;

fn compare(c: &mut Criterion, name: &str, parameters: &[Parameter], fused: Form, tensors: Form) {
    let mut group = c.benchmark_group(name);
    group.sample_size(10);
    for (form, f) in [("fused", fused), ("tensors", tensors)] {
        for (direction, backward) in [("forward", false), ("forward+backward", true)] {
            group.bench_function(BenchmarkId::new(direction, form), |b| {
                b.iter(|| pass(parameters, &f, backward).unwrap_or_else(|e| panic!("{e}")));
            });
        }
    }
    group.finish();
}

fn backbone(c: &mut Criterion) {
    let d = HEADS.hidden();
    compare(
        c,
        "attention",
        &[trained("qkv", &[TOKENS, 3 * d])],
        Box::new(|t, v| Ok(attention(t, &v[0], ROWS, Dropout::OFF)?.0)),
        Box::new(|t, v| without_cpu_kernels(|| Ok(attention(t, &v[0], ROWS, Dropout::OFF)?.0))),
    );
    compare(
        c,
        "linear-frozen",
        &[
            trained("x", &[TOKENS, d]),
            frozen("w", &[d, 4 * d]),
            frozen("b", &[4 * d]),
        ],
        Box::new(|t, v| Linear::conv1d(&v[1], &v[2]).apply(t, &v[0])),
        Box::new(|t, v| without_cpu_kernels(|| Linear::conv1d(&v[1], &v[2]).apply(t, &v[0]))),
    );
    compare(
        c,
        "layer-norm",
        &[
            trained("x", &[TOKENS, d]),
            frozen("w", &[d]),
            frozen("b", &[d]),
        ],
        Box::new(|t, v| layer_norm(t, &v[0], &v[1], &v[2], 1e-5)),
        Box::new(|t, v| without_cpu_kernels(|| layer_norm(t, &v[0], &v[1], &v[2], 1e-5))),
    );
    compare(
        c,
        "gelu",
        &[trained("x", &[TOKENS, 4 * d])],
        Box::new(|t, v| Activation::GeluTanh.apply(t, &v[0])),
        Box::new(|t, v| without_cpu_kernels(|| Activation::GeluTanh.apply(t, &v[0]))),
    );
    let targets: Vec<(usize, u32)> = (0..TOKENS / 3).map(|t| (3 * t, 7 * t as u32)).collect();
    let again = targets.clone();
    compare(
        c,
        "cross-entropy",
        &[trained("h", &[TOKENS, d]), frozen("wte", &[50_257, d])],
        Box::new(move |t, v| cross_entropy(t, &v[0], &head(&v[1]), &targets, 0.1)),
        Box::new(move |t, v| {
            without_cpu_kernels(|| cross_entropy(t, &v[0], &head(&v[1]), &again, 0.1))
        }),
    );
}

fn head(tokens: &Value) -> Head {
    Head {
        tokens: tokens.clone(),
        added: None,
        in_bf16: false,
    }
}

fn inducer(c: &mut Criterion) {
    let (h, p, r, d) = (HEADS.count, HEADS.width, 15, HEADS.hidden());
    compare(
        c,
        "inducer-score",
        &[
            trained("qkv", &[TOKENS, 3 * d]),
            trained("a", &[h, p, 10]),
            trained("ab", &[h, 10]),
            trained("c", &[h, 10, p]),
            trained("cb", &[h, p]),
        ],
        Box::new(|t, v| inducer_score(t, &v[0], HEADS, v[1..].try_into().ok())),
        Box::new(|t, v| {
            without_cpu_kernels(|| inducer_score(t, &v[0], HEADS, v[1..].try_into().ok()))
        }),
    );
    compare(
        c,
        "inducer-hidden",
        &[
            trained("qkv", &[TOKENS, 3 * d]),
            trained("lambda", &[TOKENS, h]),
            trained("down", &[h, p, r]),
            trained("bias", &[h, r]),
        ],
        Box::new(|t, v| gated_hidden(t, &v[0], &v[1], &v[2], &v[3], HEADS)),
        Box::new(|t, v| without_cpu_kernels(|| gated_hidden(t, &v[0], &v[1], &v[2], &v[3], HEADS))),
    );
}

criterion_group!(benches, backbone, inducer);
criterion_main!(benches);
