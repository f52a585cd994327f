//! Outputs side by side: the triples, what people wrote, and every method's text with the words
//! that no reference has.

use super::title;
use crate::document::format::fixed;
use crate::document::{Block, Layout, ListStyle, Section, Span, Text};
use crate::study::{Look, Sample, Study};
use std::collections::HashSet;

/// What the marks mean.
const KEY: &str = ": words that are in no reference of that input (case and punctuation aside). A \
 marked word is not always wrong: people may say a thing in other words.";

/// What an output without words is shown as.
const EMPTY: &str = "(no text)";

/// The section.
pub fn section(study: &Study) -> Section {
    let samples = study.samples.iter().enumerate();
    let mut blocks: Vec<Block> = samples.map(|(i, s)| sample(study, s, i + 1)).collect();
    let first = if blocks.is_empty() {
        Block::body("No outputs were kept.")
    } else {
        let key = vec![Span::Bold("Marked".into()), Span::Plain(KEY.into())];
        Block::note(Text(key))
    };
    blocks.insert(0, first);
    blocks.extend(looks(study));
    Section::new("samples", "Outputs", "Outputs side by side", blocks)
}

/// Links to the pages of entries that were looked into.
fn looks(study: &Study) -> Vec<Block> {
    if study.looks.is_empty() {
        return Vec::new();
    }
    let item = |look: &Look| {
        let name = format!("Entry {}", look.entry);
        let loss = |(method, loss): &(String, f64)| {
            format!("{} {}", title(study, method), fixed(*loss, 2))
        };
        let losses: Vec<String> = look.losses.iter().map(loss).collect();
        let rest = format!(
            ": {}, {} tokens; loss of the target {}.",
            look.rule,
            look.tokens,
            losses.join(", ")
        );
        Text(vec![Span::Link(name, look.file.clone()), Span::Plain(rest)])
    };
    let items = study.looks.iter().map(item).collect();
    vec![
        Block::heading("Looked into"),
        Block::body(
            "What the heads do with an entry, token by token, is on a page of its own; the entries \
             were chosen by rule, not by hand.",
        ),
        Block::List(ListStyle::Numbered, items),
    ]
}

fn sample(study: &Study, s: &Sample, number: usize) -> Block {
    let kind = if s.seen { "seen" } else { "unseen" };
    let heading = format!("{number}. {} ({kind} category)", s.category);
    let column = |title: &str, style, lines: &[String]| {
        let items = lines.iter().map(Text::from).collect();
        let blocks = vec![Block::Heading(4, title.into()), Block::List(style, items)];
        Block::Group(Layout::Column, blocks)
    };
    let given = vec![
        column("Input", ListStyle::Triples, &s.input),
        column("References", ListStyle::Numbered, &s.references),
    ];
    let output =
        |(method, text): &(String, String)| (title(study, method), marked(text, &s.references));
    let outputs = s.outputs.iter().map(output).collect();
    let blocks = vec![
        Block::heading(heading),
        Block::Group(Layout::Columns, given),
        Block::Heading(4, "Outputs".into()),
        Block::Definitions(["Method", "Output"], outputs),
    ];
    Block::Group(Layout::Sample, blocks)
}

/// A text with its stretches of words that are in no reference marked (case and outer punctuation
/// aside).
fn marked(text: &str, references: &[String]) -> Text {
    let words = references.iter().flat_map(|r| r.split_whitespace());
    let known: HashSet<String> = words.map(bare).collect();
    let mut spans: Vec<Span> = Vec::new();
    for word in text.split_whitespace() {
        let key = bare(word);
        let new = !key.is_empty() && !known.contains(&key);
        match (spans.last_mut(), new) {
            (Some(Span::Marked(stretch)), true) | (Some(Span::Plain(stretch)), false) => {
                stretch.push(' ');
                stretch.push_str(word);
            }
            (_, true) => spans.push(Span::Marked(word.into())),
            (_, false) => spans.push(Span::Plain(word.into())),
        }
    }
    spaced(spans)
}

/// Stretches with a space between any two; a placeholder instead of none.
fn spaced(spans: Vec<Span>) -> Text {
    if spans.is_empty() {
        return Text(vec![Span::Emphasis(EMPTY.into())]);
    }
    let space = || Span::Plain(" ".into());
    let spans = spans.into_iter().flat_map(|span| [space(), span]);
    Text(spans.skip(1).collect())
}

/// A word without case and the punctuation around it.
fn bare(word: &str) -> String {
    word.trim_matches(|c: char| !c.is_alphanumeric())
        .to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{self, testing};

    #[test]
    fn words_in_no_reference_are_marked_and_others_are_not() {
        let study = testing::study();
        let page = report::html(&study);
        assert!(page.contains("the <mark>city</mark> of <mark>Rome.</mark>"));
        assert!(page.contains("<dd>AFC Ajax play at the Amsterdam Arena in Amsterdam.</dd>"));
        assert!(report::markdown(&study).contains("Rome.**"));
    }

    #[test]
    fn case_and_outer_punctuation_mark_nothing() {
        let references = ["Ajax play in Amsterdam.".into(), "The club is big".into()];
        let plain = |text: &str| Span::Plain(text.into());
        let expected = [
            plain("ajax, PLAY"),
            plain(" "),
            Span::Marked("at home".into()),
            plain(" "),
            plain("in Amsterdam ."),
        ];
        let text = marked("ajax, PLAY at home in Amsterdam .", &references);
        assert_eq!(text.0, expected);
    }

    #[test]
    fn an_empty_output_is_said_to_be_empty() {
        let mut study = testing::study();
        study.samples[0].outputs[0].1 = "  ".into();
        assert!(report::html(&study).contains(EMPTY));
        assert!(report::markdown(&study).contains(EMPTY));
    }
}
