//! What METEOR's `-norm` does to English: tokenization after Moses with punctuation kept, then
//! lower case.

use std::collections::HashMap;

/// Words that a full stop belongs to, and whether only before a number.
pub type Prefixes = HashMap<String, bool>;

fn alpha(c: char) -> bool {
    c.is_ascii_alphabetic()
        || matches!(c, 'Š' | 'Ž' | 'š' | 'ž' | 'Ÿ' | 'À'..='Ö' | 'Ø'..='ö' | 'ø'..='ž')
        || matches!(c, 'Ѐ'..='ԧ' | 'Ꙁ'..='\u{a66e}' | '\u{a67e}'..='\u{a697}' | 'ᴀ'..='ᵿ')
}

fn digit(c: char) -> bool {
    c.is_ascii_digit()
}

fn alnum(c: char) -> bool {
    digit(c) || alpha(c)
}

/// Stands for a dot of an ellipsis while the others are looked at.
const DOT: char = '\u{e000}';

/// Three neighbours that a rule fits, from left to right without overlap: the middle one is
/// replaced.
fn around(text: &str, rule: impl Fn(char, char, char) -> bool, middle: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len() + 16);
    let mut i = 0;
    while i < chars.len() {
        out.push(chars[i]);
        match chars[i..] {
            [a, b, c, ..] if rule(a, b, c) => {
                out.push_str(middle);
                out.push(c);
                i += 3;
            }
            _ => i += 1,
        }
    }
    out
}

/// A line as METEOR's aligner sees it.
pub fn normalise(line: &str, prefixes: &Prefixes) -> Vec<String> {
    let mut text = String::from(" ");
    for c in line.chars() {
        let plain = alnum(c) || ".'`,-‘’".contains(c) || " \t\n\r\u{b}\u{c}".contains(c);
        if plain {
            text.push(c);
        } else {
            text.extend([' ', c, ' ']);
        }
    }
    text.push(' ');
    text = ellipses(&text);
    for (before, after) in [(false, false), (true, false), (false, true)] {
        let rule = |a, b, c| b == ',' && digit(a) == before && digit(c) == after;
        text = around(&text, rule, " , ");
    }
    text = text.replace(['`', '‘', '’'], "'");
    text = text.replace(['“', '”'], " \" ").replace("''", " \" ");
    text = text.replace('–', "-").replace("--", "-");
    text = around(
        &text,
        |a, b, c| b == '-' && (alnum(a) || a == '.') && alnum(c),
        " ",
    );
    text = around(&text, |a, b, c| b == '\'' && !alpha(a) && !alpha(c), " ' ");
    text = around(&text, |a, b, c| b == '\'' && !alnum(a) && alpha(c), " ' ");
    text = around(&text, |a, b, c| b == '\'' && alpha(a) && !alpha(c), " ' ");
    text = around(&text, |a, b, c| b == '\'' && alpha(a) && alpha(c), " '");
    text = around(&text, |a, b, c| b == '\'' && digit(a) && c == 's', " '");
    full_stops(&text, prefixes)
        .replace(DOT, ".")
        .to_lowercase()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

/// Runs of dots stand alone and stay together.
fn ellipses(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("..") {
        out.push_str(&rest[..at]);
        let run = rest[at..].len() - rest[at..].trim_start_matches('.').len();
        out.push(' ');
        out.extend(std::iter::repeat_n(DOT, run));
        out.push(' ');
        rest = &rest[at + run..];
    }
    out.push_str(rest);
    out
}

/// A full stop leaves its word unless that is an abbreviation; U.S. becomes US.
fn full_stops(text: &str, prefixes: &Prefixes) -> String {
    let words: Vec<&str> = text
        .split([' ', '\t', '\n', '\r', '\u{c}'])
        .filter(|w| !w.is_empty())
        .collect();
    let mut out = String::with_capacity(text.len());
    for (i, word) in words.iter().enumerate() {
        let next = words.get(i + 1).and_then(|w| w.chars().next());
        match word.strip_suffix('.').filter(|w| !w.is_empty()) {
            None => out.push_str(word),
            Some(stem) if stem.contains('.') && stem.contains(alpha) => {
                out.push_str(&word.replace('.', ""));
            }
            Some(stem) => {
                let stays = match prefixes.get(stem) {
                    Some(false) => true,
                    Some(true) if next.is_some_and(digit) => true,
                    _ => next.is_some_and(|c| c.is_ascii_lowercase()),
                };
                out.push_str(if stays { word } else { stem });
                out.push_str(if stays { "" } else { " ." });
            }
        }
        out.push(' ');
    }
    out
}
