//! Corners of the card's kernels for rows and single elements, emulated: sizes about those of
//! warps, vectors and chunks, unaligned tensors, and every combination of types.
//!
//! Each is compared with the CPU's kernels in f64, of the same numbers, and beside it a form with
//! one thing changed has to fail.

use super::DROP;
use crate::error::Result;
use crate::kernels::cuda::emulated;
use crate::kernels::inplace::{add_block, pad_columns, take_columns};
use crate::ops::activation::Activation;
use crate::ops::dropout::{self, Dropout};
use crate::ops::embedding::{Tables, embedding};
use crate::ops::gather;
use crate::ops::layer_norm::layer_norm;
use crate::ops::linear::columns;
use crate::ops::rescale::rescale;
use crate::ops::testing::{distance, evaluate, parameters};
use crate::tape::{Gradients, Parameter, Tape, Value};
use candle_core::{DType, Device, Tensor};

const TOKENS: [usize; 7] = [1, 31, 33, 63, 64, 65, 513];
const TYPES: [DType; 2] = [DType::F32, DType::BF16];

/// Round-offs of f32 in a sum of so many terms, and in the few steps around it.
fn single(terms: usize) -> f64 {
    (terms as f64 + 16.0) * 2.0_f64.powi(-24)
}

/// What rounding to bf16 adds to that: half a unit in the last place of eight bits, for each of
/// two results in turn.
fn bound(terms: usize, types: &[DType]) -> f64 {
    match types.contains(&DType::BF16) {
        true => single(terms) + 2.0_f64.powi(-8),
        false => single(terms),
    }
}

type Evaluated = (Vec<Tensor>, Gradients);

/// The largest distance of a result or a gradient.
fn farthest((found, gradients): &Evaluated, (expected, others): &Evaluated) -> f64 {
    let results = found.iter().zip(expected).map(|(a, b)| distance(a, b));
    let slopes = others.iter().map(|(name, b)| distance(&gradients[name], b));
    results.chain(slopes).fold(0.0, f64::max)
}

/// The emulated form, of inputs in these types, is near that of the CPU's kernels in f64 and the
/// control is not.
fn check<F: Fn(&Tape, &[Value]) -> Result<Vec<Value>>>(
    shapes: &[&[usize]],
    types: &[DType],
    bound: f64,
    [form, control]: [&F; 2],
) {
    let inputs: Vec<Parameter> = parameters(7, shapes, DType::F32)
        .into_iter()
        .zip(types)
        .map(|(p, dtype)| Parameter::new(&p.name, p.tensor.to_dtype(*dtype).unwrap(), true))
        .collect();
    let wide: Vec<Parameter> = inputs
        .iter()
        .map(|p| Parameter::new(&p.name, p.tensor.to_dtype(DType::F64).unwrap(), true))
        .collect();
    let expected = evaluate(&wide, form);
    let of = |form: &F| farthest(&emulated(|| evaluate(&inputs, form)), &expected);
    let (found, wrong) = (of(form), of(control));
    assert!(
        found <= bound,
        "{shapes:?} {types:?}: {found:e} > {bound:e}"
    );
    assert!(
        wrong > bound,
        "{shapes:?} {types:?}: the control passes: {wrong:e}"
    );
}

#[test]
fn layer_norm_of_every_width_and_number_of_rows() {
    let form =
        |eps| move |t: &Tape, v: &[Value]| Ok(vec![layer_norm(t, &v[0], &v[1], &v[2], eps)?]);
    let sizes = TOKENS.iter().map(|n| (*n, 36)).chain([
        (5, 7),
        (65, 33),
        (3, 64),
        (9, 127),
        (9, 1024),
        (2, 1028),
        (2, 1030),
        (33, 130),
    ]);
    for (n, d) in sizes {
        for weights in TYPES {
            let types = [DType::F32, weights, weights];
            let forms = [&form(1e-5), &form(0.3)];
            // the sums of a row, of its squares and of a column
            check(
                &[&[n, d], &[d], &[d]],
                &types,
                bound(n.max(d), &types),
                forms,
            );
        }
    }
}

/// A gradient that waits is passed on by a residual connection, or made by dropout.
#[test]
fn layer_norm_adds_its_gradient_to_one_that_waits() {
    let form = |passed: bool, eps: f64| {
        move |t: &Tape, v: &[Value]| {
            let y = layer_norm(t, &v[0], &v[1], &v[2], eps)?;
            let other = match passed {
                true => dropout::residual(t, &v[0], &v[3], Dropout::OFF)?,
                false => dropout::dropout(t, &v[0], DROP)?,
            };
            let unused = t.composed(&[&v[3]], |a| Ok(a[0].clone()))?;
            Ok(vec![y, other, unused])
        }
    };
    for (n, d) in [(1, 36), (33, 7), (65, 127), (9, 1024), (2, 1028), (2, 1030)] {
        for weights in TYPES {
            let types = [DType::F32, weights, weights, weights];
            let shapes: [&[usize]; 4] = [&[n, d], &[d], &[d], &[n, d]];
            for passed in [true, false] {
                let forms = [&form(passed, 1e-5), &form(passed, 0.3)];
                check(&shapes, &types, bound(n.max(d), &types), forms);
            }
        }
    }
}

/// An allocator gives a short tensor in 16 bits a place at eight bytes or at sixteen, as it comes:
/// the order of a row's sums must not hang on it.
#[test]
fn layer_norm_does_not_hang_on_where_its_weights_lie_in_memory() {
    let x = parameters(1, &[&[9, 36], &[48], &[48]], DType::F32);
    let bits = |dtype: DType, from: usize| {
        // the same numbers, so many places behind the beginning of their memory
        let at = |x: &Tensor| {
            let x = x.to_dtype(dtype).unwrap().narrow(0, 0, 36).unwrap();
            let before = Tensor::zeros(from, dtype, &Device::Cpu).unwrap();
            let all = Tensor::cat(&[&before, &x.contiguous().unwrap()], 0).unwrap();
            Value::constant(all.narrow(0, from, 36).unwrap())
        };
        let [w, b] = [1, 2].map(|i| at(&x[i].tensor));
        let x = Value::constant(x[0].tensor.clone());
        let y = emulated(|| layer_norm(&Tape::off(), &x, &w, &b, 1e-5).unwrap());
        let y = y
            .tensor
            .to_dtype(DType::F32)
            .unwrap()
            .flatten_all()
            .unwrap();
        let y: Vec<u32> = (y.to_vec1::<f32>().unwrap().iter())
            .map(|y| y.to_bits())
            .collect();
        y
    };
    assert_eq!(bits(DType::BF16, 0), bits(DType::BF16, 4));
    // in 32 bits four bytes are no place for a vector: other sums, as the test would see
    assert_ne!(bits(DType::F32, 0), bits(DType::F32, 1));
}

#[test]
fn layer_norm_of_one_column_is_its_bias() {
    let params = parameters(1, &[&[4, 1], &[1], &[1]], DType::F32);
    let (y, gradients) = emulated(|| {
        evaluate(&params, |t, v| {
            Ok(vec![layer_norm(t, &v[0], &v[1], &v[2], 1e-5)?])
        })
    });
    let bias = params[2].tensor.to_vec1::<f32>().unwrap()[0];
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(flat(&y[0]), [bias; 4]);
    assert_eq!(flat(&gradients["x0"]), [0.0; 4]);
    assert_eq!(flat(&gradients["x1"]), [0.0]);
    assert!(flat(&gradients["x2"])[0] != 0.0);
}

#[test]
fn layer_norm_with_frozen_tensors_has_the_gradients_of_the_others() {
    for trained in 0..3 {
        let of = |dtype| {
            let mut all = parameters(1, &[&[70, 40], &[40], &[40]], dtype);
            all.iter_mut().for_each(|p| p.trainable = false);
            all[trained].trainable = true;
            all
        };
        let form = |t: &Tape, v: &[Value]| Ok(vec![layer_norm(t, &v[0], &v[1], &v[2], 1e-5)?]);
        let found = emulated(|| evaluate(&of(DType::F32), form));
        assert_eq!(found.1.len(), 1);
        assert!(farthest(&found, &evaluate(&of(DType::F64), form)) <= single(70));
    }
}

#[test]
fn activations_of_every_number_of_elements() {
    use Activation::{GeluErf, GeluTanh, Relu, Tanh};
    let form = |a: Activation| move |t: &Tape, v: &[Value]| Ok(vec![a.apply(t, &v[0])?]);
    for (a, other) in [
        (GeluTanh, Tanh),
        (GeluErf, Relu),
        (Tanh, GeluErf),
        (Relu, GeluTanh),
    ] {
        for shape in [[1, 1], [1, 7], [3, 5], [1, 33], [65, 63], [513, 3]] {
            for dtype in TYPES {
                // slopes such as 1 − t² lose up to a hundred round-offs where they are small
                check(
                    &[&shape],
                    &[dtype],
                    bound(100, &[dtype]),
                    [&form(a), &form(other)],
                );
            }
        }
    }
    // two functions of the same kind are apart by more than a round-off of f32
    check(
        &[&[65, 63]],
        &[DType::F32],
        single(0),
        [&form(GeluTanh), &form(GeluErf)],
    );
}

#[test]
fn activations_keep_their_limits_far_from_zero() {
    let far = [-1e4_f32, -100.0, -20.0, 20.0, 100.0, 1e4, 0.0];
    for a in [
        Activation::GeluTanh,
        Activation::GeluErf,
        Activation::Tanh,
        Activation::Relu,
    ] {
        for dtype in TYPES {
            let x = Tensor::new(&far, &Device::Cpu)
                .unwrap()
                .to_dtype(dtype)
                .unwrap();
            let of = |x: &Tensor| [Parameter::new("x", x.clone(), true)];
            let form = |t: &Tape, v: &[Value]| Ok(vec![a.apply(t, &v[0])?]);
            let found = emulated(|| evaluate(&of(&x), form));
            let expected = evaluate(&of(&x.to_dtype(DType::F64).unwrap()), form);
            assert!(
                farthest(&found, &expected) <= bound(0, &[dtype]),
                "{a:?} {dtype:?}"
            );
        }
    }
}

fn bits(t: &Tensor) -> Vec<u32> {
    let t = t.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
    t.to_vec1::<f32>()
        .unwrap()
        .into_iter()
        .map(f32::to_bits)
        .collect()
}

#[test]
fn dropout_and_residual_are_those_of_the_cpu_to_the_bit() {
    let dropped = |drop| move |t: &Tape, v: &[Value]| Ok(vec![dropout::dropout(t, &v[0], drop)?]);
    let joined =
        |drop| move |t: &Tape, v: &[Value]| Ok(vec![dropout::residual(t, &v[0], &v[1], drop)?]);
    let same = |a: &Evaluated, b: &Evaluated| {
        bits(&a.0[0]) == bits(&b.0[0]) && b.1.iter().all(|(name, g)| bits(&a.1[name]) == bits(g))
    };
    for (n, d) in TOKENS
        .map(|n| (n, 12))
        .into_iter()
        .chain([(33, 1), (5, 31), (9, 130), (1, 999)])
    {
        let params = parameters(3, &[&[n, d], &[n, d]], DType::F32);
        for drop in [DROP, Dropout::new(0.9, 1)] {
            let one = &params[..1];
            let found = emulated(|| evaluate(one, dropped(drop)));
            assert!(same(&found, &evaluate(one, dropped(drop))), "{n} {d}");
            let found = emulated(|| evaluate(&params, joined(drop)));
            assert!(same(&found, &evaluate(&params, joined(drop))), "{n} {d}");
        }
        if n * d > 100 {
            let other = emulated(|| evaluate(&params, joined(DROP.at(1))));
            assert!(!same(&other, &evaluate(&params, joined(DROP))));
        }
        let found = emulated(|| evaluate(&params, joined(Dropout::OFF)));
        assert!(same(&found, &evaluate(&params, joined(Dropout::OFF))));
    }
}

#[test]
fn dropout_and_residual_of_halves_have_the_masks_of_the_cpu() {
    let form = |drop| {
        move |t: &Tape, v: &[Value]| {
            let x = dropout::dropout(t, &v[0], drop)?;
            Ok(vec![dropout::residual(t, &x, &v[1], drop)?])
        }
    };
    for shape in [[33, 12], [65, 31], [9, 136]] {
        for types in TYPES.map(|x| TYPES.map(|branch| [x, branch])).concat() {
            let bound = bound(0, &types);
            check(
                &[&shape, &shape],
                &types,
                bound,
                [&form(DROP), &form(DROP.at(1))],
            );
            check(
                &[&shape, &shape],
                &types,
                bound,
                [&form(Dropout::OFF), &form(DROP)],
            );
        }
    }
}

#[test]
fn columns_are_rescaled_taken_and_padded() {
    let scaled = |column| move |t: &Tape, v: &[Value]| Ok(vec![rescale(t, &v[0], &v[1], column)?]);
    let taken = |from| move |t: &Tape, v: &[Value]| Ok(vec![columns(t, &v[0], from, 8)?]);
    for n in TOKENS {
        for (total, width, column) in [(24, 8, 8), (24, 8, 16), (19, 8, 3), (9, 8, 0)] {
            for dtype in TYPES {
                let other = if column == 0 { 1 } else { column - 1 };
                let shapes: [&[usize]; 2] = [&[n, total], &[width]];
                check(
                    &shapes,
                    &[dtype; 2],
                    bound(n, &[dtype]),
                    [&scaled(column), &scaled(other)],
                );
                check(
                    &shapes[..1],
                    &[dtype],
                    bound(0, &[dtype]),
                    [&taken(column), &taken(other)],
                );
            }
        }
    }
}

/// The same elements, the first of which is not where a storage begins.
fn between_vectors(t: &Tensor) -> Tensor {
    let flat = t.flatten_all().unwrap();
    let flat = Tensor::cat(&[&flat.narrow(0, 0, 1).unwrap(), &flat], 0).unwrap();
    let later = flat.narrow(0, 1, t.elem_count()).unwrap();
    later.reshape(t.shape()).unwrap()
}

#[test]
fn tensors_may_begin_between_vectors() {
    let all = parameters(4, &[&[9, 32], &[9, 32], &[32], &[32], &[16]], DType::F32);
    for dtype in TYPES {
        let results = |moved: bool| {
            let value = |i: usize| {
                let t = all[i].tensor.to_dtype(dtype).unwrap();
                Value::constant(if moved { between_vectors(&t) } else { t })
            };
            let ([x, branch, w, b, l], t) = (std::array::from_fn(value), &Tape::off());
            let tables = Tables {
                tokens: &x,
                added: Some(&branch),
                positions: &branch,
            };
            vec![
                layer_norm(t, &x, &w, &b, 1e-5).unwrap(),
                Activation::GeluErf.apply(t, &x).unwrap(),
                dropout::dropout(t, &x, DROP).unwrap(),
                dropout::residual(t, &x, &branch, DROP).unwrap(),
                rescale(t, &x, &l, 8).unwrap(),
                columns(t, &x, 8, 16).unwrap(),
                embedding(t, tables, &[3, 11], None, &[1, 8]).unwrap(),
            ]
        };
        let found = emulated(|| [false, true].map(results));
        for (i, (a, b)) in found[0].iter().zip(&found[1]).enumerate() {
            let e = distance(&a.tensor, &b.tensor);
            assert!(e <= bound(32, &[dtype]), "{i} in {dtype:?}: {e:e}");
        }
    }
}

#[test]
fn blocks_are_added_in_place_and_padded_in_every_type_and_alignment() {
    for [n, total, width, column] in [
        [1, 1, 1, 0],
        [33, 24, 8, 16],
        [65, 24, 8, 3],
        [9, 17, 17, 0],
        [5, 640, 160, 320],
    ] {
        let both = parameters(5, &[&[n, total], &[n, width]], DType::F32);
        let into = |dtype| between_vectors(&both[0].tensor.to_dtype(dtype).unwrap());
        for (a, b) in TYPES.iter().flat_map(|a| TYPES.map(|b| (*a, b))) {
            let block = both[1].tensor.to_dtype(b).unwrap();
            let padded = block
                .pad_with_zeros(1, column, total - column - width)
                .unwrap();
            let exact = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
            let expected = (exact(&into(a)) + exact(&padded)).unwrap();
            let sum = emulated(|| add_block(into(a), &block, column)).unwrap();
            assert_eq!(sum.dtype(), a);
            assert!(
                distance(&sum, &expected) <= bound(0, &[a]),
                "{a:?} += {b:?}"
            );
            assert!(distance(&into(a), &expected) > bound(0, &[a]));
            let found = emulated(|| pad_columns(&block, column, total)).unwrap();
            assert_eq!(found.dtype(), b);
            assert_eq!(bits(&found), bits(&padded));
        }
    }
}

#[test]
fn embeddings_add_up_the_gradients_of_few_and_of_many_lookups() {
    for n in TOKENS {
        // one row has most of the lookups, as a segment's has; some have none
        let ids: Vec<u32> = (0..n as u32)
            .map(|i| if i % 3 == 0 { 6 } else { i % 5 })
            .collect();
        let segments: Vec<u32> = (0..n as u32).map(|i| 5 + i % 2).collect();
        let positions: Vec<u32> = (0..n as u32).map(|i| i % 7).collect();
        let form = |shift: u32, segments: Option<Vec<u32>>| {
            let positions: Vec<u32> = positions.iter().map(|p| p + shift).collect();
            let ids = ids.clone();
            move |t: &Tape, v: &[Value]| {
                let tables = Tables {
                    tokens: &v[0],
                    added: Some(&v[1]),
                    positions: &v[2],
                };
                Ok(vec![embedding(
                    t,
                    tables,
                    &ids,
                    segments.as_deref(),
                    &positions,
                )?])
            }
        };
        for d in [1, 12, 33, 136] {
            for dtype in TYPES {
                let shapes: [&[usize]; 3] = [&[6, d], &[3, d], &[9, d]];
                for segments in [None, Some(segments.clone())] {
                    let forms = [&form(0, segments.clone()), &form(1, segments)];
                    check(&shapes, &[dtype; 3], bound(2 * n, &[dtype]), forms);
                }
            }
        }
        check(
            &[&[6, 12], &[3, 12], &[9, 12]],
            &[DType::BF16, DType::F32, DType::BF16],
            bound(2 * n, &[DType::BF16]),
            [&form(0, None), &form(1, None)],
        );
    }
}

#[test]
fn gathered_rows_add_up_their_gradients() {
    let form = |last: u32| {
        move |t: &Tape, v: &[Value]| {
            let mut indices: Vec<u32> = (0..513).map(|i| [2, 0, 2, 2, 3][i % 5]).collect();
            indices[512] = last;
            Ok(vec![gather::gather_rows(t, &v[0], &indices)?])
        }
    };
    for dtype in [DType::F32, DType::BF16] {
        check(
            &[&[5, 12]],
            &[dtype],
            bound(513, &[dtype]),
            [&form(4), &form(1)],
        );
    }
}

#[test]
fn columns_that_a_matrix_does_not_have_are_refused_by_a_cards_kernels_too() {
    let x = &parameters(2, &[&[5, 7]], DType::F32)[0].tensor;
    for from in [0, 3] {
        let found = emulated(|| take_columns(x, from, 4)).unwrap();
        assert_eq!(distance(&found, &x.narrow(1, from, 4).unwrap()), 0.0);
    }
    for (from, width) in [(4, 4), (7, 1)] {
        assert!(take_columns(x, from, width).is_err());
        assert!(emulated(|| take_columns(x, from, width)).is_err());
    }
}
