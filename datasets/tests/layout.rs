//! Section 6's layouts, worked by hand, and tokenizers that lose nothing.
#![allow(clippy::unwrap_used)] // helpers outside of #[test] functions

use crate::common;
use inducer_datasets::batches::pack;
use inducer_datasets::layout::PASSAGE_TOKENS;
use inducer_datasets::{
    Encoded, Error, Example, IGNORE, Input, Labels, Layout, Surface, Task, Tokenizer, Triple,
};
use proptest::prelude::*;

/// Bytes only: id of a byte is its place in GPT-2's order of bytes, plus one.
fn bytes() -> Tokenizer {
    Tokenizer::train(Vec::<String>::new(), 257).unwrap()
}

fn triple(s: &str, p: &str, o: &str) -> Triple {
    Triple {
        subject: s.into(),
        property: p.into(),
        object: o.into(),
    }
}

fn example(input: Input, references: &[&str]) -> Example {
    let references = references.iter().map(|r| (*r).to_owned()).collect();
    Example {
        position: 3,
        category: "Food".into(),
        seen: true,
        input,
        references,
        class: None,
        id: None,
    }
}

fn webnlg() -> Example {
    example(
        Input::Triples(vec![triple("A_B", "isIn", "\"C\""), triple("D", "p", "E")]),
        &["A B.", "xyz"],
    )
}

/// `markers[i]` in front of the bytes of `pieces[i]`.
fn written(t: &Tokenizer, parts: &[(u32, &str)]) -> (Vec<u32>, Vec<u32>) {
    let (mut ids, mut segments) = (vec![], vec![]);
    for (marker, piece) in parts {
        ids.push(*marker);
        ids.extend(t.encode(piece).unwrap());
        segments.resize(ids.len(), *marker);
    }
    (ids, segments)
}

#[test]
fn webnlg_rows_are_written_as_the_paper_says() {
    let t = bytes();
    let layout = Layout::new(&t, Task::WebNlg, 300, 100).unwrap();
    let rows = layout.training_rows(&webnlg()).unwrap();
    let [b, s, p, o, target, eos] = [300, 301, 302, 303, 304, 305];
    let parts = [
        (b, ""),
        (s, "A_B"),
        (p, "isIn"),
        (o, "\"C\""),
        (s, "D"),
        (p, "p"),
        (o, "E"),
        (target, "xyz"),
    ];
    let (mut ids, mut segments) = written(&t, &parts);
    ids.push(eos);
    segments.push(target);
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[1].ids, rows[1].segments.as_ref().unwrap()),
        (&ids, &segments)
    );
    let prompt = layout.prompt(&webnlg()).unwrap();
    assert_eq!(prompt.ids, ids[..ids.len() - 4]);
    assert_eq!(prompt.prompt_len, prompt.ids.len());
    assert_eq!(
        (layout.eos(), layout.target_segment(), layout.added()),
        (eos, target, 6)
    );
    assert_eq!(prompt.segments.unwrap().last(), Some(&target));
}

#[test]
fn only_the_target_and_its_end_are_labelled() {
    let t = bytes();
    let layout = Layout::new(&t, Task::WebNlg, 257, 100).unwrap();
    for row in layout.training_rows(&webnlg()).unwrap() {
        let (before, after) = row.labels.split_at(row.prompt_len);
        assert!(before.iter().all(|l| *l == IGNORE));
        assert!(
            after
                .iter()
                .zip(&row.ids[row.prompt_len..])
                .all(|(l, id)| *l == i64::from(*id))
        );
        assert_eq!(after.last(), Some(&i64::from(layout.eos())));
        assert_eq!(
            (row.labels.len(), row.segments.as_ref().unwrap().len()),
            (row.ids.len(), row.ids.len())
        );
    }
}

#[test]
fn plain_surface_writes_running_text() {
    let t = bytes();
    let layout = Layout::new(&t, Task::WebNlg, 257, 100)
        .unwrap()
        .with_surface(Surface::Plain);
    let row = &layout.training_rows(&webnlg()).unwrap()[0];
    let known: Vec<u32> = row.ids.iter().copied().filter(|i| *i < 257).collect();
    assert_eq!(t.decode(&known), " A B is in C D p E A B.");
    assert_eq!(layout.decode(&row.ids[row.prompt_len..]), "A B.");
}

fn conversation(passage: &str) -> Example {
    let turn = |q: &str, a: &str| (q.to_owned(), a.to_owned());
    let history = vec![turn("q1", "a1"), turn("q2", "a2"), turn("q3", "a3")];
    example(
        Input::Conversation {
            passage: passage.into(),
            history,
            question: "q4".into(),
        },
        &["a4", "other"],
    )
}

#[test]
fn coqa_rows_keep_two_turns_and_train_on_the_first_answer() {
    let t = bytes();
    let layout = Layout::new(&t, Task::Coqa, 257, 600).unwrap();
    let rows = layout.training_rows(&conversation("pass")).unwrap();
    let [bos, doc, q, a, eos] = [257, 258, 259, 260, 261];
    let (mut ids, mut segments) = written(
        &t,
        &[
            (bos, ""),
            (doc, "pass"),
            (q, "q2"),
            (a, "a2"),
            (q, "q3"),
            (a, "a3"),
            (q, "q4"),
            (a, "a4"),
        ],
    );
    ids.push(eos);
    segments.push(a);
    segments[0] = doc;
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (
            &rows[0].ids,
            rows[0].segments.as_ref().unwrap(),
            rows[0].cut
        ),
        (&ids, &segments, 0)
    );
    assert_eq!(rows[0].labels.iter().filter(|l| **l != IGNORE).count(), 3);
}

#[test]
fn a_long_passage_is_cut_and_counted_and_other_long_rows_are_errors() {
    let t = bytes();
    let layout = Layout::new(&t, Task::Coqa, 257, 600).unwrap();
    let row = layout
        .prompt(&conversation(&"x".repeat(PASSAGE_TOKENS + 7)))
        .unwrap();
    assert_eq!(row.cut, 7);
    assert_eq!(row.ids.len(), 2 + PASSAGE_TOKENS + 4 * 3 + 3 + 1);
    let short = Layout::new(&t, Task::WebNlg, 257, 20).unwrap();
    let error = short.training_rows(&webnlg()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooLong {
                entry: 3,
                tokens: _,
                limit: 20
            }
        ),
        "{error}"
    );
}

#[test]
fn a_task_refuses_the_input_of_another_and_a_tokenizer_too_large() {
    let t = bytes();
    let layout = Layout::new(&t, Task::Coqa, 257, 100).unwrap();
    assert!(
        layout
            .prompt(&webnlg())
            .unwrap_err()
            .to_string()
            .contains("entry 3")
    );
    assert!(matches!(
        Layout::new(&t, Task::WebNlg, 256, 100),
        Err(Error::Vocabulary {
            tokenizer: 257,
            backbone: 256
        })
    ));
    assert!(matches!(
        Layout::new(&t, Task::Mnli, 257, 100),
        Err(Error::MissingToken { token: "<s>", .. })
    ));
}

#[test]
fn roberta_rows_have_its_own_tokens_and_the_class() {
    let Some(file) = common::shared("roberta/roberta-base-tokenizer.json") else {
        return;
    };
    let t = Tokenizer::load_file(&file).unwrap();
    let layout = Layout::new(&t, Task::Mnli, 50_265, 512).unwrap();
    let mut pair = example(Input::Pair("Hello world".into(), "Yes".into()), &[]);
    pair.class = Some(2);
    let row = layout.training_rows(&pair).unwrap().remove(0);
    // transformers: RobertaTokenizer("Hello world", "Yes") with roberta-base's files
    assert_eq!(row.ids, [0, 31414, 232, 2, 2, 9904, 2]);
    assert_eq!(pack(&[&row, &row]).labels, Labels::Classes(vec![2, 2]));
    assert_eq!(pack(&[&row]).segments, None);
}

#[test]
fn texts_of_one_s_own_have_markers_of_their_own_and_every_target_a_row() {
    let t = bytes();
    let layout = Layout::new(&t, Task::Generate, 257, 100).unwrap();
    let question = example(Input::Sentence("q?".into()), &["yes", "no"]);
    let rows = layout.training_rows(&question).unwrap();
    let (ids, segments) = written(&t, &[(258, "q?"), (259, "no")]);
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1].ids, [&[257][..], &ids, &[260]].concat());
    assert_eq!(
        rows[1].segments.as_deref(),
        Some(&[&[257][..], &segments, &[259]].concat()[..])
    );
    assert_eq!(rows[1].labels[..rows[1].prompt_len], [IGNORE; 5]);
    assert_eq!((layout.eos(), layout.target_segment()), (260, 259));
    assert_eq!(layout.decode(&rows[1].ids[rows[1].prompt_len..]), "no");
    let wrong = layout.prompt(&webnlg()).unwrap_err().to_string();
    assert!(wrong.contains("task generate needs a text"), "{wrong}");
}

#[test]
fn inputs_are_cut_to_the_tokens_asked_for_and_what_was_lost_is_counted() {
    let t = bytes();
    let layout = Layout::new(&t, Task::Generate, 257, 100).unwrap();
    let question = example(Input::Sentence("abcdefgh".into()), &["yes"]);
    let short = example(Input::Sentence("abc".into()), &["yes"]);
    let (whole, cut) = (layout.clone(), layout.truncated(Some(3)));
    assert_eq!(whole.prompt(&question).unwrap().cut, 0);
    let row = cut.prompt(&question).unwrap();
    assert_eq!(row.cut, 5);
    let three = cut.prompt(&short).unwrap();
    assert_eq!((three.cut, &three.ids), (0, &row.ids));
    assert_eq!(whole.prompt(&short).unwrap().ids, row.ids);
    assert_ne!(whole.fingerprint(), cut.fingerprint());
}

#[test]
fn of_a_pair_the_longer_text_is_cut_first_and_the_second_where_both_are_equal() {
    let text = inducer_datasets::synthetic::pretraining_text(1, 20_000);
    let t = Tokenizer::train_roberta(text.split("\n\n"), 400).unwrap();
    let layout = Layout::new(&t, Task::Classify, t.vocab_size(), 100).unwrap();
    let [start, end] = ["<s>", "</s>"].map(|token| t.id(token).unwrap());
    let [first, second] = ["The tower stands in the old town.", "A town."]
        .map(|x| (x.to_owned(), t.encode(x).unwrap()));
    let pair = example(Input::Pair(first.0, second.0), &[]);
    let n = second.1.len();
    assert!(first.1.len() > n + 1 && n > 1);
    let row = |most: usize, a: usize, b: usize| {
        let row = layout.clone().truncated(Some(most)).prompt(&pair).unwrap();
        let parts = [&[start], &first.1[..a], &[end, end], &second.1[..b], &[end]];
        assert_eq!(row.ids, parts.concat(), "{most}");
        assert_eq!(row.cut, first.1.len() + n - most);
    };
    row(2 * n + 1, n + 1, n);
    row(2 * n, n, n);
    row(2 * n - 1, n, n - 1);
    row(2 * n - 2, n - 1, n - 1);
}

#[test]
fn packing_keeps_rows_apart() {
    let t = bytes();
    let layout = Layout::new(&t, Task::WebNlg, 257, 100).unwrap();
    let rows = layout.training_rows(&webnlg()).unwrap();
    let rows: Vec<&Encoded> = rows.iter().collect();
    let batch = pack(&rows);
    assert_eq!(batch.ids[batch.sequence(1)], rows[1].ids);
    assert_eq!(
        batch.segments.as_ref().unwrap()[batch.sequence(1)],
        rows[1].segments.as_ref().unwrap()[..]
    );
    assert_eq!(
        batch.labels,
        Labels::Tokens([rows[0].labels.clone(), rows[1].labels.clone()].concat())
    );
    let prompt = layout.prompt(&webnlg()).unwrap();
    assert_eq!(pack(&[&prompt]).labels, Labels::None);
    assert_eq!(pack(&[]).sequences(), 0);
}

#[test]
fn gpt2_files_give_gpt2_ids() {
    let Some(dir) = common::shared("gpt2") else {
        return;
    };
    let t = Tokenizer::load(&dir).unwrap();
    assert_eq!(t.vocab_size(), 50_257);
    // transformers: GPT2Tokenizer("Hello world!  It's 3.5 ☃<|endoftext|>")
    let ids = t.encode("Hello world!<|endoftext|>").unwrap();
    assert_eq!(ids, [15496, 995, 0, 50256]);
}

#[test]
fn missing_and_broken_tokenizer_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    assert!(
        Tokenizer::load(dir.path())
            .unwrap_err()
            .to_string()
            .contains("tokenizer.json")
    );
    std::fs::write(dir.path().join("tokenizer.json"), "{\"model\": 3}").unwrap();
    assert!(
        Tokenizer::load(dir.path())
            .unwrap_err()
            .to_string()
            .contains("tokenizer.json")
    );
}

#[test]
fn training_twice_and_saving_change_nothing() {
    let text: Vec<String> = (0..2000)
        .map(|i| {
            format!(
                "Entity {} lies near {}.",
                i * 7919 % 1000,
                i * 104_729 % 977
            )
        })
        .collect();
    let train = || Tokenizer::train(text.iter().map(String::as_str), 500).unwrap();
    let t = train();
    assert_eq!((t.vocab_size(), t.id("<|endoftext|>")), (500, Some(0)));
    assert_eq!(t.fingerprint(), train().fingerprint());
    let dir = tempfile::tempdir().unwrap();
    t.save(dir.path()).unwrap();
    let again = Tokenizer::load(dir.path()).unwrap();
    assert_eq!(t.fingerprint(), again.fingerprint());
    assert_eq!(t.encode(&text[5]).unwrap(), again.encode(&text[5]).unwrap());
    let other = Tokenizer::train(["other text, other text"], 270).unwrap();
    assert_ne!(t.fingerprint(), other.fingerprint());
}

proptest! {
    #[test]
    fn any_text_comes_back_from_its_tokens(text in "\\PC*") {
        let t = bytes();
        prop_assert_eq!(t.decode(&t.encode(&text).unwrap()), text);
    }

    #[test]
    fn a_reference_comes_back_to_the_letter(
        text in ".{1,60}",
        spaces in "[ \n]{0,3}",
        plain: bool,
    ) {
        let text = format!("{spaces}{text}{spaces}");
        let t = bytes();
        let surface = if plain { Surface::Plain } else { Surface::Raw };
        let layout = Layout::new(&t, Task::WebNlg, 257, 10_000).unwrap().with_surface(surface);
        let e = example(Input::Triples(vec![triple("a", "b", "c")]), &[&text]);
        let row = layout.training_rows(&e).unwrap().remove(0);
        prop_assert_eq!(layout.decode(&row.ids[row.prompt_len..]), text);
    }

    #[test]
    fn decoding_any_ids_never_panics(ids in prop::collection::vec(0u32..400, 0..50)) {
        let t = bytes();
        let _ = Layout::new(&t, Task::WebNlg, 257, 100).unwrap().decode(&ids);
    }
}
