//! The command as a user meets it: real files, exit status, messages.
#![allow(clippy::unwrap_used)]

use crate::common::Fixture;
use candle_core::{DType, Device};
use inducer_gpu::Method;
use inducer_gpu::files::safetensors::{Weights, same_name};
use std::path::Path;

const TRAIN: [&str; 11] = [
    "train",
    "--data",
    "data",
    "--backbone",
    "backbone",
    "--method",
    "inducer",
    "--out",
    "run",
    "--steps",
    "2",
];

fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} is not in {}", path.display());
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_missing_file_is_named() {
    let f = Fixture::new();
    std::fs::remove_file(f.path("data/dev.json")).unwrap();
    f.fails(&TRAIN, &["dev.json"]);
    let f = Fixture::new();
    std::fs::remove_file(f.path("backbone/model.safetensors")).unwrap();
    f.fails(&TRAIN, &["model.safetensors"]);
    assert!(!f.path("run/result.json").exists());
}

#[test]
fn broken_json_is_named_with_its_place() {
    let f = Fixture::new();
    edit(
        &f.path("data/train.json"),
        "\"modifiedtripleset\": [",
        "\"modifiedtripleset\": {",
    );
    f.fails(&TRAIN, &["train.json", "line"]);
    edit(&f.path("backbone/config.json"), "{", "[");
    f.fails(
        &["params", "--backbone", "backbone"],
        &["config.json", "line"],
    );
}

#[test]
fn an_entry_without_triples_is_named() {
    let f = Fixture::new();
    let path = f.path("data/test.json");
    let mut value: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    value["entries"][2]["3"]["modifiedtripleset"] = serde_json::json!([]);
    std::fs::write(&path, value.to_string()).unwrap();
    f.fails(&TRAIN, &["test.json", "3", "modifiedtripleset"]);
}

#[test]
fn an_unknown_field_is_named() {
    let f = Fixture::new();
    let dir = f.adapter(Method::Inducer);
    edit(
        &dir.join("adapter_config.json"),
        "\"value_bottleneck\"",
        "\"value_botleneck\": 3, \"value_bottleneck\"",
    );
    f.fails(
        &[
            "params",
            "--backbone",
            "backbone",
            "--adapter",
            "inducer/adapter_config.json",
        ],
        &["adapter_config.json", "value_botleneck"],
    );
    std::fs::write(
        f.path("batch.json"),
        r#"{"input_ids": [[1, 2]], "atention_mask": [[1, 1]]}"#,
    )
    .unwrap();
    f.fails(
        &[
            "forward",
            "--backbone",
            "backbone",
            "--batch",
            "batch.json",
            "--out",
            "out.safetensors",
        ],
        &["batch.json", "atention_mask"],
    );
    assert!(!f.path("out.safetensors").exists());
}

#[test]
fn a_wrongly_shaped_tensor_is_named_with_both_shapes() {
    let f = Fixture::new();
    edit(
        &f.path("backbone/config.json"),
        "\"n_positions\": 320",
        "\"n_positions\": 300",
    );
    f.fails(
        &TRAIN,
        &["model.safetensors", "wpe.weight", "[300, 24]", "[320, 24]"],
    );
}

#[test]
fn a_truncated_file_is_named() {
    let f = Fixture::new();
    let path = f.path("backbone/model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    f.fails(&TRAIN, &["model.safetensors"]);
}

#[test]
fn a_batch_that_does_not_fit_is_named() {
    let f = Fixture::new();
    for (json, words) in [
        (r#"{"input_ids": [[1, 2], [3]]}"#, ["input_ids", "row 1"]),
        (r#"{"input_ids": [[1, 400]]}"#, ["input_ids", "400"]),
        (
            r#"{"input_ids": [[1, 2]], "labels": [[1]]}"#,
            ["labels", "expected 2"],
        ),
        (
            r#"{"input_ids": [[1, 2, 3]], "attention_mask": [[1, 0, 2]]}"#,
            ["attention_mask", "expected 0 or 1"],
        ),
        (
            r#"{"input_ids": [[1, 2]], "labels": [[1, 2]], "attention_mask": [[true, false]]}"#,
            ["row 0, place 1", "attention_mask"],
        ),
        (
            r#"{"input_ids": [[1, 2]], "labels": [1]}"#,
            ["labels", "a list for each row"],
        ),
        (
            r#"{"input_ids": [[1, 2]], "position_ids": [[0, 320]]}"#,
            ["position_ids", "320"],
        ),
    ] {
        std::fs::write(f.path("batch.json"), json).unwrap();
        f.fails(
            &[
                "forward",
                "--backbone",
                "backbone",
                "--batch",
                "batch.json",
                "--out",
                "out.safetensors",
            ],
            &words,
        );
        assert!(!f.path("out.safetensors").exists());
    }
}

#[test]
fn a_wrong_word_is_a_usage_error_with_status_2() {
    let f = Fixture::new();
    assert_eq!(f.inducer(&["forwards"]).status.code(), Some(2));
    assert_eq!(
        f.inducer(&["train", "--data", "data"]).status.code(),
        Some(2)
    );
}

#[test]
fn both_engines_agree_on_logits_and_loss_for_every_method() {
    let f = Fixture::new();
    // left and right padding, segment ids and the special tokens' ids
    let batch = r#"{
        "input_ids": [[400, 9, 7, 405, 3, 0], [0, 401, 8, 2, 5, 404]],
        "attention_mask": [[1, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 1]],
        "segment_ids": [[400, 400, 401, 401, 404, 0], [0, 401, 402, 402, 404, 404]],
        "labels": [[-100, 9, 7, 405, 3, -100], [-100, -100, 8, 2, 5, 404]]
    }"#;
    std::fs::write(f.path("batch.json"), batch).unwrap();
    for method in Method::ALL {
        let name = method.name();
        f.adapter(method);
        let mut found = Vec::new();
        for engine in ["gpu", "reference"] {
            let out = f.inducer(&[
                "forward",
                "--backbone",
                "backbone",
                "--adapter",
                name,
                "--batch",
                "batch.json",
                "--out",
                engine,
                "--engine",
                engine,
                "--dtype",
                "f64",
            ]);
            assert!(
                out.status.success(),
                "{}",
                String::from_utf8_lossy(&out.stderr)
            );
            let weights = Weights::open(&f.path(engine)).unwrap();
            let shapes = [
                ("logits".to_string(), vec![2, 6, 406]),
                ("loss".to_string(), vec![1]),
            ];
            let tensors = weights
                .read(&shapes, same_name, DType::F64, &Device::Cpu)
                .unwrap();
            found.push(tensors.into_values().collect::<Vec<_>>());
        }
        for (a, b) in found[0].iter().zip(&found[1]) {
            let top = b
                .abs()
                .unwrap()
                .max_all()
                .unwrap()
                .to_scalar::<f64>()
                .unwrap();
            let apart = (a - b)
                .unwrap()
                .abs()
                .unwrap()
                .max_all()
                .unwrap()
                .to_scalar::<f64>()
                .unwrap();
            assert!(apart <= 1e-10 * top, "{name}: {apart:e} of {top}");
        }
        // the control: another adapter does not agree
        if method == Method::Inducer {
            let top = (&found[0][1] - 1e-6).unwrap();
            assert!(
                (top - &found[1][1])
                    .unwrap()
                    .abs()
                    .unwrap()
                    .max_all()
                    .unwrap()
                    .to_scalar::<f64>()
                    .unwrap()
                    > 1e-8
            );
        }
    }
}

#[test]
fn gradients_are_written_for_every_adapter_tensor() {
    let f = Fixture::new();
    f.adapter(Method::InducerLora);
    std::fs::write(
        f.path("batch.json"),
        r#"{"input_ids": [[4, 9, 7, 5]], "labels": [[-100, 9, 7, 5]]}"#,
    )
    .unwrap();
    let out = f.inducer(&[
        "forward",
        "--backbone",
        "backbone",
        "--adapter",
        "inducer-lora",
        "--batch",
        "batch.json",
        "--out",
        "out",
        "--gradients",
    ]);
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let (gradients, tensors) = (
        Weights::open(&f.path("out")).unwrap(),
        Weights::open(&f.path("inducer-lora/adapter_model.safetensors")).unwrap(),
    );
    for name in tensors.names() {
        assert_eq!(
            gradients.shape(&format!("grad.{name}")).unwrap(),
            tensors.shape(name).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn a_run_trains_is_scored_and_is_not_repeated() {
    let f = Fixture::new();
    let first = f.inducer(&TRAIN);
    assert!(
        first.status.success(),
        "{}",
        String::from_utf8_lossy(&first.stderr)
    );
    for file in [
        "run.json",
        "metrics.jsonl",
        "checkpoint/state.safetensors",
        "adapter/adapter_config.json",
        "best/adapter_model.safetensors",
        "outputs.txt",
        "result.json",
    ] {
        assert!(f.path("run").join(file).exists(), "{file}");
    }
    let before = std::fs::read(f.path("run/metrics.jsonl")).unwrap();
    assert!(f.inducer(&TRAIN).status.success());
    assert_eq!(std::fs::read(f.path("run/metrics.jsonl")).unwrap(), before);
    let mut other = TRAIN;
    other[10] = "1";
    f.fails(
        &other,
        &[
            "run.json",
            "`train.steps` is 2 there and 1 here",
            "--overwrite",
        ],
    );
    let scored = f.inducer(&[
        "evaluate",
        "--data",
        "data",
        "--backbone",
        "backbone",
        "--adapter",
        "run/best",
        "--json",
    ]);
    assert!(
        scored.status.success(),
        "{}",
        String::from_utf8_lossy(&scored.stderr)
    );
    let found: serde_json::Value = serde_json::from_slice(&scored.stdout).unwrap();
    let result: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(f.path("run/result.json")).unwrap()).unwrap();
    assert_eq!(found["bleu"], result["bleu"]);
    for side in ["seen", "unseen", "all"] {
        let figure = &found["scores"]["bleu"][side]["bleu"];
        assert_eq!(figure, &result["bleu"][side], "{side}");
        assert!(found["scores"]["ter"][side]["shifts"].is_u64());
    }
    let categories = found["scores"]["meteor"]["categories"].as_object();
    assert!(categories.is_some_and(|c| c.contains_key("Artist")));
    let text = f.inducer(&[
        "generate",
        "--data",
        "data",
        "--backbone",
        "backbone",
        "--adapter",
        "run/best",
    ]);
    assert_eq!(
        text.stdout,
        std::fs::read(f.path("run/outputs.txt")).unwrap()
    );
}
