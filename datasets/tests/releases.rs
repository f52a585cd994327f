//! Files of later releases and as people keep them: WebNLG 2.1, 3.0, enriched and 2023, GLUE with a
//! byte order mark, blank lines and labels that are none. The small ones here always run; those of
//! `../shared/cases` say "not run" where they are not there.
#![allow(clippy::unwrap_used)]

use crate::common::case;
use inducer_datasets::{Error, Malformed, Splits, Task, directory, webnlg};
use std::path::Path;

fn load(task: Task, dir: &Path) -> Result<Splits, Error> {
    directory::load(task, dir, Malformed::Refuse)
}

fn words(data: &Splits) -> usize {
    let all = data.train.iter().chain(&data.dev).chain(&data.test);
    all.flat_map(|e| &e.references)
        .map(|r| r.split_whitespace().count())
        .sum()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn xml(lex: &str) -> String {
    format!(
        "<benchmark><entries><entry category=\"Food\" eid=\"Id1\" size=\"1\">\
         <modifiedtripleset><mtriple>a | b | c</mtriple></modifiedtripleset>{lex}\
         </entry></entries></benchmark>"
    )
}

#[test]
fn of_the_enriched_release_the_text_is_read() {
    let lex = "<lex comment=\"good\" lid=\"Id1\"><references><reference>x</reference></references>\
               <text>A b c.</text><template>ENTITY-1 b .</template></lex>";
    let f = Folder::new();
    for p in ["train", "dev", "test"] {
        f.write(&format!("{p}.xml"), &xml(lex));
    }
    assert_eq!(
        load(Task::WebNlg, f.path()).unwrap().test[0].references,
        ["A b c."]
    );
    let Some(dir) = case("62-webnlg-enriched") else {
        return;
    };
    // three parts of eight texts; with all that stands beside them there are three times as many
    assert_eq!(words(&load(Task::WebNlg, &dir).unwrap()), 3 * 48);
}

#[test]
fn an_empty_comment_is_none_against_the_text() {
    let f = Folder::new();
    let lex =
        "<lex comment=\"\" lid=\"Id1\">A b c.</lex><lex comment=\"toFix\" lid=\"Id2\">X.</lex>";
    for p in ["train", "dev", "test"] {
        f.write(&format!("{p}.xml"), &xml(lex));
    }
    assert_eq!(
        load(Task::WebNlg, f.path()).unwrap().dev[0].references,
        ["A b c."]
    );
    let json = r#"{"entries": [{"1": {"category": "Food",
        "modifiedtripleset": [{"subject": "a", "property": "b", "object": "c"}],
        "lexicalisations": [{"comment": "", "lex": "A b c."}, {"lex": "It."},
                            {"comment": "bad", "lex": "X."}]}}]}"#;
    let f = Folder::new();
    for p in ["train", "dev", "test"] {
        f.write(&format!("webnlg_release_v2.1_{p}.json"), json);
    }
    assert_eq!(
        load(Task::WebNlg, f.path()).unwrap().test[0].references,
        ["A b c.", "It."]
    );
    for name in ["60-webnlg3-emptycomment", "63-webnlg-otriple"] {
        let Some(dir) = case(name) else { return };
        let data = load(Task::WebNlg, &dir).unwrap();
        assert!(data.test.iter().all(|e| !e.references.is_empty()) && !data.test.is_empty());
    }
}

#[test]
fn of_release_3s_test_folder_generation_with_references_is_taken() {
    let f = Folder::new();
    let lex = "<lex comment=\"good\" lid=\"Id1\">A b c.</lex>";
    for p in ["train", "dev"] {
        f.write(&format!("en/{p}/1triples/Food.xml"), &xml(lex));
    }
    for (task, refs) in [
        ("rdf-to-text-generation", true),
        ("semantic-parsing", false),
    ] {
        for with in ["with", "without"] {
            let text = if refs && with == "with" { lex } else { "" };
            f.write(
                &format!("en/test/{task}-test-data-{with}-refs-en.xml"),
                &xml(text),
            );
        }
    }
    let data = load(Task::WebNlg, f.path()).unwrap();
    assert_eq!((data.test.len(), data.skipped.test.len()), (1, 0));
    let note = data
        .notes
        .iter()
        .find(|n| n.contains("semantic-parsing"))
        .unwrap();
    assert!(
        note.starts_with("taken: rdf-to-text-generation-test-data-with-refs-en.xml"),
        "{note}"
    );
    let Some(dir) = case("61-webnlg3-fourtests") else {
        return;
    };
    let data = load(Task::WebNlg, &dir).unwrap();
    assert_eq!((data.test.len(), data.skipped.test.len()), (2, 0));
}

#[test]
fn a_release_with_several_languages_is_read_in_one() {
    let f = Folder::new();
    let lex = "<lex comment=\"\" lid=\"1\" lang=\"en\">A b c.</lex>\
               <lex comment=\"\" lid=\"2\" lang=\"ru\">А б в.</lex>";
    for p in ["train", "dev", "test"] {
        f.write(&format!("{p}.xml"), &xml(lex));
    }
    let in_language = |l: &str| webnlg::load_in(f.path(), Malformed::Refuse, l);
    assert_eq!(in_language("en").unwrap().test[0].references, ["A b c."]);
    assert_eq!(in_language("ru").unwrap().test[0].references, ["А б в."]);
    let error = in_language("ga").unwrap_err().to_string();
    assert!(
        error.contains("\"ga\"") && error.contains("--language"),
        "{error}"
    );
}

#[test]
fn a_byte_order_mark_and_blank_last_lines_are_none_of_the_data() {
    let f = Folder::new();
    let rows = "\u{feff}sentence\tlabel\na fine film \t1\ndull\t0\n\n\n";
    for p in ["train", "dev"] {
        f.write(&format!("{p}.tsv"), rows);
    }
    let data = load(Task::Sst2, f.path()).unwrap();
    assert_eq!(data.train.len() + data.dev.len(), 2);
    assert_eq!(data.test.len(), 2);
    // a blank line before a row is a row without fields
    f.write("dev.tsv", "sentence\tlabel\na\t1\n\nb\t0\n");
    let error = load(Task::Sst2, f.path()).unwrap_err().to_string();
    assert!(
        error.contains("dev.tsv:3") && error.contains("empty line"),
        "{error}"
    );
    let json = "\u{feff}{\"entries\": []}";
    let f = Folder::new();
    for p in ["train", "dev", "test"] {
        f.write(&format!("{p}.json"), json);
    }
    assert!(load(Task::WebNlg, f.path()).is_ok());
    for name in ["70b-sst-bom", "70d-sst-blank"] {
        let Some(dir) = case(name) else { return };
        let text = std::fs::read_to_string(dir.join("dev.tsv")).unwrap();
        let rows = text.lines().filter(|l| !l.is_empty()).count() - 1;
        assert_eq!(load(Task::Sst2, &dir).unwrap().test.len(), rows, "{name}");
    }
}

#[test]
fn an_unlabelled_test_part_leaves_dev_to_report_on() {
    let f = Folder::new();
    for p in ["train", "dev"] {
        f.write(&format!("{p}.tsv"), "sentence\tlabel\na\t1\nb\t0\n");
    }
    f.write("test.tsv", "sentence\tlabel\na\t-1\nb\t-1\n");
    let data = load(Task::Sst2, f.path()).unwrap();
    assert!(data.test.iter().all(|e| e.class.is_some()));
    // in a part that is trained on it is an error that names the file's part
    f.write("train.tsv", "sentence\tlabel\na\t1\nb\t-1\n");
    let error = load(Task::Sst2, f.path()).unwrap_err().to_string();
    assert!(
        error.contains("part train, row 2") && error.contains("label"),
        "{error}"
    );
    let Some(dir) = case("70o-sst-minus1") else {
        return;
    };
    assert!(load(Task::Sst2, &dir).is_ok());
}

#[test]
fn rows_without_agreement_are_left_out_and_counted() {
    let f = Folder::new();
    let rows = "sentence1\tsentence2\tgold_label\na\tb\tentailment\nc\td\t-\ne\tf\tNEUTRAL\n";
    for p in ["train", "dev_matched", "dev_mismatched"] {
        f.write(&format!("{p}.tsv"), rows);
    }
    let data = load(Task::Mnli, f.path()).unwrap();
    let classes: Vec<_> = data.train.iter().map(|e| e.class).collect();
    assert_eq!(classes, [Some(0), Some(1)]);
    assert!(
        data.notes
            .iter()
            .any(|n| n.starts_with("train.tsv: 1 rows left out"))
    );
    // the column may be called `label`; without either the file's part is named
    let rows = rows.replace("gold_label", "label");
    f.write("train.tsv", &rows);
    assert!(load(Task::Mnli, f.path()).is_ok());
    f.write("train.tsv", "sentence1\tsentence2\na\tb\n");
    let error = load(Task::Mnli, f.path()).unwrap_err().to_string();
    assert!(
        error.contains("part train") && error.contains("gold_label"),
        "{error}"
    );
    let Some(dir) = case("75b-mnli-dash") else {
        return;
    };
    assert!(
        load(Task::Mnli, &dir)
            .unwrap()
            .notes
            .iter()
            .any(|n| n.contains("did not agree"))
    );
}

#[test]
fn what_is_skipped_may_not_leave_a_part_empty() {
    let f = Folder::new();
    for p in ["train", "dev"] {
        f.write(&format!("{p}.tsv"), "sentence\tlabel\na\tgood\n");
    }
    let error = directory::load(Task::Sst2, f.path(), Malformed::Skip)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("is empty after") && error.contains("train.tsv:2"),
        "{error}"
    );
}
