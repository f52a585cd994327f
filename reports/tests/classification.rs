//! RoBERTa as a user meets it: pretrained, trained on pairs and sentences, evaluated; both engines
//! on its directory.
#![allow(clippy::unwrap_used)]

use inducer_datasets::synthetic;
use inducer_gpu::Method;
use inducer_gpu::files::safetensors::{Weights, same_name};
use std::path::Path;
use std::process::{Command, Output};

fn inducer(dir: &Path, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_inducer"))
        .args(line.split(' '))
        .current_dir(dir)
        .output()
        .unwrap()
}

fn succeeds(dir: &Path, line: &str) -> serde_json::Value {
    let out = inducer(dir, line);
    assert!(
        out.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    serde_json::from_slice(&out.stdout).unwrap_or_default()
}

/// A directory with a tiny pretrained RoBERTa and both tasks' data.
fn fixture() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("text.txt"),
        synthetic::pretraining_text(1, 60_000),
    )
    .unwrap();
    succeeds(
        dir.path(),
        "pretrain --kind roberta --text text.txt --out encoder --vocabulary 400 --layers 2 \
         --hidden 24 --heads 3 --positions 128 --length 32 --batch-size 8 --steps 30",
    );
    dir
}

#[test]
fn sentences_are_classified_better_than_by_chance_and_evaluate_repeats_the_figure() {
    let f = fixture();
    synthetic_task(f.path(), "sst2");
    let line = "--task sst2 --data sst2 --backbone encoder";
    let trained = succeeds(
        f.path(),
        &format!(
            "train {line} --method full --out run --steps 300 --batch-size 32 --learning-rate \
             0.003 --dropout 0 --json"
        ),
    );
    let accuracy = trained["accuracy"]["accuracy"].as_f64().unwrap();
    let metrics = std::fs::read_to_string(f.path().join("run/metrics.jsonl")).unwrap();
    assert!(metrics.contains("validation_score"), "accuracy is logged");
    // two classes, half and half: chance is 0.5 ± 0.025 on 400 rows
    assert!(accuracy > 0.65, "{trained}");
    let found = succeeds(
        f.path(),
        &format!("evaluate {line} --adapter run/best --json"),
    );
    assert_eq!(found["scores"]["accuracy"], trained["accuracy"]["accuracy"]);
    let names = std::fs::read_to_string(f.path().join("run/outputs.txt")).unwrap();
    assert!(names.lines().all(|l| l == "0" || l == "1"));
}

fn synthetic_task(dir: &Path, task: &str) {
    let data = dir.join(task);
    match task {
        "sst2" => synthetic::write_sst2(&data, Default::default()).unwrap(),
        _ => synthetic::write_mnli(&data, Default::default()).unwrap(),
    };
}

#[test]
fn a_backbone_of_the_wrong_kind_is_refused() {
    let f = fixture();
    synthetic_task(f.path(), "mnli");
    let out = inducer(
        f.path(),
        "train --task webnlg --data mnli --backbone encoder --method inducer --out run",
    );
    assert_eq!(out.status.code(), Some(1));
    let out = inducer(
        f.path(),
        "train --task mnli --data mnli --backbone encoder --method inducer --out run --steps 2",
    );
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

#[test]
fn both_engines_agree_on_class_scores_and_loss_for_every_method() {
    let f = fixture();
    std::fs::write(
        f.path().join("batch.json"),
        r#"{
            "input_ids": [[0, 17, 300, 9, 2], [0, 44, 2, 1, 1]],
            "attention_mask": [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]],
            "labels": [[1], [0]]
        }"#,
    )
    .unwrap();
    for method in Method::ALL {
        let device = candle_core::Device::Cpu;
        let mut model =
            inducer_gpu::Model::load(&f.path().join("encoder"), candle_core::DType::F32, &device)
                .unwrap();
        let config = method.on(&model.backbone.config());
        model.attach(&config, 0, 5).unwrap();
        model.save_adapter(&f.path().join("adapter")).unwrap();
        let mut results = Vec::new();
        for engine in ["gpu", "reference"] {
            succeeds(
                f.path(),
                &format!(
                    "forward --backbone encoder --adapter adapter --batch batch.json --dtype f64 \
                     --engine {engine} --out {engine}.safetensors"
                ),
            );
            let weights = Weights::open(&f.path().join(format!("{engine}.safetensors"))).unwrap();
            let expected = [
                ("logits".to_string(), vec![2, 2]),
                ("loss".to_string(), vec![1]),
            ];
            let tensors = weights
                .read(&expected, same_name, candle_core::DType::F64, &device)
                .unwrap();
            let all: Vec<f64> = tensors
                .values()
                .flat_map(|t| t.flatten_all().unwrap().to_vec1::<f64>().unwrap())
                .collect();
            results.push(all);
        }
        for (a, b) in results[0].iter().zip(&results[1]) {
            assert!(
                (a - b).abs() <= 1e-10 * b.abs().max(1.0),
                "{}: {a} {b}",
                method.name()
            );
        }
    }
}
