//! The embedded backbones are what `inducer pretrain` makes with their committed settings.
#![allow(clippy::unwrap_used)]

use inducer_datasets::{fingerprint, synthetic};
use inducer_reports::study::generated::LONG_WORDS;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Steps that are compared.
const STEPS: usize = 4;

/// Share of a loss by which two processors may differ: sums of some thousand singles in another
/// order.
const TOLERANCE: f64 = 2e-5;

fn embedded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("backbones")
        .join(name)
}

/// The losses of the first steps in a log.
fn losses(log: &Path) -> Vec<f64> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines = text
        .lines()
        .filter_map(|l| serde_json::from_str::<Value>(l).ok());
    lines
        .filter_map(|l| l["loss"].as_f64())
        .take(STEPS)
        .collect()
}

/// The options of the command that stand in a settings file.
fn options(config: &Value) -> Vec<String> {
    let fields = config.as_object().unwrap();
    let option = |(name, value): (&String, &Value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), Into::into);
        [format!("--{}", name.replace('_', "-")), value]
    };
    fields.iter().flat_map(option).collect()
}

#[test]
fn the_first_steps_of_the_embedded_backbones_give_the_committed_losses() {
    let prose = |bytes| synthetic::pretraining_text(1, bytes);
    let conversations = |bytes| synthetic::conversations_text(1, bytes, LONG_WORDS);
    type Text<'a> = &'a dyn Fn(usize) -> String;
    let of_each: [(&str, &str, Text<'_>, usize); 3] = [
        ("gpt2", "--prose", &prose, 4_000_000),
        (
            "conversations",
            "--conversations",
            &conversations,
            16_000_000,
        ),
        ("roberta", "--prose", &prose, 4_000_000),
    ];
    for (name, option, text, bytes) in of_each {
        let text = fingerprint::of_bytes(text(bytes).as_bytes());
        let made = std::fs::read_to_string(embedded(name).join("pretraining.json")).unwrap();
        let made: Value = serde_json::from_str(&made).unwrap();
        assert_eq!(made["text"], text.as_str(), "{name}: text");
        let committed = losses(&embedded(name).join("pretraining.jsonl"));

        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let mut child = Command::new(env!("CARGO_BIN_EXE_inducer"))
            .args(["pretrain", option, &bytes.to_string(), "--out"])
            .arg(&out)
            .args(options(&made["config"]))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let log = out.join("pretraining/metrics.jsonl");
        let found = loop {
            let found = losses(&log);
            let ended = child.try_wait().unwrap();
            if found.len() == STEPS {
                break found;
            }
            assert!(ended.is_none(), "{name}: ended with {ended:?}");
            std::thread::sleep(Duration::from_millis(50));
        };
        child.kill().unwrap();
        child.wait().unwrap();
        for (found, committed) in found.iter().zip(&committed) {
            let apart = (found / committed - 1.0).abs();
            assert!(apart < TOLERANCE, "{name}: {found} : {committed}");
        }
        // rows in another order would be seen
        for pair in committed.windows(2) {
            assert!((pair[0] / pair[1] - 1.0).abs() > 5.0 * TOLERANCE);
        }
    }
}
