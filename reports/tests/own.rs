//! Data of one's own as a user meets them: every command on both tasks, the README's forty lines,
//! and the Hub's tables by name.
#![allow(clippy::unwrap_used)] // helpers outside of #[test] functions

use crate::common::{Fixture, tiny_roberta};
use candle_core::{DType, Device};
use inducer_datasets::{Tokenizer, synthetic};
use inducer_gpu::Model;
use inducer_gpu::backbone::Roberta;
use serde_json::Value;
use std::fmt::Write as _;

/// Runs a command; its standard output and error.
fn succeeds(f: &Fixture, line: &str) -> (String, String) {
    let out = f.inducer(&line.split_whitespace().collect::<Vec<_>>());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{line}: {}", text(&out.stderr));
    (text(&out.stdout), text(&out.stderr))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn read(f: &Fixture, name: &str) -> String {
    std::fs::read_to_string(f.path(name)).unwrap()
}

fn fails(f: &Fixture, line: &str, words: &[&str]) {
    f.fails(&line.split_whitespace().collect::<Vec<_>>(), words);
}

/// The README's forty lines as `questions.jsonl`.
fn questions() -> Fixture {
    let f = Fixture::new();
    let lines = include_str!("../examples/questions.jsonl");
    assert_eq!(lines.lines().count(), 40);
    std::fs::write(f.path("questions.jsonl"), lines).unwrap();
    f
}

const OWN: &str = "--task generate --data questions.jsonl --split 0.6,0.15,0.25 --backbone \
                   backbone --max-new-tokens 6";

#[test]
fn texts_are_trained_evaluated_written_scored_and_explained() {
    let f = questions();
    let train = format!("train {OWN} --method inducer --out run --steps 3 --json");
    let (out, said) = succeeds(&f, &train);
    let result = json(&out);
    assert!(
        said.contains("is divided by seed 0 into 25, 5 and 10 rows"),
        "{said}"
    );
    let run = json(&read(&f, "run/run.json"));
    assert_eq!(run["reading"]["split"]["shares"], json("[0.6, 0.15, 0.25]"));
    // the same figures again, and the same texts
    let (out, _) = succeeds(&f, &format!("evaluate {OWN} --adapter run/best --json"));
    let found = json(&out);
    assert_eq!(found["bleu"], result["bleu"]);
    assert_eq!(found["overlap"], result["overlap"]);
    assert_eq!(found["scores"]["ter"]["all"]["ter"], result["ter"]);
    assert_eq!(
        (&found["test_entries"], &found["bleu"]["seen"]),
        (&10.into(), &Value::Null)
    );
    assert_eq!(
        found["scores"]["overlap"]["categories"]
            .as_object()
            .unwrap()
            .len(),
        2
    );
    let (texts, _) = succeeds(&f, &format!("generate {OWN} --adapter run/best"));
    assert_eq!(texts, read(&f, "run/outputs.txt"));
    let (table, _) = succeeds(&f, &format!("evaluate {OWN} --adapter run/best"));
    assert!(table.contains("EM") && table.contains("unseen"), "{table}");
    // the texts scored against the rows they were written for
    let line = format!("generate {OWN} --adapter run/best --out out.jsonl");
    succeeds(&f, &line);
    let ids: Vec<String> = read(&f, "out.jsonl")
        .lines()
        .map(|l| json(l)["id"].as_str().unwrap().to_owned())
        .collect();
    let rows = read(&f, "questions.jsonl");
    let of = |line: &&str| ids.contains(&json(line)["id"].as_str().unwrap().to_owned());
    let scored: Vec<&str> = rows.lines().filter(of).collect();
    assert_eq!(scored.len(), 10);
    std::fs::write(f.path("scored.jsonl"), scored.join("\n")).unwrap();
    for (metric, figure, expected) in [
        ("bleu", "bleu", &result["bleu"]["all"]),
        ("ter", "ter", &result["ter"]),
        ("overlap", "f1", &result["overlap"]["f1"]),
    ] {
        let line = format!(
            "score --metric {metric} --sacrebleu --hypotheses out.jsonl --references scored.jsonl \
             --json"
        );
        let found = json(&succeeds(&f, &line).0);
        assert_eq!(&found[figure], expected, "{metric}");
    }
    let line = format!(
        "explain {} --adapter run/best --entry 1 --out e.html --json e.json",
        OWN.replace(" --max-new-tokens 6", "")
    );
    succeeds(&f, &line);
    let source = json(&read(&f, "e.json"))["source"].to_string();
    assert!(source.contains("Entry 1 of generate"), "{source}");
}

#[test]
fn inputs_alone_are_answered_with_their_ids() {
    let f = questions();
    succeeds(
        &f,
        &format!("train {OWN} --method lora --out run --steps 2"),
    );
    std::fs::write(
        f.path("new.csv"),
        "question,name\nWhere is Alder?,one\n\"Where, then, is Birch?\",\n",
    )
    .unwrap();
    let line = "generate --task generate --data new.csv --columns input=question,id=name \
                --backbone backbone --adapter run/best --max-new-tokens 3 --out answers.jsonl";
    succeeds(&f, line);
    let lines: Vec<Value> = read(&f, "answers.jsonl").lines().map(json).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["id"], &lines[1]["id"]),
        (&"one".into(), &2.into())
    );
    assert!(lines[1]["output"].is_string());
    // to evaluate there have to be targets, and parts
    let line = "evaluate --task generate --data new.csv --backbone backbone --adapter run/best";
    fails(&f, line, &["new.csv", "--split"]);
}

#[test]
fn what_was_cut_is_said_and_counted_and_what_is_too_long_is_told_how() {
    let f = questions();
    let long = format!(
        "{{\"input\": \"{}\", \"target\": \"x\"}}\n",
        "word ".repeat(400)
    );
    let short = "{\"input\": \"a b\", \"target\": \"y\"}\n";
    for part in ["train", "dev", "test"] {
        let mut rows = short.repeat(3);
        _ = write!(rows, "{long}");
        std::fs::create_dir_all(f.path("own")).unwrap();
        std::fs::write(f.path(&format!("own/{part}.jsonl")), rows).unwrap();
    }
    let line = "train --task generate --data own --backbone backbone --method lora --out run \
                --steps 1 --max-new-tokens 2";
    fails(&f, line, &["own", "--truncate N", "entry 4"]);
    let (_, said) = succeeds(&f, &format!("{line} --truncate 20"));
    let words = "--truncate 20: cut were the inputs of 1 of 4 training rows, 1 of 4 dev and 1 of 4 \
                 test entries";
    assert!(said.contains(words), "{said}");
    assert_eq!(json(&read(&f, "run/run.json"))["reading"]["truncate"], 20);
    // another cut is another run
    fails(
        &f,
        &format!("{line} --truncate 10"),
        &["run.json", "reading.truncate"],
    );
    fails(
        &f,
        "train --task webnlg --data data --backbone backbone --method lora --out other --steps 1 \
         --truncate 9",
        &["--truncate is not for --task webnlg"],
    );
}

/// A directory with a random RoBERTa and rows of three classes.
fn reviews() -> Fixture {
    let f = Fixture::new();
    let text = synthetic::pretraining_text(1, 60_000);
    let encoder = f.path("encoder");
    let tokenizer = Tokenizer::train_roberta(text.split("\n\n"), 400).unwrap();
    tokenizer.save(&encoder).unwrap();
    let roberta = Roberta::random_masked(tiny_roberta(), 7, DType::F32, &Device::Cpu).unwrap();
    Model::new(roberta, DType::F32, &Device::Cpu)
        .save_backbone(&encoder)
        .unwrap();
    let classes = ["spam", "ham", "eggs"];
    for (part, rows) in [("train", 24), ("validation", 6), ("test", 9)] {
        let mut text = String::from("text,label,group\n");
        for i in 0..rows {
            let class = classes[i % 3];
            _ = writeln!(text, "\"a {class}, number {i}\",{class},{}", i % 2);
        }
        std::fs::create_dir_all(f.path("reviews")).unwrap();
        std::fs::write(f.path(&format!("reviews/{part}.csv")), text).unwrap();
    }
    f
}

#[test]
fn classes_are_trained_evaluated_and_given_to_texts_alone() {
    let f = reviews();
    let own = "--task classify --data reviews --backbone encoder";
    let line = format!("train {own} --method lora --out run --steps 3 --json");
    let result = json(&succeeds(&f, &line).0);
    let names = json(&read(&f, "run/best/classes.json"));
    assert_eq!(names, json("[\"eggs\", \"ham\", \"spam\"]"));
    let found = json(&succeeds(&f, &format!("evaluate {own} --adapter run/best --json")).0);
    let scores = &found["scores"];
    assert_eq!(scores["accuracy"], result["accuracy"]["accuracy"]);
    assert_eq!(scores["macro_f1"], result["macro_f1"]);
    assert_eq!(
        (
            &scores["total"],
            scores["genres"].as_object().unwrap().len()
        ),
        (&9.into(), 2)
    );
    // the outputs scored as files give the same figures
    let labels: String = (0..9)
        .map(|i| format!("{}\n", ["spam", "ham", "eggs"][i % 3]))
        .collect();
    std::fs::write(f.path("labels.txt"), labels).unwrap();
    let score = "score --hypotheses run/outputs.txt --json --metric";
    for references in ["labels.txt", "reviews/test.csv"] {
        let line = format!("{score} f1 --references {references}");
        assert_eq!(json(&succeeds(&f, &line).0)["macro_f1"], result["macro_f1"]);
        let line = format!("{score} accuracy --references {references}");
        assert_eq!(json(&succeeds(&f, &line).0)["accuracy"], scores["accuracy"]);
    }
    // texts alone
    std::fs::write(
        f.path("new.jsonl"),
        "{\"text\": \"a spam\"}\n{\"text\": \"a ham\"}\n",
    )
    .unwrap();
    let generate = "generate --task classify --data new.jsonl --backbone encoder";
    let (out, _) = succeeds(&f, &format!("{generate} --adapter run/best"));
    assert!(out.lines().count() == 2 && out.lines().all(|l| ["spam", "ham", "eggs"].contains(&l)));
    // without names there are no classes
    std::fs::remove_file(f.path("run/best/classes.json")).unwrap();
    let line = format!("{generate} --adapter run/best");
    fails(&f, &line, &["the classes have no names", "classes.json"]);
    let line = format!("explain {own} --adapter run/adapter --entry 2 --out e.html --json e.json");
    succeeds(&f, &line);
    let target = &json(&read(&f, "e.json"))["target"];
    assert_eq!(target["classes"], names);
}

#[test]
fn an_adapter_s_classes_are_kept_by_name_on_other_data() {
    let f = reviews();
    let own = "--task classify --data reviews --backbone encoder";
    succeeds(
        &f,
        &format!("train {own} --method lora --out run --steps 2"),
    );
    let before = json(&succeeds(&f, &format!("evaluate {own} --adapter run/best --json")).0);
    // "eggs" is gone from training and everything: two classes of the three that the head has
    for part in ["train", "validation", "test"] {
        let path = f.path(&format!("reviews/{part}.csv"));
        let text = std::fs::read_to_string(&path).unwrap();
        let rows: Vec<&str> = text.lines().filter(|l| !l.contains("eggs")).collect();
        std::fs::write(path, rows.join("\n") + "\n").unwrap();
    }
    let after = json(&succeeds(&f, &format!("evaluate {own} --adapter run/best --json")).0);
    let f1 = |found: &Value| found["scores"]["classes"].as_object().unwrap().clone();
    assert_eq!(after["scores"]["total"], 6);
    assert!(
        f1(&before)
            .keys()
            .chain(f1(&after).keys())
            .all(|k| k != "class 2")
    );
    // a class that the adapter does not know
    let path = f.path("reviews/train.csv");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, text + "x,toast,1\n").unwrap();
    fails(
        &f,
        &format!("evaluate {own} --adapter run/best"),
        &["\"toast\"", "none of"],
    );
}

#[test]
fn a_report_on_one_s_own_data_has_their_figures_and_none_of_the_paper_s() {
    let f = questions();
    let (more, rest) = (
        "--methods none,lora --seeds 1 --steps 2 --ledger-cases 0",
        "--threads 1",
    );
    succeeds(
        &f,
        &format!("report {OWN} {more} {rest} --out out --explain 1"),
    );
    let report = json(&read(&f, "out/report.json"));
    assert_eq!(report["task"], "generate");
    let run = &report["rows"][1]["runs"][0];
    assert!(
        run["bleu"]["all"].is_number() && run["overlap"][1].is_number(),
        "{run}"
    );
    assert!(run["coqa"].is_null() && run["accuracy"].is_null());
    let page = read(&f, "out/report.md");
    assert!(
        page.contains("Exact match") && !page.contains("Means here, and the paper"),
        "{page}"
    );
    assert!(
        page.contains("is divided by seed 0") && page.contains("questions.jsonl"),
        "{page}"
    );
    // the options stand in the study's file
    std::fs::remove_file(f.path("out/report.json")).unwrap();
    succeeds(&f, "report --merge");
    assert_eq!(json(&read(&f, "out/report.json"))["rows"], report["rows"]);
    let f = reviews();
    succeeds(
        &f,
        &format!(
            "report --task classify --data reviews --backbone encoder {more} {rest} --out out"
        ),
    );
    let report = json(&read(&f, "out/report.json"));
    let run = &report["rows"][1]["runs"][0];
    assert!(
        run["macro_f1"].is_number() && run["accuracy"].is_number(),
        "{run}"
    );
    assert!(read(&f, "out/report.md").contains("Macro F1"));
    fails(
        &f,
        "report --task classify --out other",
        &["--task classify: expected --data"],
    );
}

#[test]
fn the_hub_s_tables_are_found_by_name_in_its_cache() {
    let f = reviews();
    let folder = f.path("hub/datasets--stanfordnlp--sst2");
    let commit = folder.join("snapshots/abc/data");
    std::fs::create_dir_all(&commit).unwrap();
    std::fs::create_dir_all(folder.join("refs")).unwrap();
    std::fs::write(folder.join("refs/main"), "abc").unwrap();
    for part in ["train", "validation"] {
        let rows: String = (0..40)
            .map(|i| {
                format!(
                    "{{\"idx\": {i}, \"sentence\": \"a {i}\", \"label\": {}}}\n",
                    i % 2
                )
            })
            .collect();
        std::fs::write(commit.join(format!("{part}.jsonl")), rows).unwrap();
    }
    let run = |name: &str| {
        let line = format!(
            "train --task sst2 --data {name} --backbone encoder --method lora --out run --steps 1"
        );
        std::process::Command::new(env!("CARGO_BIN_EXE_inducer"))
            .args(line.split(' '))
            .env("HF_HUB_CACHE", f.path("hub"))
            .env("HF_DATASETS_CACHE", f.path("datasets"))
            .current_dir(f.0.path())
            .output()
            .unwrap()
    };
    let said = |out: &std::process::Output| String::from_utf8_lossy(&out.stderr).into_owned();
    let out = run("stanfordnlp/sst2");
    assert!(out.status.success(), "{}", said(&out));
    assert!(
        said(&out).contains("test is validation.jsonl"),
        "{}",
        said(&out)
    );
    // what `datasets` has made, where the hub's cache has no tables
    let made = f.path("datasets/stanfordnlp___sst2/default/0.0.0/abc");
    std::fs::create_dir_all(&made).unwrap();
    for part in ["train", "validation"] {
        let file = commit.join(format!("{part}.jsonl"));
        std::fs::rename(file, made.join(format!("{part}.jsonl"))).unwrap();
    }
    std::fs::remove_dir_all(f.path("run")).unwrap();
    let out = run("stanfordnlp/sst2");
    assert!(out.status.success(), "{}", said(&out));
    let out = run("stanfordnlp/sst3");
    assert_eq!(out.status.code(), Some(1));
    assert!(
        said(&out).contains("no tables of such a data set"),
        "{}",
        said(&out)
    );
}
