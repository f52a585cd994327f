//! Corners of a card's kernels for the norm of gradients, clipping and AdamW, emulated, against the
//! CPU's own.

use super::card_loss::{F32, bound, retyped};
use crate::gradients::Gradients;
use crate::kernels::cuda::emulated;
use crate::kernels::many;
use crate::model::Loss;
use crate::ops::testing::{distance, parameters};
use crate::tape::Parameter;
use crate::train::{AdamW, AdamWConfig};
use approx::assert_relative_eq;
use candle_core::{DType, Device, Tensor};

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

/// More parts than a block has threads, as every real model has.
#[test]
fn the_norm_of_very_many_gradients_is_that_of_the_cpu() {
    let shapes: Vec<&[usize]> = vec![&[1]; 1100];
    let all = parameters(3, &shapes, DType::F64).into_iter();
    let gradients: Gradients = all.map(|p| (p.name, p.tensor)).collect();
    let expected = gradients.norm().unwrap();
    let singles = in_f32(&gradients);
    let found = emulated(|| singles.norm().unwrap());
    let e = (found - expected).abs() / expected;
    assert!(e <= 32.0 * 2.0_f64.powi(-24), "{e:e}");
    let but_the_last = gradients.iter().filter(|(name, _)| *name != "x1099");
    let fewer: Gradients = but_the_last.map(|(n, g)| (n.clone(), g.clone())).collect();
    let other = (fewer.norm().unwrap() - expected).abs() / expected;
    assert!(other > 32.0 * 2.0_f64.powi(-24), "{other:e}");
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
                assert_relative_eq!(a.norm, b.norm, epsilon = 0.0, max_relative = 1e-5);
                assert_eq!(a.loss, b.loss);
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
fn a_model_learns_on_a_card_as_exactly_as_on_the_cpu() {
    let expected = training(DType::F64, 0.02);
    let apart = |found: &[[f64; 2]]| {
        let pairs = found.iter().flatten().zip(expected.iter().flatten());
        pairs.map(|(a, b)| (a - b).abs() / b).fold(0.0, f64::max)
    };
    for dtype in [DType::F32, DType::BF16] {
        // both round the same numbers, the card in other orders: their worst errors are of one size
        let bound = 8.0 * apart(&training(dtype, 0.02));
        let error = apart(&emulated(|| training(dtype, 0.02)));
        assert!(error <= bound, "{dtype:?}: {error:e} > {bound:e}");
        let other = apart(&emulated(|| training(dtype, 0.03)));
        assert!(
            other > bound,
            "{dtype:?}: another rate is not seen: {other:e} <= {bound:e}"
        );
    }
}
