//! Nothing is lost: one writer a run, signals, full and read-only disks.
#![allow(clippy::unwrap_used)]

use crate::common::{
    Fixture, INPUTS, last_of_each, lines, preload, printed, refused, run, said, spawn, train,
    trained, wait_for, words,
};
use inducer_reports::run::lock::Lock;
use std::process::{Command, Stdio};

#[test]
fn a_second_process_is_refused_and_a_lock_that_was_left_is_not_one() {
    let f = Fixture::new();
    let lock = Lock::take(&f.path("run")).unwrap();
    let line = train("").join(" ");
    let process = format!("process {} on host", std::process::id());
    refused(&f, &line, 1, &["run: ", &process, "another --out"]);
    refused(&f, &format!("{line} --overwrite"), 1, &[&process]);
    drop(lock);
    std::fs::write(f.path("run/run.lock"), "process 1 on host elsewhere\n").unwrap();
    trained(&f, "");
    assert!(!f.path("run/run.lock").exists());
}

#[test]
fn a_study_leaves_a_run_to_another_process_and_takes_it_when_that_has_gone() {
    let f = Fixture::new();
    let held = f.path("out/runs/none-seed1");
    let lock = Lock::take(&held).unwrap();
    let line = format!(
        "report {INPUTS} --methods none,lora,inducer --seeds 1 --steps 2 --ledger-cases 0 --jobs 1"
    );
    let mut child = spawn(&f, &words(&line));
    for method in ["lora", "inducer"] {
        wait_for(&mut child, || {
            f.path(&format!("out/runs/{method}-seed1/result.json"))
                .exists()
        });
    }
    assert!(!held.join("run.json").exists() && child.try_wait().unwrap().is_none());
    drop(lock);
    assert!(child.wait().unwrap().success());
    assert!(held.join("result.json").exists() && f.path("out/report.html").exists());
}

#[cfg(unix)]
#[test]
fn after_ctrl_c_and_sigterm_the_step_is_in_the_checkpoint_and_the_run_goes_on() {
    let f = Fixture::new();
    let line =
        format!("train {INPUTS} --out run --method lora --steps 50000 --checkpoint-every 50000");
    let metrics = f.path("run/metrics.jsonl");
    let mut stood = 0;
    for (signal, status) in [("-INT", 130), ("-TERM", 143)] {
        let before = lines(&metrics);
        let mut child = spawn(&f, &words(&line));
        wait_for(&mut child, || lines(&metrics) > before + 3);
        let id = child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
        let out = child.wait_with_output().unwrap();
        let message = said(&out);
        assert_eq!(out.status.code(), Some(status), "{message}");
        let last = message.lines().last().unwrap_or_default();
        let step = last
            .strip_prefix("stopped at step ")
            .and_then(|l| l.split(' ').next());
        let step: usize = step.unwrap_or_else(|| panic!("{message}")).parse().unwrap();
        assert!(
            last.contains("of 50000; the same command goes on"),
            "{last}"
        );
        assert!(f.path("run/checkpoint/state.safetensors").exists());
        // what was taken up is what the checkpoint of the stop before holds
        assert_eq!(
            message.contains(&format!("goes on behind step {stood}")),
            stood > 0
        );
        assert!(step > stood);
        stood = step;
    }
}

#[cfg(unix)]
fn done(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).status().unwrap();
    assert!(status.success(), "{program}: {status}");
}

/// A training that a test ends.
#[cfg(unix)]
fn long_training(f: &Fixture) -> std::process::Child {
    let line =
        format!("train {INPUTS} --out run --method lora --steps 50000 --checkpoint-every 50000");
    spawn(f, &words(&line))
}

/// The next line of which `is_it` says that it is the one.
#[cfg(unix)]
fn next_line(from: &mut impl std::io::BufRead, is_it: impl Fn(&str) -> bool) -> String {
    let mut line = String::new();
    while !is_it(&line) {
        line.clear();
        assert!(from.read_line(&mut line).unwrap() > 0, "it ended before");
    }
    line
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_a_process_that_hangs_while_it_writes_its_checkpoint() {
    let f = Fixture::new();
    let mut child = long_training(&f);
    wait_for(&mut child, || lines(&f.path("run/metrics.jsonl")) > 3);
    // the checkpoint's file is a pipe, and writing waits for a reader that never comes
    let id = child.id().to_string();
    let pipe = f.path(&format!("run/checkpoint/.state.safetensors.{id}.tmp"));
    std::fs::create_dir_all(pipe.parent().unwrap()).unwrap();
    done("mkfifo", &[pipe.to_str().unwrap()]);
    done("kill", &["-INT", &id]);
    // two signals that wait together are read in the order of their numbers, whichever came first
    let mut error = std::io::BufReader::new(child.stderr.take().unwrap());
    next_line(&mut error, |line| {
        line.ends_with("a second signal ends the process at once\n")
    });
    done("kill", &["-TERM", &id]);
    // the first signal's status would be 130
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(!f.path("run/checkpoint/state.safetensors").exists());
}

#[cfg(unix)]
#[test]
fn without_a_terminal_a_line_says_every_twenty_seconds_how_far_it_is() {
    let f = Fixture::new();
    let begun = std::time::Instant::now();
    let mut child = long_training(&f);
    let mut error = std::io::BufReader::new(child.stderr.take().unwrap());
    let said = next_line(&mut error, |line| line.contains(" of 50000 steps, loss "));
    assert!(begun.elapsed().as_secs() >= 20, "{said}");
    assert!(said.trim_end().ends_with(" left"), "{said}");
    done("kill", &["-INT", &child.id().to_string()]);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[cfg(unix)]
#[test]
fn a_signal_outside_of_training_ends_the_process_at_once() {
    let f = Fixture::new();
    let mut child = spawn(&f, &words("verify --cases 100000 --threads 1"));
    // the ledger has begun when its first line is there
    let mut error = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    std::io::BufRead::read_line(&mut error, &mut first).unwrap();
    assert!(first.starts_with("claims ledger"), "{first}");
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_or_read_only_disk_is_one_clear_line_and_what_was_there_stays() {
    let f = Fixture::new();
    let library = preload(&f.path(""), "full");
    trained(&f, "");
    let checkpoint = f.path("run/checkpoint/state.safetensors");
    let before = std::fs::read(&checkpoint).unwrap();
    for (error, file, words) in [
        ("ENOSPC", "state.safetensors", "No space left on device"),
        ("ENOSPC", "metrics.jsonl", "No space left on device"),
        ("ENOSPC", ".result.json", "No space left on device"),
        ("EROFS", "run.lock", "Read-only file system"),
    ] {
        // the same run elsewhere, and more steps of the finished one
        for more in ["--out other", "--steps 4"] {
            let mut args = train("");
            args.extend(more.split(' ').map(str::to_string));
            let args = last_of_each(&args);
            let out = Command::new(env!("CARGO_BIN_EXE_inducer"))
                .args(&args)
                .current_dir(f.path(""))
                .env("LD_PRELOAD", &library)
                .env("FULL_FILE", file)
                .env("FULL_ERROR", error)
                .output()
                .unwrap();
            let message = said(&out);
            assert_eq!(out.status.code(), Some(1), "{file}: {message}");
            let errors: Vec<_> = message.lines().filter(|l| l.starts_with("error")).collect();
            assert_eq!(errors.len(), 1, "{message}");
            assert_eq!(
                errors[0].matches(words).count(),
                1,
                "no cause twice: {message}"
            );
            assert!(
                errors[0].contains(file.trim_start_matches('.')),
                "{message}"
            );
            let _ = std::fs::remove_dir_all(f.path("other"));
        }
        if file == "state.safetensors" {
            let after = std::fs::read(&checkpoint).unwrap();
            assert!(after == before, "the checkpoint that was there is gone");
        }
    }
    // the disk is free again: the same command goes on
    let line = last_of_each(&train("--steps 4"));
    let out = run(&f, &line);
    assert!(
        out.status.success() && printed(&out).contains("4 steps"),
        "{}",
        said(&out)
    );
}

/// What a terminal of that width shows after these bytes.
fn screen(text: &str, width: usize) -> Vec<String> {
    let mut rows: Vec<Vec<char>> = vec![Vec::new()];
    let (mut row, mut column) = (0, 0);
    let mut all = text.chars();
    while let Some(c) = all.next() {
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            '\u{1b}' => {
                let code: String = all.by_ref().take(1).collect();
                assert_eq!(code, "[", "a sequence that this terminal does not know");
                let mut number = String::new();
                let end = all.by_ref().find(|c| {
                    number.push(*c);
                    c.is_ascii_alphabetic()
                });
                let n = number[..number.len() - 1].parse().unwrap_or(1);
                match end {
                    Some('K') if n == 2 => rows[row].clear(),
                    Some('K') => rows[row].truncate(column),
                    Some('J') => rows.truncate(row + 1),
                    Some('A') => row -= n.min(row),
                    Some('B') => row += n,
                    Some('G') => column = n - 1,
                    _ => {}
                }
            }
            c => {
                if column == width {
                    (row, column) = (row + 1, 0);
                }
                rows.resize(rows.len().max(row + 1), Vec::new());
                let length = rows[row].len().max(column + 1);
                rows[row].resize(length, ' ');
                rows[row][column] = c;
                column += 1;
            }
        }
        rows.resize(rows.len().max(row + 1), Vec::new());
    }
    let rows = rows.iter().map(|row| row.iter().collect::<String>());
    rows.map(|row| row.trim_end().to_string()).collect()
}

/// The study's line has the run's number, method, seed, step, loss and speed.
#[cfg(target_os = "linux")]
fn says_where_it_stands(text: &str) {
    let drawn = text.split(['\r', '\n']);
    let steps: Vec<&str> = drawn
        .filter(|l| l.contains("lora with seed 1, step "))
        .collect();
    let whole = |line: &&&str| {
        let parts = [
            "study of 2 runs: ",
            " of 120 steps, run 2 of 2: lora with seed 1, step ",
        ];
        let parts = [&parts[..], &["/40, loss ", " tokens/s"]].concat();
        parts.iter().all(|part| line.contains(part))
    };
    assert!(steps.iter().any(|line| whole(&line)), "{steps:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn on_a_terminal_the_line_fits_its_width_and_leaves_nothing_behind() {
    // the control: of a line that wraps the first half stays
    let drawn = screen("a line that wraps\r\u{1b}[2Kb", 10);
    assert_eq!(drawn, ["a line tha", "b"]);
    let f = Fixture::new();
    let line = format!(
        "{} report {INPUTS} --no-long --methods none,lora --seeds 1 --steps 40 --jobs 1 \
         --ledger-cases 0",
        env!("CARGO_BIN_EXE_inducer")
    );
    for width in [40, 100, 160] {
        let sized = format!("stty rows 24 cols {width}; {line} --out out{width}");
        let out = Command::new("script")
            .args(["-qec", &sized, "/dev/null"])
            .current_dir(f.path(""))
            .stdin(Stdio::null())
            .output();
        let Ok(out) = out else {
            println!("not run: no program `script` makes a terminal here");
            return;
        };
        let text = printed(&out);
        assert!(out.status.success(), "{text}");
        // forty columns end within "run 2 of 2"
        assert!(text.contains(", run 2"), "nothing was drawn: {text:?}");
        if width == 160 {
            says_where_it_stands(&text);
        }
        let shown = screen(&text, width);
        let left: Vec<&String> = shown.iter().filter(|row| row.contains(", run ")).collect();
        assert!(left.is_empty(), "{shown:?}");
        assert!(shown.concat().contains("report.html"), "{shown:?}");
    }
}
