//! Data of one's own: every kind with its right value, and each kind of refusal.
#![allow(clippy::unwrap_used)] // helpers outside of #[test] functions

use std::path::{Path, PathBuf};

use inducer_datasets::reading::Split;
use inducer_datasets::{Error, Input, Malformed, Reading, Splits, Task, directory, own};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self, task: Task) -> Result<Splits, Error> {
        self.read(task, &Reading::default())
    }

    fn read(&self, task: Task, reading: &Reading) -> Result<Splits, Error> {
        directory::load_as(task, self.0.path(), Malformed::Refuse, reading)
    }

    fn said(&self, task: Task) -> String {
        self.load(task).unwrap_err().to_string()
    }
}

fn columns(pairs: &[(&str, &str)]) -> Reading {
    let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    Reading {
        columns: pairs.iter().map(owned).collect(),
        ..Reading::default()
    }
}

fn hub(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/goldens/hub")
        .join(name)
}

const TRAIN: &str = "{\"input\": \"1 + 1\", \"target\": \"2\", \"group\": \"sum\", \"id\": \"a\"}
{\"input\": \"2 + 2\", \"target\": \"4\", \"group\": \"sum\", \"id\": 7}
";
const REST: &str =
    "{\"input\": \"3 - 1\", \"targets\": [\"2\", \"two\"], \"group\": \"difference\"}
{\"input\": \"4 + 4\", \"target\": \"8\", \"group\": \"sum\"}
";

fn generation() -> Folder {
    Folder::new(&[
        ("train.jsonl", TRAIN),
        ("validation.jsonl", REST),
        ("test.jsonl", REST),
    ])
}

fn sentences(classes: [&str; 3], header: &str) -> Folder {
    let rows = |labels: &[&str]| {
        let line = |(i, l): (usize, &&str)| format!("text {i},{l}\n");
        let lines: String = labels.iter().enumerate().map(line).collect();
        format!("{header}\n{lines}")
    };
    let [a, b, c] = classes;
    Folder::new(&[
        ("train.csv", &rows(&[a, b, a, c])),
        ("dev.csv", &rows(&[b])),
        ("test.csv", &rows(&[c, a])),
    ])
}

#[test]
fn texts_targets_groups_and_ids_are_read() {
    let data = generation().load(Task::Generate).unwrap();
    let (first, second) = (&data.train[0], &data.test[0]);
    assert_eq!(first.input, Input::Sentence("1 + 1".into()));
    assert_eq!(
        (first.references.as_slice(), first.id.as_deref()),
        (&["2".into()][..], Some("a"))
    );
    assert_eq!(data.train[1].id.as_deref(), Some("7"));
    assert_eq!(second.references, ["2", "two"]);
    assert_eq!(
        (second.category.as_str(), second.seen),
        ("difference", false)
    );
    assert!(data.test[1].seen && data.test[1].id.is_none());
    assert_eq!(data.test[1].position, 2);
    assert!(data.classes.is_empty());
    assert_eq!(
        data.notes,
        ["train is train.jsonl, dev is validation.jsonl, test is test.jsonl"]
    );
}

#[test]
fn csv_and_json_lines_of_the_same_rows_are_the_same_data_set() {
    let lines = generation().load(Task::Generate).unwrap();
    let head = "id,input,group,targets\n";
    let rest = format!(
        "{head},3 - 1,difference,\"[\"\"2\"\", \"\"two\"\"]\"\n,4 + 4,sum,\"[\"\"8\"\"]\"\n"
    );
    let train = format!("{head}a,1 + 1,sum,\"[\"\"2\"\"]\"\n7,2 + 2,sum,\"[\"\"4\"\"]\"\r\n");
    let table = Folder::new(&[
        ("train.csv", &train),
        ("dev.csv", &rest),
        ("test.csv", &rest),
    ]);
    let table = table.load(Task::Generate).unwrap();
    assert_eq!((table.train, table.test), (lines.train, lines.test));
    assert_eq!(table.fingerprint, lines.fingerprint);
}

#[test]
fn quotes_line_ends_and_a_byte_order_mark_of_csv_are_read() {
    let text = "\u{feff}text,label\n\"one, \"\"two\"\"\nthree\",b\nfour,a\n";
    let f = Folder::new(&[("train.csv", text), ("dev.csv", text), ("test.csv", text)]);
    let data = f.load(Task::Classify).unwrap();
    assert_eq!(
        data.train[0].input,
        Input::Sentence("one, \"two\"\nthree".into())
    );
    // the second row starts on line 4, behind a cell of two lines
    f.write("dev.csv", "text,label\n\"one\ntwo\",a\nthree,c\n");
    let message = f.said(Task::Classify);
    assert!(message.contains("dev.csv:4: field `label`"), "{message}");
}

#[test]
fn classes_are_ordered_as_numbers_or_by_the_alphabet_and_found_by_name() {
    let data = sentences(["spam", "ham", "eggs"], "text,label")
        .load(Task::Classify)
        .unwrap();
    assert_eq!(data.classes, ["eggs", "ham", "spam"]);
    let classes: Vec<_> = data.train.iter().map(|e| e.class).collect();
    assert_eq!(classes, [Some(2), Some(1), Some(2), Some(0)]);
    let data = sentences(["10", "9", "-1"], "text,label")
        .load(Task::Classify)
        .unwrap();
    assert_eq!(data.classes, ["-1", "9", "10"]);
    // numbers of JSON are those of CSV
    let lines = |text: &str| text.replace("{L", "{\"text\": \"text 0\", \"label\": ") + "}\n";
    let f = Folder::new(&[
        ("train.jsonl", &(lines("{L10") + &lines("{L9"))),
        ("dev.jsonl", &lines("{L9")),
        ("test.jsonl", &lines("{L10")),
    ]);
    assert_eq!(f.load(Task::Classify).unwrap().classes, ["9", "10"]);
}

#[test]
fn parquet_s_class_numbers_have_the_names_that_datasets_keeps() {
    let load = |dir: PathBuf| directory::load(Task::Classify, &dir, Malformed::Refuse);
    let data = load(hub("own/parquet")).unwrap();
    assert_eq!(data.classes, ["spam", "ham", "eggs"]);
    assert_eq!(data.test[0].class, Some(1));
    // the same rows without the names: the numbers are the names
    let data = load(hub("own/jsonl")).unwrap();
    assert_eq!(data.classes, ["0", "1"]);
}

#[test]
fn an_adapter_s_order_of_classes_is_kept_and_another_class_refused() {
    let f = sentences(["spam", "ham", "eggs"], "text,label");
    let names = ["spam", "toast", "ham", "eggs"].map(String::from);
    let data = f
        .load(Task::Classify)
        .unwrap()
        .with_classes(&names)
        .unwrap();
    let classes: Vec<_> = data.train.iter().map(|e| e.class).collect();
    assert_eq!(classes, [Some(0), Some(2), Some(0), Some(3)]);
    let message = f
        .load(Task::Classify)
        .unwrap()
        .with_classes(&names[..3])
        .unwrap_err();
    assert!(
        message
            .to_string()
            .contains("class \"eggs\" of the data is none of"),
        "{message}"
    );
}

#[test]
fn columns_have_the_names_that_are_asked_for() {
    let f = sentences(["spam", "ham", "eggs"], "sentence,kind");
    let reading = columns(&[("text", "sentence"), ("label", "kind")]);
    assert_eq!(f.read(Task::Classify, &reading).unwrap().classes.len(), 3);
    let message = f.said(Task::Classify);
    let words = "train.csv:2: field `text`: expected a text in a column of this name, found the \
                 columns sentence, kind";
    assert!(message.contains(words), "{message}");
    // an optional column that is asked for has to be there
    let reading = columns(&[("text", "sentence"), ("label", "kind"), ("group", "topic")]);
    let message = f.read(Task::Classify, &reading).unwrap_err().to_string();
    assert!(message.contains("field `topic`"), "{message}");
    let reading = columns(&[("input", "sentence")]);
    let message = f.read(Task::Classify, &reading).unwrap_err().to_string();
    assert!(
        message.contains("--columns input=sentence: expected one of text,"),
        "{message}"
    );
    let message = f.read(Task::Sst2, &reading).unwrap_err().to_string();
    assert!(
        message.contains("is for --task generate and classify"),
        "{message}"
    );
}

#[test]
fn each_kind_of_wrong_row_is_refused_by_file_line_and_column() {
    let train = |line: &str, words: &str| {
        let f = generation();
        f.write(
            "train.jsonl",
            &format!("{}\n{line}\n", TRAIN.lines().next().unwrap()),
        );
        let message = f.said(Task::Generate);
        assert!(
            message.contains(&format!("train.jsonl:2: {words}")),
            "{message}\n{words}"
        );
        // left out, the rest is read
        let data = directory::load(Task::Generate, f.0.path(), Malformed::Skip).unwrap();
        assert_eq!((data.train.len(), data.malformed.len()), (1, 1));
    };
    train(
        "{\"target\": \"2\"}",
        "field `input`: expected a text in a column of this name, found the columns target",
    );
    train(
        "{\"input\": 5, \"target\": \"2\"}",
        "field `input`: expected a text, found a number",
    );
    train(
        "{\"input\": \" \", \"target\": \"2\"}",
        "field `input`: expected a text that is not",
    );
    train(
        "{\"input\": null, \"target\": \"2\"}",
        "field `input`: expected a text, found nothing",
    );
    train(
        "{\"input\": \"x\"}",
        "field `target`: expected a text in a column of this name",
    );
    train(
        "{\"input\": \"x\", \"target\": \"\"}",
        "field `target`: expected a text that is not",
    );
    train(
        "{\"input\": \"x\", \"targets\": []}",
        "field `targets`: expected at least one text",
    );
    train(
        "{\"input\": \"x\", \"targets\": [1]}",
        "field `targets[0]`: expected a text",
    );
    train(
        "{\"input\": \"x\", \"targets\": \"y\"}",
        "field `targets`: expected a list of texts",
    );
    train(
        "{\"input\": \"x\", \"target\": \"y\", \"targets\": [\"y\"]}",
        "field `targets`: expected `target` or `targets`",
    );
    train(
        "{\"input\": \"x\", \"target\": \"y\", \"id\": \"a\"}",
        "field `id`: expected an id",
    );
    train(
        "{\"input\": \"x\", \"target\": \"y\", \"id\": 1.5}",
        "field `id`: expected a text or",
    );
    train(
        "{\"input\": \"x\", \"target\": \"y\", \"group\": []}",
        "field `group`: expected",
    );
    train(
        "[\"x\", \"y\"]",
        "field `row`: expected an object a line, found a list",
    );
}

#[test]
fn a_malformed_line_is_named_by_its_number_and_column() {
    let f = generation();
    f.write("test.jsonl", &REST.replacen("]", "", 1));
    let message = f.said(Task::Generate);
    assert!(message.contains("test.jsonl:1:"), "{message}");
    assert_eq!(
        message.matches("line 1").count(),
        0,
        "nothing is said twice: {message}"
    );
    f.write("test.jsonl", &format!("\n{REST}"));
    let message = f.said(Task::Generate);
    assert!(message.contains("test.jsonl:1: field `row`"), "{message}");
    // blank lines at the end are none
    f.write("test.jsonl", &format!("{REST}\n \n"));
    assert_eq!(f.load(Task::Generate).unwrap().test.len(), 2);
}

#[test]
fn labels_that_are_no_class_are_refused() {
    let f = sentences(["spam", "ham", "eggs"], "text,label");
    for (part, line) in [("dev.csv", 2), ("test.csv", 2)] {
        let before = std::fs::read_to_string(f.path(part)).unwrap();
        f.write(part, "text,label\nx,toast\n");
        let message = f.said(Task::Classify);
        let words = format!(
            "{part}:{line}: field `label`: expected a class of the training part (eggs, ham, \
             spam), found \"toast\""
        );
        assert!(message.contains(&words), "{message}");
        f.write(part, "text,label\nx,\n");
        let message = f.said(Task::Classify);
        assert!(
            message.contains("field `label`: expected a class, found nothing"),
            "{message}"
        );
        f.write(part, &before);
    }
    f.write("train.csv", "text,label\nx,spam\ny,spam\n");
    let message = f.said(Task::Classify);
    assert!(
        message.contains("expected at least two classes, found \"spam\" alone"),
        "{message}"
    );
    f.write("train.csv", "text,label,label\nx,spam,ham\n");
    let message = f.said(Task::Classify);
    assert!(
        message.contains("train.csv:1: field `header`: expected each name once"),
        "{message}"
    );
}

#[test]
fn pairs_are_in_every_row_or_in_none() {
    let text = "text,text_pair,label\na,b,x\nc,d,y\n";
    let f = Folder::new(&[("train.csv", text), ("dev.csv", text), ("test.csv", text)]);
    let data = f.load(Task::Classify).unwrap();
    assert_eq!(data.train[1].input, Input::Pair("c".into(), "d".into()));
    f.write("train.csv", "text,text_pair,label\na,b,x\nc,,y\n");
    let message = f.said(Task::Classify);
    let words = "train.csv:3: field `text_pair`: expected a text, as in the rows before";
    assert!(message.contains(words), "{message}");
}

#[test]
fn parts_that_are_missing_or_empty_are_refused() {
    let f = generation();
    std::fs::remove_file(f.path("validation.jsonl")).unwrap();
    let message = f.said(Task::Generate);
    assert!(
        message.contains("expected dev or validation or valid or val.jsonl"),
        "{message}"
    );
    f.write("dev.jsonl", "");
    let message = f.said(Task::Generate);
    assert!(
        message.contains("part dev: expected rows, found none"),
        "{message}"
    );
    f.write("valid.jsonl", REST);
    let message = f.said(Task::Generate);
    assert!(message.contains("which file is part dev"), "{message}");
    f.write("dev.csv", "");
    std::fs::remove_file(f.path("dev.jsonl")).unwrap();
    std::fs::remove_file(f.path("valid.jsonl")).unwrap();
    let message = f.said(Task::Generate);
    assert!(message.contains("dev.csv:1: field `header`"), "{message}");
    let alone = directory::load(Task::Generate, &f.path("train.jsonl"), Malformed::Refuse);
    let message = alone.unwrap_err().to_string();
    assert!(
        message.contains("--split 0.9,0.05,0.05 divides it"),
        "{message}"
    );
}

fn divided(f: &Folder, shares: [f64; 3], seed: u64) -> Result<Splits, Error> {
    let reading = Reading {
        split: Some(Split::new(shares, seed)?),
        ..Reading::default()
    };
    let path = f.path("all.jsonl");
    directory::load_as(Task::Generate, &path, Malformed::Refuse, &reading)
}

#[test]
fn one_file_is_divided_by_a_seed_and_no_input_is_in_two_parts() {
    let line = |i: usize| format!("{{\"input\": \"q{}\", \"target\": \"a{i}\"}}\n", i % 40);
    let f = Folder::new(&[("all.jsonl", &(0..60).map(line).collect::<String>())]);
    let data = divided(&f, [0.6, 0.2, 0.2], 0).unwrap();
    assert_eq!(data.train.len() + data.dev.len() + data.test.len(), 60);
    let inputs = |part: &[inducer_datasets::Example]| -> std::collections::BTreeSet<String> {
        part.iter().map(|e| format!("{:?}", e.input)).collect()
    };
    let [a, b, c] = [&data.train, &data.dev, &data.test].map(|p| inputs(p));
    assert!(a.is_disjoint(&b) && a.is_disjoint(&c) && b.is_disjoint(&c));
    let same = divided(&f, [0.6, 0.2, 0.2], 0).unwrap();
    assert_eq!(data.fingerprint, same.fingerprint);
    let other = divided(&f, [0.6, 0.2, 0.2], 1).unwrap();
    assert_ne!(data.fingerprint, other.fingerprint);
    assert!(
        data.notes[0].starts_with("all.jsonl is divided by seed 0 into"),
        "{:?}",
        data.notes
    );
}

#[test]
fn a_split_that_leaves_a_part_empty_is_refused() {
    let line = |i: usize| {
        let group = i % 2;
        format!("{{\"input\": \"q{i}\", \"target\": \"a\", \"group\": \"{group}\"}}\n")
    };
    let f = Folder::new(&[("all.jsonl", &(0..60).map(line).collect::<String>())]);
    let message = divided(&f, [0.8, 0.1, 0.1], 0).unwrap_err().to_string();
    let words = "there are 60 rows in 2 groups, which are not divided";
    assert!(
        message.contains("empty") && message.contains(words),
        "{message}"
    );
    assert!(divided(&f, [0.8, 0.1, 0.2], 0).is_err());
    // a directory that has parts is not divided
    let f = generation();
    let reading = Reading {
        split: Some(Split::new([0.8, 0.1, 0.1], 0).unwrap()),
        ..Reading::default()
    };
    let message = f.read(Task::Generate, &reading).unwrap_err().to_string();
    assert!(
        message.contains("validation.jsonl is a part already"),
        "{message}"
    );
}

#[test]
fn inputs_alone_need_no_target_and_no_label() {
    let f = Folder::new(&[
        (
            "questions.jsonl",
            "{\"input\": \"a\", \"id\": \"x\"}\n{\"input\": \"b\"}\n",
        ),
        ("texts.csv", "text\none\ntwo\n"),
    ]);
    let load = |task, name: &str| {
        own::load_inputs(task, &f.path(name), Malformed::Refuse, &Reading::default())
    };
    let data = load(Task::Generate, "questions.jsonl").unwrap();
    assert_eq!((data.train.len(), data.test.len()), (0, 2));
    assert!(data.test[0].references.is_empty());
    assert_eq!(data.test[0].id.as_deref(), Some("x"));
    assert_eq!(load(Task::Classify, "texts.csv").unwrap().test.len(), 2);
    f.write("none.jsonl", "");
    let message = load(Task::Generate, "none.jsonl").unwrap_err().to_string();
    assert!(
        message.contains("none.jsonl: expected rows, found none"),
        "{message}"
    );
    f.write("questions.txt", "a\n");
    let message = load(Task::Generate, "questions.txt")
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("expected a file that ends in .jsonl"),
        "{message}"
    );
}

#[test]
fn truncate_is_refused_where_it_would_change_a_task() {
    let reading = Reading {
        truncate: Some(5),
        ..Reading::default()
    };
    for task in [Task::WebNlg, Task::Coqa] {
        let message = reading.check(task).unwrap_err().to_string();
        assert!(message.contains("--truncate is not for"), "{message}");
    }
    for task in [Task::Mnli, Task::Sst2, Task::Generate, Task::Classify] {
        assert!(reading.check(task).is_ok());
    }
}
