//! The four tasks as the Hub has them: Parquet that `datasets` wrote, JSON lines and CSV of the
//! same entries as small official files (`goldens/make_hub.py`), and what is refused of them.
#![allow(clippy::unwrap_used)] // helpers outside of #[test] functions

use std::path::{Path, PathBuf};

use inducer_datasets::{Malformed, Reading, Splits, Task, directory, own};

/// The folders of a task: its official files, and the Hub's layouts of the same entries.
const LAYOUTS: [(Task, &str, &[&str]); 5] = [
    (
        Task::Sst2,
        "sst2",
        &["sst2/parquet", "sst2/arrow", "sst2/jsonl", "sst2/csv"],
    ),
    (
        Task::Mnli,
        "mnli",
        &["mnli/parquet", "mnli/arrow", "mnli/jsonl", "mnli/csv"],
    ),
    (
        Task::Coqa,
        "coqa",
        &["coqa/parquet", "coqa/arrow", "coqa/jsonl"],
    ),
    (
        Task::WebNlg,
        "webnlg",
        &["webnlg/parquet", "webnlg/arrow", "webnlg/jsonl"],
    ),
    (
        Task::WebNlg,
        "webnlg",
        &["gem/parquet", "gem/arrow", "gem/jsonl"],
    ),
];

fn hub(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/goldens/hub")
        .join(name)
}

fn load(task: Task, dir: &Path) -> Splits {
    directory::load(task, dir, Malformed::Refuse).unwrap()
}

fn said(task: Task, dir: &Path) -> String {
    directory::load(task, dir, Malformed::Refuse)
        .unwrap_err()
        .to_string()
}

/// A copy of a folder that may be changed.
fn copy(from: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    dir
}

fn replace(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "no {from} in {}", file.display());
    std::fs::write(file, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn every_layout_of_the_same_entries_is_the_same_data_set() {
    for (task, official, layouts) in LAYOUTS {
        let expected = load(task, &hub(&format!("{official}/official")));
        assert!(!expected.train.is_empty() && !expected.test.is_empty());
        for layout in layouts {
            let found = load(task, &hub(layout));
            assert_eq!(found.train, expected.train, "{layout}");
            assert_eq!(found.dev, expected.dev, "{layout}");
            assert_eq!(found.test, expected.test, "{layout}");
            assert_eq!(found.fingerprint, expected.fingerprint, "{layout}");
            assert_eq!(found.classes, expected.classes, "{layout}");
        }
    }
}

#[test]
fn a_planted_difference_is_another_data_set() {
    for (task, layout, file, from, to) in [
        (
            Task::Sst2,
            "sst2/jsonl",
            "train.jsonl",
            "it is dull ",
            "it is dull",
        ),
        (
            Task::Sst2,
            "sst2/csv",
            "train.csv",
            "a fine film,1",
            "a fine film,0",
        ),
        (
            Task::Mnli,
            "mnli/jsonl",
            "validation_mismatched.jsonl",
            "Blue.",
            "blue.",
        ),
        (
            Task::Coqa,
            "coqa/jsonl",
            "train.jsonl",
            "\"red\"",
            "\"blue\"",
        ),
        (
            Task::WebNlg,
            "webnlg/jsonl",
            "test.jsonl",
            "England has pie.",
            "England has pies.",
        ),
        (Task::WebNlg, "gem/jsonl", "train.jsonl", "Spain", "spain"),
    ] {
        let dir = copy(&hub(layout));
        let before = load(task, dir.path()).fingerprint;
        replace(&dir.path().join(file), from, to);
        assert_ne!(load(task, dir.path()).fingerprint, before, "{layout}");
    }
}

#[test]
fn a_folder_of_the_hub_s_configuration_and_data_are_looked_into() {
    let dir = tempfile::tempdir().unwrap();
    let expected = load(Task::Sst2, &hub("sst2/parquet")).fingerprint;
    for folder in ["sst2", "data"] {
        let below = dir.path().join(folder);
        std::fs::rename(copy(&hub("sst2/parquet")).keep(), &below).unwrap();
        assert_eq!(
            load(Task::Sst2, dir.path()).fingerprint,
            expected,
            "{folder}"
        );
        std::fs::remove_dir_all(&below).unwrap();
    }
    // another configuration's name, while it is the only one
    std::fs::rename(
        copy(&hub("sst2/parquet")).keep(),
        dir.path().join("default"),
    )
    .unwrap();
    assert_eq!(load(Task::Sst2, dir.path()).fingerprint, expected);
    std::fs::rename(copy(&hub("sst2/parquet")).keep(), dir.path().join("other")).unwrap();
    let message = said(Task::Sst2, dir.path());
    assert!(message.contains("which folder is meant"), "{message}");
    for folder in ["default", "other"] {
        std::fs::remove_dir_all(dir.path().join(folder)).unwrap();
    }
    // the Hub's conversions
    for part in ["train", "validation", "test"] {
        std::fs::create_dir(dir.path().join(part)).unwrap();
    }
    for (part, file) in [
        ("train/0000", "train-00000-of-00002"),
        ("train/0001", "train-00001-of-00002"),
        ("validation/0000", "validation-00000-of-00001"),
        ("test/0000", "test-00000-of-00001"),
    ] {
        let from = hub(&format!("sst2/parquet/{file}.parquet"));
        std::fs::copy(from, dir.path().join(format!("{part}.parquet"))).unwrap();
    }
    assert_eq!(load(Task::Sst2, dir.path()).fingerprint, expected);
}

#[test]
fn a_missing_shard_and_two_files_of_a_part_are_refused() {
    let dir = copy(&hub("sst2/parquet"));
    std::fs::remove_file(dir.path().join("train-00001-of-00002.parquet")).unwrap();
    let message = said(Task::Sst2, dir.path());
    assert!(
        message.contains("expected the shards 0 to 1 of 2, found [0]"),
        "{message}"
    );
    let dir = copy(&hub("sst2/jsonl"));
    std::fs::copy(hub("sst2/csv/train.csv"), dir.path().join("train.csv")).unwrap();
    let message = said(Task::Sst2, dir.path());
    assert!(message.contains("which file is part train"), "{message}");
    let dir = copy(&hub("mnli/jsonl"));
    std::fs::remove_file(dir.path().join("validation_mismatched.jsonl")).unwrap();
    let message = said(Task::Mnli, dir.path());
    assert!(message.contains("validation_mismatched"), "{message}");
}

#[test]
fn official_files_come_first() {
    let dir = copy(&hub("sst2/official"));
    let expected = load(Task::Sst2, dir.path()).fingerprint;
    replace(&dir.path().join("train.tsv"), "dull", "dull, dull");
    std::fs::copy(hub("sst2/csv/train.csv"), dir.path().join("train.csv")).unwrap();
    assert_ne!(load(Task::Sst2, dir.path()).fingerprint, expected);
}

#[test]
fn what_is_wrong_is_named_with_file_row_and_column() {
    for (task, layout, file, from, to, words) in [
        (
            Task::Sst2,
            "sst2/jsonl",
            "validation.jsonl",
            "\"sentence\":\"a mess\"",
            "\"sentence\":7",
            "validation.jsonl:2: field `sentence`: expected a text, found a number",
        ),
        (
            Task::Sst2,
            "sst2/jsonl",
            "validation.jsonl",
            "\"label\":0",
            "\"label\":3",
            "validation.jsonl:2: field `label`: expected 0 or 1, found \"3\"",
        ),
        (
            Task::Mnli,
            "mnli/csv",
            "train.csv",
            "hypothesis",
            "hypotheses",
            "train.csv:2: field `hypothesis`: expected a text in a column of this name, found the \
             columns premise, hypotheses, label, idx",
        ),
        (
            Task::Mnli,
            "mnli/csv",
            "train.csv",
            ",0,0",
            ",0",
            "train.csv:2: field `row`: expected 4 cells as in the header, found 3",
        ),
        (
            Task::Sst2,
            "sst2/jsonl",
            "train.jsonl",
            "{\"sentence\":\"no, thanks\"",
            "{\"sentence\":\"no, thanks",
            "train.jsonl:5:",
        ),
        (
            Task::Coqa,
            "coqa/jsonl",
            "train.jsonl",
            "\"red\",",
            "",
            "train.jsonl:1: field `answers.input_text`: expected 4 answers, one for each question, \
             found 3",
        ),
        (
            Task::WebNlg,
            "webnlg/jsonl",
            "dev.jsonl",
            "Paella | country | Spain",
            "Paella | Spain",
            "dev.jsonl:1: field `modified_triple_sets.mtriple_set[0]`: expected subject | property \
             | object, found \"Paella | Spain\"",
        ),
    ] {
        let dir = copy(&hub(layout));
        replace(&dir.path().join(file), from, to);
        let message = said(task, dir.path());
        assert!(message.contains(words), "{message}\n{words}");
    }
}

#[test]
fn a_parquet_file_that_cannot_be_read_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let read = |name: &str| {
        let (task, reading) = (Task::Classify, Reading::default());
        let path = dir.path().join(name);
        let found = own::load_inputs(task, &path, Malformed::Refuse, &reading);
        found.unwrap_err().to_string()
    };
    for (name, words) in [
        ("zstd.parquet", "expected snappy, gzip or no compression"),
        (
            "bytes.parquet",
            "field `text`: expected texts, numbers or lists of them",
        ),
    ] {
        std::fs::copy(hub(&format!("own/{name}")), dir.path().join(name)).unwrap();
        let message = read(name);
        assert!(
            message.contains(words) && message.contains(name),
            "{message}"
        );
    }
    std::fs::write(dir.path().join("cut.parquet"), "PAR1PAR1").unwrap();
    assert!(read("cut.parquet").contains("cut.parquet: "));
}

/// A file with one of its bytes changed gives rows or an error, never a panic (all bytes: half a
/// minute, and the same).
#[test]
fn a_file_with_a_byte_changed_never_panics() {
    let dir = tempfile::tempdir().unwrap();
    let (mut read, mut refused) = (0, 0);
    for (name, task) in [
        ("own/parquet/train-00000-of-00001.parquet", Task::Classify),
        ("own/arrow/own-train.arrow", Task::Classify),
        (
            "gem/parquet/validation-00000-of-00001.parquet",
            Task::Generate,
        ),
        ("gem/arrow/gem-validation.arrow", Task::Generate),
    ] {
        let path = dir.path().join(name.replace('/', "-"));
        let bytes = std::fs::read(hub(name)).unwrap();
        let mut reading = Reading::default();
        if task.generates() {
            reading.columns.insert("input".into(), "target".into());
        }
        for at in (0..bytes.len()).step_by(5) {
            let mut other = bytes.clone();
            other[at] ^= 1 << (at % 8);
            std::fs::write(&path, &other).unwrap();
            match own::load_inputs(task, &path, Malformed::Skip, &reading) {
                Ok(_) => read += 1,
                Err(e) => {
                    assert!(e.to_string().contains(path.to_str().unwrap()), "{e}");
                    refused += 1;
                }
            }
        }
    }
    assert!(read > 0 && refused > 0);
}
