//! The WebNLG loader on official files, on broken ones and on anything at all.

use crate::common;
use inducer_datasets::{Error, Example, Input, Malformed, Part, webnlg};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::Path;

fn entry() -> Value {
    json!({
        "category": "Food",
        "modifiedtripleset": [{"subject": "Ajoblanco", "property": "country", "object": "Spain"}],
        "lexicalisations": [
            {"comment": "good", "lex": "Ajoblanco is from Spain."},
            {"comment": "toFix", "lex": "x"},
        ],
    })
}

fn bytes(text: &[u8]) -> Result<Part, Error> {
    webnlg::json::parse(Path::new("x.json"), text, Malformed::Refuse)
}

fn file(bodies: &[Value]) -> String {
    let keyed = |(i, b): (usize, &Value)| json!({(i + 1).to_string(): b});
    let entries: Vec<Value> = bodies.iter().enumerate().map(keyed).collect();
    json!({ "entries": entries }).to_string()
}

fn parse(bodies: &[Value]) -> Result<Part, Error> {
    bytes(file(bodies).as_bytes())
}

#[test]
fn official_files_have_the_documented_sizes_and_categories() {
    let Some(dir) = common::shared("webnlg") else {
        return;
    };
    let data = webnlg::load(&dir, Malformed::Refuse).unwrap();
    let texts = |part: &[Example]| part.iter().map(|e| e.references.len()).sum::<usize>();
    assert_eq!(
        (data.train.len(), data.dev.len(), data.test.len()),
        (6_940 - 5, 872 - 1, 1_862)
    );
    assert_eq!(
        (texts(&data.train), texts(&data.dev), texts(&data.test)),
        (18_025, 2_258, 4_928)
    );
    assert_eq!(
        (
            data.skipped.train.len(),
            data.skipped.dev.len(),
            data.skipped.test.len()
        ),
        (5, 1, 0)
    );
    assert_eq!(data.test.iter().filter(|e| !e.seen).count(), 891);
    assert!(data.train.iter().chain(&data.dev).all(|e| e.seen));
    let all = || data.train.iter().chain(&data.dev).chain(&data.test);
    assert!(all().all(|e| e.seen == webnlg::SEEN_CATEGORIES.contains(&e.category.as_str())));
    assert!(all().all(|e| (1..=8).contains(&e.references.len())));
    let size = |e: &Example| {
        if let Input::Triples(t) = &e.input {
            t.len()
        } else {
            0
        }
    };
    assert!(all().all(|e| (1..=7).contains(&size(e))));
    assert_eq!(data.train.last().unwrap().position, 6_940);
    assert_eq!(
        webnlg::json::load(&dir.join("test.json"), Malformed::Refuse)
            .unwrap()
            .examples,
        data.test
    );
}

#[test]
fn only_good_texts_count_and_an_entry_without_one_is_set_aside() {
    let mut none = entry();
    none["lexicalisations"][0]["comment"] = json!("toFix");
    let part = parse(&[entry(), none, entry()]).unwrap();
    assert_eq!(
        part.examples.iter().map(|e| e.position).collect::<Vec<_>>(),
        [1, 3]
    );
    assert_eq!(part.without_text, [2]);
    assert_eq!(part.examples[0].references, ["Ajoblanco is from Spain."]);
}

#[test]
fn a_malformed_entry_is_an_error_that_names_position_and_field() {
    let cases: [(&str, Value, &str, &str); 9] = [
        ("/category", Value::Null, "category", "nothing"),
        ("/category", json!(""), "category", "an empty text"),
        (
            "/modifiedtripleset",
            json!([]),
            "modifiedtripleset",
            "an empty list",
        ),
        (
            "/modifiedtripleset",
            json!("x"),
            "modifiedtripleset",
            "a text",
        ),
        (
            "/modifiedtripleset/0/subject",
            json!(" "),
            "modifiedtripleset[0].subject",
            "an empty text",
        ),
        (
            "/modifiedtripleset/0/object",
            json!(3),
            "modifiedtripleset[0].object",
            "a number",
        ),
        (
            "/modifiedtripleset/0",
            json!([1, 2]),
            "modifiedtripleset[0].subject",
            "nothing",
        ),
        (
            "/lexicalisations",
            json!({}),
            "lexicalisations",
            "an object of 0 keys",
        ),
        (
            "/lexicalisations/1/lex",
            json!(true),
            "lexicalisations[1].lex",
            "a boolean",
        ),
    ];
    for (pointer, value, wanted, what) in cases {
        let mut bad = entry();
        *bad.pointer_mut(pointer).unwrap() = value;
        match parse(&[entry(), bad]).unwrap_err() {
            Error::Field {
                entry,
                field,
                found,
                ..
            } => assert_eq!((entry, field.as_str(), found.as_str()), (2, wanted, what)),
            other => panic!("{pointer}: {other}"),
        }
    }
    let two_keys = br#"{"entries": [{"1": {}, "2": {}}]}"#;
    let message = bytes(two_keys).unwrap_err().to_string();
    assert!(
        message.contains("x.json:1: entry 1") && message.contains("one key"),
        "{message}"
    );
}

#[test]
fn skipped_entries_are_counted_and_listed_but_a_broken_file_stays_an_error() {
    let mut bad = entry();
    bad["category"] = Value::Null;
    let text = file(&[entry(), bad, entry()]);
    let read =
        |text: &str| webnlg::json::parse(Path::new("x.json"), text.as_bytes(), Malformed::Skip);
    let part = read(&text).unwrap();
    assert_eq!(
        part.malformed,
        ["x.json:1: entry 2: field `category`: expected a text, found nothing"]
    );
    let positions: Vec<usize> = part.examples.iter().map(|e| e.position).collect();
    assert_eq!(positions, [1, 3]);
    assert!(matches!(
        read(&text[..text.len() - 2]),
        Err(Error::Json { .. })
    ));
    let twice = "{\"entries\": [], \"entries\": []}";
    assert!(
        read(twice)
            .unwrap_err()
            .to_string()
            .contains("duplicate field")
    );
}

#[test]
fn the_line_of_a_bad_entry_is_the_file_s() {
    let text = "{\"entries\": [\n {\"1\":\n {\"category\": \"A\", \"modifiedtripleset\": 1}}\n]}";
    let message = bytes(text.as_bytes()).unwrap_err().to_string();
    assert!(
        message.starts_with("x.json:2: entry 1: field `modifiedtripleset`"),
        "{message}"
    );
}

#[test]
fn missing_and_broken_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let message = webnlg::load(dir.path(), Malformed::Refuse)
        .unwrap_err()
        .to_string();
    assert!(message.contains("train.json"), "{message}");
    for broken in ["", "[]", "{}", "{\"entries\": 3}", "{\"entries\": [}"] {
        std::fs::write(dir.path().join("train.json"), broken).unwrap();
        let error = webnlg::load(dir.path(), Malformed::Refuse).unwrap_err();
        assert!(
            matches!(&error, Error::Json { path, .. } if path.ends_with("train.json")),
            "{broken}: {error}"
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_give_an_error_or_a_result(
        text in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = bytes(&text);
    }

    #[test]
    fn a_valid_file_with_bytes_changed_gives_an_error_or_a_result(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut text = file(&[entry(), entry()]).into_bytes();
        for (at, byte) in changes {
            let i = at.index(text.len());
            text[i] = byte;
        }
        let _ = bytes(&text);
        text.truncate(cut.index(text.len()));
        let _ = bytes(&text);
    }
}
