//! `reports/slurm/report.sbatch` with a stub for Slurm and one for this program, which keep what
//! they are given.

#![allow(clippy::unwrap_used)]
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// What the stubs were given for one task of an array of two: Slurm, nothing where it was not
/// called, and the program.
fn task(number: &str, cards: Option<&str>, args: &[&str]) -> [Vec<String>; 2] {
    let dir = TempDir::new().unwrap();
    for name in ["sbatch", "inducer"] {
        let file = dir.path().join(name);
        let said = dir.path().join(name).with_extension("said");
        let script = format!("#!/bin/sh\nprintf '%s\\n' \"$@\" >'{}'\n", said.display());
        std::fs::write(&file, script).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("slurm/report.sbatch");
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("bash");
    command
        .arg(script)
        .args(args)
        .env("PATH", format!("{}:{path}", dir.path().display()))
        .env("SLURM_ARRAY_TASK_ID", number)
        .env("SLURM_CPUS_PER_TASK", "4")
        .envs([
            ("SLURM_ARRAY_TASK_MIN", "3"),
            ("SLURM_ARRAY_TASK_COUNT", "2"),
            ("SLURM_ARRAY_JOB_ID", "77"),
            ("SLURM_JOB_PARTITION", "cards"),
        ]);
    for name in [
        "INDUCER",
        "SBATCH_GRES",
        "SLURM_GPUS_ON_NODE",
        "SLURM_RESTART_COUNT",
    ] {
        command.env_remove(name);
    }
    match cards {
        Some(cards) => command.env("SLURM_JOB_GPUS", cards),
        None => command.env_remove("SLURM_JOB_GPUS"),
    };
    let found = command.output().unwrap();
    let error = String::from_utf8_lossy(&found.stderr);
    assert!(found.status.success() && error.is_empty(), "{error}");
    ["sbatch", "inducer"].map(|name| {
        let said = std::fs::read_to_string(dir.path().join(format!("{name}.said")));
        said.unwrap_or_default().lines().map(String::from).collect()
    })
}

#[test]
fn the_first_task_of_an_array_asks_for_the_merge_and_each_makes_its_part() {
    let args = ["--out", "a study"];
    let [slurm, program] = task("3", None, &args);
    assert_eq!(
        slurm,
        [
            "--dependency=afterany:77",
            "--job-name=inducer-merge",
            "--cpus-per-task=4",
            "--output=inducer-report-77-merge.log",
            "--wrap=inducer report --merge --out a\\ study ",
        ]
    );
    let shard = |part| {
        [
            "report",
            "--shard",
            part,
            "--threads",
            "4",
            "--out",
            "a study",
        ]
    };
    assert_eq!(program, shard("1/2"));
    let [slurm, program] = task("4", None, &args);
    assert!(slurm.is_empty(), "{slurm:?}");
    assert_eq!(program, shard("2/2"));
}

#[test]
fn with_cards_the_merge_has_one_too_and_a_task_makes_one_run_at_a_time() {
    let [slurm, program] = task("3", Some("0"), &["--device", "cuda"]);
    for word in ["--gres=gpu:1", "--partition=cards"] {
        assert!(slurm.iter().any(|s| s == word), "{word}: {slurm:?}");
    }
    let usual = [
        "report",
        "--shard",
        "1/2",
        "--threads",
        "4",
        "--jobs",
        "1",
        "--device",
        "cuda",
    ];
    assert_eq!(program, usual);
    // what is asked for is not given twice
    for asked in [&["--jobs", "2"][..], &["--jobs=2"]] {
        let [_, program] = task("3", Some("0"), asked);
        assert_eq!(program[5..], *asked);
    }
}
