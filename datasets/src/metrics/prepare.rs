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
    let ascii = deunicode::deunicode(&lower);
    ascii.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::webnlg_2017;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_result_is_ascii_with_single_spaces(text in ".*") {
            let out = webnlg_2017(&text);
            prop_assert!(out.is_ascii());
            prop_assert!(!out.contains("  ") && out.trim() == out);
        }
    }
}
