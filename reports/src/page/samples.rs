//! Outputs side by side: the triples, what people wrote, and every method's text with the words
//! that no reference has.

use super::verdict;
use super::words::{html, markdown, marked};
use crate::study::{Sample, Study};

/// What the marks mean.
pub const KEY: &str = "Marked: words that are in no reference of that input (case and punctuation \
 aside). A marked word is not always wrong: people may say a thing in other words.";

/// What an output without words is shown as.
const EMPTY: &str = "(no text)";

fn heading(s: &Sample, number: usize) -> String {
    let kind = if s.seen { "seen" } else { "unseen" };
    format!("{number}. {} ({kind} category)", s.category)
}

/// All samples as HTML.
pub fn to_html(study: &Study) -> String {
    let samples = study.samples.iter().enumerate();
    samples.map(|(i, s)| one_html(study, s, i + 1)).collect()
}

fn one_html(study: &Study, s: &Sample, number: usize) -> String {
    let items = |lines: &[String]| -> String {
        let items = lines.iter().map(|l| format!("<li>{}</li>", html(l)));
        items.collect()
    };
    let outputs: String = s
        .outputs
        .iter()
        .map(|(method, text)| {
            let title = html(&verdict::title(study, method));
            format!("<dt>{title}</dt><dd>{}</dd>\n", text_html(text, s))
        })
        .collect();
    format!(
        "<article class=\"sample\"><h3>{}</h3>\n<div class=\"given\"><div><h4>Input</h4><ul \
         class=\"triples\">{}</ul></div>\n<div><h4>References</h4><ol>{}</ol></div></div>\n<h4>Outputs</h4><dl class=\"outputs\">\n{outputs}</dl></article>\n",
        html(&heading(s, number)),
        items(&s.input),
        items(&s.references)
    )
}

fn text_html(text: &str, s: &Sample) -> String {
    if text.trim().is_empty() {
        return format!("<em>{EMPTY}</em>");
    }
    let parts: Vec<String> = marked(text, &s.references)
        .into_iter()
        .map(|(t, new)| {
            let t = html(&t);
            if new { format!("<mark>{t}</mark>") } else { t }
        })
        .collect();
    parts.join(" ")
}

/// All samples as Markdown; marked words are bold.
pub fn to_markdown(study: &Study) -> String {
    let samples = study.samples.iter().enumerate();
    samples
        .map(|(i, s)| one_markdown(study, s, i + 1))
        .collect()
}

fn one_markdown(study: &Study, s: &Sample, number: usize) -> String {
    let mut out = format!("### {}\n\nInput:\n\n", markdown(&heading(s, number)));
    for line in &s.input {
        out += &format!("- {}\n", markdown(line));
    }
    out += "\nReferences:\n\n";
    for line in &s.references {
        out += &format!("- {}\n", markdown(line));
    }
    out += "\n| Method | Output |\n| --- | --- |\n";
    for (method, text) in &s.outputs {
        let title = markdown(&verdict::title(study, method));
        out += &format!("| {title} | {} |\n", text_markdown(text, s));
    }
    out + "\n"
}

fn text_markdown(text: &str, s: &Sample) -> String {
    if text.trim().is_empty() {
        return EMPTY.into();
    }
    let parts: Vec<String> = marked(text, &s.references)
        .into_iter()
        .map(|(t, new)| {
            let t = markdown(&t);
            if new { format!("**{t}**") } else { t }
        })
        .collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn words_in_no_reference_are_marked_and_others_are_not() {
        let study = fixture::study();
        let page = to_html(&study);
        assert!(page.contains("the <mark>city</mark> of <mark>Rome.</mark>"));
        assert!(page.contains("<dd>AFC Ajax play at the Amsterdam Arena in Amsterdam.</dd>"));
        assert!(to_markdown(&study).contains("Rome.**"));
    }

    #[test]
    fn an_empty_output_is_said_to_be_empty() {
        let mut study = fixture::study();
        study.samples[0].outputs[0].1 = "  ".into();
        assert!(to_html(&study).contains(EMPTY) && to_markdown(&study).contains(EMPTY));
    }
}
