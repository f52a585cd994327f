//! CoQA's loader on the official file, on small ones and on arbitrary bytes.

use crate::common;
use inducer_datasets::{Example, Input, Malformed, Result, coqa};
use proptest::prelude::*;

fn parse(text: &[u8]) -> Result<Vec<Example>> {
    let part = coqa::parse("x.json".as_ref(), text, Malformed::Refuse)?;
    Ok(part.examples)
}

fn story(answers: &str, more: &str) -> String {
    format!(
        "{{\"version\": \"1.0\", \"data\": [\n\
         {{\"id\": \"x\", \"source\": \"race\", \"story\": \"S.\",\n\
         \"questions\": [{{\"turn_id\": 1, \"input_text\": \"q1\"}}, \
         {{\"turn_id\": 2, \"input_text\": \"q2\"}}, \
         {{\"turn_id\": 3, \"input_text\": \"q3\"}}, {{\"turn_id\": 4, \"input_text\": \"q4\"}}],\n\
         \"answers\": {answers}{more}}}]}}"
    )
}

fn answers(prefix: &str, count: usize) -> String {
    let one = |i| {
        format!(
            "{{\"turn_id\": {i}, \"input_text\": \"{prefix}{i}\", \"span_start\": -1, \
             \"span_end\": -1}}"
        )
    };
    format!("[{}]", (1..=count).map(one).collect::<Vec<_>>().join(", "))
}

#[test]
fn the_official_file_has_500_stories_and_7983_turns() {
    let Some(path) = common::shared("coqa/coqa-dev.json") else {
        return;
    };
    let turns = coqa::load_file(&path, Malformed::Refuse).unwrap().examples;
    assert_eq!(turns.len(), 7983);
    let first = |e: &&Example| match &e.input {
        Input::Conversation { history, .. } => history.is_empty(),
        _ => false,
    };
    assert_eq!(turns.iter().filter(first).count(), 500);
    assert_eq!(turns[0].references, ["white"]);
    let unknown = turns
        .iter()
        .filter(|e| e.references[0].trim().eq_ignore_ascii_case("unknown"));
    assert_eq!(unknown.count(), 66);
}

#[test]
fn history_keeps_the_two_turns_before_and_spans_may_be_negative() {
    let text = story(&answers("a", 4), "");
    let turns = parse(text.as_bytes()).unwrap();
    let history = |i: usize| match &turns[i].input {
        Input::Conversation { history, .. } => history
            .iter()
            .map(|(q, a)| format!("{q}{a}"))
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!((history(0), history(1)), (vec![], vec!["q1a1".to_owned()]));
    assert_eq!(history(3), ["q2a2", "q3a3"]);
    assert_eq!((turns[3].position, turns[3].category.as_str()), (4, "race"));
}

#[test]
fn additional_answers_follow_the_first_as_references() {
    let more = format!(
        ", \"additional_answers\": {{\"0\": {}, \"1\": {}}}",
        answers("b", 4),
        answers("c", 4)
    );
    let turns = parse(story(&answers("a", 4), &more).as_bytes()).unwrap();
    assert_eq!(turns[1].references, ["a2", "b2", "c2"]);
}

#[test]
fn what_is_wrong_is_named_with_line_story_and_field() {
    let said = |text: String| parse(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        said(story(&answers("a", 3), "")),
        "x.json:2: entry 1: field `answers`: expected one answer for each question, found a list"
    );
    assert_eq!(
        said(story(
            &answers("a", 4).replace("\"turn_id\": 2", "\"turn_id\": 5"),
            ""
        )),
        "x.json:2: entry 1: field `answers[1].turn_id`: expected the turn's place in its list, \
         from 1, found a number"
    );
    assert_eq!(
        said(story(&answers("a", 4).replace("\"a2\"", "7"), "")),
        "x.json:2: entry 1: field `answers[1].input_text`: expected a text, found a number"
    );
    assert!(said("{\"data\": [\n".into()).starts_with("x.json:2:"));
}

#[test]
fn a_skipped_story_takes_all_its_turns_with_it() {
    let good = story(&answers("a", 4), "");
    let bad = good.replacen("\"turn_id\": 4", "\"turn_id\": 5", 1);
    let of = |text: &str| text[text.find('[').unwrap() + 1..text.rfind(']').unwrap()].to_owned();
    let text = format!("{{\"data\": [{},{},{}]}}", of(&good), of(&bad), of(&good));
    let part = coqa::parse("x".as_ref(), text.as_bytes(), Malformed::Skip).unwrap();
    assert_eq!((part.examples.len(), part.malformed.len()), (8, 1));
    assert!(
        part.malformed[0].starts_with("x:5: entry 2: field `questions[3].turn_id`"),
        "{}",
        part.malformed[0]
    );
    assert_eq!(part.examples[4].position, 5);
}

#[test]
fn a_story_nested_too_deep_is_an_error_of_its_own() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let text = format!("{{\"data\": [{deep}, 1]}}");
    let part = coqa::parse("x".as_ref(), text.as_bytes(), Malformed::Skip).unwrap();
    assert_eq!(part.malformed.len(), 2);
    assert!(
        part.malformed[0].contains("recursion"),
        "{}",
        part.malformed[0]
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>()) {
        let _ = parse(&bytes);
    }

    #[test]
    fn a_damaged_file_is_an_error_or_a_result(
        at in 0usize..2000,
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = story(&answers("a", 4), "").into_bytes();
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let read = parse(&bytes);
        prop_assert!(!cut || read.is_err());
    }
}
