//! Tokens of arbitrary Unicode against transformers: `goldens/make_tokens.py`.
#![allow(clippy::unwrap_used)]

use inducer_datasets::Tokenizer;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Family {
    vocab: BTreeMap<String, u32>,
    merges: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    decoded: String,
}

fn families() -> BTreeMap<String, Family> {
    serde_json::from_str(include_str!("goldens/tokens.json")).unwrap()
}

/// How many of a family's texts are encoded and decoded as in transformers; `merges` may spoil the
/// merges first.
fn agreeing(family: &Family, merges: impl Fn(&str) -> String) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let vocab = serde_json::to_string(&family.vocab).unwrap();
    std::fs::write(dir.path().join("vocab.json"), vocab).unwrap();
    std::fs::write(dir.path().join("merges.txt"), merges(&family.merges)).unwrap();
    let tokenizer = Tokenizer::load(dir.path()).unwrap();
    let same = |c: &&Case| {
        tokenizer.encode(&c.text).unwrap() == c.ids && tokenizer.decode(&c.ids) == c.decoded
    };
    family.cases.iter().filter(same).count()
}

#[test]
fn ids_and_texts_are_those_of_transformers_from_vocab_and_merges() {
    for (name, family) in families() {
        assert_eq!(family.cases.len(), 150, "{name}");
        assert_eq!(agreeing(&family, str::to_owned), 150, "{name}");
    }
}

#[test]
fn the_check_sees_two_merges_in_the_wrong_order() {
    for (name, family) in families() {
        let reversed = |merges: &str| {
            let mut lines: Vec<&str> = merges.lines().collect();
            lines[1..].reverse();
            lines.join("\n") + "\n"
        };
        assert!(agreeing(&family, reversed) < 150, "{name}");
    }
}

#[test]
fn merges_of_another_vocabulary_are_refused_by_the_name_of_their_file() {
    let dir = tempfile::tempdir().unwrap();
    let message = |merges: &str| {
        let vocab = r#"{"t": 0, "h": 1, "e": 2, "th": 3}"#;
        std::fs::write(dir.path().join("vocab.json"), vocab).unwrap();
        let text = format!("#version: 0.2\n{merges}\n");
        std::fs::write(dir.path().join("merges.txt"), text).unwrap();
        Tokenizer::load(dir.path()).err().map(|e| e.to_string())
    };
    assert_eq!(message("t h"), None);
    // as long as the longest token, and longer than any
    for merges in ["h e", "t h\nth e"] {
        let e = message(merges).unwrap();
        let dir = dir.path().display().to_string();
        assert!(e.contains(&dir) && e.contains("vocab"), "{merges}: {e}");
    }
    let longer = message("t h\nth e").unwrap();
    assert!(longer.contains("merges.txt: "), "{longer}");
}
