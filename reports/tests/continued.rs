//! A run that `report` began and that was killed is continued by `train` with the same settings,
//! and ends like the one that nobody stopped, bit by bit.
#![allow(clippy::unwrap_used)]

use crate::common::Fixture;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const RUN: &str = "runs/inducer-lora-seed2";

const SETTINGS: &str = "--data data --backbone backbone --steps 24 --batch-size 4 \
     --accumulation 2 --dropout 0.1 --checkpoint-every 2 --max-new-tokens 4 --threads 1";

fn report(f: &Fixture, out: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inducer"));
    command
        .args("report --methods inducer-lora --seeds 2 --ledger-cases 0 --no-long".split(' '))
        .args(SETTINGS.split_whitespace())
        .args(["--out", out])
        .current_dir(f.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["train", "--method", "inducer-lora", "--seed", "2"];
    args.extend(SETTINGS.split_whitespace());
    args.extend(more);
    args
}

/// Kills a study when the first checkpoint of its run is there; again from the start where the run
/// was done before the signal came.
fn interrupted(f: &Fixture, out: &str) {
    let run = f.path(out).join(RUN);
    for _ in 0..50 {
        let mut child = report(f, out).spawn().unwrap();
        while !run.join("checkpoint/state.safetensors").exists()
            && child.try_wait().unwrap().is_none()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if run.join("checkpoint/state.safetensors").exists() && !run.join("adapter").exists() {
            return;
        }
        std::fs::remove_dir_all(f.path(out)).unwrap();
    }
    panic!("no study could be stopped between its first checkpoint and its end");
}

fn bytes(run: &Path) -> Vec<Vec<u8>> {
    let files = [
        "run.json",
        "adapter/adapter_model.safetensors",
        "best/adapter_model.safetensors",
        "outputs.txt",
    ];
    files
        .map(|file| std::fs::read(run.join(file)).unwrap())
        .to_vec()
}

fn losses(run: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let line = |line: &str| {
        let v: serde_json::Value = serde_json::from_str(line).unwrap();
        format!(
            "{} {} {} {}",
            v["step"], v["loss"], v["validation_loss"], v["drift"]
        )
    };
    text.lines().map(line).collect()
}

#[test]
fn train_continues_a_run_that_report_began_and_refuses_another() {
    let f = Fixture::new();
    assert!(report(&f, "whole").status().unwrap().success());
    interrupted(&f, "study");
    let out = f.path("study").join(RUN);
    let out = out.to_str().unwrap();
    f.fails(
        &train(&["--out", out, "--learning-rate", "0.5"]),
        &[
            "run.json",
            "`train.learning_rate`",
            "0.5",
            env!("CARGO_PKG_VERSION"),
        ],
    );
    let done = f.inducer(&train(&["--out", out]));
    let message = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{message}");
    let (whole, continued) = (f.path("whole").join(RUN), f.path("study").join(RUN));
    assert_eq!(bytes(&continued), bytes(&whole));
    assert_eq!(losses(&continued), losses(&whole));
}

#[test]
fn a_run_of_another_version_is_refused_by_its_version() {
    let f = Fixture::new();
    let args = [
        "train",
        "--method",
        "none",
        "--data",
        "data",
        "--backbone",
        "backbone",
    ];
    let args = [&args[..], &["--max-new-tokens", "4", "--out", "run"]].concat();
    assert!(f.inducer(&args).status.success());
    let file = f.path("run/run.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let version = format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&version), "{text}");
    let old = text.replace(&version, "\"version\": \"0.0.9\"");
    std::fs::write(&file, &old).unwrap();
    f.fails(&args, &["run.json", "inducer 0.0.9", "`version`"]);
    // fields that this version does not know
    std::fs::write(
        &file,
        old.replace("\"version\"", "\"vision\": 1, \"version\""),
    )
    .unwrap();
    f.fails(&args, &["run.json", "inducer 0.0.9", "`vision`"]);
}
