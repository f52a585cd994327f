//! Numbers and words as the pages write them.

use crate::stats::Summary;
use std::collections::HashSet;

/// What stands where there is no number.
pub const NOTHING: &str = "–";

/// A number with so many decimals and a true minus sign.
pub fn fixed(x: f64, digits: usize) -> String {
    if !x.is_finite() {
        return NOTHING.into();
    }
    let text = format!("{x:.digits$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| c == '0' || c == '.') => rest.into(),
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

/// As [`fixed`], with a plus sign on what is above zero.
pub fn signed(x: f64, digits: usize) -> String {
    let text = fixed(x, digits);
    let positive = text.chars().any(|c| ('1'..='9').contains(&c)) && !text.starts_with('−');
    if positive { format!("+{text}") } else { text }
}

/// `mean ± sd`; the mean alone for one run.
pub fn spread(summary: Option<&Summary>, digits: usize) -> String {
    match summary {
        None => NOTHING.into(),
        Some(Summary {
            mean, sd: Some(sd), ..
        }) => format!("{} ± {}", fixed(*mean, digits), fixed(*sd, digits)),
        Some(s) => fixed(s.mean, digits),
    }
}

/// `low to high`, with signs.
pub fn interval(summary: &Summary, digits: usize) -> Option<String> {
    let (low, high) = summary.interval?;
    Some(format!(
        "{} to {}",
        signed(low, digits),
        signed(high, digits)
    ))
}

/// A whole number with commas.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// The same with a capital.
pub fn first_upper(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string());
    first.unwrap_or_default() + chars.as_str()
}

/// `a`, `a and b`, `a, b and c`.
pub fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// Text for HTML, attributes included; a number stays with its per-cent sign and its ±.
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let held = text
        .replace(" %", "\u{a0}%")
        .replace(" ± ", "\u{a0}±\u{a0}");
    for c in held.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Text for Markdown, table cells included.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => out.push(' '),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '|' | '[' | ']' | '#' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// A word without case and the punctuation around it.
fn bare(word: &str) -> String {
    word.trim_matches(|c: char| !c.is_alphanumeric())
        .to_lowercase()
}

/// Splits a text into stretches; `true` for words that are in no reference (case and outer
/// punctuation aside).
pub fn marked(text: &str, references: &[String]) -> Vec<(String, bool)> {
    let known: HashSet<String> = references
        .iter()
        .flat_map(|r| r.split_whitespace().map(bare))
        .collect();
    let mut out: Vec<(String, bool)> = Vec::new();
    for word in text.split_whitespace() {
        let key = bare(word);
        let new = !key.is_empty() && !known.contains(&key);
        match out.last_mut() {
            Some((stretch, flag)) if *flag == new => {
                stretch.push(' ');
                stretch.push_str(word);
            }
            _ => out.push((word.into(), new)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_true_minus_signs_and_no_negative_zero() {
        assert_eq!(fixed(-1.25, 1), "−1.2");
        assert_eq!(fixed(-0.001, 2), "0.00");
        assert_eq!(fixed(f64::NAN, 2), NOTHING);
        assert_eq!(signed(0.5, 1), "+0.5");
        assert_eq!(signed(-0.5, 1), "−0.5");
        assert_eq!(signed(0.001, 2), "0.00");
        assert_eq!(count(124_439_808), "124,439,808");
        assert_eq!(count(12), "12");
    }

    #[test]
    fn one_run_has_no_spread() {
        assert_eq!(spread(Summary::of(&[1.5]).as_ref(), 2), "1.50");
        assert_eq!(
            spread(Summary::of(&[1.0, 2.0, 3.0]).as_ref(), 2),
            "2.00 ± 1.00"
        );
        assert_eq!(spread(None, 2), NOTHING);
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(
            html(r#"<b a="1">&'"#),
            "&lt;b a=&quot;1&quot;&gt;&amp;&#39;"
        );
        assert_eq!(html("95 % of 1 ± 2"), "95\u{a0}% of 1\u{a0}±\u{a0}2");
        assert_eq!(markdown("a|b\n*c* <x>"), "a\\|b \\*c\\* &lt;x&gt;");
    }

    #[test]
    fn only_words_in_no_reference_are_marked() {
        let references = [
            "Ajax play in Amsterdam.".to_string(),
            "The club is big".into(),
        ];
        let out = marked("ajax, PLAY at home in Amsterdam .", &references);
        let expected = [
            ("ajax, PLAY", false),
            ("at home", true),
            ("in Amsterdam .", false),
        ];
        assert_eq!(out.len(), expected.len());
        for ((text, flag), (t, f)) in out.iter().zip(expected) {
            assert_eq!((text.as_str(), *flag), (t, f));
        }
    }
}
