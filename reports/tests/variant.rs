//! A variant of one's own all the way: the crate of `verify/examples/my_variant`, which this test
//! is a copy of when it is told so, trains it, decodes, saves, loads, counts, reports and checks it
//! on both backbones. `make check-variant` builds the crate itself, outside of the workspace.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "../../verify/examples/my_variant/src/main.rs"]
mod program;

use approx::assert_abs_diff_eq;
use common::schema::Schema;
use common::{Fixture, words};
use inducer_datasets::fingerprint;
use inducer_datasets::synthetic::{self, GlueConfig};
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, ExitCode, Output};

/// Set where this program is to be that of the crate.
const AS_PROGRAM: &str = "INDUCER_TEST_AS_PROGRAM";

fn main() -> ExitCode {
    if std::env::var_os(AS_PROGRAM).is_some() {
        return program::main();
    }
    let tests: [(&str, fn()); 7] = [
        (
            "it_is_trained_saved_loaded_scored_and_gives_the_same_texts",
            trained,
        ),
        (
            "runs_and_adapters_of_another_text_of_it_are_not_taken_for_its_own",
            another_text,
        ),
        ("the_plain_command_says_what_it_is_missing", plain_command),
        (
            "it_is_counted_and_sized_and_its_claims_hold_on_both_backbones",
            counted_and_checked,
        ),
        (
            "it_stands_in_the_reports_tables_and_ladder_and_its_step_is_judged",
            reported,
        ),
        ("it_classifies_with_a_roberta", classifies),
        (
            "its_place_its_commands_and_the_time_it_takes_are_written_down",
            written_down,
        ),
    ];
    let trial = |(name, run): (&str, fn())| {
        Trial::test(name, move || {
            run();
            Ok(())
        })
    };
    let tests = tests.map(trial).into();
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

fn variant(f: &Fixture, line: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .env(AS_PROGRAM, "1")
        .args(words(line))
        .current_dir(f.0.path())
        .output()
        .unwrap()
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn succeeds(f: &Fixture, line: &str) -> String {
    let out = variant(f, line);
    assert!(out.status.success(), "{line}: {}", said(&out));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

const INPUTS: &str = "--data data --backbone backbone --max-new-tokens 6 --test-limit 4";

fn train(f: &Fixture, more: &str) -> Value {
    let line = format!(
        "train {INPUTS} --method two-inducers --out run --batch-size 4 --threads 1 --json {more}"
    );
    json(&succeeds(f, &line))
}

fn trained() {
    let f = Fixture::new();
    let short = train(&f, "--steps 4");
    // goes on to more steps, and what is finished is not made again
    let long = train(&f, "--steps 8");
    assert_ne!(short, long);
    assert_eq!(train(&f, "--steps 8"), long);
    let adapter = json(&read(&f.path("run/best/adapter_config.json")));
    assert_eq!(adapter["custom"]["name"], "two-inducers", "{adapter}");
    let page = include_str!("../../gpu/ADAPTER_CONFIG.md");
    for field in adapter["custom"].as_object().unwrap().keys() {
        assert!(page.contains(&format!("| `{field}` |")), "{field}");
    }
    let line = "evaluate --data data --backbone backbone --adapter run/best --max-new-tokens 6";
    let evaluated = json(&succeeds(&f, &format!("{line} --test-limit 4 --json")));
    for number in ["validation_loss", "bleu"] {
        assert!(
            !long[number].is_null() && evaluated[number] == long[number],
            "{number}"
        );
    }
    let line = "generate --data data --backbone backbone --adapter run/best --max-new-tokens 6";
    succeeds(&f, &format!("{line} --test-limit 4 --out texts"));
    assert_eq!(read(&f.path("texts")), read(&f.path("run/outputs.txt")));
    // it cannot be folded into a backbone
    let out = variant(
        &f,
        "merge --backbone backbone --adapter run/best --out merged",
    );
    assert!(said(&out).contains("nothing to fold"), "{}", said(&out));
    // a look inside, and PEFT's layout, which has no place for it
    let line =
        "explain --backbone backbone --adapter run/best --text tower_and_tower --json n.json";
    succeeds(&f, line);
    let seen = json(&read(&f.path("n.json")));
    let method = seen["sides"][0]["method"].as_str().unwrap();
    assert!(method.starts_with("Two inducers of size "), "{method}");
    let out = variant(
        &f,
        "export --backbone backbone --adapter run/best --out peft",
    );
    assert!(said(&out).contains("field `custom`"), "{}", said(&out));
}

/// Changes the hash of the text that trained the method.
fn of_another_text(path: &Path) {
    let source = include_str!("../../verify/examples/my_variant/src/two_inducers.rs");
    let hash = &fingerprint::of_bytes(source.as_bytes())[..16];
    let text = read(path);
    assert!(text.contains(hash), "{text}");
    std::fs::write(path, text.replace(hash, "0123456789abcdef")).unwrap();
}

fn another_text() {
    let f = Fixture::new();
    train(&f, "--steps 2");
    of_another_text(&f.path("run/best/adapter_config.json"));
    let line = "evaluate --data data --backbone backbone --adapter run/best --test-limit 1";
    let out = variant(&f, line);
    assert!(out.status.success(), "{}", said(&out));
    assert!(
        said(&out).contains("note: another text of two-inducers has trained an adapter"),
        "{}",
        said(&out)
    );
    of_another_text(&f.path("run/run.json"));
    let line = format!(
        "train {INPUTS} --method two-inducers --out run --batch-size 4 --threads 1 --steps 2"
    );
    let out = variant(&f, &line);
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    for part in ["another run", "adapter.custom.source", "0123456789abcdef"] {
        assert!(said(&out).contains(part), "no `{part}` in {}", said(&out));
    }
}

fn plain_command() {
    let f = Fixture::new();
    train(&f, "--steps 2");
    let line = "evaluate --data data --backbone backbone --adapter run/best";
    f.fails(
        &words(line),
        &[
            "best/adapter_config.json",
            "field `custom`",
            "`two-inducers`",
        ],
    );
    let line = "train --data data --backbone backbone --method two-inducers --out other";
    f.fails(&words(line), &["--method two-inducers: expected"]);
}

fn counted_and_checked() {
    let f = Fixture::new();
    let table = json(&succeeds(&f, "params --json"));
    let count = |backbone: &str, method: &str| -> f64 {
        let mut rows = table.as_array().unwrap().iter();
        let row = rows.find(|r| r["backbone"] == backbone && r["method"] == method);
        row.unwrap()["stored"].as_f64().unwrap()
    };
    for backbone in ["gpt2", "roberta"] {
        let (own, budget) = (
            count(backbone, "Two inducers"),
            count(backbone, "Inducer-tuning"),
        );
        assert_abs_diff_eq!(own, budget, epsilon = 0.02 * budget);
    }
    // sizes by option
    let line = format!(
        "train {INPUTS} --method two-inducers --bottleneck 3 --out sized --steps 1 --threads 1"
    );
    succeeds(&f, &line);
    let adapter = json(&read(&f.path("sized/best/adapter_config.json")));
    assert_eq!(adapter["custom"]["size"], 3);
    let line = "bench --preset tiny --method two-inducers --batch 1 --length 8 --steps 1 --json";
    assert_eq!(json(&succeeds(&f, line))["method"], "two-inducers");
    let rows = json(&succeeds(
        &f,
        "verify --claim two-inducers --cases 30 --json",
    ));
    let rows = rows["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 29);
    assert!(rows.iter().all(|r| r["verdict"] == "passed"), "{rows:?}");
    for part in ["roberta-agree", "decoding", "files"] {
        assert!(
            rows.iter()
                .any(|r| r["claim"] == format!("two-inducers-{part}"))
        );
    }
    let listed = succeeds(&f, "verify --list --claim two-inducers-decoding");
    assert!(
        listed.contains("Two inducers: each decoded token"),
        "{listed}"
    );
}

fn reported() {
    let f = Fixture::new();
    let line = format!(
        "report {INPUTS} --no-long --methods none,inducer,two-inducers --seeds 1,2 --steps 6 \
         --batch-size 4 --ledger-cases 0 --out out --threads 2 --learning-rate two-inducers=2e-3"
    );
    succeeds(&f, &line);
    let report = json(&read(&f.path("out/report.json")));
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let schema = json(&read(&results.join("report.schema.json")));
    let checked = Schema(&schema).check(&schema, &report, "report");
    assert_eq!(checked, Ok(()));
    let rows = report["rows"].as_array().unwrap();
    let row = rows.iter().find(|r| r["method"] == "two-inducers").unwrap();
    assert_eq!(row["title"], "Two inducers");
    assert_eq!(row["step"]["lower"], "inducer");
    assert_eq!(row["learning_rate"], 2e-3);
    assert_eq!(row["runs"].as_array().unwrap().len(), 2);
    assert!(!row["runs"][0]["gates"].as_array().unwrap().is_empty());
    let contrasts = report["contrasts"].as_array().unwrap();
    let own = contrasts.iter().filter(|c| c["upper"] == "two-inducers");
    assert_eq!(own.count(), 1, "{contrasts:?}");
    let page = read(&f.path("out/report.md"));
    for part in [
        "Steps of one's own",
        "Inducer-tuning → Two inducers: test loss",
        "with a second inducer for each query",
    ] {
        assert!(page.contains(part), "no `{part}` in {page}");
    }
    // without --methods it is among the usual ones
    let plan = succeeds(
        &f,
        "report --data data --backbone backbone --plan --seeds 1 --no-long --out other",
    );
    assert_eq!(plan.lines().count(), 14);
    assert!(
        plan.lines().last().unwrap().contains("two-inducers"),
        "{plan}"
    );
}

fn classifies() {
    let f = Fixture::new();
    std::fs::write(f.path("text"), synthetic::pretraining_text(1, 60_000)).unwrap();
    succeeds(
        &f,
        "pretrain --kind roberta --text text --out encoder --vocabulary 400 --layers 2 --hidden 24 \
         --heads 3 --positions 96 --length 32 --batch-size 8 --steps 2",
    );
    let small = GlueConfig {
        train: 40,
        dev: 8,
        ..GlueConfig::default()
    };
    synthetic::write_sst2(&f.path("sst2"), small).unwrap();
    let inputs = "--task sst2 --data sst2 --backbone encoder";
    let line = format!(
        "train {inputs} --method two-inducers --out run --steps 4 --batch-size 4 --threads 1 --json"
    );
    let trained = json(&succeeds(&f, &line));
    let line = format!("evaluate {inputs} --adapter run/best --json");
    let evaluated = json(&succeeds(&f, &line));
    assert_eq!(
        evaluated["scores"]["accuracy"],
        trained["accuracy"]["accuracy"]
    );
}

fn written_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let of = |name: &str| {
        read(&root.join(name))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let (readme, guide) = (of("README.md"), of("CONTRIBUTING.md"));
    for part in [
        "make variant DIR=../my-variant",
        "ten minutes beside building",
        "checked on GPT-2 and RoBERTa",
        "cached decoding",
        "cargo run --release -- verify --claim two-inducers",
    ] {
        assert!(readme.contains(part), "README.md: {part}");
    }
    for part in [
        "make -C inducer variant DIR=../my-variant # Cargo.toml, src/main.rs",
        "The first build takes as long as this checkout's own",
        "cargo run --release -- report --methods prefix,inducer,two-inducers",
    ] {
        assert!(guide.contains(part), "CONTRIBUTING.md: {part}");
    }
    assert!(of("Makefile").contains("variant: setup @verify/checks/variant.sh $(DIR)"));
    // its dependencies
    let manifest = of("verify/examples/my_variant/Cargo.toml");
    for part in ["inducer-reports = { path", "inducer-verify = { path"] {
        assert!(manifest.contains(part), "{manifest}");
    }
}
