//! Numbers and lists as the pages write them.

use crate::stats::Summary;

/// What stands where there is no number.
pub const DASH: &str = "–";

/// A number with so many decimals and a true minus sign.
pub fn fixed(x: f64, digits: usize) -> String {
    if !x.is_finite() {
        return DASH.into();
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

/// Some number as [`fixed`] writes it, or a dash.
pub fn optional(x: Option<f64>, digits: usize) -> String {
    or_dash(x.map(|x| fixed(x, digits)))
}

/// `mean ± sd`; the mean alone for one run.
pub fn spread(summary: Option<Summary>, digits: usize) -> String {
    let mean = optional(summary.map(|s| s.mean), digits);
    match summary.and_then(|s| s.sd) {
        Some(sd) => format!("{mean} ± {}", fixed(sd, digits)),
        None => mean,
    }
}

/// The interval of a mean: `low to high`; none for one run.
pub fn interval(summary: Option<Summary>, digits: usize) -> Option<String> {
    let (low, high) = summary?.interval?;
    Some(format!("{} to {}", fixed(low, digits), fixed(high, digits)))
}

/// The interval of a difference: as [`interval`], with signs.
pub fn signed_interval(summary: Option<Summary>, digits: usize) -> Option<String> {
    let (low, high) = summary?.interval?;
    let [low, high] = [low, high].map(|x| signed(x, digits));
    Some(format!("{low} to {high}"))
}

/// What is said, or a dash.
pub fn or_dash(text: Option<String>) -> String {
    text.unwrap_or(DASH.into())
}

/// `1 seed`, `3 seeds`.
pub fn counted(n: usize, one: &str) -> String {
    format!("{} {one}{}", count(n), if n == 1 { "" } else { "s" })
}

/// A whole number with commas.
pub fn count(n: impl TryInto<u64>) -> String {
    let digits = n.try_into().unwrap_or(u64::MAX).to_string();
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
pub fn capitalised(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_true_minus_signs_and_no_negative_zero() {
        assert_eq!(fixed(-1.25, 1), "−1.2");
        assert_eq!(fixed(-0.001, 2), "0.00");
        assert_eq!(fixed(f64::NAN, 2), DASH);
        assert_eq!(signed(0.5, 1), "+0.5");
        assert_eq!(signed(-0.5, 1), "−0.5");
        assert_eq!(signed(0.001, 2), "0.00");
        assert_eq!(count(124_439_808_u64), "124,439,808");
        assert_eq!(count(12_usize), "12");
    }

    #[test]
    fn one_run_has_no_spread() {
        assert_eq!(spread(Summary::of(&[1.5]), 2), "1.50");
        assert_eq!(spread(Summary::of(&[1.0, 2.0, 3.0]), 2), "2.00 ± 1.00");
        assert_eq!(spread(None, 2), DASH);
    }
}
