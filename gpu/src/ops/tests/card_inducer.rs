//! The inducer's kernels of a card at the corners of their sizes: rows that fill no tile, heads of
//! odd widths, hidden units that fill no group, and more of them than shared memory holds at once.

use crate::error::Result;
use crate::kernels::{cuda, without_cpu_kernels};
use crate::ops::attention::Heads;
use crate::ops::inducer;
use crate::ops::testing::{BOUND_BF16, distance, evaluate, parameters};
use crate::tape::{Gradients, Parameter, Tape, Value};
use candle_core::{DType, Device, Tensor};

type Form = fn(&Tape, &[Value], Heads) -> Result<Value>;

/// An operation: the shapes of its inputs, the first of which is [tokens, 3d] or [tokens, d].
struct Operation {
    name: &'static str,
    form: Form,
    shapes: Vec<Vec<usize>>,
}

fn operations(tokens: usize, heads: Heads, r: usize) -> Vec<Operation> {
    let (h, p, d) = (heads.count, heads.width, heads.hidden());
    let key: Form = |t, v, heads| {
        let key = v[1..].try_into().ok();
        inducer::inducer_score(t, &v[0], heads, key)
    };
    let of = |name, form, shapes: &[&[usize]]| Operation {
        name,
        form,
        shapes: shapes.iter().map(|s| s.to_vec()).collect(),
    };
    let (qkv, one, own) = ([tokens, 3 * d], [tokens, h], [tokens, d]);
    vec![
        of(
            "score with MLP_k",
            key,
            &[&qkv, &[h, p, r], &[h, r], &[h, r, p], &[h, p]],
        ),
        of("score", key, &[&qkv]),
        of(
            "gated hidden units",
            |t, v, heads| inducer::gated_hidden(t, &v[0], &v[1], &v[2], &v[3], heads),
            &[&qkv, &one, &[h, p, r], &[h, r]],
        ),
        of(
            "gated values",
            |t, v, heads| inducer::add_gated_values(t, &v[0], &v[1], &v[2], &v[3], &v[4], heads),
            &[&own, &[tokens, h * r], &one, &[h, r, p], &[h, p]],
        ),
        of(
            "complement",
            |t, v, heads| inducer::scale_by_complement(t, &v[0], &v[1], heads),
            &[&own, &one],
        ),
        of(
            "mixture",
            |t, v, heads| inducer::mixture(t, &v[0], &v[1], &v[2], heads),
            &[&own, &own, &one],
        ),
        of(
            "gate",
            |t, v, _| inducer::gate(t, &v[0], &v[1]),
            &[&one, &one],
        ),
        of(
            "joint",
            |t, v, _| inducer::joint(t, &v[0], &v[1]),
            &[&one, &one],
        ),
    ]
}

type Found = (Vec<Tensor>, Gradients);

/// The greatest distance among results and gradients.
fn worst((found, gradients): &Found, (expected, others): &Found) -> f64 {
    let results = found.iter().zip(expected).map(|(a, b)| distance(a, b));
    let slopes = others.iter().map(|(name, b)| distance(&gradients[name], b));
    results.chain(slopes).fold(0.0, f64::max)
}

fn doubled(parameters: &[Parameter]) -> Vec<Parameter> {
    let double =
        |p: &Parameter| Parameter::new(&p.name, p.tensor.to_dtype(DType::F64).unwrap(), true);
    parameters.iter().map(double).collect()
}

/// The same with x made 1 − x in what one of them has for its last token or head.
fn changed(parameters: &[Parameter], which: usize) -> Vec<Parameter> {
    let mut all = doubled(parameters);
    let t = &all[which].tensor;
    let shape = t.shape().clone();
    let mut numbers: Vec<f64> = t.flatten_all().unwrap().to_vec1().unwrap();
    let kept = numbers.len() - numbers.len() / shape.dims()[0];
    numbers[kept..].iter_mut().for_each(|x| *x = 1.0 - *x);
    all[which].tensor = Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap();
    all
}

/// Against the CPU's kernels in f64, of the same numbers.
///
/// Bounds: in f32 2⁻²⁴ for each term of the sums that follow one another (over p twice,
/// over r and over the tokens), relative to the greatest; in bf16 that of `agree`.
fn corner(tokens: usize, heads: Heads, r: usize) {
    for op in operations(tokens, heads, r) {
        for dtype in [DType::F32, DType::BF16] {
            corner_of(&op, [tokens, r], heads, dtype);
        }
    }
}

fn corner_of(op: &Operation, [tokens, r]: [usize; 2], heads: Heads, dtype: DType) {
    let run = |params: &[Parameter]| evaluate(params, |t, v| Ok(vec![(op.form)(t, v, heads)?]));
    let shapes: Vec<&[usize]> = op.shapes.iter().map(Vec::as_slice).collect();
    let terms = tokens + 2 * heads.width + r + 16;
    let bound = match dtype {
        DType::BF16 => BOUND_BF16,
        _ => terms as f64 * 2.0_f64.powi(-24),
    };
    let params = parameters(tokens as u64, &shapes, dtype);
    let found = cuda::emulated(|| run(&params));
    let error = worst(&found, &run(&doubled(&params)));
    let what = format!("{} of {tokens}, {heads:?}, {r}, {dtype:?}", op.name);
    assert!(error <= bound, "{what}: {error:e} > {bound:e}");
    for which in 0..params.len() {
        if dtype == DType::BF16 {
            break;
        }
        let error = worst(&found, &run(&changed(&params, which)));
        assert!(
            error > bound,
            "{what}: input {which} does not matter: {error:e}"
        );
    }
}

#[test]
fn rows_that_fill_no_tile_agree_with_the_cpu() {
    for tokens in [1, 31, 33, 63, 64, 65, 513] {
        corner(
            tokens,
            Heads {
                count: 2,
                width: 24,
            },
            10,
        );
    }
}

#[test]
fn heads_of_any_width_with_any_number_of_hidden_units_agree_with_the_cpu() {
    for (count, width, r) in [
        (1, 1, 1),
        (3, 5, 2),
        (2, 40, 15),
        (1, 64, 16),
        (2, 63, 31),
        (1, 64, 32),
        (1, 65, 33),
        (2, 128, 100),
        (1, 129, 3),
    ] {
        corner(70, Heads { count, width }, r);
    }
}

/// Weights' gradients of many heads with many hidden units: a block goes over more than one tile of
/// tokens, as it does wherever a card is full.
#[test]
fn many_heads_with_many_hidden_units_agree_with_the_cpu() {
    let heads = Heads {
        count: 33,
        width: 8,
    };
    let with_weights = operations(513, heads, 100).into_iter();
    let with_weights = with_weights.filter(|op| op.shapes.len() > 3);
    for (op, dtype) in with_weights.zip([DType::F32, DType::BF16, DType::F32]) {
        corner_of(&op, [513, 100], heads, dtype);
    }
}

#[test]
fn one_element_agrees_with_the_cpu() {
    corner(1, Heads { count: 1, width: 1 }, 1);
}

#[test]
fn a_frozen_input_gets_no_gradient_and_the_others_have_theirs() {
    let (tokens, heads, r) = (33, Heads { count: 2, width: 8 }, 3);
    for op in operations(tokens, heads, r) {
        let shapes: Vec<&[usize]> = op.shapes.iter().map(Vec::as_slice).collect();
        let run = |params: &[Parameter]| evaluate(params, |t, v| Ok(vec![(op.form)(t, v, heads)?]));
        for trainable in 0..shapes.len() {
            let mut params = parameters(3, &shapes, DType::F32);
            let all = cuda::emulated(|| run(&params));
            for (i, p) in params.iter_mut().enumerate() {
                p.trainable = i == trainable;
            }
            let one = cuda::emulated(|| run(&params));
            let names: Vec<_> = one.1.keys().cloned().collect();
            assert_eq!(names, [format!("x{trainable}")], "{}", op.name);
            assert_eq!(worst(&one, &one), 0.0);
            assert_eq!(distance(&one.1[&names[0]], &all.1[&names[0]]), 0.0);
        }
    }
}

#[test]
fn the_gates_slope_keeps_its_digits_on_a_card() {
    // λ(1 − λ) at s − LSE = ±60, where λ itself rounds to 1
    for sign in [-1.0_f32, 1.0] {
        let tensor = |x: f32| Tensor::new(&[[x]], &Device::Cpu).unwrap();
        let params = [30.0, -30.0].map(|x| Parameter::new(format!("{x}"), tensor(sign * x), true));
        let (_, gradients) =
            cuda::emulated(|| evaluate(&params, |t, v| Ok(vec![inducer::gate(t, &v[0], &v[1])?])));
        let number = |t: &Tensor| t.sum_all().unwrap().to_scalar::<f32>().unwrap();
        let (slope, other) = (number(&gradients["30"]), number(&gradients["-30"]));
        let weight = 5.0 / 8.0 - 1.0; // of the only result in `evaluate`
        let exact = weight * (-60.0_f64).exp();
        assert!(
            (f64::from(slope) - exact).abs() / exact.abs() < 1e-6,
            "{slope:e}"
        );
        assert_eq!(slope, -other);
    }
}

/// What autocast gives: numbers of tokens and heads in f32, the rest in bf16.
fn mixed(parameters: Vec<Parameter>, [tokens, count]: [usize; 2]) -> Vec<Parameter> {
    let of = |p: Parameter| match p.tensor.dims() == [tokens, count] {
        true => p,
        false => Parameter::new(&p.name, p.tensor.to_dtype(DType::BF16).unwrap(), true),
    };
    parameters.into_iter().map(of).collect()
}

#[test]
fn in_mixed_precision_types_are_those_of_the_composed_form_and_numbers_agree() {
    let (tokens, heads, r) = (
        70,
        Heads {
            count: 2,
            width: 24,
        },
        10,
    );
    for op in operations(tokens, heads, r) {
        let run = |params: &[Parameter]| evaluate(params, |t, v| Ok(vec![(op.form)(t, v, heads)?]));
        let shapes: Vec<&[usize]> = op.shapes.iter().map(Vec::as_slice).collect();
        let params = mixed(parameters(5, &shapes, DType::F32), [tokens, heads.count]);
        let found = cuda::emulated(|| run(&params));
        let composed = without_cpu_kernels(|| run(&params));
        assert_eq!(found.0[0].dtype(), composed.0[0].dtype(), "{}", op.name);
        for p in &params {
            let (slope, other) = (&found.1[&p.name], &composed.1[&p.name]);
            assert_eq!(
                [slope.dtype(), other.dtype()],
                [p.tensor.dtype(); 2],
                "{}",
                op.name
            );
        }
        let error = worst(&found, &run(&doubled(&params)));
        assert!(error <= BOUND_BF16, "{}: {error:e}", op.name);
    }
}
