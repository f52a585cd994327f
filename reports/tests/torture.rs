//! Eight processes on one study, killed at random by what they have done, until it is complete:
//! every run is there once and is the one that nobody disturbed.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use crate::common::{Fixture, preload};
use rand::{Rng, SeedableRng};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

const METHODS: [&str; 3] = ["none", "lora", "inducer"];

const SEEDS: [usize; 4] = [1, 2, 3, 4];

/// Steps of a run.
const STEPS: usize = 6;

fn study(f: &Fixture, out: &str) -> Command {
    let line = "report --data data --backbone backbone --methods none,lora,inducer --seeds 1-4 \
                --steps 6 --batch-size 4 --checkpoint-every 2 --max-new-tokens 3 \
                --ledger-cases 0 --jobs 1 --threads 1 --quiet";
    let mut command = Command::new(env!("CARGO_BIN_EXE_inducer"));
    command
        .args(line.split_whitespace())
        .args(["--out", out])
        .current_dir(f.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    command
}

/// A call at which a process may be killed, and how often it comes at most.
const KILLS: [(&str, &str, &str, usize); 8] = [
    ("write", "/metrics.jsonl", "half", 12),
    ("write", "/metrics.jsonl", "before", 12),
    ("rename", "/checkpoint/state.safetensors", "before", 5),
    ("rename", "/best/adapter_model.safetensors", "before", 3),
    ("rename", "/result.json", "before", 2),
    ("rename", "/run.json", "before", 3),
    ("open", "/run.lock", "before", 6),
    ("write", "/run.lock", "half", 4),
];

/// What a finished run left for others.
fn left(dir: &Path) -> (String, Vec<u8>, Option<Vec<u8>>) {
    let mut steps = Vec::new();
    let text = std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            let v: serde_json::Value = serde_json::from_str(line).unwrap();
            if v["loss"].is_number() {
                steps.push(v["step"].as_u64().unwrap() as usize);
            }
            format!("{} {} {}", v["step"], v["loss"], v["validation_loss"])
        })
        .collect();
    let trained = !dir.to_string_lossy().contains("none");
    let expected: Vec<usize> = (1..=if trained { STEPS } else { 0 }).collect();
    assert_eq!(steps, expected, "{}: every step once", dir.display());
    assert!(dir.join("result.json").exists(), "{}", dir.display());
    (
        lines.join("\n"),
        std::fs::read(dir.join("outputs.txt")).unwrap(),
        std::fs::read(dir.join("best/adapter_model.safetensors")).ok(),
    )
}

#[test]
fn eight_processes_that_are_killed_at_random_make_every_run_once() {
    let f = Fixture::new();
    let library = preload(&f.path(""), "crash");
    assert!(study(&f, "alone").status().unwrap().success());
    let killed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for process in 0..8 {
            let (f, library, killed) = (&f, &library, &killed);
            scope.spawn(move || {
                let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(process);
                // each goes on until it has not been killed: then the study is complete
                for attempt in 0.. {
                    assert!(attempt < 60, "process {process} never came to an end");
                    let kill = if attempt == 0 {
                        0
                    } else {
                        rng.random_range(0..KILLS.len())
                    };
                    let (call, file, when, most) = KILLS[kill];
                    let count = rng.random_range(1..=most).to_string();
                    let status = study(f, "together")
                        .env("LD_PRELOAD", library)
                        .env("CRASH_CALL", call)
                        .env("CRASH_FILE", file)
                        .env("CRASH_WHEN", when)
                        .env("CRASH_COUNT", count)
                        .status()
                        .unwrap();
                    match status.code() {
                        None => _ = killed.fetch_add(1, Ordering::SeqCst),
                        Some(0) => break,
                        code => panic!("{call} {file}: {code:?}"),
                    }
                }
            });
        }
    });
    assert!(killed.load(Ordering::SeqCst) >= 8, "too few were killed");
    for method in METHODS {
        for seed in SEEDS {
            let run = format!("{method}-seed{seed}");
            let of = |out: &str| f.path(out).join("runs").join(&run);
            assert!(left(&of("alone")) == left(&of("together")), "{run}");
            assert!(!of("together").join("run.lock").exists(), "{run}");
        }
    }
    println!("{} processes were killed", killed.load(Ordering::SeqCst));
    assert!(f.path("together/report.json").exists());
}
