//! Results as people keep them, and what the command says of itself: CSV, the schemas of
//! `report.json` and of `explain --json`, completions, manual pages, `doctor`.
#![allow(clippy::unwrap_used)]

use crate::common::Fixture;
use crate::common::schema::Schema;
use clap::CommandFactory as _;
use inducer_gpu::Method;
use inducer_reports::commands::Cli;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn results(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("results")
        .join(name)
}

fn says(f: &Fixture, line: &str) -> String {
    let out = f.inducer(&line.split(' ').collect::<Vec<_>>());
    let message = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{line}: {message}");
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn the_schema_describes_every_committed_report_and_refuses_what_is_changed() {
    let schema = read(&results("report.schema.json"));
    let check = |report: &Value| Schema(&schema).check(&schema, report, "report");
    for name in ["embedded.json", "webnlg-wiki-192.json", "webnlg-29m.json"] {
        let report = read(&results(name));
        assert_eq!(check(&report), Ok(()), "{name}");
        for (pointer, wrong) in [
            ("/schema", json!(1)),
            ("/rows/0/title", json!(3)),
            ("/rows/1/runs/0/bleu/all", json!("45.7")),
            ("/rows/1/runs/0/validation_curve/0", json!([1, 2.0, 3.0])),
            ("/provenance/threads", json!(-1)),
            ("/provenance/settings", json!({})),
        ] {
            let mut changed = report.clone();
            *changed.pointer_mut(pointer).unwrap() = wrong;
            assert!(check(&changed).is_err(), "{name}: {pointer}");
        }
        let mut more = report.clone();
        more["rows"][0]["more"] = json!(1);
        assert!(check(&more).is_err());
    }
}

/// What `explain --json` writes of adapters on a text.
fn explained(f: &Fixture, methods: [Option<Method>; 2]) -> Value {
    let mut line = "explain --backbone backbone --text tower_and_tower --json n.json".to_string();
    for (option, method) in ["adapter", "compare"].into_iter().zip(methods) {
        if let Some(method) = method {
            let dir = f.far_adapter(method, &format!("{}-far", method.name()));
            line += &format!(" --{option} {}", dir.display());
        }
    }
    says(f, &line);
    read(&f.path("n.json"))
}

#[test]
fn the_schema_of_explain_describes_what_it_writes_and_refuses_what_is_changed() {
    let f = Fixture::new();
    let schema = read(&results("explain.schema.json"));
    let check = |found: &Value| Schema(&schema).check(&schema, found, "explain");
    for methods in [
        [Some(Method::Lora), None],
        [Some(Method::Bitfit), None],
        [Some(Method::Prefix), Some(Method::Inducer)],
    ] {
        let found = explained(&f, methods);
        assert_eq!(check(&found), Ok(()), "{methods:?}");
        assert_eq!(found["schema"], json!(inducer_reports::explain::SCHEMA));
        for (pointer, wrong) in [
            ("/schema", json!(2)),
            ("/tokens/0/id", json!("17")),
            ("/target/from", json!(-1)),
            ("/chosen/layers", json!([])),
            ("/sides/0/kind", json!("lora")),
            ("/sides/0/next/0/0/tuned", json!(-0.1)),
            ("/sides/0/queries/values/0", json!(0.5)),
            ("/sides/0/keys/scale", json!(null)),
            ("/sides/0/lse/shape", json!([1, 2])),
            ("/sides/0/share/0", json!([0.5])),
            ("/sides", json!([])),
        ] {
            let mut changed = found.clone();
            *changed.pointer_mut(pointer).unwrap() = wrong;
            assert!(check(&changed).is_err(), "{methods:?}: {pointer}");
        }
        for (place, name) in [("", "more"), ("/sides/0", "more"), ("/tokens/0", "more")] {
            let mut more = found.clone();
            more.pointer_mut(place).unwrap()[name] = json!(1);
            assert!(check(&more).is_err(), "{place}");
        }
        for name in ["queries", "error", "switches"] {
            let mut less = found.clone();
            less["sides"][0].as_object_mut().unwrap().remove(name);
            assert!(check(&less).is_err(), "{name}");
        }
    }
}

#[test]
fn a_study_leaves_its_tables_and_runs_as_csv_and_a_report_that_the_schema_describes() {
    let f = Fixture::new();
    let line = "report --data data --backbone backbone --no-long --out out --seeds 1,2 --methods \
                none,inducer --steps 2 --batch-size 2 --max-new-tokens 2 --test-limit 4 \
                --ledger-cases 0 --csv --export-runs runs.csv";
    says(&f, line);
    let report = read(&f.path("out/report.json"));
    let schema = read(&results("report.schema.json"));
    assert_eq!(Schema(&schema).check(&schema, &report, "report"), Ok(()));
    let runs = std::fs::read_to_string(f.path("runs.csv")).unwrap();
    let (head, lines) = runs.split_once('\n').unwrap();
    let at = |name: &str| head.split(',').position(|h| h == name).unwrap();
    let (method, seed, loss) = (at("method"), at("seed"), at("best_validation_loss"));
    let found: Vec<Vec<&str>> = lines.lines().map(|l| l.split(',').collect()).collect();
    assert_eq!(found.len(), 4);
    for (line, row, run) in [(0, 0, 0), (1, 0, 1), (2, 1, 0), (3, 1, 1)] {
        let (row, line) = (&report["rows"][row], &found[line]);
        let run = &row["runs"][run];
        assert_eq!(line[method], row["method"].as_str().unwrap());
        assert_eq!(line[seed], run["seed"].to_string());
        assert_eq!(line[loss], run["best_validation_loss"].to_string());
    }
    let tables: Vec<String> = std::fs::read_dir(f.path("out/tables"))
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert!(
        tables
            .iter()
            .any(|text| text.contains("Inducer-tuning") && text.contains("BLEU"))
    );
}

#[test]
fn tables_of_other_commands_are_csv_with_the_numbers_of_their_json() {
    let f = Fixture::new();
    let rows: Vec<Value> = serde_json::from_str(&says(&f, "params --json")).unwrap();
    let text = says(&f, "params --csv");
    let (head, lines) = text.split_once('\n').unwrap();
    assert!(
        head.starts_with("backbone,method,trained,stored,"),
        "{head}"
    );
    assert_eq!(lines.lines().count(), rows.len());
    for (line, row) in lines.lines().zip(&rows) {
        assert!(line.contains(&row["trained"].to_string()), "{line}");
    }
    let text = says(
        &f,
        "verify --claim eq07-eq08 --engine reference --cases 1 --csv",
    );
    assert!(
        text.lines()
            .next()
            .unwrap()
            .starts_with("claim,engine,verdict,")
    );
    assert!(text.lines().skip(1).all(|l| l.starts_with("eq07-eq08,")));
}

#[test]
fn every_subcommand_is_completed_and_has_a_manual_page() {
    let f = Fixture::new();
    let help = says(&f, "--help");
    let listed = help.lines().skip_while(|l| *l != "Commands:").skip(1);
    let listed = listed.take_while(|l| !l.is_empty());
    let names: Vec<&str> = listed
        .filter(|l| l.starts_with("  ") && !l.starts_with("   "))
        .filter_map(|l| l.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() >= 16, "{names:?}");
    says(&f, "man --out man1");
    for shell in ["bash", "zsh", "fish"] {
        let script = says(&f, &format!("completions {shell}"));
        for name in &names {
            assert!(script.contains(name), "{shell}: {name}");
            let page = f.path(&format!("man1/inducer-{name}.1"));
            let page = std::fs::read_to_string(&page).unwrap();
            assert!(page.contains(".SH OPTIONS"), "{name}");
        }
        assert!(script.contains("export-runs"), "{shell}");
    }
    let page = std::fs::read_to_string(f.path("man1/inducer.1")).unwrap();
    assert!(page.contains("METEOR_JAR") && page.contains("Exit status"));
}

#[test]
fn the_documented_exit_statuses_are_the_ones() {
    let f = Fixture::new();
    for (args, status) in [
        (&["params"][..], 0),
        (&["params", "--backbone", "nowhere"], 2),
        (&["params", "--backbone", "data"], 1),
        (&["params", "--nonsense"], 2),
        (&["report", "--shard", "0/2"], 2),
        (&[], 2),
    ] {
        assert_eq!(f.inducer(args).status.code(), Some(status), "{args:?}");
    }
}

#[test]
fn doctor_says_what_is_here_and_what_is_not() {
    let f = Fixture::new();
    let found: Vec<Value> = serde_json::from_str(&says(&f, "doctor --json")).unwrap();
    let named = |what: &str| found.iter().find(|f| f["what"] == what).unwrap().clone();
    assert_eq!(named("threads")["present"], true);
    assert_eq!(named("LAPACK")["present"], true);
    let with = std::process::Command::new(env!("CARGO_BIN_EXE_inducer"))
        .args(["doctor", "--json"])
        .env("METEOR_JAR", f.path("data/train.json"))
        .env("METEOR_PARAPHRASES", "/no/such/file")
        .output()
        .unwrap();
    let found: Vec<Value> = serde_json::from_slice(&with.stdout).unwrap();
    let named = |what: &str| found.iter().find(|f| f["what"] == what).unwrap().clone();
    assert_eq!(named("METEOR")["present"], true);
    assert_eq!(named("paraphrases")["present"], false);
    assert!(
        named("paraphrases")["found"]
            .as_str()
            .unwrap()
            .contains("/no/such/file")
    );
    assert!(says(&f, "doctor").lines().count() >= 18);
    assert!(says(&f, "doctor --csv").starts_with("what,present,found,purpose\n"));
}

/// All texts of the sources below a directory; one that goes on in the next line is joined.
fn sources(dir: &Path, into: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap().replace("\\\n", "");
            into.extend(text.split_whitespace().flat_map(|word| [word, " "]));
        }
    }
}

#[test]
fn the_commands_of_the_guide_are_understood_and_its_messages_are_there() {
    let guide = include_str!("../GUIDE.md");
    let joined = guide.replace("\\\n", "");
    let commands: Vec<&str> = joined
        .lines()
        .filter(|l| l.starts_with("inducer "))
        .collect();
    assert!(commands.len() >= 8);
    let f = Fixture::new();
    std::fs::create_dir(f.path("small")).unwrap();
    for command in commands {
        let text = command.replace("small/", f.path("small").to_str().unwrap());
        let quoted = text.split('"').enumerate();
        let words = quoted.flat_map(|(i, part)| match i % 2 {
            0 => part.split_whitespace().collect(),
            _ => vec![part],
        });
        let found = Cli::command().try_get_matches_from(words);
        assert!(found.is_ok(), "{command}: {}", found.unwrap_err());
    }
    let mut all = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    let (_, table) = guide.split_once("| message |").unwrap();
    let (table, words) = table.split_once("## Words").unwrap();
    let rows = table
        .lines()
        .filter_map(|l| l.strip_prefix("| `")?.split_once('`'));
    let messages: Vec<&str> = rows.map(|(message, _)| message).collect();
    assert!(messages.len() >= 10, "{messages:?}");
    for message in messages {
        assert!(all.contains(message), "no message has `{message}`");
    }
    for word in ["backbone", "inducer", "support point", "μ, λ", "drift"] {
        assert!(words.contains(&format!("\n| {word}")), "{word}");
    }
    // a reader finds it
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(here.join("../README.md"))
        .or_else(|_| std::fs::read_to_string(here.join("README.md"))) // in a packed crate
        .unwrap();
    assert!(readme.contains("](reports/GUIDE.md)"));
}
