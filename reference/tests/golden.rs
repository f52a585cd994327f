//! Golden numbers: logits of tiny random models computed by transformers in double precision
//! (`golden/make.py`).

#![allow(clippy::unwrap_used, clippy::expect_used)]

use inducer_reference::{Forward, Gpt2, Real, Roberta};
use ndarray::{Array1, Array2};
use serde_json::Value;
use std::path::PathBuf;

pub fn dir(model: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(model)
}

pub fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect()
}

/// The worst difference over all cases, on real tokens, relative to the greatest logit.
fn worst<T: Real>(model: &str, forward: impl Fn(&[u32], &[bool]) -> Forward<T>) -> f64 {
    let text = std::fs::read_to_string(dir(model).join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let mut worst = 0.0_f64;
    for case in expected["cases"].as_array().unwrap() {
        let ids: Vec<u32> = numbers(&case["ids"]).iter().map(|&x| x as u32).collect();
        let mask: Vec<bool> = numbers(&case["mask"]).iter().map(|&x| x != 0.0).collect();
        let logits = forward(&ids, &mask).logits.mapv(T::to_f64);
        let rows: Vec<Vec<f64>> = match case["logits"][0].is_array() {
            true => case["logits"]
                .as_array()
                .unwrap()
                .iter()
                .map(numbers)
                .collect(),
            false => vec![numbers(&case["logits"])],
        };
        let expected = Array2::from_shape_fn(logits.dim(), |(i, c)| rows[i][c]);
        let size = expected.iter().fold(1.0_f64, |most, x| most.max(x.abs()));
        for i in (0..logits.nrows()).filter(|&i| mask[i]) {
            let error: Array1<f64> = (&logits.row(i) - &expected.row(i)).mapv(f64::abs);
            worst = worst.max(error.fold(0.0_f64, |a, &b| a.max(b)) / size);
        }
    }
    worst
}

// Two layers of products over at most 24 terms, layer norms and one softmax: below 400 roundings on
// the longest path; weights of size 0.4 √8 ≈ 1.1 and layer norms amplify a perturbation by less
// than 8 in all.
pub const UNITS: f64 = 400.0 * 8.0;

#[test]
fn gpt2_logits_match_transformers() {
    let model = Gpt2::<f64>::load(&dir("gpt2")).unwrap();
    let error = worst("gpt2", |ids, mask| {
        model.forward(ids, None, Some(mask), None).unwrap()
    });
    println!("f64: {error:e}");
    assert!(error < UNITS * f64::unit_roundoff(), "{error:e}");
    let single = Gpt2::<f32>::load(&dir("gpt2")).unwrap();
    let error = worst("gpt2", |ids, mask| {
        single.forward(ids, None, Some(mask), None).unwrap()
    });
    println!("f32: {error:e}");
    assert!(error < UNITS * f32::unit_roundoff(), "{error:e}");
    // control: positions not counted from the first real token (no mask given)
    let control = worst("gpt2", |ids, _| {
        model.forward(ids, None, None, None).unwrap()
    });
    assert!(control > 1e-3, "{control:e}");
    // control: another ε
    let mut other = model.clone();
    other.ln_f.epsilon = 1e-3;
    let control = worst("gpt2", |ids, mask| {
        other.forward(ids, None, Some(mask), None).unwrap()
    });
    assert!(control > 1e-6, "{control:e}");
}

#[test]
fn roberta_logits_match_transformers() {
    let model = Roberta::<f64>::load(&dir("roberta")).unwrap();
    let error = worst("roberta", |ids, mask| {
        model.forward(ids, None, Some(mask), None).unwrap()
    });
    println!("f64: {error:e}");
    assert!(error < UNITS * f64::unit_roundoff(), "{error:e}");
    let single = Roberta::<f32>::load(&dir("roberta")).unwrap();
    let error = worst("roberta", |ids, mask| {
        single.forward(ids, None, Some(mask), None).unwrap()
    });
    println!("f32: {error:e}");
    assert!(error < UNITS * f32::unit_roundoff(), "{error:e}");
    // control: padding keys visible
    let control = worst("roberta", |ids, _| {
        model.forward(ids, None, None, None).unwrap()
    });
    assert!(control > 1e-3, "{control:e}");
}
