//! Everything but attention: linear maps, norms, activations, embeddings, losses.

use super::{DROP, composed};
use crate::error::Result;
use crate::kernels::{cuda, without_cpu_kernels};
use crate::ops::activation::Activation;
use crate::ops::cross_entropy::{self, Head};
use crate::ops::dropout::{self, Dropout};
use crate::ops::embedding::{self, Tables};
use crate::ops::gather;
use crate::ops::layer_norm;
use crate::ops::linear::{Layout, Linear};
use crate::ops::rescale::rescale;
use crate::ops::testing::{agree, distance, evaluate, parameters};
use crate::tape::{Parameter, Tape, Value};
use approx::assert_abs_diff_eq;
use candle_core::{DType, Device, Tensor};

#[test]
fn linear_agrees_with_candle() {
    fn conv(v: &[Value]) -> Linear<'_> {
        Linear::conv1d(&v[1], &v[2]).scaled(0.7).onto(&v[3], 2)
    }
    agree(
        &[&[7, 4], &[4, 6], &[6], &[7, 11]],
        |t, v| Ok(vec![conv(v).apply(t, &v[0])?]),
        |t, v| Ok(vec![composed::linear(conv(v), t, &v[0])?]),
    );
    fn torch(v: &[Value]) -> Linear<'_> {
        Linear {
            layout: Layout::OutIn,
            ..Linear::torch(&v[1], None)
        }
    }
    agree(
        &[&[7, 4], &[6, 4]],
        |t, v| Ok(vec![torch(v).apply(t, &v[0])?]),
        |t, v| Ok(vec![composed::linear(torch(v), t, &v[0])?]),
    );
}

/// What happens to hidden units between two maps.
#[derive(Clone, Copy)]
enum Between {
    Nothing,
    /// Another operation makes new ones of them.
    Rescaled,
    /// Another operation reads them as well.
    ReadTwice,
}

/// Two maps with an activation between them, and whatever else was made of the hidden units.
fn hidden_layer(
    tape: &Tape,
    v: &[Value],
    activation: Activation,
    between: Between,
) -> Result<Vec<Value>> {
    let [x, w1, b1, w2, b2, l] = [0, 1, 2, 3, 4, 5].map(|i| &v[i]);
    let mut seen = Vec::new();
    let hidden = Linear::conv1d(w1, b1)
        .activated(tape, x, activation)?
        .changed(|hidden| match between {
            Between::Nothing => Ok(hidden),
            Between::Rescaled => rescale(tape, &hidden, l, 0),
            Between::ReadTwice => {
                seen.push(rescale(tape, &hidden, l, 0)?);
                Ok(hidden)
            }
        })?;
    let map = Linear::torch(w2, Some(b2));
    let mut results = vec![map.of_activated(tape, &hidden)?];
    results.extend(seen);
    if matches!(between, Between::Nothing) {
        results.push(tape.composed(&[l], |a| Ok(a[0].clone()))?); // no gradient is nothing
    }
    Ok(results)
}

#[test]
fn a_hidden_layer_agrees_with_maps_and_activation_apart() {
    let shapes: [&[usize]; 6] = [&[7, 4], &[4, 8], &[8], &[5, 8], &[5], &[8]];
    for activation in [Activation::GeluTanh, Activation::GeluErf, Activation::Relu] {
        for between in [Between::Nothing, Between::Rescaled, Between::ReadTwice] {
            agree(
                &shapes,
                |t, v| hidden_layer(t, v, activation, between),
                |t, v| without_cpu_kernels(|| hidden_layer(t, v, activation, between)),
            );
        }
    }
}

#[test]
fn hidden_units_of_frozen_maps_have_no_gradient_but_that_of_their_input() {
    let shapes: [&[usize]; 6] = [&[7, 4], &[4, 8], &[8], &[5, 8], &[5], &[8]];
    let mut params = parameters(2, &shapes, DType::F32);
    for frozen in &mut params[1..] {
        frozen.trainable = false;
    }
    let form = |t: &Tape, v: &[Value]| {
        let mut all = hidden_layer(t, v, Activation::GeluTanh, Between::Nothing)?;
        all.truncate(1);
        Ok(all)
    };
    let (expected, of_all) = evaluate(&params, form);
    // sums of 4 and 8 products, forward and backward, and eight roundings of bias and activation
    let bound = 32.0 * 2.0_f64.powi(-24);
    if cuda::EMULATED {
        let (found, gradients) = cuda::emulated(|| evaluate(&params, form));
        assert!(distance(&found[0], &expected[0]) < bound);
        assert_eq!(gradients.keys().collect::<Vec<_>>(), ["x0"]);
        assert!(distance(&gradients["x0"], &of_all["x0"]) < bound);
    }
    // without any gradient nothing is kept, and the values are the same
    params[0].trainable = false;
    let tape = Tape::off();
    let values = |t: &Tape| {
        let all = params
            .iter()
            .map(|p| t.parameter(p))
            .collect::<Result<Vec<_>>>()?;
        form(t, &all)
    };
    if cuda::EMULATED {
        let found = cuda::emulated(|| values(&tape)).unwrap();
        assert!(distance(&found[0].tensor, &expected[0]) < bound);
        assert!(!found[0].tracked());
    }
}

#[test]
fn a_scaled_linear_map_scales_product_and_bias() {
    let params = parameters(0, &[&[7, 4], &[4, 6], &[6]], DType::F64);
    let (found, _) = evaluate(&params, |t, v| {
        Ok(vec![
            Linear::conv1d(&v[1], &v[2]).scaled(0.5).apply(t, &v[0])?,
        ])
    });
    let [x, w, b] = [0, 1, 2].map(|i| &params[i].tensor);
    let expected = (x.matmul(w).unwrap().broadcast_add(b).unwrap() * 0.5).unwrap();
    assert!(distance(&found[0], &expected) < 1e-15);
}

#[test]
fn a_linear_map_that_does_not_fit_is_refused() {
    let params = parameters(0, &[&[7, 4], &[4, 6], &[6], &[7, 11], &[7, 5]], DType::F64);
    let tape = Tape::new();
    let [x, w, b, onto, other] = [0, 1, 2, 3, 4].map(|i| tape.parameter(&params[i]).unwrap());
    let map = Linear::conv1d(&w, &b);
    assert!(map.apply(&tape, &x).is_ok() && map.onto(&onto, 5).apply(&tape, &x).is_ok());
    for refused in [
        map.apply(&tape, &other),
        map.onto(&onto, 6).apply(&tape, &x),
    ] {
        let message = refused.err().unwrap().to_string();
        assert!(message.contains("linear: x [7, "), "{message}");
    }
}

#[test]
fn layer_norm_agrees_with_candle() {
    agree(
        &[&[9, 37], &[37], &[37]],
        |t, v| Ok(vec![layer_norm::layer_norm(t, &v[0], &v[1], &v[2], 1e-5)?]),
        |t, v| {
            without_cpu_kernels(|| Ok(vec![layer_norm::layer_norm(t, &v[0], &v[1], &v[2], 1e-5)?]))
        },
    );
}

#[test]
fn layer_norm_of_which_one_is_trained_has_the_gradient_of_that_one() {
    // the bias alone is BitFit's
    for (frozen, trained) in [(1, "x2"), (2, "x1")] {
        let mut params = parameters(1, &[&[9, 37], &[37], &[37]], DType::F64);
        params[frozen].trainable = false;
        let norm =
            |t: &Tape, v: &[Value]| Ok(vec![layer_norm::layer_norm(t, &v[0], &v[1], &v[2], 1e-5)?]);
        let (_, found) = evaluate(&params, norm);
        let (_, expected) = evaluate(&params, |t, v| without_cpu_kernels(|| norm(t, v)));
        assert!(!found.contains_key(&format!("x{frozen}")[..]));
        assert!(distance(&found[trained], &expected[trained]) < 1e-12);
    }
}

#[test]
fn activations_agree_with_candle() {
    for a in [
        Activation::GeluTanh,
        Activation::GeluErf,
        Activation::Tanh,
        Activation::Relu,
    ] {
        agree(
            &[&[9, 37]],
            |t, v| Ok(vec![a.apply(t, &v[0])?]),
            |t, v| without_cpu_kernels(|| Ok(vec![a.apply(t, &v[0])?])),
        );
    }
}

#[test]
fn activations_of_many_elements_are_divided_among_threads_and_agree() {
    for a in [Activation::GeluTanh, Activation::Relu] {
        agree(
            &[&[40, 1000]],
            |t, v| Ok(vec![a.apply(t, &v[0])?]),
            |t, v| without_cpu_kernels(|| Ok(vec![a.apply(t, &v[0])?])),
        );
    }
}

#[test]
fn relu_has_no_slope_at_zero() {
    let x = Tensor::new(&[-1.0_f64, 0.0, 2.0], &Device::Cpu).unwrap();
    let params = [Parameter::new("x", x, true)];
    let tape = Tape::new();
    let y = Activation::Relu.apply(&tape, &tape.parameter(&params[0]).unwrap());
    let sum = tape.composed_many(&[&y.unwrap()], |a| Ok(vec![a[0].sum_all()?]));
    let gradients = tape.backward(&sum.unwrap()[0], &params).unwrap();
    assert_eq!(gradients["x"].to_vec1::<f64>().unwrap(), [0.0, 0.0, 1.0]);
}

#[test]
fn cross_entropy_agrees_with_candle() {
    let targets: Vec<(usize, u32)> = (0..1100).map(|i| (i % 9, (i * 7 % 13) as u32)).collect();
    for smoothing in [0.0, 0.1] {
        fn head(v: &[Value]) -> Head {
            Head {
                tokens: v[1].clone(),
                added: Some(v[2].clone()),
                in_bf16: false,
            }
        }
        agree(
            &[&[9, 6], &[10, 6], &[3, 6]],
            |t, v| {
                Ok(vec![cross_entropy::cross_entropy(
                    t,
                    &v[0],
                    &head(v),
                    &targets,
                    smoothing,
                )?])
            },
            |t, v| {
                Ok(vec![composed::cross_entropy(
                    t,
                    &v[0],
                    &head(v),
                    &targets,
                    smoothing,
                )?])
            },
        );
    }
}

#[test]
fn cross_entropy_without_special_tokens_agrees_with_candle() {
    fn head(v: &[Value]) -> Head {
        Head {
            tokens: v[1].clone(),
            added: None,
            in_bf16: false,
        }
    }
    let targets = [(0, 3), (4, 9), (8, 0), (4, 1)];
    agree(
        &[&[9, 6], &[10, 6]],
        |t, v| cross_entropy::cross_entropy(t, &v[0], &head(v), &targets, 0.1).map(|y| vec![y]),
        |t, v| composed::cross_entropy(t, &v[0], &head(v), &targets, 0.1).map(|y| vec![y]),
    );
}

#[test]
fn logits_of_few_and_many_rows_are_products_with_both_tables() {
    for (rows, dtype, bound) in [
        (3, DType::F64, 1e-13),
        (40, DType::F64, 1e-13),
        (3, DType::F32, 1e-5),
        (40, DType::F32, 1e-5),
        (3, DType::BF16, 1.0 / 32.0),
    ] {
        let all = parameters(rows as u64, &[&[rows, 6], &[10, 6], &[3, 6]], dtype);
        let [hidden, tokens, added] = [0, 1, 2].map(|i| Value::constant(all[i].tensor.clone()));
        for special in [None, Some(&added)] {
            let mut table = vec![&tokens.tensor];
            table.extend(special.map(|a| &a.tensor));
            let table = Tensor::cat(&table, 0)
                .unwrap()
                .to_dtype(DType::F64)
                .unwrap();
            let states = hidden.tensor.to_dtype(DType::F64).unwrap();
            let expected = states.matmul(&table.t().unwrap()).unwrap();
            let head = Head {
                tokens: tokens.clone(),
                added: special.cloned(),
                in_bf16: false,
            };
            let here = head.logits(&hidden.tensor).unwrap();
            let there = without_cpu_kernels(|| head.logits(&hidden.tensor)).unwrap();
            assert!(distance(&here, &expected) <= bound, "{rows} {dtype:?}");
            assert!(distance(&there, &expected) <= bound, "{rows} {dtype:?}");
        }
    }
}

/// Few rows have a product of their own in f32, which rounds nothing: in bf16 a row must not depend
/// on how many are beside it by more than the order of its sums.
#[test]
fn few_rows_are_rounded_to_bf16_as_many_are() {
    let shapes: [&[usize]; 5] = [&[40, 24], &[24, 10], &[10], &[10, 24], &[3, 24]];
    let all = parameters(7, &shapes, DType::F32);
    let [x, w, b, tokens, added] = [0, 1, 2, 3, 4].map(|i| Value::constant(all[i].tensor.clone()));
    let linear = |dtype: DType, x: &Tensor| {
        let tape = Tape::off().computing_in(dtype);
        let y = Linear::conv1d(&w, &b).apply(&tape, &Value::constant(x.clone()));
        y.unwrap().tensor
    };
    let logits = |dtype: DType, x: &Tensor| {
        let head = Head {
            tokens: tokens.clone(),
            added: Some(added.clone()),
            in_bf16: dtype == DType::BF16,
        };
        head.logits(x).unwrap()
    };
    type Form<'a> = &'a dyn Fn(DType, &Tensor) -> Tensor;
    let few = x.tensor.narrow(0, 0, 3).unwrap().contiguous().unwrap();
    for form in [&linear as Form<'_>, &logits] {
        let rounded = form(DType::BF16, &few);
        let among_many = form(DType::BF16, &x.tensor).narrow(0, 0, 3).unwrap();
        assert!(distance(&rounded, &among_many) < 1e-5);
        // the roundings of 24 products of two operands, 2⁻⁹ each
        assert!(distance(&rounded, &form(DType::F32, &few)) > 1e-4);
    }
}

#[test]
fn loss_of_classes_is_smoothed_cross_entropy() {
    let (classes, smoothing) = ([1_u32, 3, 0], 0.1);
    let scores = parameters(3, &[&[3, 4]], DType::F64).remove(0).tensor;
    let rows = scores.to_vec2::<f64>().unwrap().into_iter().zip(classes);
    let expected = rows.map(|(row, class)| {
        let log = row.iter().map(|z| z.exp()).sum::<f64>().ln();
        let mean = row.iter().sum::<f64>() / 4.0;
        (1.0 - smoothing) * (log - row[class as usize]) + smoothing * (log - mean)
    });
    let expected = expected.sum::<f64>() / 3.0;
    let scores = Value::constant(scores);
    let found = cross_entropy::class_loss(&Tape::new(), &scores, &classes, smoothing).unwrap();
    let found = found.tensor.to_scalar::<f64>().unwrap();
    assert_abs_diff_eq!(found, expected, epsilon = 1e-14);
}

#[test]
fn embeddings_agree_with_candle() {
    fn tables(v: &[Value]) -> Tables<'_> {
        Tables {
            tokens: &v[0],
            added: Some(&v[1]),
            positions: &v[2],
        }
    }
    let (ids, segments, positions) = ([3, 5, 6, 7, 0], [5, 5, 6, 6, 6], [0, 1, 2, 0, 1]);
    agree(
        &[&[5, 4], &[3, 4], &[3, 4]],
        |t, v| {
            Ok(vec![embedding::embedding(
                t,
                tables(v),
                &ids,
                Some(&segments),
                &positions,
            )?])
        },
        |t, v| {
            without_cpu_kernels(|| {
                Ok(vec![embedding::embedding(
                    t,
                    tables(v),
                    &ids,
                    Some(&segments),
                    &positions,
                )?])
            })
        },
    );
}

#[test]
fn rows_and_columns_moved_agree_with_candle() {
    let taken = [4_u32, 0, 4];
    agree(
        &[&[5, 3]],
        |t, v| Ok(vec![gather::gather_rows(t, &v[0], &taken)?]),
        |t, v| {
            let index = Tensor::new(&taken, &Device::Cpu)?;
            t.composed_many(&[&v[0]], |a| Ok(vec![a[0].index_select(&index, 0)?]))
        },
    );
    agree(
        &[&[5, 3], &[5, 1], &[5, 2]],
        |t, v| Ok(vec![gather::concatenate(t, v)?]),
        |t, v| t.composed_many(&[&v[0], &v[1], &v[2]], |a| Ok(vec![Tensor::cat(a, 1)?])),
    );
}

#[test]
fn dropout_and_residual_agree_with_candle() {
    agree(
        &[&[40, 6]],
        |t, v| Ok(vec![dropout::dropout(t, &v[0], DROP)?]),
        |t, v| {
            let mask = DROP.mask_like(&v[0].tensor)?;
            t.composed_many(&[&v[0]], |a| Ok(vec![(&a[0] * mask)?]))
        },
    );
    // the branch has a second use, so that its gradient is added to after it was passed on to
    // both inputs
    for drop in [Dropout::OFF, DROP] {
        agree(
            &[&[40, 6], &[40, 6]],
            |t, v| {
                let other = Activation::GeluTanh.apply(t, &v[1])?;
                Ok(vec![dropout::residual(t, &v[0], &v[1], drop)?, other])
            },
            |t, v| {
                let other = without_cpu_kernels(|| Activation::GeluTanh.apply(t, &v[1]))?;
                let mask = drop.mask_like(&v[1].tensor)?;
                let sum = |a: &[Tensor]| Ok(vec![(&a[0] + (&a[1] * mask)?)?]);
                let mut sum = t.composed_many(&[&v[0], &v[1]], sum)?;
                Ok(vec![sum.remove(0), other])
            },
        );
    }
}
