//! The tokenization of NIST's mteval-v13a, as sacrebleu 2.6.0 has it.
//!
//! Tags and the four entities are replaced, then: symbols stand alone; full stops and commas stand
//! alone unless between digits; a dash behind a digit stands alone. Checked against sacrebleu in
//! `tests/bleu.rs`.

/// Whether a rule looks for this character.
type Is = fn(char) -> bool;

fn symbol(c: char) -> bool {
    matches!(c, '{'..='~' | '['..='`' | ' '..='&' | '('..='+' | ':'..='@' | '/')
}

fn digit(c: char) -> bool {
    c.is_ascii_digit()
}

fn stop(c: char) -> bool {
    matches!(c, '.' | ',')
}

/// Pairs of neighbours that the two rules fit, from left to right without overlap, with spaces
/// around one of the two.
fn split(text: &str, first: Is, second: Is, alone: usize) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut chars = text.chars().peekable();
    while let Some(a) = chars.next() {
        match chars.peek().copied() {
            Some(b) if first(a) && second(b) => {
                chars.next();
                let pair = if alone == 0 {
                    [' ', a, ' ', b]
                } else {
                    [a, ' ', b, ' ']
                };
                out.extend(pair);
            }
            _ => out.push(a),
        }
    }
    out
}

/// The text with single spaces between its tokens.
///
/// ```
/// use inducer_datasets::metrics::tokenize::mteval_13a;
/// let tokens = mteval_13a("It cost $1,000.5, in 1980-84 (&quot;U.S.&quot;).");
/// assert_eq!(tokens, "It cost $ 1,000.5 , in 1980 - 84 ( \" U . S . \" ) .");
/// ```
pub fn mteval_13a(text: &str) -> String {
    let mut text = text
        .trim_end()
        .replace("<skipped>", "")
        .replace("-\n", "")
        .replace('\n', " ");
    for (entity, c) in [
        ("&quot;", "\""),
        ("&amp;", "&"),
        ("&lt;", "<"),
        ("&gt;", ">"),
    ] {
        text = text.replace(entity, c);
    }
    let mut spaced = String::with_capacity(text.len() * 2);
    for c in format!(" {text} ").chars() {
        if symbol(c) {
            spaced.extend([' ', c, ' ']);
        } else {
            spaced.push(c);
        }
    }
    let text = split(&spaced, |c| !digit(c), stop, 1);
    let text = split(&text, stop, |c| !digit(c), 0);
    let text = split(&text, digit, |c| c == '-', 1);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
