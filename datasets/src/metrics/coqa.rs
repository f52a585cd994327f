//! CoQA's exact match and word-overlap F1, by the rules of its official script (Reddy et al. 2019).
//!
//! ```text
//! F1(a, g) = 2PR/(P + R),   P = |a ∩ g|/|a|,   R = |a ∩ g|/|g|     (bags of words)
//! score(a) = max_g F1(a, g)                      of one reference
//!          = 1/n Σ_i max_{g ≠ i} F1(a, g)        of n references
//! ```
//!
//! Of several references each is left out in turn, since a human's answer is scored against the
//! others.
//!
//! Texts are lower-cased, stripped of ASCII punctuation, then of the words *a, an, the*, then of
//! superfluous white space. Where a text is empty after that, F1 is 1 if both are and 0 otherwise.
//! The figure is the mean over questions (not over conversations), times 100; each domain, which
//! CoQA calls source, has its own.
//!
//! Departure from the script: it rounds its output to one decimal, we do not.

use std::collections::{BTreeMap, HashMap};

use super::groups::by_group;
use super::{paired, total};
use crate::Result;

/// Scores of one question or the sum over several.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Exact match, 0 to 1 a question.
    pub exact_match: f64,
    /// F1, 0 to 1 a question.
    pub f1: f64,
    /// Questions.
    pub questions: usize,
}

/// Means over questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Scores {
    /// Exact match, 0 to 100.
    pub exact_match: f64,
    /// F1, 0 to 100.
    pub f1: f64,
    /// Questions.
    pub questions: usize,
}

/// CoQA's scores, over all and for each domain.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Coqa {
    /// Over all questions.
    #[serde(flatten)]
    pub overall: Scores,
    /// Over those of each domain.
    pub domains: BTreeMap<String, Scores>,
}

/// A text as it is compared.
///
/// ```
/// use inducer_datasets::metrics::coqa::normalise;
/// assert_eq!(normalise(" The  cat's an A-student. "), "cats astudent");
/// ```
pub fn normalise(text: &str) -> String {
    let mut bare = text.to_lowercase();
    bare.retain(|c| !c.is_ascii_punctuation());
    without_articles(&bare)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// `re.sub(r"\b(a|an|the)\b", " ", text)`: a word ends where letters, digits and underscores do.
fn without_articles(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let end = rest
            .find(|d: char| inside(d) != inside(c))
            .unwrap_or(rest.len());
        let (run, tail) = rest.split_at(end);
        out.push_str(if matches!(run, "a" | "an" | "the") {
            " "
        } else {
            run
        });
        rest = tail;
    }
    out
}

/// Whether two texts are the same once normalised.
pub fn exact_match(answer: &str, gold: &str) -> bool {
    normalise(answer) == normalise(gold)
}

/// F1 of the words of two texts once normalised.
///
/// ```
/// use approx::assert_abs_diff_eq;
/// use inducer_datasets::metrics::coqa::f1;
/// // "black cat" against "black cat sat": P = 1, R = 2/3
/// assert_abs_diff_eq!(f1("the black cat", "A black cat sat."), 0.8, epsilon = 1e-15);
/// assert_eq!((f1("the", ""), f1("", "cat")), (1.0, 0.0));
/// ```
pub fn f1(answer: &str, gold: &str) -> f64 {
    let (answer, gold) = (normalise(answer), normalise(gold));
    let answer: Vec<&str> = answer.split_whitespace().collect();
    let gold: Vec<&str> = gold.split_whitespace().collect();
    if answer.is_empty() || gold.is_empty() {
        return f64::from(answer.is_empty() && gold.is_empty());
    }
    let mut left: HashMap<&str, usize> = HashMap::new();
    gold.iter().for_each(|w| *left.entry(w).or_insert(0) += 1);
    let mut common = 0;
    for word in &answer {
        if let Some(n) = left.get_mut(word).filter(|n| **n > 0) {
            *n -= 1;
            common += 1;
        }
    }
    if common == 0 {
        return 0.0;
    }
    let precision = common as f64 / answer.len() as f64;
    let recall = common as f64 / gold.len() as f64;
    2.0 * precision * recall / (precision + recall)
}

impl Counts {
    /// One question, its references left out in turn where there are several; without references
    /// nothing is right.
    pub fn of<S: AsRef<str>>(answer: &str, references: &[S]) -> Self {
        let exact: Vec<f64> = references
            .iter()
            .map(|g| f64::from(exact_match(answer, g.as_ref())))
            .collect();
        let overlap: Vec<f64> = references.iter().map(|g| f1(answer, g.as_ref())).collect();
        Self {
            exact_match: leave_one_out(&exact),
            f1: leave_one_out(&overlap),
            questions: 1,
        }
    }

    /// One question with the best of its references, as SQuAD counts.
    ///
    /// ```
    /// use inducer_datasets::metrics::coqa::Counts;
    /// assert_eq!(Counts::best("a cat", &["dog", "Cat!"]).exact_match, 1.0);
    /// // CoQA leaves each reference out in turn, and "dog" alone is not met
    /// assert_eq!(Counts::of("a cat", &["dog", "Cat!"]).exact_match, 0.5);
    /// ```
    pub fn best<S: AsRef<str>>(answer: &str, references: &[S]) -> Self {
        let highest = |of: &dyn Fn(&str) -> f64| {
            let scores = references.iter().map(|g| of(g.as_ref()));
            scores.fold(0.0, f64::max)
        };
        Self {
            exact_match: highest(&|g| f64::from(exact_match(answer, g))),
            f1: highest(&|g| f1(answer, g)),
            questions: 1,
        }
    }

    /// The means of summed counts.
    pub fn score(&self) -> Scores {
        let mean = |sum: f64| 100.0 * sum / self.questions.max(1) as f64;
        Scores {
            exact_match: mean(self.exact_match),
            f1: mean(self.f1),
            questions: self.questions,
        }
    }
}

/// The highest of all, or the mean over the leavings-out of the highest of the others.
fn leave_one_out(scores: &[f64]) -> f64 {
    let highest = |left_out: Option<usize>| {
        let others = scores
            .iter()
            .enumerate()
            .filter(|(i, _)| Some(*i) != left_out);
        others.map(|(_, s)| *s).fold(0.0, f64::max)
    };
    match scores.len() {
        0 | 1 => highest(None),
        n => (0..n).map(|i| highest(Some(i))).sum::<f64>() / n as f64,
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.exact_match += other.exact_match;
        self.f1 += other.f1;
        self.questions += other.questions;
    }
}

/// [`Counts`] of every question.
///
/// # Errors
/// The lists differ in length.
pub fn counts(answers: &[String], references: &[Vec<String>]) -> Result<Vec<Counts>> {
    let pairs = paired(answers, references)?;
    Ok(pairs.map(|(a, r)| Counts::of(a, r)).collect())
}

/// Scores over all questions and for each domain; `domains` is empty or names one for each
/// question.
///
/// # Errors
/// The lists differ in length.
pub fn coqa(answers: &[String], references: &[Vec<String>], domains: &[String]) -> Result<Coqa> {
    let counts = counts(answers, references)?;
    if domains.is_empty() {
        return Ok(Coqa {
            overall: total(counts).score(),
            domains: BTreeMap::new(),
        });
    }
    let (overall, domains) = by_group(&counts, domains, Counts::score)?;
    Ok(Coqa { overall, domains })
}
