//! The command used otherwise than it is meant: nothing is accepted that cannot be meant, nothing
//! is lost, and every message says what helps.
#![allow(clippy::unwrap_used)]

use crate::common::{
    Fixture, INPUTS, last_of_each, lines, printed, refused, run, said, succeeds, train, trained,
    words,
};
use inducer_gpu::Method;
use std::process::{Command, Stdio};

#[test]
fn numbers_that_do_not_go_together_are_refused_before_anything_is_written() {
    let f = Fixture::new();
    let line = |more: &str| format!("train {INPUTS} --out run --method lora {more}");
    let cases = [
        ("--warmup-steps 100 --steps 2", "warmup"),
        ("--max-new-tokens 5000", "expected at most 319"),
        ("--rank 4 --prefix-length 3", "--prefix-length"),
        ("--learning-rate full=1e-3", "full"),
    ];
    for (more, part) in cases {
        let line = match more.contains("new-tokens") {
            true => line("").replace("--max-new-tokens 4", more),
            false => line(more),
        };
        refused(&f, &line, 1, &[part]);
        assert!(!f.path("run/run.json").exists(), "{more}");
    }
    refused(
        &f,
        "bench --preset tiny --length 2000",
        1,
        &["at most 1024"],
    );
}

#[test]
fn runs_have_names_of_their_own_and_seeds_are_lists() {
    let f = Fixture::new();
    let plan = |more: &str| format!("report {INPUTS} --out out --plan {more}");
    refused(
        &f,
        &plan("--seeds 1,1 --methods lora"),
        1,
        &["1 stands there twice"],
    );
    refused(
        &f,
        &plan("--methods lora,lora"),
        1,
        &["would both be called `lora`"],
    );
    refused(&f, &plan("--seeds 3-1"), 2, &["1,2,3 or 1-3 or 1 2 3"]);
    let rows = |more: &str| -> Vec<serde_json::Value> {
        let (out, _) = succeeds(&f, &plan(&format!("--json {more}")));
        serde_json::from_str(&out).unwrap()
    };
    for seeds in ["1,2,3", "1-3", "1 2 3", "1-2,3"] {
        let found = rows(&format!("--methods none lora --seeds {seeds}"));
        let seeds: Vec<u64> = found.iter().map(|r| r["seed"].as_u64().unwrap()).collect();
        assert_eq!(seeds, [1, 1, 2, 2, 3, 3]);
    }
    // two files of the same name in two folders are two methods
    for folder in ["a", "b"] {
        std::fs::create_dir(f.path(folder)).unwrap();
        let from = f.adapter(Method::Lora).join("adapter_config.json");
        std::fs::copy(from, f.path(folder).join("adapter_config.json")).unwrap();
    }
    let both = "--methods a/adapter_config.json b/adapter_config.json --seeds 1";
    let names: Vec<String> = rows(both).iter().map(|r| r["method"].to_string()).collect();
    assert_eq!(names, ["\"a\"", "\"b\""]);
    assert!(!f.path("out").exists(), "a plan makes nothing");
}

#[test]
fn a_plan_pretrains_nothing_and_a_report_without_runs_is_an_error() {
    let f = Fixture::new();
    let cache = f.path("cache");
    let out = Command::new(env!("CARGO_BIN_EXE_inducer"))
        .args(words(
            "report --task sst2 --plan --methods none,lora --seeds 1",
        ))
        .current_dir(f.path(""))
        .env("INDUCER_CACHE", &cache)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(printed(&out).lines().count(), 2);
    assert!(!cache.exists() && !f.path("out").exists());
    let line = format!("report {INPUTS} --methods none,lora --merge --out empty");
    // what goes on meanwhile is said
    let parts = [
        "reading data and backbone",
        "assembling the report",
        "no run of this study is finished",
    ];
    refused(&f, &line, 1, &parts);
    for kind in ["html", "md", "json"] {
        assert!(!f.path(&format!("empty/report.{kind}")).exists());
    }
}

#[test]
fn nobody_who_reads_on_is_no_error() {
    let f = Fixture::new();
    for line in [
        "params --json",
        "params",
        "verify --list",
        "--help",
        &format!("report {INPUTS} --plan --methods none,lora"),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let out = Command::new(env!("CARGO_BIN_EXE_inducer"))
            .args(words(line))
            .current_dir(f.path(""))
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let message = said(&out);
        assert_eq!(out.status.code(), Some(0), "{line}: {message}");
        for word in ["error", "panicked", "pipe"] {
            assert!(!message.contains(word), "{line}: {message}");
        }
    }
    // and where nobody reads the progress, the work is done
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = Command::new(env!("CARGO_BIN_EXE_inducer"))
        .args(train("--log-every 1"))
        .current_dir(f.path(""))
        .stderr(writer)
        .status();
    assert!(status.unwrap().success() && f.path("run/result.json").exists());
}

#[test]
fn a_finished_run_says_so_goes_on_to_more_steps_and_is_scored_again() {
    let f = Fixture::new();
    let (first, _) = trained(&f, "");
    assert!(
        first.contains("2 steps") && first.contains("8 test entries"),
        "{first}"
    );
    let (again, _) = trained(&f, "");
    assert!(
        again.contains("finished before, nothing was done now"),
        "{again}"
    );
    let metrics = f.path("run/metrics.jsonl");
    let before = std::fs::read_to_string(&metrics).unwrap();
    let line = |more: &str| last_of_each(&train(more));
    let out = run(&f, &line("--test-limit 3"));
    assert!(
        printed(&out).contains("3 of 8 test entries"),
        "{}",
        said(&out)
    );
    assert_eq!(lines(&f.path("run/outputs.txt")), 3);
    assert_eq!(
        std::fs::read_to_string(&metrics).unwrap(),
        before,
        "nothing was trained"
    );
    let out = run(&f, &line("--steps 5"));
    assert!(out.status.success(), "{}", said(&out));
    assert!(
        said(&out).contains("goes on behind step 2"),
        "{}",
        said(&out)
    );
    assert!(printed(&out).contains("5 steps"), "{}", printed(&out));
    let text = std::fs::read_to_string(&metrics).unwrap();
    assert!(text.starts_with(&before) && text.contains("\"step\":5"));
    let config = std::fs::read_to_string(f.path("run/run.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["continued_from"], serde_json::json!([2]));
    let out = run(&f, &line("--steps 5"));
    assert!(printed(&out).contains("finished before"), "{}", said(&out));
    // less is another run
    let out = run(&f, &line("--steps 3"));
    assert!(
        said(&out).contains("`train.steps` is 5 there and 3 here"),
        "{}",
        said(&out)
    );
    // another method is named before what follows from it
    let other = train("")
        .join(" ")
        .replace("--method lora", "--method inducer");
    refused(
        &f,
        &other,
        1,
        &[
            "field `method` is \"lora\" there and \"inducer\" here",
            "--overwrite",
        ],
    );
    let (out, _) = succeeds(&f, &format!("{other} --overwrite"));
    assert!(out.contains("inducer, 2 steps"), "{out}");
}

#[test]
fn progress_is_in_a_log_and_quiet_is_quiet() {
    let f = Fixture::new();
    let (_, log) = trained(&f, "--log-every 1");
    for part in [
        "lora: 2 steps of 8 rows, learning rate",
        ", 6 validation entries",
        "lora seed 1: 2 steps",
        "lora seed 1, step 1: loss",
        "lora seed 1, decoding: 8 texts",
        "lora seed 1, scoring",
    ] {
        assert!(log.contains(part), "no `{part}` in: {log}");
    }
    assert!(!log.contains('\u{1b}') && !log.contains('\r'), "{log}");
    let (out, log) = trained(&f, "--overwrite -q");
    assert!(log.is_empty() && !out.is_empty(), "{log}");
    let (_, log) = trained(&f, "--overwrite -v");
    assert!(log.contains("step 2: validation loss"), "{log}");
    let (out, log) = succeeds(&f, "verify --claim eq07-eq08 --cases 2");
    assert!(
        log.starts_with("claims ledger") && out.contains("passed"),
        "{log}"
    );
}

#[test]
fn a_field_that_is_not_read_is_told_once() {
    let f = Fixture::new();
    let told = |more: &str| {
        let (_, error) = succeeds(&f, &(train(more).join(" ")));
        let of_field = error.lines().filter(|line| line.contains("`n_heads`"));
        of_field.map(str::to_string).collect::<Vec<_>>()
    };
    assert!(told("").is_empty());
    let path = f.path("backbone/config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replacen('{', "{\"n_heads\": 3,", 1);
    std::fs::write(&path, text).unwrap();
    let line = "note: backbone/config.json: field `n_heads` is none of transformers' and is not \
                read";
    assert_eq!(told("--overwrite"), [line]);
    assert!(told("--overwrite --quiet").is_empty());
}

#[test]
fn a_loss_that_leaves_its_start_by_far_is_said() {
    let f = Fixture::new();
    let line = |rate: &str| {
        format!("train {INPUTS} --out run-{rate} --method full --steps 6 --warmup 0 --lr {rate}")
    };
    let out = f.inducer(&words(&line("10")));
    let message = said(&out);
    let diverged = out.status.code() == Some(1) && message.contains("at a learning rate of");
    let strayed = message.contains("before training: training diverges");
    assert!(diverged || strayed, "{message}");
    let (_, message) = succeeds(&f, &line("1e-4"));
    assert!(!message.contains("diverges"), "{message}");
    // and of a run that only became worse, at its end and whenever it is asked for again
    let rate = |rate: &str| train(&format!("--overwrite --warmup 0 --lr {rate}")).join(" ");
    let worse = "the untrained backbone is better";
    assert!(succeeds(&f, &rate("10")).1.contains(worse));
    let again = succeeds(&f, &rate("10").replace("--overwrite ", "")).1;
    assert!(again.contains(worse), "{again}");
    assert!(!succeeds(&f, &rate("1e-4")).1.contains(worse));
}

#[test]
fn the_messages_say_what_helps() {
    let f = Fixture::new();
    trained(&f, "");
    let inputs = "--data data --backbone backbone";
    let hub = "train --data data --backbone gpt2 --method lora --out x";
    refused(
        &f,
        hub,
        2,
        &["hub's cache", "hf download gpt2", "nothing is downloaded"],
    );
    let swapped = "train --data backbone --backbone data --method lora --out x";
    for line in [
        swapped,
        "evaluate --data backbone --backbone data",
        "generate --data backbone --backbone data",
        "report --data backbone --backbone data --out x",
    ] {
        refused(&f, line, 1, &["are the two swapped?"]);
    }
    let adapter = format!("evaluate {inputs} --adapter run");
    refused(&f, &adapter, 2, &["run's directory", "run/best"]);
    refused(
        &f,
        "merge --backbone backbone --adapter run/best --out run",
        1,
        &["not empty"],
    );
    let export = "export --backbone backbone --adapter run/best --out run";
    refused(&f, export, 1, &["not empty", "--overwrite"]);
    let (out, _) = succeeds(
        &f,
        &format!("evaluate {inputs} --test-limit 3 --max-new-tokens 4"),
    );
    assert!(out.contains("3 of 8 test entries"), "{out}");
    let (out, _) = succeeds(
        &f,
        &format!("generate {inputs} --test-limit 3 --max-new-tokens 4"),
    );
    assert_eq!(out.lines().count(), 3);
    // a merged backbone has the special tokens' rows and says what backbone and adapter say
    let decode = "--test-limit 3 --max-new-tokens 4";
    succeeds(
        &f,
        "merge --backbone backbone --adapter run/best --out merged",
    );
    let with = |more: &str| succeeds(&f, &format!("generate --data data {more} {decode}")).0;
    let merged = with("--backbone merged");
    assert_eq!(merged, with("--backbone backbone --adapter run/best"));
    let scores = |more: &str| {
        let line = format!("evaluate --data data {more} {decode} --json");
        let found: serde_json::Value = serde_json::from_str(&succeeds(&f, &line).0).unwrap();
        found["scores"]["bleu"].clone()
    };
    let merged = scores("--backbone merged");
    assert!(merged.is_object());
    assert_eq!(merged, scores("--backbone backbone --adapter run/best"));
    let card = std::fs::read_to_string(f.path("run/best/README.md")).unwrap();
    assert!(
        !card.contains("AdamWConfig") && card.contains("AdamW, β₁ 0.9"),
        "{card}"
    );
    assert!(card.contains("# LoRA on webnlg") && !card.contains("run: "));
    // no cause and no name twice
    std::fs::remove_file(f.path("data/dev.json")).unwrap();
    let out = f.inducer(&words(&train("--overwrite").join(" ")));
    assert!(
        said(&out).contains("error: --data: data: "),
        "{}",
        said(&out)
    );
    assert_eq!(
        said(&out).matches("dev.json is missing").count(),
        1,
        "{}",
        said(&out)
    );
}

#[test]
fn the_ledger_is_listed_and_written_for_a_ci() {
    let f = Fixture::new();
    let (out, _) = succeeds(&f, "verify --list");
    assert!(
        out.lines().count() > 100 && out.contains("eq07-eq08"),
        "{out}"
    );
    let (out, _) = succeeds(&f, "verify --list --claim eq07 --json");
    let rows: Vec<serde_json::Value> = serde_json::from_str(&out).unwrap();
    assert!(rows.iter().all(|r| r["id"].to_string().contains("eq07")) && !rows.is_empty());
    succeeds(&f, "verify --claim eq07-eq08 --cases 2 --junit rows.xml");
    let xml = std::fs::read_to_string(f.path("rows.xml")).unwrap();
    let cases = xml.matches("<testcase ").count();
    assert!(
        cases > 3 && xml.contains(&format!("tests=\"{cases}\" failures=\"0\"")),
        "{xml}"
    );
    assert_eq!(
        xml.matches("<testsuite ").count(),
        xml.matches("</testsuite>").count()
    );
}

#[test]
fn a_study_stands_in_a_file_and_merge_reads_it_where_it_was_left() {
    let f = Fixture::new();
    let file = "data = \"data\"\nbackbone = \"backbone\"\nmethods = [\"none\", \"lora\"]\n\
                seeds = [1]\nsteps = 2\nmax-new-tokens = 4\nledger-cases = 0\nrank = 3\n\
                learning_rate = { lora = 3e-3 }\n";
    std::fs::write(f.path("study.toml"), file).unwrap();
    succeeds(&f, "report --config study.toml --threads 1 --tables tables");
    let read = |path: &str| std::fs::read_to_string(f.path(path)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&read("out/report.json")).unwrap();
    let lora = &json["rows"][1];
    assert_eq!(
        (
            lora["adapter"]["lora"]["rank"].as_u64(),
            lora["learning_rate"].as_f64()
        ),
        (Some(3), Some(3e-3))
    );
    let left = read("out/study.toml");
    for part in [
        "rank = 3",
        "steps = 2",
        "learning-rate = \"lora=0.003\"",
        "data = \"data\"",
    ] {
        assert!(left.contains(part), "no `{part}` in:\n{left}");
    }
    assert!(
        read("tables/01-methods-side-by-side.csv").lines().count() == 3
            || std::fs::read_dir(f.path("tables")).unwrap().count() > 4
    );
    // the report has every option, given and by default
    let options = &json["provenance"]["options"];
    for (name, value) in [
        ("steps", serde_json::json!(2)),
        ("methods", serde_json::json!(["none", "lora"])),
        ("preset", serde_json::json!("default")),
        ("quick", serde_json::json!(false)),
        ("learning-rate", serde_json::json!("lora=0.003")),
    ] {
        assert_eq!(options[name], value, "{name}: {options}");
    }
    assert!(options.get("threads").is_none(), "{options}");
    let page = read("out/report.md");
    assert!(page.contains("Every option") && page.contains("2 methods, 1 seed, 2 runs of 2 steps"));
    std::fs::remove_file(f.path("out/report.json")).unwrap();
    succeeds(&f, "report --merge");
    let again: serde_json::Value = serde_json::from_str(&read("out/report.json")).unwrap();
    assert_eq!(again["rows"], json["rows"]);
    assert_eq!(&again["provenance"]["options"], options);
    // the command line comes first, and what no option is called is an error
    let (out, _) = succeeds(&f, "report --config study.toml --plan --seeds 7 --json");
    assert!(
        out.contains("\"seed\": 7") && !out.contains("\"seed\": 1"),
        "{out}"
    );
    // nor has --merge to be given what --quick was given with
    let quick = "report --data data --backbone backbone --quick --no-long --methods none --out q";
    succeeds(&f, quick);
    std::fs::remove_file(f.path("q/report.json")).unwrap();
    succeeds(&f, "report --merge --out q");
    let again: serde_json::Value = serde_json::from_str(&read("q/report.json")).unwrap();
    assert_eq!(again["rows"][0]["runs"].as_array().map(Vec::len), Some(1));
    assert_eq!(again["provenance"]["options"]["quick"], true);
    std::fs::write(f.path("bad.toml"), "stepz = 2\n").unwrap();
    refused(&f, "report --config bad.toml", 1, &["bad.toml", "`stepz`"]);
    std::fs::write(f.path("bad.toml"), "steps = \n").unwrap();
    refused(&f, "report --config bad.toml", 1, &["bad.toml", "line 1"]);
}

#[test]
fn help_says_what_is_taken_where_nothing_is_given() {
    let f = Fixture::new();
    let (help, _) = succeeds(&f, "train --help");
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "Optimiser steps [default: 300",
        "Rows a step [default: 8",
        "full=3e-4 [default: the paper's",
        "The first 150 development entries are the validation part",
    ] {
        assert!(help.contains(part), "no `{part}` in: {help}");
    }
}
