//! The forms in which Hugging Face directories come: the same weights under each of them give the
//! same bits.
#![allow(clippy::unwrap_used)]

use crate::common::{Fixture, tiny_roberta};
use candle_core::{DType, Device, Tensor};
use inducer_datasets::Batch;
use inducer_gpu::Model;
use inducer_gpu::backbone::Roberta;
use inducer_gpu::files::safetensors::serialize;
use std::collections::HashMap;
use std::path::Path;

type Named = Vec<(String, Tensor)>;

fn logits(dir: &Path) -> Vec<f32> {
    let model = Model::load(dir, DType::F32, &Device::Cpu).unwrap();
    let batch = Batch::pack(&[vec![3, 17, 200, 4], vec![7, 31]], None, None);
    let found = model.logits(&batch).unwrap();
    found.flatten_all().unwrap().to_vec1().unwrap()
}

fn tensors(dir: &Path) -> Named {
    let file = dir.join("model.safetensors");
    let all = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
    let mut all: Named = all.into_iter().collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn put(dir: &Path, file: &str, tensors: &Named) {
    let bytes = serialize(tensors.iter().map(|(n, t)| (n, t)), HashMap::new()).unwrap();
    std::fs::write(dir.join(file), bytes).unwrap();
}

/// Rewrites a backbone in place.
fn renamed(dir: &Path, name: impl Fn(&str) -> String) {
    let all = tensors(dir);
    let all = all.into_iter().map(|(n, t)| (name(&n), t)).collect();
    put(dir, "model.safetensors", &all);
}

/// The same tensors in two files and an index.
fn sharded(dir: &Path) {
    let all = tensors(dir);
    let (first, second) = all.split_at(all.len() / 2);
    let mut map = serde_json::Map::new();
    for (i, shard) in [first, second].into_iter().enumerate() {
        let file = format!("model-{:05}-of-00002.safetensors", i + 1);
        put(dir, &file, &shard.to_vec());
        for (name, _) in shard {
            map.insert(name.clone(), file.clone().into());
        }
    }
    std::fs::remove_file(dir.join("model.safetensors")).unwrap();
    let index = serde_json::json!({"metadata": {"total_size": 0}, "weight_map": map});
    std::fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

#[test]
fn gpt2_without_its_prefix_with_mask_buffers_a_tied_head_and_in_shards() {
    let f = Fixture::new();
    let dir = f.path("backbone");
    let before = logits(&dir);
    renamed(&dir, |n| n.strip_prefix("transformer.").unwrap_or(n).into());
    assert!(
        tensors(&dir)
            .iter()
            .any(|(n, _)| n == "h.0.attn.c_attn.weight")
    );
    assert_eq!(logits(&dir), before);

    let mut all = tensors(&dir);
    let mask = Tensor::ones((1, 1, 320, 320), DType::F32, &Device::Cpu).unwrap();
    all.push(("h.0.attn.bias".into(), mask));
    let far = Tensor::new(-1e4f32, &Device::Cpu).unwrap();
    all.push(("h.0.attn.masked_bias".into(), far));
    let head = all
        .iter()
        .find(|(n, _)| n == "wte.weight")
        .unwrap()
        .1
        .clone();
    all.push(("lm_head.weight".into(), head));
    put(&dir, "model.safetensors", &all);
    assert_eq!(logits(&dir), before);

    sharded(&dir);
    assert_eq!(logits(&dir), before);
}

#[test]
fn roberta_with_gamma_and_beta_and_in_shards() {
    let f = Fixture::new();
    let dir = f.path("backbone");
    let model = Roberta::random(tiny_roberta(), 7, DType::F32, &Device::Cpu).unwrap();
    Model::new(model, DType::F32, &Device::Cpu)
        .save_backbone(&dir)
        .unwrap();
    let before = logits(&dir);
    renamed(&dir, |n| {
        n.replace("LayerNorm.weight", "LayerNorm.gamma")
            .replace("LayerNorm.bias", "LayerNorm.beta")
    });
    assert!(
        tensors(&dir)
            .iter()
            .any(|(n, _)| n.ends_with("LayerNorm.gamma"))
    );
    assert_eq!(logits(&dir), before);
    sharded(&dir);
    assert_eq!(logits(&dir), before);
}

/// The controls: what is not the same weights is an error that names the tensor, never other
/// logits.
#[test]
fn a_shard_that_is_missing_and_a_head_that_is_not_tied_are_errors() {
    let f = Fixture::new();
    let dir = f.path("backbone");
    std::fs::write(f.path("batch.json"), r#"{"input_ids": [[1, 2]]}"#).unwrap();
    let line = [
        "forward",
        "--backbone",
        "backbone",
        "--batch",
        "batch.json",
        "--out",
        "o",
    ];
    let mut all = tensors(&dir);
    let whole = all.clone();
    let wte = all
        .iter()
        .find(|(n, _)| n.ends_with("wte.weight"))
        .unwrap()
        .1
        .clone();
    all.push(("lm_head.weight".into(), (wte * 2.0).unwrap()));
    put(&dir, "model.safetensors", &all);
    f.fails(&line, &["lm_head.weight"]);
    put(&dir, "model.safetensors", &whole);
    sharded(&dir);
    std::fs::remove_file(dir.join("model-00002-of-00002.safetensors")).unwrap();
    f.fails(&line, &["model-00002-of-00002.safetensors"]);
}
