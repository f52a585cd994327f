//! `inducer score`: the metrics on files, as the contract says.
#![allow(clippy::unwrap_used)] // helpers outside of #[test] functions

use approx::assert_abs_diff_eq;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        Self(dir)
    }

    fn inducer(&self, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_inducer"))
            .arg("score")
            .args(line.split(' '))
            .env_remove("METEOR_JAR")
            .env_remove("METEOR_PARAPHRASES")
            .current_dir(self.0.path())
            .output()
            .unwrap()
    }

    fn json(&self, line: &str) -> Value {
        let out = self.inducer(&format!("{line} --json"));
        let message = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{line}: {message}");
        serde_json::from_slice(&out.stdout).unwrap()
    }

    fn fails(&self, line: &str, status: i32, word: &str) {
        let out = self.inducer(line);
        let message = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(status), "{line}: {message}");
        assert!(message.contains(word), "{line}: no `{word}` in {message}");
    }
}

/// n-grams found: 5 of 6, 4 of 5, 3 of 4, 2 of 3; the second line adds 2 of 2 words and 1 of 1
/// pair, which its second reference lacks: there the blank line is an empty reference, as in
/// multi-bleu.
#[test]
fn bleu_has_its_components_and_a_blank_line_is_an_empty_reference() {
    let f = Files::new(&[
        ("h", "The cat sat on the mat\na dog\n"),
        ("r0", "the cat sat on the rug\na dog\n"),
        ("r1", "a cat\n\n"),
    ]);
    let b = f.json("--metric bleu --hypotheses h --references r0 r1 --lowercase");
    let by_hand = 100.0 * (7.0 / 8.0 * 5.0 / 6.0 * 3.0 / 4.0 * 2.0 / 3.0f64).powf(0.25);
    assert_abs_diff_eq!(b["bleu"].as_f64().unwrap(), by_hand, epsilon = 1e-12);
    assert_eq!(b["precisions"][0], 87.5);
    assert_eq!(
        (&b["hypothesis_length"], &b["reference_length"]),
        (&8.into(), &8.into())
    );
    let cased = f.json("--metric bleu --hypotheses h --references r0 r1");
    assert!(cased["bleu"].as_f64().unwrap() < by_hand);
    let out = f.inducer("--metric bleu --hypotheses h --references r0 r1 --lowercase");
    let line = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        line.starts_with("BLEU = 77.71, 87.5/83.3/75.0/66.7 (BP=1.000"),
        "{line}"
    );
}

#[test]
fn ter_meteor_and_accuracy_have_their_components() {
    let f = Files::new(&[
        ("h", "b c a\nx\n"),
        ("r0", "a b c\nx y\n"),
        ("r1", "\nx\n"),
        ("c", "x\n"),
    ]);
    let t = f.json("--metric ter --hypotheses h --references r0 r1");
    // one shift; then nothing against the nearer reference; lengths 3 and (2 + 1)/2
    assert_eq!(
        (&t["shifts"], &t["edits"], &t["reference_length"]),
        (&1.into(), &1.into(), &4.5.into())
    );
    assert_abs_diff_eq!(t["ter"].as_f64().unwrap(), 1.0 / 4.5, epsilon = 1e-15);
    let m = f.json("--metric meteor --hypotheses h --references r0 r1");
    assert_eq!(m["matchers"], serde_json::json!(["exact", "stem"]));
    // all four words match; two runs, and the one of the perfect second line is not counted
    let by_hand = 1.0 - 0.6 * 0.5f64.powf(0.2);
    assert_abs_diff_eq!(m["meteor"].as_f64().unwrap(), by_hand, epsilon = 1e-15);
    assert_eq!(m["precision"], 1.0);
    let a = f.json("--metric accuracy --hypotheses h --references r0");
    assert_eq!(
        (&a["accuracy"], &a["correct"], &a["total"]),
        (&0.0.into(), &0.into(), &2.into())
    );
}

#[test]
fn coqa_leaves_references_out_in_turn_and_has_domains() {
    let f = Files::new(&[
        ("h", "white\nThe cat.\n"),
        ("r0", "White.\na cat\n"),
        ("r1", "black\n\n"),
        ("r2", "red\n\n"),
        ("d", "race\ncnn\n"),
    ]);
    let c = f.json("--metric coqa --hypotheses h --references r0 r1 r2 --domains d");
    // left out in turn: (0 + 1 + 1)/3; the second has one reference
    let overall = 100.0 * (2.0 / 3.0 + 1.0) / 2.0;
    assert_abs_diff_eq!(c["f1"].as_f64().unwrap(), overall, epsilon = 1e-12);
    let exact = c["exact_match"].as_f64().unwrap();
    assert_abs_diff_eq!(exact, overall, epsilon = 1e-12);
    assert_eq!(
        (&c["domains"]["cnn"]["f1"], &c["questions"]),
        (&100.0.into(), &2.into())
    );
}

#[test]
fn another_system_is_compared_by_both_tests() {
    let lines = |good: bool| {
        (0..40)
            .map(|i| format!("a b c d {}\n", if good || i % 2 == 0 { "e" } else { "x" }))
            .collect::<String>()
    };
    let f = Files::new(&[
        ("h", &lines(true)),
        ("o", &lines(false)),
        ("r", &lines(true)),
    ]);
    for metric in ["bleu", "ter", "meteor", "coqa", "accuracy"] {
        let s = f.json(&format!(
            "--metric {metric} --hypotheses h --references r --compare o --draws 200"
        ));
        for test in ["bootstrap", "randomisation"] {
            let p = s["comparison"][test]["p"].as_f64().unwrap();
            // 20 of 40 lines differ, all to one side: no draw reaches it
            assert_eq!(p, 1.0 / 201.0, "{metric} {test}");
        }
        let same = f.json(&format!(
            "--metric {metric} --hypotheses h --references r --compare h --draws 50"
        ));
        assert_eq!(same["comparison"]["bootstrap"]["p"], 1.0, "{metric}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let f = Files::new(&[("h", "a\nb\n"), ("short", "a\n"), ("r", "a\nb\n")]);
    f.fails(
        "--metric bleu --hypotheses h --references short",
        1,
        "short: 1 lines, expected 2 as in h",
    );
    f.fails(
        "--metric bleu --hypotheses none --references r",
        1,
        "none: ",
    );
    f.fails(
        "--metric meteor --hypotheses h --references r --meteor-jar no.jar",
        1,
        "no.jar",
    );
    f.fails(
        "--metric accuracy --hypotheses h --references r r",
        2,
        "one file",
    );
    f.fails("--metric bleu --hypotheses h", 2, "--references");
    f.fails(
        "--metric rouge --hypotheses h --references r",
        2,
        "bleu, ter, meteor, coqa, accuracy",
    );
}

#[test]
fn the_published_bleu_comes_out_of_the_official_files() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/webnlg_scores");
    if !dir.exists() {
        eprintln!("not run: ../shared/data/webnlg_scores is not there");
        return;
    }
    let name = |n: &str| dir.join(n).display().to_string();
    let references: Vec<String> = (0..3)
        .map(|k| name(&format!("references/gold-all-cat-reference{k}.lex")))
        .collect();
    let hypotheses = name("systems/GKB_Unimelb_all-cat.txt");
    let line = format!(
        "--metric bleu --hypotheses {hypotheses} --references {} --lowercase",
        references.join(" ")
    );
    let b = Files::new(&[]).json(&line);
    assert_eq!(format!("{:.2}", b["bleu"].as_f64().unwrap()), "45.13");
}
