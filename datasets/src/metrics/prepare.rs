//! The 2017 challenge's preparation of a raw output before scoring.

/// Split on everything that is no letter, digit or underscore, fold white space, lower-case,
/// transliterate to ASCII.
///
/// ```
/// use inducer_datasets::metrics::prepare::webnlg_2017;
/// let prepared = webnlg_2017("San Sebastián's  runway is 18L/36R.");
/// assert_eq!(prepared, "san sebastian ' s runway is 18l / 36r .");
/// ```
pub fn webnlg_2017(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if c.is_alphanumeric() || c == '_' {
            spaced.push(c);
        } else {
            spaced.extend([' ', c, ' ']);
        }
    }
    let lower = spaced
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase();
    let ascii: String = lower.chars().map(to_ascii).collect();
    ascii.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Signs of Latin texts that Unidecode 1.4 writes otherwise than deunicode.
const SIGNS: [(char, &str); 22] = [
    ('¼', " 1/4"),
    ('½', " 1/2"),
    ('¾', " 3/4"),
    ('⅐', " 1/7 "),
    ('⅑', " 1/9 "),
    ('⅒', " 1/10 "),
    ('ŋ', "ng"),
    ('є', "ie"),
    ('⁊', "&"),
    ('⁒', "%"),
    ('₴', "UAH"),
    ('₵', "C|"),
    ('₺', "L"),
    ('₽', "R"),
    ('℀', " a/c "),
    ('℃', "degC"),
    ('℅', " c/o "),
    ('℉', "degF"),
    ('№', "No. "),
    ('℠', "(sm)"),
    ('™', "(tm)"),
    ('\u{fffd}', ""),
];

/// What Unidecode, the challenge's library, writes for a character: nothing where it does not know
/// it, which beyond the first plane is everything but mathematical letters. In blocks that no Latin
/// text uses deunicode knows more characters and reads some otherwise.
fn to_ascii(c: char) -> &'static str {
    if let Some((_, ascii)) = SIGNS.iter().find(|(sign, _)| *sign == c) {
        return ascii;
    }
    match c {
        '\u{10000}'..='\u{1d3ff}' | '\u{1d800}'.. => "",
        _ => deunicode::deunicode_char(c).unwrap_or(""),
    }
}

#[cfg(test)]
mod tests {
    use super::webnlg_2017;
    use proptest::prelude::*;

    /// By Python's Unidecode 1.4.0, as the challenge's script calls it.
    #[test]
    fn signs_and_unknown_characters_are_unidecodes() {
        for (text, expected) in [
            ("who\u{fffd}ion", "who ion"),
            ("3½ miles", "3 1/2 miles"),
            ("№ 5 at 20 ℃", "No. 5 at 20 degC"),
            ("Inducer™ 🙂!", "inducer (tm) !"),
            ("a\u{378}b 𝐱 €5", "a b x EUR 5"),
            (
                "São Tomé, Ærø, Łódź, ß, ŋ",
                "sao tome , aero , lodz , ss , ng",
            ),
        ] {
            assert_eq!(webnlg_2017(text), expected);
        }
    }

    proptest! {
        #[test]
        fn the_result_is_ascii_with_single_spaces(text in ".*") {
            let out = webnlg_2017(&text);
            prop_assert!(out.is_ascii());
            prop_assert!(!out.contains("  ") && out.trim() == out);
        }
    }
}
