//! GLUE's tables: the official files, both of MNLI's layouts, no quoting, arbitrary bytes.

use crate::common;
use inducer_datasets::glue::{load_file, parse};
use inducer_datasets::{Input, Malformed, Part, Result, Task};
use proptest::prelude::*;

fn read(task: Task, text: &str) -> Result<Part> {
    parse(task, "x.tsv".as_ref(), text.as_bytes(), Malformed::Refuse)
}

#[test]
fn the_official_files_have_their_sizes() {
    for (task, name, rows) in [
        (Task::Sst2, "sst2/train.tsv", 67_349),
        (Task::Sst2, "sst2/dev.tsv", 872),
        (Task::Mnli, "mnli/dev_matched_text.tsv", 9_815),
        (Task::Mnli, "mnli/dev_mismatched_1000.tsv", 1_000),
        (Task::Mnli, "mnli/train_part_text.tsv", 9_888),
    ] {
        let Some(path) = common::shared(name) else {
            continue;
        };
        let table = load_file(task, &path, Malformed::Refuse).unwrap();
        assert_eq!(table.examples.len(), rows, "{name}");
        let text = std::fs::read_to_string(&path).unwrap();
        for (line, e) in text.lines().skip(1).zip(&table.examples) {
            let label = task.classes()[e.class.unwrap() as usize];
            let again = match &e.input {
                Input::Sentence(s) => format!("{s}\t{label}"),
                Input::Pair(a, b) => format!("{a}\t{b}\t{label}"),
                other => panic!("{other:?}"),
            };
            assert_eq!(again, line, "{name}: exactly as in the file");
        }
    }
}

#[test]
fn columns_are_found_by_name_in_wide_files() {
    let wide = "index\tpromptID\tgenre\tsentence1_parse\tsentence1\tsentence2\tlabel1\tgold_label\n\
                0\t7\tfiction\t(ROOT)\tOne.\tTwo.\tneutral\tcontradiction\r\n";
    let e = &read(Task::Mnli, wide).unwrap().examples[0];
    assert_eq!(e.input, Input::Pair("One.".into(), "Two.".into()));
    assert_eq!(
        (e.category.as_str(), e.class, e.position),
        ("fiction", Some(2), 1)
    );
}

#[test]
fn quotes_and_spaces_are_text() {
    let e = read(Task::Sst2, "sentence\tlabel\n \"half a quote \t0\n").unwrap();
    assert_eq!(
        e.examples[0].input,
        Input::Sentence(" \"half a quote ".into())
    );
}

#[test]
fn a_file_without_labels_has_no_classes() {
    let t = read(Task::Sst2, "index\tsentence\n0\tgood\n").unwrap();
    assert_eq!(t.examples[0].class, None);
}

#[test]
fn what_is_wrong_is_named_with_line_and_field() {
    let said = |task, text: &str| read(task, text).unwrap_err().to_string();
    assert_eq!(
        said(Task::Mnli, "sentence1\tgold_label\n"),
        "x.tsv:1: field `sentence2`: expected a column of this name, found [\"sentence1\", \
         \"gold_label\"]"
    );
    assert_eq!(
        said(Task::Sst2, "sentence\tlabel\nfine\t1\nbad\n"),
        "x.tsv:3: field `label`: expected a field, found 1 fields"
    );
    assert_eq!(
        said(
            Task::Mnli,
            "sentence1\tsentence2\tgold_label\na\tb\tmaybe\n"
        ),
        "x.tsv:2: field `label`: expected entailment, neutral or contradiction, found \"maybe\""
    );
    assert!(said(Task::Sst2, "").contains("field `header`"));
    assert!(said(Task::Coqa, "a\n").contains("no classification task"));
}

#[test]
fn skipped_rows_are_counted_and_listed() {
    let text = b"sentence\tlabel\nfine\t1\nbad\n\xff\t1\nwell\t0\n";
    let t = parse(Task::Sst2, "x.tsv".as_ref(), &text[..], Malformed::Skip).unwrap();
    assert_eq!((t.examples.len(), t.malformed.len()), (2, 2));
    assert!(
        t.malformed[1].starts_with("x.tsv:4: field `row`: expected UTF-8"),
        "{}",
        t.malformed[1]
    );
    assert_eq!(t.examples[1].position, 4);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>(), header in any::<bool>()) {
        for task in Task::ALL {
            let names = "sentence\tsentence1\tsentence2\tlabel\tgold_label\n";
            let names = if header { names } else { "" };
            let bytes = [names.as_bytes(), &bytes].concat();
            let _ = parse(task, "x".as_ref(), &bytes[..], Malformed::Refuse);
            let skipped = parse(task, "x".as_ref(), &bytes[..], Malformed::Skip);
            let readable = header && matches!(task, Task::Mnli | Task::Sst2);
            prop_assert!(skipped.is_ok() == readable || !header);
        }
    }

    #[test]
    fn any_sentence_without_tab_and_line_end_comes_back(text in "[^\t\r\n]*", class in 0u32..2) {
        let t = read(Task::Sst2, &format!("sentence\tlabel\n{text}\t{class}\n")).unwrap();
        prop_assert_eq!(&t.examples[0].input, &Input::Sentence(text));
        prop_assert_eq!(t.examples[0].class, Some(class));
    }
}
