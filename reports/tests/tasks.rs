//! CoQA from files to scores, and entries that are malformed, as a user meets them.
#![allow(clippy::unwrap_used)] // helpers outside of #[test] functions

use candle_core::{DType, Device};
use inducer_datasets::Tokenizer;
use inducer_datasets::synthetic::{self, CoqaConfig};
use inducer_gpu::backbone::Gpt2;
use inducer_gpu::{Gpt2Config, Model};
use std::path::Path;
use std::process::{Command, Output};

fn fixture() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let config = CoqaConfig {
        seed: 1,
        train: 20,
        dev: 2,
        turns: 4,
        passage_words: 40,
        longest_passage_words: None,
        lengths: 1,
    };
    synthetic::write_coqa(&dir.path().join("data"), config).unwrap();
    let text = synthetic::pretraining_text(1, 60_000);
    let backbone = dir.path().join("backbone");
    Tokenizer::train(text.split("\n\n"), 400)
        .unwrap()
        .save(&backbone)
        .unwrap();
    let config = Gpt2Config {
        vocab_size: 400,
        n_positions: 512,
        n_embd: 24,
        n_layer: 2,
        n_head: 3,
        eos_token_id: Some(0),
        ..Gpt2Config::small()
    };
    let gpt2 = Gpt2::random(config, 7, DType::F32, &Device::Cpu).unwrap();
    Model::new(gpt2, DType::F32, &Device::Cpu)
        .save_backbone(&backbone)
        .unwrap();
    dir
}

fn inducer(dir: &Path, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_inducer"))
        .args(line.split(' '))
        .current_dir(dir)
        .output()
        .unwrap()
}

#[test]
fn coqa_is_trained_evaluated_and_scored_by_domain() {
    let dir = fixture();
    let inputs = "--task coqa --data data --backbone backbone";
    let limits = "--max-new-tokens 4 --test-limit 6";
    let train = format!(
        "train {inputs} --method inducer --out run --steps 2 --batch-size 4 {limits} --json"
    );
    let out = inducer(dir.path(), &train);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{said}");
    assert!(said.contains("note: test is coqa-dev-v1.0.json"), "{said}");
    let result: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let line = format!("evaluate {inputs} --adapter run/best {limits} --json");
    let out = inducer(dir.path(), &line);
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let found: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(
        (&found["task"], &found["scores"]["questions"]),
        (&"coqa".into(), &6.into())
    );
    assert_eq!(found["scores"], result["coqa"]);
    assert_eq!(found["scores"]["domains"].as_object().unwrap().len(), 2);
    assert!(
        found["notes"][0]
            .as_str()
            .unwrap()
            .contains("every 20th story")
    );
}

#[test]
fn malformed_entries_stop_a_run_unless_they_are_to_be_skipped() {
    let dir = fixture();
    let path = dir.path().join("data/coqa-train-v1.0.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"story\": \"", "\"tale\": \"", 1)).unwrap();
    let line = "train --task coqa --data data --backbone backbone --method inducer --out run \
     --steps 1 --max-new-tokens 2 --test-limit 1";
    let out = inducer(dir.path(), line);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1));
    assert!(
        said.contains("coqa-train-v1.0.json:") && said.contains("entry 1: field `story`"),
        "{said}"
    );
    let out = inducer(dir.path(), &format!("{line} --skip-malformed"));
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{said}");
    assert!(
        said.contains("1 malformed entry left out:") && said.contains("field `story`"),
        "{said}"
    );
}
