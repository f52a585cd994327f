//! A run that is killed at any moment and started again ends as if it had never stopped, bit by
//! bit.
#![allow(clippy::unwrap_used)]

mod common;

use common::Fixture;
use rand::{Rng, SeedableRng};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn command(f: &Fixture, method: &str, out: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inducer"));
    command
        .args([
            "train",
            "--data",
            "data",
            "--backbone",
            "backbone",
            "--method",
            method,
            "--out",
            out,
        ])
        .args([
            "--steps",
            "24",
            "--checkpoint-every",
            "2",
            "--dropout",
            "0.1",
            "--accumulation",
            "2",
        ])
        .args(["--max-new-tokens", "4", "--threads", "1"])
        .current_dir(f.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// The files that a finished run leaves for others, and its losses.
fn result(f: &Fixture, out: &str) -> Vec<Vec<u8>> {
    let losses: Vec<String> = std::fs::read_to_string(f.path(out).join("metrics.jsonl"))
        .unwrap()
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            format!(
                "{} {} {}",
                line["step"], line["loss"], line["validation_loss"]
            )
        })
        .collect();
    let mut all = vec![losses.join("\n").into_bytes()];
    for file in [
        "adapter/adapter_model.safetensors",
        "best/adapter_model.safetensors",
        "outputs.txt",
    ] {
        all.push(std::fs::read(f.path(out).join(file)).unwrap());
    }
    all
}

#[test]
fn twenty_runs_killed_at_random_moments_end_like_the_one_that_was_not() {
    let f = Fixture::new();
    let start = Instant::now();
    assert!(
        command(&f, "inducer-lora", "whole")
            .status()
            .unwrap()
            .success()
    );
    let whole = start.elapsed();
    let expected = result(&f, "whole");
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(20);
    let mut kills = 0;
    for run in 0..20 {
        let out = format!("killed-{run}");
        // two kills at random moments of what the whole run took, then to the end
        for _ in 0..2 {
            let mut child = command(&f, "inducer-lora", &out).spawn().unwrap();
            std::thread::sleep(Duration::from_secs_f64(
                whole.as_secs_f64() * rng.random_range(0.0..1.0),
            ));
            if child.try_wait().unwrap().is_none() {
                child.kill().unwrap(); // SIGKILL
                kills += 1;
            }
            child.wait().unwrap();
        }
        assert!(
            command(&f, "inducer-lora", &out)
                .status()
                .unwrap()
                .success(),
            "run {run}"
        );
        assert_eq!(result(&f, &out), expected, "run {run}");
    }
    assert!(kills >= 20, "only {kills} of 40 kills met a living process");
}

#[test]
fn another_seed_ends_otherwise() {
    // the comparison above can fail: one changed seed does
    let f = Fixture::new();
    assert!(
        command(&f, "inducer-lora", "one")
            .status()
            .unwrap()
            .success()
    );
    assert!(
        command(&f, "inducer-lora", "other")
            .args(["--seed", "2"])
            .status()
            .unwrap()
            .success()
    );
    assert_ne!(result(&f, "one"), result(&f, "other"));
}
