//! A step of every method with dropout: a card's kernels, emulated, beside the CPU's, which
//! computes the batch in two halves, full fine-tuning aside: a sequence's masks do not depend on
//! what is computed with it.

use crate::adapter::Attention;
use crate::kernels::cuda::emulated;
use crate::kernels::precision::master_dtype;
use crate::kernels::without_cpu_kernels;
use crate::ops::dropout::Dropout;
use crate::ops::testing::{distance, parameters};
use crate::parts::PrefixConfig;
use crate::tape::Gradients;
use crate::{Gpt2Config, LossOptions, Method, Model, backbone::Gpt2};
use candle_core::{DType, Device, Tensor};
use inducer_datasets::batch::Batch;
use std::collections::BTreeMap;

/// A small GPT-2 whose own dropout rates are a fifth.
fn small(dtype: DType) -> Model {
    let config: Gpt2Config = serde_json::from_value(serde_json::json!({
        "vocab_size": 40, "n_positions": 64, "n_embd": 24, "n_layer": 2, "n_head": 3,
        "resid_pdrop": 0.2, "embd_pdrop": 0.2, "attn_pdrop": 0.2, "initializer_range": 0.2
    }))
    .unwrap();
    let backbone = Gpt2::random(config, 1, master_dtype(dtype), &Device::Cpu).unwrap();
    Model::new(backbone, dtype, &Device::Cpu)
}

/// Five rows, of which these places have labels.
fn batch(labelled: impl Fn([usize; 2]) -> bool) -> Batch {
    let row = |n: u32| (0..n).map(|i| (n + i * i) % 40).collect::<Vec<_>>();
    let ids: Vec<_> = [9, 17, 5, 11, 3].into_iter().map(row).collect();
    let of_row = |(r, row): (usize, &Vec<u32>)| {
        let label = |(i, id): (usize, &u32)| {
            if labelled([r, i]) {
                i64::from(*id)
            } else {
                -100
            }
        };
        row.iter().enumerate().map(label).collect()
    };
    let labels: Vec<Vec<i64>> = ids.iter().enumerate().map(of_row).collect();
    Batch::pack(&ids, None, Some(&labels))
}

fn options(key: u64) -> LossOptions {
    LossOptions {
        smoothing: 0.1,
        dropout: Some(Dropout::new(0.2, key)),
    }
}

/// Loss and gradients of a batch.
fn step_of(method: Method, dtype: DType, key: u64, batch: &Batch) -> (f64, Gradients) {
    let mut model = small(dtype);
    let method = method.on(&model.backbone.config());
    model.attach(&method, 0, 7).unwrap();
    model.gradients(batch, options(key)).unwrap()
}

/// The same of one whose places all have labels.
fn step(method: Method, dtype: DType, key: u64) -> (f64, Gradients) {
    step_of(method, dtype, key, &batch(|_| true))
}

/// The largest difference of the gradients, each beside its own tensor's largest number, and of
/// the losses.
fn apart(found: &(f64, Gradients), expected: &(f64, Gradients)) -> f64 {
    assert_eq!(found.1.len(), expected.1.len());
    let gradients = expected
        .1
        .iter()
        .map(|(name, g)| distance(&found.1[name], g));
    gradients.fold((found.0 - expected.0).abs() / expected.0, f64::max)
}

/// Sums of at most 96 terms, a dozen of them one behind the other and as many back, each with an
/// error of its terms times 2⁻²⁴.
const BOUND: f64 = 2.0 * 12.0 * 96.0 / 16_777_216.0;

#[test]
fn a_step_of_every_method_with_dropout_is_the_cpus() {
    for method in Method::ALL.into_iter().filter(|m| *m != Method::None) {
        let expected = step(method, DType::F64, 5);
        let found = emulated(|| step(method, DType::F32, 5));
        let e = apart(&found, &expected);
        assert!(e <= BOUND, "{}: {e:e}", method.name());
        let other = emulated(|| step(method, DType::F32, 6));
        let e = apart(&other, &expected);
        assert!(e > 100.0 * BOUND, "{}: another mask: {e:e}", method.name());
    }
}

#[test]
fn a_step_for_one_label_among_many_tokens_is_the_cpus() {
    let one = |at| batch(move |place| place == at);
    for method in [Method::Full, Method::Lora, Method::Prefix, Method::Inducer] {
        let step = |dtype, at| step_of(method, dtype, 5, &one(at));
        let expected = step(DType::F64, [3, 10]);
        let e = apart(&emulated(|| step(DType::F32, [3, 10])), &expected);
        assert!(e <= BOUND, "{}: {e:e}", method.name());
        let e = apart(&emulated(|| step(DType::F32, [3, 9])), &expected);
        assert!(e > 100.0 * BOUND, "{}: another label: {e:e}", method.name());
    }
}

/// Loss and LoRA's gradients, with a prefix of so many keys or none at all.
fn beside_a_prefix(length: Option<usize>, dtype: DType) -> (f64, Gradients) {
    let mut model = small(dtype);
    let (of_backbone, spec) = (model.backbone.config(), model.backbone.spec());
    let mut config = Method::Lora.on(&of_backbone);
    model.attach(&config, 0, 7).unwrap();
    let names: Vec<_> = model.trainable().iter().map(|p| p.name.clone()).collect();
    let shapes: Vec<_> = model
        .trainable()
        .iter()
        .map(|p| p.tensor.dims().to_vec())
        .collect();
    let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
    let values = parameters(2, &shapes, master_dtype(dtype)).into_iter();
    let mut tensors: BTreeMap<_, _> = names
        .iter()
        .cloned()
        .zip(values.map(|p| p.tensor))
        .collect();
    if let Some(length) = length {
        config.attention = Some(Attention::Prefix(PrefixConfig {
            length,
            offset_positions: false,
            reparametrisation: None,
        }));
        for name in PrefixConfig::names(&spec) {
            let shape = (spec.heads.count, length, spec.heads.width);
            tensors.insert(
                name,
                Tensor::ones(shape, master_dtype(dtype), &Device::Cpu).unwrap(),
            );
        }
    }
    let mut model = small(dtype);
    model.install(&config, tensors).unwrap();
    let (loss, all) = model.gradients(&batch(|_| true), options(5)).unwrap();
    let of_lora = all.iter().filter(|(name, _)| names.contains(name));
    (
        loss,
        of_lora.map(|(name, g)| (name.clone(), g.clone())).collect(),
    )
}

#[test]
fn an_empty_prefix_changes_nothing_on_a_card() {
    for dtype in [DType::F32, DType::BF16] {
        let of = |length| emulated(|| beside_a_prefix(length, dtype));
        let (without, empty, one) = (of(None), of(Some(0)), of(Some(1)));
        assert_eq!(apart(&empty, &without), 0.0, "{dtype:?}");
        let e = apart(&one, &without);
        assert!(e > 100.0 * BOUND, "{dtype:?}: a key is not seen: {e:e}");
    }
    let e = apart(
        &emulated(|| beside_a_prefix(Some(0), DType::F32)),
        &beside_a_prefix(Some(0), DType::F64),
    );
    assert!(e <= BOUND, "{e:e}");
}

/// In mixed precision the results of products are rounded to bf16 in every form, and two forms add
/// up in another order: a card's error beside f64 is of the size of that of candle's operations.
#[test]
fn a_step_of_every_method_in_mixed_precision_errs_no_more_than_candles_operations() {
    for method in Method::ALL.into_iter().filter(|m| *m != Method::None) {
        let expected = step(method, DType::F64, 5);
        let there = without_cpu_kernels(|| step(method, DType::BF16, 5));
        let found = emulated(|| step(method, DType::BF16, 5));
        assert!(found.1.values().all(|g| g.dtype() == DType::F32));
        let [e, usual] = [&found, &there].map(|form| apart(form, &expected));
        assert!(e <= 2.0 * usual, "{}: {e:e}, {usual:e}", method.name());
        let other = emulated(|| step(method, DType::BF16, 6));
        let wrong = apart(&other, &expected);
        assert!(
            wrong > 2.0 * usual,
            "{}: another mask: {wrong:e}",
            method.name()
        );
    }
}
