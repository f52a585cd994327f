//! `verify/checks/cuda.sh`, what is run where there is a card, from start to end on the CPU.

#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// The script with this program, or nothing where there is no Python for it.
fn check(program: &Path, out: &Path, more: &[&str]) -> Option<Output> {
    let python = Command::new("python3").arg("--version").output();
    if !python.is_ok_and(|found| found.status.success()) {
        eprintln!("not run: verify/checks/cuda.sh needs python3");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../verify/checks/cuda.sh");
    let mut command = Command::new("bash");
    command.arg(script).arg("--binary").arg(program);
    command.args([
        "--device", "cpu", "--preset", "tiny", "--quick", "--cases", "1",
    ]);
    Some(command.arg("--out").arg(out).args(more).output().unwrap())
}

fn inducer() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_inducer"))
}

#[test]
fn the_check_of_a_card_runs_from_start_to_end_on_the_cpu() {
    let dir = TempDir::new().unwrap();
    let only = ["--only", "device,bench,methods,resume,decode"];
    let Some(found) = check(&inducer(), dir.path(), &only) else {
        return;
    };
    let said = String::from_utf8_lossy(&found.stdout) + String::from_utf8_lossy(&found.stderr);
    assert!(found.status.success(), "{said}");
    let json = std::fs::read_to_string(dir.path().join("cuda.json")).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    let methods = json["methods"]
        .as_object()
        .or(json["methods"]["rows"].as_object());
    assert!(methods.is_some_and(|m| !m.is_empty()), "{json:#}");
    let markdown = std::fs::read_to_string(dir.path().join("cuda.md")).unwrap();
    for method in ["full", "lora", "prefix", "inducer", "mam-inducer"] {
        assert!(markdown.contains(method), "{method} is not in\n{markdown}");
    }
}

#[test]
fn a_program_that_fails_is_a_failed_check() {
    let dir = TempDir::new().unwrap();
    let program = dir.path().join("inducer");
    std::fs::write(&program, "#!/bin/sh\nexit 3\n").unwrap();
    let only = ["--only", "device,bench"];
    let Some(found) = check(&program, &dir.path().join("out"), &only) else {
        return;
    };
    assert_eq!(found.status.code(), Some(1));
}
