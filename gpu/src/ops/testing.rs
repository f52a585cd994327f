//! Fused against composed: the same inputs, values and gradients compared in f64 and f32.

use crate::error::Result;
use crate::kernels::precision::upcast;
use crate::kernels::without_cpu_kernels;
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
        .composed(&refs, |a| {
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

/// Every form of an operation agrees with the composed one, in values and in the gradient of every
/// input: the fused form, the one for other devices, and mixed precision.
///
/// f64: 1e-12; f32: 4e-5, which is 2⁻²⁴ times the longest reduction in these tests (a few hundred
/// terms) with room for cancellation; bf16: 16 times its round-off of 2⁻⁸, of numbers that it
/// holds, against the composed form in f64.
pub fn agree(
    shapes: &[&[usize]],
    form: impl Fn(&Tape, &[Value]) -> Result<Vec<Value>>,
    composed: impl Fn(&Tape, &[Value]) -> Result<Vec<Value>>,
) {
    for seed in 0..4 {
        for (dtype, bound) in [(DType::F64, 1e-12), (DType::F32, 4e-5)] {
            let params = parameters(seed, shapes, dtype);
            let expected = evaluate(&params, &composed);
            for tensors in [false, true] {
                let found = match tensors {
                    true => without_cpu_kernels(|| evaluate(&params, &form)),
                    false => evaluate(&params, &form),
                };
                let what = format!("{dtype:?}, seed {seed}, tensors {tensors}");
                near(&found, &expected, bound, &what);
            }
        }
        let halves = parameters(seed, shapes, DType::BF16);
        let of = |p: &Parameter| {
            let tensor = p.tensor.to_dtype(DType::F64).unwrap();
            Parameter::new(&p.name, tensor, true)
        };
        let expected = evaluate(&halves.iter().map(of).collect::<Vec<_>>(), &composed);
        let found = evaluate(&halves, &form);
        let what = format!("bf16, seed {seed}");
        near(&found, &expected, 16.0 / 256.0, &what);
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
    for (name, b) in gradients {
        let a = &found_gradients[name];
        let e = distance(a, b);
        assert!(e <= bound, "gradient of {name}, {what}: {e:e}");
        assert!(distance(a, &b.zeros_like().unwrap()) > 0.0);
    }
}

mod forms {
    use super::*;
    use crate::ops::activation::Activation;
    use crate::ops::attention::{self, Heads, Visible};
    use crate::ops::cross_entropy::{self, Head};
    use crate::ops::dropout::{self, Dropout};
    use crate::ops::embedding::{self, Tables};
    use crate::ops::gather;
    use crate::ops::inducer::{self, KeyMlp};
    use crate::ops::layer_norm;
    use crate::ops::linear::{Layout, Linear};
    use crate::ops::mixture;

    const HEADS: Heads = Heads { count: 3, width: 5 };
    const DROP: Dropout = Dropout { rate: 0.3, key: 99 };

    #[test]
    fn linear_agrees_with_candle() {
        fn conv(v: &[Value]) -> Linear<'_> {
            Linear::conv1d(&v[1], &v[2]).scaled(0.7).onto(&v[3], 2)
        }
        agree(
            &[&[7, 4], &[4, 6], &[6], &[7, 11]],
            |t, v| Ok(vec![conv(v).apply(t, &v[0])?]),
            |t, v| Ok(vec![conv(v).composed(t, &v[0])?]),
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
            |t, v| Ok(vec![torch(v).composed(t, &v[0])?]),
        );
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
            |t, v| Ok(vec![layer_norm::composed(t, &v[0], &v[1], &v[2], 1e-5)?]),
        );
    }

    #[test]
    fn layer_norm_with_a_frozen_weight_has_the_gradient_of_its_bias() {
        // BitFit
        let mut params = parameters(1, &[&[9, 37], &[37], &[37]], DType::F64);
        params[1].trainable = false;
        let (_, found) = evaluate(&params, |t, v| {
            Ok(vec![layer_norm::layer_norm(t, &v[0], &v[1], &v[2], 1e-5)?])
        });
        let (_, expected) = evaluate(&params, |t, v| {
            Ok(vec![layer_norm::composed(t, &v[0], &v[1], &v[2], 1e-5)?])
        });
        assert!(!found.contains_key("x1"));
        assert!(distance(&found["x2"], &expected["x2"]) < 1e-12);
    }

    #[test]
    fn gate_agrees_with_candle_and_keeps_the_digits_of_its_slope() {
        agree(
            &[&[9, 3], &[9, 3]],
            |t, v| Ok(vec![inducer::gate(t, &v[0], &v[1])?]),
            |t, v| {
                t.composed(&[&v[0], &v[1]], |a| {
                    let odds = (&a[1] - &a[0])?.exp()?;
                    Ok(vec![(odds + 1.0)?.recip()?])
                })
            },
        );
        // λ(1 − λ) at s − LSE = ±60, where λ itself rounds to 1
        for sign in [-1.0_f32, 1.0] {
            let tensor = |x: f32| Tensor::new(&[[x]], &Device::Cpu).unwrap();
            let params =
                [30.0, -30.0].map(|x| Parameter::new(format!("{x}"), tensor(sign * x), true));
            let tape = Tape::new();
            let [s, lse] = tape.parameters(&params).unwrap();
            let gate = inducer::gate(&tape, &s, &lse).unwrap();
            let sum = tape.composed(&[&gate], |a| Ok(vec![a[0].sum_all()?]));
            let gradients = tape.backward(&sum.unwrap()[0], &params).unwrap();
            let slope = f64::from(
                gradients["30"]
                    .sum_all()
                    .unwrap()
                    .to_scalar::<f32>()
                    .unwrap(),
            );
            let exact = (-60.0_f64).exp();
            assert!((slope - exact).abs() / exact < 1e-6, "{slope:e}");
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
                |t, v| Ok(vec![a.composed(t, &v[0])?]),
            );
        }
    }

    #[test]
    fn activations_of_many_elements_are_divided_among_threads_and_agree() {
        for a in [Activation::GeluTanh, Activation::Relu] {
            agree(
                &[&[40, 1000]],
                |t, v| Ok(vec![a.apply(t, &v[0])?]),
                |t, v| Ok(vec![a.composed(t, &v[0])?]),
            );
        }
    }

    #[test]
    fn attention_agrees_with_candle_with_and_without_dropout() {
        // On tensors: a group of two unequal rows and one of one; two groups of equal rows.
        for starts in [vec![0, 1, 8, 80], vec![0, 40, 80]] {
            attention_within(&starts);
        }
    }

    fn attention_within(starts: &[usize]) {
        for visible in [Visible::Causal, Visible::All] {
            for drop in [Dropout::OFF, DROP] {
                agree(
                    &[&[80, 45]],
                    |t, v| {
                        attention::attention(t, &v[0], HEADS, starts, visible, drop)
                            .map(|(a, b)| vec![a, b])
                    },
                    |t, v| {
                        attention::composed(t, &v[0], HEADS, starts, visible, drop)
                            .map(|(a, b)| vec![a, b])
                    },
                );
            }
        }
    }

    #[test]
    fn relu_has_no_slope_at_zero() {
        let x = Tensor::new(&[-1.0_f64, 0.0, 2.0], &Device::Cpu).unwrap();
        let params = [Parameter::new("x", x, true)];
        let tape = Tape::new();
        let y = Activation::Relu.apply(&tape, &tape.parameter(&params[0]).unwrap());
        let sum = tape.composed(&[&y.unwrap()], |a| Ok(vec![a[0].sum_all()?]));
        let gradients = tape.backward(&sum.unwrap()[0], &params).unwrap();
        assert_eq!(gradients["x"].to_vec1::<f64>().unwrap(), [0.0, 0.0, 1.0]);
    }

    #[test]
    fn heads_have_their_hidden_size_and_scale() {
        let heads = Heads {
            count: 3,
            width: 16,
        };
        assert_eq!((heads.hidden(), heads.scale()), (48, 0.25));
    }

    #[test]
    fn new_tokens_attend_to_cached_keys_as_whole_rows_do() {
        // rows of 5 and 7 tokens, of which the last 2 and 3 are new
        let x = parameters(5, &[&[12, 45]], DType::F64).remove(0).tensor;
        let new = Tensor::new(&[3_u32, 4, 9, 10, 11], &Device::Cpu).unwrap();
        let kept = |from: usize, n: usize, column: usize| {
            let part = x.narrow(0, from, n).unwrap().narrow(1, column, 15).unwrap();
            part.flatten_all().unwrap().to_vec1::<f64>().unwrap()
        };
        let rows = [(0, 5), (5, 7)].map(|(from, n)| [kept(from, n, 15), kept(from, n, 30)]);
        for visible in [Visible::Causal, Visible::All] {
            let tape = Tape::new();
            let starts = [0, 5, 12];
            let whole = Value::constant(x.clone());
            let (o, lse) =
                attention::attention(&tape, &whole, HEADS, &starts, visible, Dropout::OFF).unwrap();
            let queries = x.index_select(&new, 0).unwrap();
            let found =
                attention::attention_cached(&queries, &rows, &[0, 2, 5], HEADS, visible).unwrap();
            for (found, whole) in [(found.0, o), (found.1, lse)] {
                let expected = whole.tensor.index_select(&new, 0).unwrap();
                assert!(distance(&found, &expected) < 1e-14);
            }
        }
    }

    #[test]
    fn attention_to_a_prefix_agrees_with_candle() {
        agree(
            &[&[70, 45], &[3, 4, 5], &[3, 4, 5]],
            |t, v| {
                attention::attention_to(t, &v[0], &v[1], &v[2], HEADS, DROP)
                    .map(|(a, b)| vec![a, b])
            },
            |t, v| {
                attention::composed_to(t, &v[0], &v[1], &v[2], HEADS, DROP).map(|(a, b)| vec![a, b])
            },
        );
    }

    #[test]
    fn the_inducers_operations_agree_with_candle_on_one_thread_and_on_more() {
        for tokens in [7, 300] {
            inducers_operations(tokens);
        }
    }

    fn inducers_operations(tokens: usize) {
        fn key(v: &[Value]) -> Option<KeyMlp<'_>> {
            Some(KeyMlp {
                down: &v[1],
                down_bias: &v[2],
                up: &v[3],
                up_bias: &v[4],
            })
        }
        agree(
            &[&[tokens, 45], &[3, 5, 2], &[3, 2], &[3, 2, 5], &[3, 5]],
            |t, v| Ok(vec![inducer::inducer_score(t, &v[0], HEADS, key(v))?]),
            |t, v| {
                Ok(vec![inducer::inducer_score_composed(
                    t,
                    &v[0],
                    HEADS,
                    key(v),
                )?])
            },
        );
        agree(
            &[&[tokens, 45]],
            |t, v| Ok(vec![inducer::inducer_score(t, &v[0], HEADS, None)?]),
            |t, v| {
                Ok(vec![inducer::inducer_score_composed(
                    t, &v[0], HEADS, None,
                )?])
            },
        );
        agree(
            &[&[tokens, 45], &[tokens, 3], &[3, 5, 4], &[3, 4]],
            |t, v| {
                Ok(vec![inducer::gated_hidden(
                    t, &v[0], &v[1], &v[2], &v[3], HEADS,
                )?])
            },
            |t, v| {
                Ok(vec![inducer::gated_hidden_composed(
                    t, &v[0], &v[1], &v[2], &v[3], HEADS,
                )?])
            },
        );
    }

    #[test]
    fn what_is_made_of_f_agrees_with_its_form_for_other_devices() {
        let lifted = |t: &Tape, v: &[Value]| {
            inducer::add_gated_values(t, &v[0], &v[1], &v[2], &v[3], &v[4], HEADS).map(|y| vec![y])
        };
        let shapes: [&[usize]; 5] = [&[7, 15], &[7, 6], &[7, 3], &[3, 2, 5], &[3, 5]];
        agree(&shapes, lifted, |t, v| without_cpu_kernels(|| lifted(t, v)));
        let faded = |t: &Tape, v: &[Value]| {
            inducer::scale_by_complement(t, &v[0], &v[1], HEADS).map(|y| vec![y])
        };
        let shapes: [&[usize]; 2] = [&[7, 15], &[7, 3]];
        agree(&shapes, faded, |t, v| without_cpu_kernels(|| faded(t, v)));
        let mixed = |t: &Tape, v: &[Value]| {
            mixture::mixture(t, &v[0], &v[1], &v[2], HEADS).map(|y| vec![y])
        };
        let shapes: [&[usize]; 3] = [&[7, 15], &[7, 15], &[7, 3]];
        agree(&shapes, mixed, |t, v| without_cpu_kernels(|| mixed(t, v)));
    }

    #[test]
    fn cross_entropy_agrees_with_candle() {
        let targets: Vec<(usize, u32)> = (0..1100).map(|i| (i % 9, (i * 7 % 13) as u32)).collect();
        for smoothing in [0.0, 0.1] {
            fn head(v: &[Value]) -> Head<'_> {
                Head {
                    tokens: &v[1],
                    added: Some(&v[2]),
                }
            }
            agree(
                &[&[9, 6], &[10, 6], &[3, 6]],
                |t, v| {
                    Ok(vec![cross_entropy::cross_entropy(
                        t,
                        &v[0],
                        head(v),
                        &targets,
                        smoothing,
                    )?])
                },
                |t, v| {
                    Ok(vec![cross_entropy::composed(
                        t,
                        &v[0],
                        head(v),
                        &targets,
                        smoothing,
                    )?])
                },
            );
        }
    }

    #[test]
    fn cross_entropy_without_special_tokens_agrees_with_candle() {
        fn head(v: &[Value]) -> Head<'_> {
            Head {
                tokens: &v[1],
                added: None,
            }
        }
        let targets = [(0, 3), (4, 9), (8, 0), (4, 1)];
        agree(
            &[&[9, 6], &[10, 6]],
            |t, v| cross_entropy::cross_entropy(t, &v[0], head(v), &targets, 0.1).map(|y| vec![y]),
            |t, v| cross_entropy::composed(t, &v[0], head(v), &targets, 0.1).map(|y| vec![y]),
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
                    tokens: &tokens,
                    added: special,
                };
                let here = head.logits(&hidden.tensor).unwrap();
                let there = without_cpu_kernels(|| head.logits(&hidden.tensor)).unwrap();
                assert!(distance(&here, &expected) <= bound, "{rows} {dtype:?}");
                assert!(distance(&there, &expected) <= bound, "{rows} {dtype:?}");
            }
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
        assert!((found.tensor.to_scalar::<f64>().unwrap() - expected).abs() < 1e-14);
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
                Ok(vec![embedding::composed(
                    t,
                    tables(v),
                    &ids,
                    Some(&segments),
                    &positions,
                )?])
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
                t.composed(&[&v[0]], |a| Ok(vec![a[0].index_select(&index, 0)?]))
            },
        );
        agree(
            &[&[5, 3], &[5, 1], &[5, 2]],
            |t, v| Ok(vec![gather::concatenate(t, v)?]),
            |t, v| t.composed(&[&v[0], &v[1], &v[2]], |a| Ok(vec![Tensor::cat(a, 1)?])),
        );
    }

    #[test]
    fn dropout_and_residual_agree_with_candle() {
        agree(
            &[&[40, 6]],
            |t, v| Ok(vec![dropout::dropout(t, &v[0], DROP)?]),
            |t, v| {
                let mask = DROP.mask_like(&v[0].tensor)?;
                t.composed(&[&v[0]], |a| Ok(vec![(&a[0] * mask)?]))
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
                    let other = Activation::GeluTanh.composed(t, &v[1])?;
                    let mask = drop.mask_like(&v[1].tensor)?;
                    let sum = |a: &[Tensor]| Ok(vec![(&a[0] + (&a[1] * mask)?)?]);
                    let mut sum = t.composed(&[&v[0], &v[1]], sum)?;
                    Ok(vec![sum.remove(0), other])
                },
            );
        }
    }
}
