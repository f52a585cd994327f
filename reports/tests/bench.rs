//! `inducer bench`: the keys that the other side prints, the work that it does, and clear refusals.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::process::{Command, Output};

fn inducer(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_inducer"))
        .args(arguments)
        .output()
        .unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = inducer(arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

const STEP: [&str; 11] = [
    "bench", "--preset", "tiny", "--batch", "3", "--length", "12", "--steps", "2", "--warmup", "0",
];

#[test]
fn a_timed_step_has_the_keys_of_the_other_side_and_trains_the_papers_sizes() {
    for (method, trainable) in [
        // per layer: MLP_k 4 (32·10 + 10 + 10·32 + 32), MLP_v 4 (32·15 + 15 + 15·128) + 128
        ("inducer", 4 * (4 * 682 + 4 * 2415 + 128)),
        ("lora", 4 * 2 * (2 * 128 * 54 + 128)),
        ("prefix", 4 * 2 * 108 * 128),
    ] {
        let line = json(&[&STEP[..], &["--method", method, "--json"]].concat());
        for key in [
            "software",
            "method",
            "preset",
            "device",
            "dtype",
            "batch",
            "length",
            "trainable",
            "step_ms",
            "step_ms_min",
            "tokens_per_s",
            "peak_mib",
            "loss",
        ] {
            assert!(!line[key].is_null(), "{method}: {key} in {line}");
        }
        assert_eq!(line["trainable"], trainable, "{method}");
        // random weights: the loss is near that of a uniform guess, log 4096 = 8.318
        assert!(
            (line["loss"].as_f64().unwrap() - 8.318).abs() < 0.5,
            "{line}"
        );
    }
}

#[test]
fn decoding_is_timed_with_its_tokens_and_they_are_the_same_every_time() {
    let run = || {
        json(&[
            "bench",
            "--decode",
            "--preset",
            "tiny",
            "--method",
            "inducer",
            "--batch",
            "2",
            "--length",
            "5",
            "--new-tokens",
            "4",
            "--steps",
            "1",
            "--json",
        ])
    };
    let (first, second) = (run(), run());
    assert_eq!(first["ids"], second["ids"]);
    assert_eq!(first["ids"].as_array().unwrap().len(), 2);
    assert_eq!(first["ids"][0].as_array().unwrap().len(), 4);
}

#[test]
fn refusals_say_what_was_expected() {
    let unknown = inducer(&["bench", "--method", "lorra"]);
    assert_eq!(unknown.status.code(), Some(1));
    let message = String::from_utf8_lossy(&unknown.stderr);
    assert!(
        message.contains("lorra") && message.contains("lora"),
        "{message}"
    );
    assert_eq!(inducer(&["bench", "--batch", "0"]).status.code(), Some(2));
    let long = inducer(&["bench", "--preset", "tiny", "--length", "2000"]);
    assert_eq!(long.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&long.stderr).contains("at most 1024"));
    let heads = inducer(&["bench", "--preset", "tiny", "--heads", "3"]);
    assert!(String::from_utf8_lossy(&heads.stderr).contains("a divisor of 128"));
    let sizes = inducer(&["bench", "--method", "lora", "--prefix-length", "8"]);
    assert_eq!(sizes.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&sizes.stderr).contains("--prefix-length"));
}

#[test]
fn sizes_in_place_of_the_presets_are_those_of_the_step() {
    let of = |more: &[&str]| json(&[&STEP[..], &["--json", "--no-rate"], more].concat());
    let prefix = ["--method", "prefix", "--prefix-length", "7"];
    let line = of(&[&prefix[..], &["--layers", "2", "--heads", "8"]].concat());
    // keys and values of 7 tokens in two layers
    assert_eq!(line["trainable"], 2 * 2 * 7 * 128);
    assert!(line["product_gflops"].is_null() && line["share"].is_null());
    // twice the layers are twice the products but for the head's
    let gflop = |layers: &str| of(&["--layers", layers])["step_gflop"].as_f64().unwrap();
    let (two, four, six) = (gflop("2"), gflop("4"), gflop("6"));
    assert!((six - 2.0 * four + two).abs() < 0.011, "{two} {four} {six}");
    let long = json(&[
        "bench",
        "--preset",
        "tiny",
        "--batch",
        "1",
        "--length",
        "1500",
        "--positions",
        "1500",
        "--steps",
        "1",
        "--warmup",
        "0",
        "--no-rate",
        "--json",
    ]);
    assert_eq!(long["length"], 1500);
}
