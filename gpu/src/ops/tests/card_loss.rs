//! Corners of a card's kernels for the loss, linear maps, argmax and the optimiser, emulated,
//! against the CPU's own in f64.

use crate::gradients::Gradients;
use crate::kernels::cuda::emulated;
use crate::kernels::many;
use crate::model::Loss;
use crate::ops::argmax::argmax;
use crate::ops::cross_entropy::{Head, cross_entropy, in_chunks};
use crate::ops::linear::{Layout, Linear};
use crate::ops::testing::{distance, evaluate, parameters};
use crate::tape::{Parameter, Tape, Value};
use crate::train::{AdamW, AdamWConfig};
use candle_core::{DType, Device, Tensor};

/// Error of a sum of n terms in f32 and of a few roundings around it, where the terms are four
/// times what comes out.
fn bound(n: usize) -> f64 {
    4.0 * (n + 8) as f64 * 2.0_f64.powi(-24)
}

/// Half an ulp of bf16 for each of four roundings.
const HALVES: f64 = 4.0 / 512.0;

fn retyped(params: &[Parameter], types: &[DType]) -> Vec<Parameter> {
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

const F32: &[DType] = &[DType::F32];
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

/// Trained tensors of awkward sizes; vectors are not decayed.
fn trained() -> Vec<Parameter> {
    let shapes: [&[usize]; 7] = [&[1], &[3], &[1, 1], &[5, 7], &[64, 64], &[17, 241], &[9001]];
    parameters(8, &shapes, DType::F64)
}

fn slopes(seed: u64, factor: f64) -> Gradients {
    let shapes: Vec<Vec<usize>> = trained().iter().map(|p| p.tensor.dims().to_vec()).collect();
    let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
    let all = parameters(seed, &shapes, DType::F64);
    all.into_iter()
        .map(|p| (p.name, (p.tensor * factor).unwrap()))
        .collect()
}

fn in_f32(gradients: &Gradients) -> Gradients {
    let of = |(n, t): (&String, &Tensor)| (n.clone(), t.to_dtype(DType::F32).unwrap());
    gradients.iter().map(of).collect()
}

#[test]
fn the_norm_of_all_gradients_and_what_clips_them_are_those_of_the_cpu() {
    let gradients = slopes(1, 0.3);
    let expected = gradients.norm().unwrap();
    let singles = in_f32(&gradients);
    let found = emulated(|| {
        assert!(many::runs(singles.values()));
        singles.norm().unwrap()
    });
    // 16 terms a thread, then pairs
    let e = (found - expected).abs() / expected;
    assert!(e <= 32.0 * 2.0_f64.powi(-24), "{e:e}");
    let mut one = singles.clone();
    one = one
        .iter()
        .map(|(n, t)| {
            (
                n.clone(),
                if n == "x0" {
                    (t * 100.0).unwrap()
                } else {
                    t.clone()
                },
            )
        })
        .collect();
    let other = emulated(|| one.norm().unwrap());
    assert!((other - expected).abs() / expected > 32.0 * 2.0_f64.powi(-24));
    for limit in [None, Some(2.0), Some(1e6)] {
        let (mut here, mut there) = (gradients.clone(), singles.clone());
        here.clip(limit).unwrap();
        emulated(|| there.clip(limit)).unwrap();
        for (name, g) in here.iter() {
            let e = distance(&there[name], g);
            assert!(e <= 64.0 * 2.0_f64.powi(-24), "{limit:?} {name}: {e:e}");
        }
    }
}

#[test]
fn steps_of_all_tensors_are_those_of_the_cpu() {
    for coupled in [false, true] {
        let config = AdamWConfig {
            weight_decay: 0.1,
            eps: 1e-4,
            coupled,
            ..AdamWConfig::default()
        };
        for limit in [None, Some(5.0)] {
            let mut here = trained();
            let mut there = retyped(&here, F32);
            let (mut cpu, mut card) = (AdamW::new(config), AdamW::new(config));
            for step in 0..3 {
                let g = slopes(20 + step, 0.2);
                let loss = Loss::default();
                let params = here.iter_mut().collect();
                let a = cpu.clipped_step(params, &g, loss.clone(), 0.01, limit);
                let a = a.unwrap().read().unwrap();
                let (params, g) = (there.iter_mut().collect(), in_f32(&g));
                let b = emulated(|| card.clipped_step(params, &g, loss, 0.01, limit));
                let b = b.unwrap().read().unwrap();
                assert!((a.norm - b.norm).abs() < 1e-5 * a.norm && a.loss == b.loss);
            }
            assert_eq!((card.step, card.moments.len()), (3, here.len()));
            let start = trained();
            for ((a, b), before) in here.iter().zip(&there).zip(&start) {
                // a step's own error, and the round-off of a weight of which a step is a hundredth
                let e = distance(&b.tensor, &a.tensor);
                assert!(e <= 3.0 * bound(1), "{coupled} {limit:?} {}: {e:e}", a.name);
                assert!(distance(&before.tensor, &a.tensor) > 1e-3);
                for k in 0..2 {
                    let e = distance(&card.moments[&a.name][k], &cpu.moments[&a.name][k]);
                    assert!(e <= 3.0 * bound(32), "{} {k}: {e:e}", a.name);
                }
            }
        }
    }
}

#[test]
fn a_step_with_a_given_factor_is_that_of_the_cpu() {
    let config = AdamWConfig {
        eps: 1e-2,
        ..AdamWConfig::default()
    };
    let (mut here, mut there) = (trained(), retyped(&trained(), F32));
    let (mut cpu, mut card) = (AdamW::new(config), AdamW::new(config));
    let g = slopes(5, 0.1);
    cpu.step(here.iter_mut().collect(), &g, 0.01, 0.25).unwrap();
    let g = in_f32(&g);
    emulated(|| card.step(there.iter_mut().collect(), &g, 0.01, 0.25)).unwrap();
    let mut unclipped = retyped(&trained(), F32);
    emulated(|| AdamW::new(config).step(unclipped.iter_mut().collect(), &g, 0.01, 1.0)).unwrap();
    for ((a, b), c) in here.iter().zip(&there).zip(&unclipped) {
        assert!(distance(&b.tensor, &a.tensor) <= bound(1), "{}", a.name);
        assert!(distance(&c.tensor, &a.tensor) > bound(1), "{}", a.name);
    }
}

#[test]
fn a_gradient_that_is_missing_is_named_before_anything_changes() {
    let mut params = retyped(&trained(), F32);
    let mut adam = AdamW::new(AdamWConfig::default());
    let all = in_f32(&slopes(2, 1.0));
    let some: Gradients = all
        .iter()
        .filter(|(n, _)| *n != "x4")
        .map(|(n, t)| (n.clone(), t.clone()))
        .collect();
    let error = emulated(|| adam.step(params.iter_mut().collect(), &some, 0.1, 1.0));
    assert!(error.unwrap_err().to_string().contains("x4"));
    for (p, before) in params.iter().zip(retyped(&trained(), F32)) {
        assert_eq!(distance(&p.tensor, &before.tensor), 0.0);
    }
}

#[test]
fn nothing_changes_where_the_loss_or_the_norm_is_not_finite() {
    let device = Device::Cpu;
    for (of_loss, of_slope, taken) in [
        (1.5_f32, 1.0_f32, true),
        (f32::INFINITY, 1.0, false),
        (f32::NAN, 1.0, false),
        (1.5, f32::NAN, false),
        (1.5, f32::INFINITY, false),
        (1.5, 3e38, false),
    ] {
        let mut params = retyped(&trained(), F32);
        let mut adam = AdamW::new(AdamWConfig::default());
        let step = |adam: &mut AdamW, params: &mut Vec<Parameter>, loss: f32, slope: f32| {
            let mut g = in_f32(&slopes(2, 1.0));
            g = g
                .iter()
                .map(|(n, t)| match n == "x6" {
                    true => (n.clone(), t.affine(0.0, slope.into()).unwrap()),
                    false => (n.clone(), t.clone()),
                })
                .collect();
            emulated(|| {
                let loss = Loss::new(&Tensor::new(loss, &device).unwrap()).unwrap();
                let params = params.iter_mut().collect();
                let pending = adam.clipped_step(params, &g, loss, 0.1, Some(1.0));
                let pending = pending.unwrap();
                assert!(pending.on_device());
                pending.read().unwrap()
            })
        };
        assert!(step(&mut adam, &mut params, 1.0, 1.0).is_finite());
        let copies = |params: &[Parameter]| -> Vec<Tensor> {
            params.iter().map(|p| p.tensor.copy().unwrap()).collect()
        };
        let of_moments = |adam: &AdamW| -> Vec<Tensor> {
            let all = adam.moments.values().flatten();
            all.map(|t| t.copy().unwrap()).collect()
        };
        let before = (copies(&params), of_moments(&adam));
        let measured = step(&mut adam, &mut params, of_loss, of_slope);
        assert_eq!(measured.is_finite(), taken, "{of_loss} {of_slope}");
        assert_eq!(measured.loss.to_bits(), f64::from(of_loss).to_bits());
        let after = (copies(&params), of_moments(&adam));
        for (a, b) in [(before.0, after.0), (before.1, after.1)] {
            for (a, b) in a.iter().zip(&b) {
                assert_eq!(distance(b, a) == 0.0, !taken, "{of_loss} {of_slope}");
            }
        }
    }
}

/// Losses and norms of a few steps of a small GPT-2, of two micro-batches each. One row has no
/// label.
fn training(dtype: DType, lr: f64) -> Vec<[f64; 2]> {
    let small = crate::Gpt2Config::small();
    let config = crate::Gpt2Config {
        n_embd: 24,
        n_layer: 2,
        n_head: 3,
        vocab_size: 50,
        ..small
    };
    let master = crate::kernels::precision::master_dtype(dtype);
    let backbone = crate::backbone::Gpt2::random(config, 1, master, &Device::Cpu).unwrap();
    let mut model = crate::Model::new(backbone, dtype, &Device::Cpu);
    let method = crate::Method::Lora.on(&model.backbone.config());
    model.attach(&method, 2, 1).unwrap();
    let mut adam = AdamW::new(AdamWConfig::default());
    let batches = [5_u32, 11].map(|from| {
        let row = |n: u32| (0..n).map(|i| (from + i * i) % 52).collect::<Vec<_>>();
        let ids = [row(9), row(1), row(17), row(4), row(33)];
        let labels = ids.each_ref().map(|r| {
            let each = r.iter().enumerate();
            each.map(|(i, id)| if i % 3 == 0 { -100 } else { i64::from(*id) })
                .collect()
        });
        inducer_datasets::batch::Batch::pack(&ids, None, Some(&labels))
    });
    (0..3)
        .map(|_| {
            let (mut loss, mut sum) = (Loss::default(), Gradients::default());
            for batch in &batches {
                let (part, gradients) = model
                    .loss_and_gradients(batch, crate::LossOptions::PLAIN)
                    .unwrap();
                loss.add(0.5, part);
                sum.add_scaled(gradients, 0.5).unwrap();
            }
            let params = model.trainable_mut();
            let measured = adam.clipped_step(params, &sum, loss, lr, Some(0.5));
            let measured = measured.unwrap().read().unwrap();
            [measured.loss, measured.norm]
        })
        .collect()
}

#[test]
fn a_model_learns_on_a_card_as_on_the_cpu() {
    let expected = training(DType::F64, 0.02);
    let apart = |found: &[[f64; 2]]| {
        let pairs = found.iter().flatten().zip(expected.iter().flatten());
        pairs.map(|(a, b)| (a - b).abs() / b).fold(0.0, f64::max)
    };
    for (dtype, bound) in [(DType::F32, 1e-4), (DType::BF16, 0.05)] {
        let e = apart(&emulated(|| training(dtype, 0.02)));
        assert!(e <= bound, "{dtype:?}: {e:e}");
    }
    let other = apart(&emulated(|| training(DType::F32, 0.03)));
    assert!(other > 1e-4, "another rate is not seen: {other:e}");
}
