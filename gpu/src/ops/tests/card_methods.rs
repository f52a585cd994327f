//! A step of every method with dropout: a card's kernels, emulated, beside the CPU's, which
//! computes the batch in two halves, full fine-tuning aside: a sequence's masks do not depend on
//! what is computed with it.

use crate::kernels::cuda::emulated;
use crate::kernels::precision::master_dtype;
use crate::kernels::without_cpu_kernels;
use crate::ops::dropout::Dropout;
use crate::ops::testing::distance;
use crate::tape::Gradients;
use crate::{Gpt2Config, LossOptions, Method, Model, backbone::Gpt2};
use candle_core::{DType, Device};
use inducer_datasets::batch::Batch;

/// Loss and gradients of one batch of a small GPT-2 whose own dropout rates are a fifth.
fn step(method: Method, dtype: DType, key: u64) -> (f64, Gradients) {
    let config: Gpt2Config = serde_json::from_value(serde_json::json!({
        "vocab_size": 40, "n_positions": 64, "n_embd": 24, "n_layer": 2, "n_head": 3,
        "resid_pdrop": 0.2, "embd_pdrop": 0.2, "attn_pdrop": 0.2, "initializer_range": 0.2
    }))
    .unwrap();
    let backbone = Gpt2::random(config, 1, master_dtype(dtype), &Device::Cpu).unwrap();
    let mut model = Model::new(backbone, dtype, &Device::Cpu);
    let method = method.on(&model.backbone.config());
    model.attach(&method, 0, 7).unwrap();
    let row = |n: u32| (0..n).map(|i| (n + i * i) % 40).collect::<Vec<_>>();
    let ids: Vec<_> = [9, 17, 5, 11, 3].into_iter().map(row).collect();
    let all = |row: &Vec<u32>| row.iter().map(|id| i64::from(*id)).collect();
    let labels: Vec<Vec<i64>> = ids.iter().map(all).collect();
    let batch = Batch::pack(&ids, None, Some(&labels));
    let options = LossOptions {
        smoothing: 0.1,
        dropout: Some(Dropout::new(0.2, key)),
    };
    model.gradients(&batch, options).unwrap()
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
