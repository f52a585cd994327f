//! Corners of a card's kernels for the loss, linear maps and argmax, emulated, against the CPU's
//! own in f64.

use crate::kernels::cuda::emulated;
use crate::ops::argmax::argmax;
use crate::ops::cross_entropy::{Head, cross_entropy, in_chunks};
use crate::ops::linear::{Layout, Linear};
use crate::ops::testing::{distance, evaluate, parameters};
use crate::tape::{Parameter, Tape, Value};
use candle_core::{DType, Device, Tensor};

/// Error of a sum of n terms in f32 and of a few roundings around it, where the terms are four
/// times what comes out.
pub(super) fn bound(n: usize) -> f64 {
    4.0 * (n + 8) as f64 * 2.0_f64.powi(-24)
}

/// Half an ulp of bf16 for each of four roundings.
const HALVES: f64 = 4.0 / 512.0;

pub(super) fn retyped(params: &[Parameter], types: &[DType]) -> Vec<Parameter> {
    let each = params.iter().zip(types.iter().cycle());
    each.map(|(p, dtype)| {
        let tensor = p.tensor.to_dtype(*dtype).unwrap();
        Parameter::new(&p.name, tensor, p.trainable)
    })
    .collect()
}

/// The largest distance of the results of `f` and of their gradients, emulated with inputs of these
/// types, from those of `reference` in f64.
fn apart(
    params: &[Parameter],
    types: &[DType],
    f: impl Fn(&Tape, &[Value]) -> crate::Result<Vec<Value>>,
    reference: impl Fn(&Tape, &[Value]) -> crate::Result<Vec<Value>>,
) -> f64 {
    let given = retyped(params, types);
    let (found, gradients) = emulated(|| evaluate(&given, f));
    let (expected, of_f64) = evaluate(&retyped(&given, &[DType::F64]), reference);
    assert_eq!(gradients.len(), of_f64.len());
    let results = found.iter().zip(&expected).map(|(a, b)| distance(a, b));
    let slopes = of_f64.iter().map(|(name, b)| {
        let a = &gradients[name];
        assert_eq!(
            a.dtype(),
            given
                .iter()
                .find(|p| p.name == *name)
                .unwrap()
                .tensor
                .dtype()
        );
        distance(a, b)
    });
    results.chain(slopes).fold(0.0, f64::max)
}

pub(super) const F32: &[DType] = &[DType::F32];
const BF16: &[DType] = &[DType::BF16];

#[test]
fn linear_maps_of_any_size_have_the_values_and_gradients_of_the_cpu() {
    for (i, rows) in [1, 31, 33, 63, 64, 65, 513].into_iter().enumerate() {
        let [input, output] = [
            [1, 1],
            [5, 3],
            [8, 33],
            [3, 129],
            [16, 64],
            [7, 260],
            [4, 130],
        ][i];
        for (column, more) in [(0, 0), (0, 5), (3, 0), (4, 4), (1, 6)] {
            let total = column + output + more;
            let shapes: [&[usize]; 4] =
                [&[rows, input], &[output, input], &[output], &[rows, total]];
            let params = parameters(i as u64, &shapes, DType::F64);
            let map = |scale: f64| {
                move |t: &Tape, v: &[Value]| {
                    let map = Linear::torch(&v[1], Some(&v[2])).scaled(scale);
                    Ok(vec![map.onto(&v[3], column).apply(t, &v[0])?])
                }
            };
            let what = format!("{rows} rows, {input} to {output} at {column} of {total}");
            let n = rows.max(input).max(output);
            for (types, bound) in [
                (F32, bound(n)),
                (BF16, HALVES),
                // the residual stream and the inputs are f32
                (&[DType::F32, DType::BF16, DType::BF16, DType::F32], HALVES),
                (&[DType::BF16, DType::F32, DType::F32, DType::BF16], HALVES),
            ] {
                for scale in [1.0, 0.7] {
                    let e = apart(&params, types, map(scale), map(scale));
                    assert!(
                        e <= bound,
                        "{what}, {types:?}, scale {scale}: {e:e} > {bound:e}"
                    );
                }
                // of a single row the weights of `evaluate` may be zero
                let e = apart(&params, types, map(0.7), map(0.75));
                assert!(
                    rows == 1 || e > bound,
                    "{what}, {types:?}: another scale is not seen"
                );
            }
        }
    }
}

#[test]
fn linear_maps_without_bias_or_sum_and_of_frozen_operands_are_those_of_the_cpu() {
    for layout in [Layout::InOut, Layout::OutIn] {
        let weight: &[usize] = if layout == Layout::InOut {
            &[5, 33]
        } else {
            &[33, 5]
        };
        for frozen in 0..4 {
            let mut params = parameters(frozen, &[&[65, 5], weight, &[33]], DType::F64);
            if let Some(p) = params.get_mut(frozen as usize) {
                p.trainable = false;
            }
            for (biased, scale) in [(false, 1.0), (true, 1.0), (false, 0.3), (true, 0.3)] {
                let map = |t: &Tape, v: &[Value]| {
                    let bias = biased.then_some(&v[2]);
                    let map = Linear::new(layout, &v[1], bias).scaled(scale);
                    let y = map.apply(t, &v[0])?;
                    // a second use of the input, so that its gradients are added
                    Ok(vec![y, map.scaled(1.0).apply(t, &v[0])?])
                };
                for (types, bound) in [(F32, bound(65)), (BF16, 2.0 * HALVES)] {
                    let e = apart(&params, types, map, map);
                    assert!(e <= bound, "{layout:?}, {frozen} frozen, {types:?}: {e:e}");
                }
            }
        }
    }
}

fn head(v: &[Value]) -> Head {
    Head {
        tokens: v[1].clone(),
        added: v.get(2).cloned(),
        in_bf16: false,
    }
}

/// Targets of so many tokens, of which some are at one position and some positions have none.
fn targets(tokens: usize, ids: usize, count: usize) -> Vec<(usize, u32)> {
    let at = |i: usize| (i * i * 7 + i) % tokens;
    (0..count).map(|i| (at(i), (i * 37 % ids) as u32)).collect()
}

#[test]
fn losses_of_any_size_have_the_values_and_gradients_of_the_cpu() {
    let sizes = [
        (1, 1, 1, 1),
        (31, 5, 31, 33),
        (33, 8, 63, 31),
        (64, 3, 64, 65),
        (65, 12, 65, 64),
        (9, 33, 513, 200),
        (65, 12, 70, 1),
        (200, 16, 2100, 40),
    ];
    for (i, (tokens, d, ids, count)) in sizes.into_iter().enumerate() {
        for special in [0, 3] {
            let shapes: [&[usize]; 3] = [&[tokens, d], &[ids, d], &[special, d]];
            let shapes = &shapes[..if special == 0 { 2 } else { 3 }];
            let params = parameters(i as u64, shapes, DType::F64);
            let targets = targets(tokens, ids + special, count);
            for smoothing in [0.0, 0.1] {
                let loss = |smoothing: f64| {
                    let targets = targets.clone();
                    move |t: &Tape, v: &[Value]| {
                        Ok(vec![cross_entropy(
                            t,
                            &v[0],
                            &head(v),
                            &targets,
                            smoothing,
                        )?])
                    }
                };
                let what = format!("{tokens} × {d}, {ids} + {special} ids, {count} targets");
                for (types, bound) in [
                    (F32, bound(d + count)),
                    // logits of up to 4 √d are rounded to 2⁻⁹ of themselves
                    (BF16, HALVES * 4.0 * (d as f64).sqrt()),
                    (
                        &[DType::F32, DType::BF16, DType::BF16],
                        HALVES * 4.0 * (d as f64).sqrt(),
                    ),
                    // logits of a table in f32 are not rounded, but the gradient is
                    (&[DType::BF16, DType::F32, DType::F32], HALVES),
                    (
                        &[DType::BF16, DType::BF16, DType::F32],
                        HALVES * 4.0 * (d as f64).sqrt(),
                    ),
                ] {
                    let e = apart(&params, types, loss(smoothing), loss(smoothing));
                    assert!(
                        e <= bound,
                        "{what}, {types:?}, {smoothing}: {e:e} > {bound:e}"
                    );
                }
                if ids + special > 1 {
                    let e = apart(&params, F32, loss(smoothing), loss(smoothing + 0.01));
                    assert!(
                        e > bound(d + count),
                        "{what}: another smoothing is not seen"
                    );
                }
            }
        }
    }
}

#[test]
fn a_loss_in_chunks_is_the_loss() {
    // 64 logits of 4 bytes a row: chunks of at most 1, 7 and 40 targets
    let params = parameters(3, &[&[20, 6], &[50, 6], &[3, 6]], DType::F64);
    let targets = targets(20, 53, 40);
    for rows in [1, 7, 40] {
        for (types, bytes, bound) in [(F32, 256, bound(60)), (BF16, 128, 10.0 * HALVES)] {
            let e = apart(
                &params,
                types,
                |t, v| {
                    Ok(vec![in_chunks(
                        t,
                        &v[0],
                        &head(v),
                        &targets,
                        0.1,
                        rows * bytes,
                    )?])
                },
                |t, v| Ok(vec![cross_entropy(t, &v[0], &head(v), &targets, 0.1)?]),
            );
            assert!(e <= bound, "{rows} rows, {types:?}: {e:e}");
        }
        let e = apart(
            &params,
            F32,
            |t, v| {
                Ok(vec![in_chunks(
                    t,
                    &v[0],
                    &head(v),
                    &targets,
                    0.1,
                    rows * 256,
                )?])
            },
            |t, v| Ok(vec![cross_entropy(t, &v[0], &head(v), &targets[1..], 0.1)?]),
        );
        assert!(e > bound(60), "a target that is missing is not seen");
    }
}

#[test]
fn a_loss_of_frozen_tables_or_hidden_states_has_the_other_gradients() {
    for frozen in 0..8_u32 {
        let mut params = parameters(4, &[&[20, 6], &[50, 6], &[3, 6], &[1]], DType::F64);
        for (i, p) in params.iter_mut().take(3).enumerate() {
            p.trainable = frozen >> i & 1 == 0;
        }
        let targets = targets(20, 53, 40);
        let loss = |t: &Tape, v: &[Value]| {
            let loss = cross_entropy(t, &v[0], &head(&v[..3]), &targets, 0.1)?;
            // with all frozen the tape would have nothing
            Ok(vec![loss, v[3].clone()])
        };
        for rows in [7, 40] {
            let chunked = |t: &Tape, v: &[Value]| {
                let loss = in_chunks(t, &v[0], &head(&v[..3]), &targets, 0.1, rows * 256)?;
                Ok(vec![loss, v[3].clone()])
            };
            let e = apart(&params, F32, chunked, loss);
            assert!(e <= bound(60), "frozen {frozen:b}: {e:e}");
        }
    }
}

#[test]
fn a_target_that_does_not_exist_is_refused() {
    let params = parameters(0, &[&[4, 6], &[5, 6]], DType::F32);
    emulated(|| {
        let tape = Tape::off();
        let v: Vec<Value> = params.iter().map(|p| tape.parameter(p).unwrap()).collect();
        let loss = |target| cross_entropy(&tape, &v[0], &head(&v), &[target], 0.0);
        assert!(loss((3, 4)).is_ok());
        for target in [(4, 0), (0, 5)] {
            let message = loss(target).err().unwrap().to_string();
            assert!(message.contains("4 positions and 5 ids"), "{message}");
        }
    });
}

#[test]
fn what_is_no_number_or_without_end_is_in_the_loss() {
    for (value, finite) in [(1.0_f32, true), (f32::NAN, false), (f32::INFINITY, false)] {
        let hidden = Tensor::full(value, (2, 3), &Device::Cpu).unwrap();
        let table = parameters(1, &[&[40, 3]], DType::F32).remove(0).tensor;
        let v = [hidden, table].map(Value::constant);
        let loss =
            emulated(|| cross_entropy(&Tape::off(), &v[0], &head(&v), &[(1, 5)], 0.1)).unwrap();
        let loss: f32 = loss.tensor.to_scalar().unwrap();
        assert_eq!(loss.is_finite(), finite, "{value}: {loss}");
    }
}

#[test]
fn the_largest_logit_is_the_lowest_of_equal_ones_as_on_the_cpu() {
    let of = |row: &[f32]| Tensor::from_slice(row, (1, row.len()), &Device::Cpu).unwrap();
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let rows = [
        vec![7.0],
        vec![-inf; 5],
        vec![nan, 3.0, 4.0],
        vec![-inf, nan, -inf, -3.0, -3.0],
        vec![nan; 40],
        vec![0.0, -0.0, inf, inf],
        (0..1000).map(|i| (i % 63) as f32).collect(),
        (0..9000)
            .map(|i| ((i * 7919) % 8999) as f32 / 64.0)
            .collect(),
        (0..2049)
            .map(|i| if i < 2048 { -inf } else { -1.0 })
            .collect(),
    ];
    for row in &rows {
        for dtype in [DType::F32, DType::BF16] {
            let t = of(row).to_dtype(dtype).unwrap();
            let expected = argmax(&t).unwrap();
            assert_eq!(
                emulated(|| argmax(&t)).unwrap(),
                expected,
                "{dtype:?} {row:?}"
            );
        }
    }
    // the control: places are told apart
    assert_eq!(emulated(|| argmax(&of(&rows[6]))).unwrap(), [62]);
    for width in [1, 31, 33, 63, 64, 65, 513] {
        let many = parameters(width as u64, &[&[33, width]], DType::F32).remove(0);
        let found = emulated(|| argmax(&many.tensor)).unwrap();
        assert_eq!(found, argmax(&many.tensor).unwrap(), "{width}");
    }
}
