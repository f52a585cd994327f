//! `verify/checks/cuda.sh`, what is run where there is a card, from start to end on the CPU.

#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// The script with this program, and the cuda.json that it wrote; nothing if there is no Python.
fn check(program: &Path, out: &Path) -> Option<(Output, Value)> {
    let python = Command::new("python3").arg("--version").output();
    if !python.is_ok_and(|found| found.status.success()) {
        // past the capture of the tests' output
        let mut error = std::io::stderr();
        writeln!(error, "not run: verify/checks/cuda.sh needs python3").unwrap();
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../verify/checks/cuda.sh");
    let mut command = Command::new("bash");
    command.arg(script).arg("--binary").arg(program);
    command.args([
        "--device", "cpu", "--preset", "tiny", "--quick", "--cases", "1", "--budget", "900",
    ]);
    let found = command.arg("--out").arg(out).output().unwrap();
    let json = std::fs::read_to_string(out.join("cuda.json")).unwrap();
    // Python writes what is not finite as no JSON: it would not be read
    Some((found, serde_json::from_str(&json).unwrap()))
}

fn inducer() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_inducer"))
}

const STEPS: [&str; 8] = [
    "device", "verify", "methods", "resume", "rate", "bench", "decode", "more",
];

/// Each step's status, with the reason where it was not run.
fn statuses(json: &Value) -> Vec<(&'static str, String)> {
    let of = |name| {
        let step = &json["steps"][name];
        let status = step["status"].as_str().unwrap();
        match status {
            "not run" => (name, format!("{status}: {}", step["why"].as_str().unwrap())),
            _ => (name, status.into()),
        }
    };
    STEPS.map(of).into()
}

#[test]
fn the_check_of_a_card_runs_from_start_to_end_on_the_cpu() {
    let dir = TempDir::new().unwrap();
    let Some((found, json)) = check(&inducer(), dir.path()) else {
        return;
    };
    let said = String::from_utf8_lossy(&found.stdout) + String::from_utf8_lossy(&found.stderr);
    assert!(found.status.success(), "{said}");
    for (step, status) in statuses(&json) {
        let without_torch = step == "rate" && status == "not run: no torch";
        assert!(
            status == "passed" || without_torch,
            "{step}: {status}\n{said}"
        );
    }
    assert_eq!(json["failed"], serde_json::json!([]));
    let methods = json["methods"]["rows"].as_array().unwrap();
    assert_eq!(methods.len(), 12);
    for row in methods {
        for numbers in [&row["device"], &row["cpu"]] {
            for number in ["first", "gradient_norm", "ten", "all"] {
                let x = numbers[number].as_f64();
                assert!(
                    x.is_some_and(|x| (0.0..0.1).contains(&x)),
                    "{number}: {row}"
                );
            }
            assert_eq!(numbers["steps"], 10, "{row}");
        }
    }
    assert_eq!(json["methods"]["control_caught"], true);
    assert_eq!(json["resume"]["rows"].as_array().unwrap().len(), 2);
    let benched = json["bench"].as_array().unwrap();
    let ours = benched.iter().filter(|b| b["ours"]["step_ms"].is_number());
    // four methods at two sizes in two types
    assert_eq!(ours.count(), 16, "{benched:?}");
    for engine in ["emulated f32", "emulated bf16"] {
        let counts = &json["verify"]["engines"][engine];
        assert!(counts["passed"].as_u64() > Some(0), "{engine}: {counts}");
        assert_eq!(counts["failed"], 0);
    }
    let markdown = std::fs::read_to_string(dir.path().join("cuda.md")).unwrap();
    for method in ["full", "lora", "prefix", "inducer", "mam-inducer"] {
        assert!(markdown.contains(method), "{method} is not in\n{markdown}");
    }
}

#[test]
fn a_program_that_fails_is_a_failed_check_and_every_step_is_tried() {
    let dir = TempDir::new().unwrap();
    let program = dir.path().join("inducer");
    std::fs::write(&program, "#!/bin/sh\nexit 3\n").unwrap();
    let Some((found, json)) = check(&program, &dir.path().join("out")) else {
        return;
    };
    assert_eq!(found.status.code(), Some(1));
    let expected = [
        "device", "verify", "bench", "methods", "resume", "decode", "more",
    ];
    assert_eq!(json["failed"], serde_json::json!(expected), "{json:#}");
    for job in [
        "version",
        "verify",
        "backbone",
        "bench-ours-full-bf16-4x64",
        "decode-ours-none",
    ] {
        assert_eq!(json["jobs"][job]["status"], "3", "{job}");
    }
}
