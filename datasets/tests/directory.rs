//! Parts of a directory: official names and sizes, what is divided where a part is missing.
#![allow(clippy::unwrap_used)] // helpers outside of #[test] functions

use crate::common;
use inducer_datasets::{Example, Input, Malformed, Splits, Task, directory};
use std::collections::BTreeSet;
use std::path::Path;

fn load(task: Task, dir: &Path) -> Splits {
    directory::load(task, dir, Malformed::Refuse).unwrap()
}

fn sizes(data: &Splits) -> (usize, usize, usize) {
    (data.train.len(), data.dev.len(), data.test.len())
}

fn passages(part: &[Example]) -> BTreeSet<&str> {
    part.iter()
        .map(|e| match &e.input {
            Input::Conversation { passage, .. } => &**passage,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn coqa_s_one_file_is_divided_by_story() {
    let Some(dir) = common::shared("coqa") else {
        return;
    };
    let data = load(Task::Coqa, &dir);
    assert_eq!(data.train.len() + data.dev.len() + data.test.len(), 7_983);
    let [train, dev, test] = [&data.train, &data.dev, &data.test].map(|p| passages(p));
    // 500 stories; two of those for training have the same passage
    assert_eq!((train.len(), dev.len(), test.len()), (399, 50, 50));
    assert!(train.is_disjoint(&dev) && train.is_disjoint(&test) && dev.is_disjoint(&test));
    assert!(data.notes[0].contains("coqa-dev.json is the only file"));
    assert_eq!(data.fingerprint, load(Task::Coqa, &dir).fingerprint);
}

#[test]
fn sst2_reports_on_dev_and_chooses_on_every_twentieth_row_of_train() {
    let Some(dir) = common::shared("sst2") else {
        return;
    };
    let data = load(Task::Sst2, &dir);
    let held = 67_349usize.div_ceil(directory::HELD_OUT);
    assert_eq!(sizes(&data), (67_349 - held, held, 872));
    let positions = |part: &[Example]| part.iter().map(|e| e.position).collect::<BTreeSet<_>>();
    assert!(positions(&data.train).is_disjoint(&positions(&data.dev)));
    assert!(data.notes[0].contains("dev.tsv") && data.notes[0].contains("train.tsv"));
    assert_eq!(data.notes.len(), 1, "the official sizes");
}

#[test]
fn mnli_chooses_on_matched_and_reports_on_mismatched() {
    let Some(dir) = common::shared("mnli") else {
        return;
    };
    let data = load(Task::Mnli, &dir);
    assert_eq!(sizes(&data), (9_888, 9_815, 1_000));
    let note = "not the official release: train has 9888 examples, officially 392702, test has \
     1000 examples, officially 9832";
    assert_eq!(data.notes[1], note);
}

#[test]
fn webnlg_has_the_official_sizes() {
    let Some(dir) = common::shared("webnlg") else {
        return;
    };
    assert_eq!(load(Task::WebNlg, &dir).notes, [""; 0]);
}

/// Stories of three turns each.
fn stories(count: usize, mark: &str) -> String {
    let turns = |what: &str| {
        let one = |i| format!("{{\"turn_id\": {i}, \"input_text\": \"{what}{i}\"}}");
        (1..=3).map(one).collect::<Vec<_>>().join(",")
    };
    let story = |i| {
        format!(
            "{{\"source\": \"s\", \"story\": \"{mark}{i}\", \"questions\": [{}], \"answers\": \
             [{}]}}",
            turns("q"),
            turns("a")
        )
    };
    let all: Vec<String> = (0..count).map(story).collect();
    format!("{{\"data\": [{}]}}", all.join(","))
}

#[test]
fn coqa_s_official_names_are_found_and_labelled_tests_taken() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
    write("coqa-dev-v1.0.json", stories(5, "d"));
    write("coqa-train-v1.0.json", stories(41, "t"));
    let data = load(Task::Coqa, dir.path());
    // stories 1, 21 and 41 are held out
    assert_eq!(sizes(&data), (38 * 3, 3 * 3, 15));
    assert!(passages(&data.test).iter().all(|p| p.starts_with('d')));
    write("coqa-test.json", stories(2, "x"));
    let data = load(Task::Coqa, dir.path());
    assert_eq!(sizes(&data), (41 * 3, 15, 6));
    let note = "not the official release: train has 138 examples, officially 108647, test has 6 \
     examples, officially 7983";
    assert_eq!(data.notes, [note]);
    write("coqa-dev-v2.0.json", stories(5, "d"));
    let e = directory::load(Task::Coqa, dir.path(), Malformed::Refuse)
        .unwrap_err()
        .to_string();
    assert!(
        e.contains("coqa-dev-v1.0.json or coqa-dev-v2.0.json"),
        "{e}"
    );
}

#[test]
fn a_missing_file_is_named_and_an_unlabelled_test_is_not_reported_on() {
    let dir = tempfile::tempdir().unwrap();
    let e = directory::load(Task::Mnli, dir.path(), Malformed::Refuse)
        .unwrap_err()
        .to_string();
    assert!(e.contains("train.tsv is missing"), "{e}");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("train.tsv", "sentence\tlabel\na\t1\nb\t0\n");
    write("dev.tsv", "sentence\tlabel\nc\t1\n");
    write("test.tsv", "index\tsentence\n0\td\n");
    let data = load(Task::Sst2, dir.path());
    assert_eq!((sizes(&data), data.test[0].class), ((1, 1, 1), Some(1)));
    write("test.tsv", "sentence\tlabel\nd\t0\ne\t1\n");
    assert_eq!(sizes(&load(Task::Sst2, dir.path())), (2, 1, 2));
    write("train.tsv", "sentence\tlabel\na\t1\nbroken\nb\t0\n");
    let data = directory::load(Task::Sst2, dir.path(), Malformed::Skip).unwrap();
    assert_eq!((sizes(&data), data.malformed.len()), ((2, 1, 2), 1));
}
