//! A study as a list of runs: planned, made in parts, merged with what is missing, completed,
//! compared.
#![allow(clippy::unwrap_used)] // tests

use crate::common::Fixture;
use crate::common::schema::Schema;
use approx::assert_abs_diff_eq;
use inducer_datasets::synthetic::{CoqaConfig, write_coqa};
use serde_json::Value;
use std::path::Path;

const METHODS: &str = "none,prefix,gating,inducer";

fn study<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "report",
        "--data",
        "data",
        "--backbone",
        "backbone",
        "--long-data",
        "long",
        "--methods",
        METHODS,
        "--seeds",
        "1,2",
        "--steps",
        "6",
        "--batch-size",
        "4",
        "--max-new-tokens",
        "6",
        "--ledger-cases",
        "0",
        "--out",
        "out",
        "--threads",
        "2",
    ];
    args.extend(more);
    args
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn fixture() -> Fixture {
    let f = Fixture::new();
    let config = CoqaConfig {
        seed: 1,
        train: 24,
        dev: 3,
        turns: 3,
        passage_words: 8,
        longest_passage_words: Some(40),
        lengths: 1,
    };
    write_coqa(&f.path("long"), config).unwrap();
    f
}

fn succeeds(f: &Fixture, args: &[&str]) -> String {
    let out = f.inducer(args);
    let message = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{args:?}: {message}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn number(v: &Value) -> f64 {
    v.as_f64().unwrap_or_else(|| panic!("no number: {v}"))
}

#[test]
fn a_search_chooses_each_methods_rate_on_the_development_part_before_the_runs() {
    let f = Fixture::new();
    let line = |more: &[&'static str]| -> Vec<&'static str> {
        let words = "report --data data --backbone backbone --no-long \
                     --methods none,prefix,inducer --seeds 1,2 --steps 6 --batch-size 4 \
                     --max-new-tokens 4 --test-limit 4 --ledger-cases 0 --out out --threads 2 --learning-rate prefix=2e-3";
        words
            .split_whitespace()
            .chain(more.iter().copied())
            .collect()
    };
    let rates = ["--rates", "1e-2,1e-3,8", "--rates-steps", "4"];
    let fails = |more: &[&'static str]| {
        let out = f.inducer(&line(more));
        assert!(!out.status.success());
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    let merged = fails(&[&rates[..], &["--merge"]].concat());
    assert!(
        merged.contains("the learning rate of inducer is not chosen yet"),
        "{merged}"
    );
    let seed = fails(&[&rates[..], &["--rates-seed", "2"]].concat());
    assert!(
        seed.contains("--rates-seed 2: a seed of the study itself"),
        "{seed}"
    );
    assert_eq!(
        succeeds(&f, &line(&[&rates[..], &["--plan"]].concat()))
            .lines()
            .count(),
        6
    );
    succeeds(&f, &line(&rates));

    let report = json(&f.path("out/report.json"));
    let found = &report["rates"];
    assert_eq!((&found["seed"], &found["steps"]), (&0.into(), &4.into()));
    // a rate of its own leaves prefix nothing to choose
    let methods = found["methods"].as_array().unwrap();
    assert_eq!(methods.len(), 1);
    let candidates = methods[0]["candidates"].as_array().unwrap();
    let loss = |c: &Value| c["validation_loss"].as_f64().unwrap_or(f64::INFINITY);
    let best = candidates
        .iter()
        .min_by(|a, b| loss(a).total_cmp(&loss(b)))
        .unwrap();
    assert_eq!(candidates.len(), 3);
    assert_eq!(methods[0]["chosen"], best["learning_rate"]);
    let rate = |method: &str| {
        let rows = report["rows"].as_array().unwrap();
        let row = rows.iter().find(|r| r["method"] == method).unwrap();
        row["learning_rate"].clone()
    };
    assert_eq!(rate("inducer"), best["learning_rate"]);
    assert_eq!(rate("prefix"), 2e-3);
    // a candidate looks at nothing of the test part
    assert!(!f.path("out/rates/inducer-1e-2/outputs.txt").exists());
    assert!(f.path("out/runs/inducer-seed1/outputs.txt").exists());

    // the losses by entry give the test loss, and the contrast of the two methods
    let losses = |method: &str, seed: u64| -> Vec<(f64, f64)> {
        let path = f.path(&format!("out/runs/{method}-seed{seed}/test_losses.json"));
        let all = json(&path);
        let of = |l: &Value| (number(&l["tokens"]), number(&l["nats"]));
        all.as_array().unwrap().iter().map(of).collect()
    };
    let mean =
        |l: &[(f64, f64)]| l.iter().map(|x| x.1).sum::<f64>() / l.iter().map(|x| x.0).sum::<f64>();
    let both = |method: &str| 0.5 * (mean(&losses(method, 1)) + mean(&losses(method, 2)));
    let contrast = report["contrasts"].as_array().unwrap();
    let contrast = contrast.iter().find(|c| c["upper"] == "prefix").unwrap();
    let expected = both("prefix") - both("inducer");
    let difference = number(&contrast["difference"]);
    assert_abs_diff_eq!(difference, expected, epsilon = 1e-9);
    assert_eq!(losses("prefix", 1).len(), 4);

    // all is there: nothing is made again, and the page says how the rates came about
    let before = std::fs::metadata(f.path("out/rates/inducer-1e-2/result.json")).unwrap();
    succeeds(&f, &line(&[&rates[..], &["--merge"]].concat()));
    let after = std::fs::metadata(f.path("out/rates/inducer-1e-2/result.json")).unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
    let page = std::fs::read_to_string(f.path("out/report.md")).unwrap();
    assert!(page.contains("Learning rates, chosen on the development part"));
}

#[test]
fn parts_are_made_apart_merged_with_what_is_missing_and_completed() {
    let f = fixture();
    let listed = |f: &Fixture| -> Vec<Value> {
        serde_json::from_str(&succeeds(f, &study(&["--plan", "--json"]))).unwrap()
    };
    let plan = listed(&f);
    assert_eq!(
        plan.len(),
        4 * 2 + 3 * 2,
        "four methods, then two prefixes and the inducer on long inputs"
    );
    assert!(plan.iter().all(|r| r["done"] == false));
    assert!(plan.iter().enumerate().all(|(i, r)| r["number"] == i + 1));
    assert!(!f.path("out/runs").exists(), "a plan makes nothing");

    succeeds(&f, &study(&["--only", "1,4"]));
    succeeds(&f, &study(&["--shard", "2/6"]));
    assert!(!f.path("out/report.json").exists(), "parts make no report");
    let done: Vec<usize> = (1..)
        .zip(listed(&f))
        .filter(|(_, r)| r["done"] == true)
        .map(|x| x.0)
        .collect();
    assert_eq!(done, [1, 2, 4, 8, 14]);

    succeeds(&f, &study(&["--merge"]));
    let partial = json(&f.path("out/report.json"));
    let runs = |study: &Value, method: &str| -> usize {
        let rows = study["rows"].as_array().unwrap();
        let row = rows.iter().find(|r| r["method"] == method).unwrap();
        row["runs"].as_array().unwrap().len()
    };
    assert_eq!(
        ["none", "prefix", "gating", "inducer"].map(|m| runs(&partial, m)),
        [1, 1, 0, 2]
    );
    let page = std::fs::read_to_string(f.path("out/report.md")).unwrap();
    assert!(
        page.contains("Runs are missing: ") && page.contains("missing: seed 1 and 2"),
        "{page}"
    );

    let before = std::fs::metadata(f.path("out/runs/inducer-seed2/result.json"))
        .unwrap()
        .modified()
        .unwrap();
    succeeds(&f, &study(&[]));
    let whole = json(&f.path("out/report.json"));
    for method in ["none", "prefix", "gating", "inducer"] {
        assert_eq!(runs(&whole, method), 2, "{method}");
    }
    let after = std::fs::metadata(f.path("out/runs/inducer-seed2/result.json"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(before, after, "what was done is not made again");
    everything_is_measured(&whole);
    compared(&f);
}

fn everything_is_measured(study: &Value) {
    let rows = study["rows"].as_array().unwrap();
    let run = |method: &str| &rows.iter().find(|r| r["method"] == method).unwrap()["runs"][0];
    for method in ["prefix", "gating", "inducer"] {
        let r = run(method);
        assert!(
            number(&r["ter"]) > 0.0 && number(&r["meteor"]) >= 0.0,
            "{method}"
        );
        assert!(number(&r["peak_bytes"]) > 1e5, "{method}");
        let bins = r["by_length"].as_array().unwrap();
        assert!(
            bins.len() > 1
                && bins
                    .windows(2)
                    .all(|b| number(&b[0]["to"]) < number(&b[1]["from"]))
        );
        assert_eq!(bins.iter().map(|b| number(&b["entries"])).sum::<f64>(), 8.0);
        let positions = r["by_position"].as_array().unwrap();
        let gates = r["gates"].as_array().unwrap();
        assert_eq!(gates.len(), 2);
        // every query is counted once by layer and once by position
        let heads = 3.0 * 2.0;
        let queries: f64 = positions.iter().map(|p| number(&p["queries"])).sum();
        assert_eq!(queries % heads, 0.0);
        let share: f64 = positions
            .iter()
            .map(|p| number(&p["gate"]) * number(&p["queries"]))
            .sum();
        let by_layer: f64 = gates.iter().map(|g| number(&g["mean"])).sum::<f64>() / 2.0;
        assert!((share / queries - by_layer).abs() < 1e-9, "{method}");
    }
    // before any training, and after each of the validations
    let drift = |method: &str| number(&run(method)["drift_curve"][0][1]);
    for method in ["prefix", "gating", "inducer"] {
        let curve = run(method)["drift_curve"].as_array().unwrap();
        assert_eq!((&curve[0][0], curve.len()), (&0.into(), 1 + 6), "{method}");
        assert!(drift(method) > 0.0);
    }
    assert!(
        drift("none").abs() < 1e-6,
        "the untuned backbone is the frozen model"
    );
    assert!(run("none")["gates"].as_array().unwrap().is_empty());
    assert_eq!(study["long"]["rows"].as_array().unwrap().len(), 3);
    assert!(number(&study["long"]["rows"][0]["runs"][0]["coqa"][1]) >= 0.0);
    assert!(number(&rows[1]["p_value"]) > 0.0);
    assert!(study["ledger"].is_null());
}

fn compared(f: &Fixture) {
    std::fs::copy(f.path("out/report.json"), f.path("a.json")).unwrap();
    succeeds(
        f,
        &[
            "report",
            "--compare",
            "a.json",
            "out/report.json",
            "--out",
            "compared",
        ],
    );
    let found = json(&f.path("compared/compare.json"));
    let lines = found["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 4 * 8);
    assert!(
        lines
            .iter()
            .all(|l| l["difference"].is_null() || l["difference"] == 0.0)
    );
    for name in ["compare.html", "compare.md"] {
        let text = std::fs::read_to_string(f.path("compared").join(name)).unwrap();
        assert!(text.contains("Inducer-tuning"), "{name}");
    }
    // an old report has fewer fields, a newer one may mean something else
    let mut report = json(&f.path("a.json"));
    report["schema"] = 99.into();
    std::fs::write(f.path("new.json"), report.to_string()).unwrap();
    f.fails(
        &["report", "--compare", "a.json", "new.json"],
        &["new.json", "`schema`", "99"],
    );
    std::fs::write(f.path("broken.json"), "{").unwrap();
    f.fails(
        &["report", "--compare", "a.json", "broken.json"],
        &["broken.json"],
    );
    f.fails(
        &["report", "--compare", "a.json", "absent.json"],
        &["absent.json"],
    );
}

#[test]
fn numbers_that_are_not_in_the_list_are_refused() {
    let f = fixture();
    f.fails(&study(&["--only", "15"]), &["--only 15", "1 to 14"]);
    for shard in ["0/2", "3/2", "a/b", "1"] {
        let out = f.inducer(&study(&["--shard", shard]));
        let message = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(2), "{shard}: {message}");
        assert!(message.contains("I/N"), "{message}");
    }
}

#[test]
fn an_old_report_is_still_read() {
    let f = Fixture::new();
    let old = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/report-schema-1.json"
    );
    succeeds(&f, &["report", "--compare", old, old, "--out", "compared"]);
    let found = json(&f.path("compared/compare.json"));
    assert!(
        found["lines"]
            .as_array()
            .unwrap()
            .iter()
            .any(|l| l["method"] == "inducer")
    );
}

/// The paper's epochs on data of one's own, and how long they will take, before anything starts.
#[test]
fn the_papers_preset_says_how_long_it_takes() {
    let f = fixture();
    let args = |preset: &'static str| {
        vec![
            "report",
            "--data",
            "data",
            "--backbone",
            "backbone",
            "--methods",
            "none,lora,inducer",
            "--seeds",
            "1,2",
            "--batch-size",
            "4",
            "--max-new-tokens",
            "2",
            "--out",
            "out",
            "--threads",
            "2",
            "--plan",
            "--json",
            "--preset",
            preset,
        ]
    };
    let steps = |preset| -> Vec<u64> {
        let rows: Vec<Value> = serde_json::from_str(&succeeds(&f, &args(preset))).unwrap();
        rows.iter().map(|r| r["steps"].as_u64().unwrap()).collect()
    };
    let entries: Value = json(&f.path("data/train.json"));
    let texts = entries["entries"].as_array().unwrap().iter().flat_map(|e| {
        let entry = e.as_object().unwrap().values().next().unwrap();
        entry["lexicalisations"].as_array().unwrap().clone()
    });
    let epoch = texts.count().div_ceil(4) as u64;
    assert_eq!(
        steps("paper"),
        [0, 10 * epoch, 10 * epoch, 0, 10 * epoch, 10 * epoch]
    );
    assert_eq!(steps("default")[1], 300);
    let out = f.inducer(&args("paper"));
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    for words in [
        "lora ",
        "inducer ",
        " s a step",
        "6 runs: about ",
        " h here",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    // only what is asked for counts, and only what is not finished
    let mut one = args("paper");
    one.retain(|word| !["--plan", "--json"].contains(word));
    one.extend(["--only", "1"]);
    for (args, words) in [
        (&one, "1 run: about "),
        (&one, "0 runs: about 0.0 h"),
        (&args("paper"), "5 runs: about "),
    ] {
        let out = f.inducer(args);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(
            out.status.success() && said.contains(words),
            "{words}: {said}"
        );
    }
    let out = f.inducer(&["report", "--preset", "paper"]);
    let message = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(
        !out.status.success() && message.contains("--data and --backbone"),
        "{message}"
    );
}

#[test]
fn a_budget_decides_seeds_and_steps_once_and_says_what_it_allowed() {
    let f = fixture();
    let base = "report --data data --backbone backbone --no-long --methods none,inducer \
                --batch-size 4 --max-new-tokens 6 --ledger-cases 0 --out out --threads 2";
    let with = |more: &str| {
        let line = format!("{base} {more}");
        line.split_whitespace()
            .map(String::from)
            .collect::<Vec<_>>()
    };
    let run = |more: &str| {
        let words = with(more);
        f.inducer(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let message = |more: &str| String::from_utf8_lossy(&run(more).stderr).into_owned();
    assert!(message("--budget 10").contains("as 10m or 1h30m"));
    assert!(message("--budget 10m --steps 4").contains("--steps"));
    assert!(message("--budget 10m --merge").contains("no study with a --budget has begun"));
    // an earlier process has decided on three steps and used all of its time
    std::fs::create_dir(f.path("out")).unwrap();
    let decided = |seeds: usize| {
        let text = format!(r#"{{"seconds":9,"used":1e6,"seeds":{seeds},"steps":3}}"#);
        std::fs::write(f.path("out/budget.json"), text).unwrap();
    };
    decided(2);
    let plan = run("--budget 10m --plan").stdout;
    let plan = String::from_utf8(plan).unwrap();
    assert_eq!(plan.lines().count(), 4, "{plan}");
    assert_eq!(plan.matches("    3 steps").count(), 2, "{plan}");
    decided(1);
    assert!(run("--budget 10m").status.success());
    let report = json(&f.path("out/report.json"));
    let settings = &report["provenance"]["settings"];
    assert_eq!(settings["seeds"], serde_json::json!([1]));
    assert_eq!(settings["steps"], 3);
    let budget = &report["provenance"]["budget"];
    assert_eq!(
        (number(&budget["seconds"]), &budget["seeds"]),
        (600.0, &1.into())
    );
    assert!(number(&budget["used"]) > 1e6);
    let page = std::fs::read_to_string(f.path("out/report.md")).unwrap();
    assert!(
        page.contains("| Budget | 10 min: one seed of 3 steps took"),
        "{page}"
    );
    let schema = include_str!("../results/report.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    assert_eq!(Schema(&schema).check(&schema, &report, "report"), Ok(()));
}
