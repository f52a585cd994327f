//! Scores of texts of one's own: BLEU and TER as sacrebleu computes them, METEOR, exact match and
//! F1 of words.
//!
//! BLEU has 13a's tokenization, the case as it stands and exponential smoothing, sacrebleu's
//! defaults. Exact match and F1 compare texts as SQuAD's script does ([`super::coqa::normalise`]),
//! with the best of the references.

use super::bleu::{self, Smoothing};
use super::groups::{ByCategory, by_category};
use super::meteor::{self, Files};
use super::ter::{self, Algorithm};
use super::{Bleu, Meteor, Ter, coqa};
use crate::{Example, Result};

/// The figures, each over seen, unseen, all and every group.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Texts {
    /// BLEU, 0 to 100.
    pub bleu: ByCategory<Bleu>,
    /// TER, 0 is perfect.
    pub ter: ByCategory<Ter>,
    /// METEOR, 0 to 1.
    pub meteor: ByCategory<Meteor>,
    /// Exact match and F1, 0 to 100.
    pub overlap: ByCategory<coqa::Scores>,
}

/// What an output adds to BLEU.
pub fn bleu_counts(output: &str, example: &Example) -> bleu::Counts {
    let references = std::slice::from_ref(&example.references);
    let counts = bleu::counts_13a(&[output.to_owned()], references, false);
    // the two lists have one item each
    counts
        .ok()
        .and_then(|c| c.first().copied())
        .unwrap_or_default()
}

/// BLEU of summed counts.
pub fn bleu(sum: &bleu::Counts) -> Bleu {
    sum.smoothed(Smoothing::Exp)
}

/// All figures of outputs, one for each example.
///
/// # Errors
/// The lists differ in length; a resource of METEOR's cannot be read.
pub fn scores(outputs: &[String], examples: &[Example], files: &Files) -> Result<Texts> {
    let references: Vec<Vec<String>> = examples.iter().map(|e| e.references.clone()).collect();
    let bleu_counts = bleu::counts_13a(outputs, &references, false)?;
    let (meteor, matchers) = meteor::counts(outputs, &references, files)?;
    let ter = ter::counts(outputs, &references, Algorithm::Sacrebleu)?;
    let pairs = outputs.iter().zip(&references);
    let overlap: Vec<coqa::Counts> = pairs.map(|(o, r)| coqa::Counts::best(o, r)).collect();
    Ok(Texts {
        bleu: groups(&bleu_counts, examples, bleu)?,
        ter: groups(&ter, examples, |c| c.score())?,
        meteor: groups(&meteor, examples, |c| Meteor {
            matchers: matchers.clone(),
            ..c.score()
        })?,
        overlap: groups(&overlap, examples, coqa::Counts::score)?,
    })
}

/// By group where there are groups; without them there is nothing seen or unseen.
fn groups<C: Copy + Default + std::ops::AddAssign, S>(
    counts: &[C],
    examples: &[Example],
    score: impl Fn(&C) -> S,
) -> Result<ByCategory<S>> {
    let mut found = by_category(counts, examples, score)?;
    found.categories.remove("");
    if found.categories.is_empty() {
        (found.seen, found.unseen) = (None, None);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Input;
    use approx::assert_abs_diff_eq;

    fn example(group: &str, seen: bool, references: &[&str]) -> Example {
        Example {
            position: 1,
            category: group.into(),
            seen,
            input: Input::Sentence("x".into()),
            references: references.iter().map(ToString::to_string).collect(),
            class: None,
            id: None,
        }
    }

    #[test]
    fn groups_and_seen_have_their_own_figures_and_the_best_reference_counts() {
        let examples = [
            example("a", true, &["the red cat", "a dog"]),
            example("b", false, &["one two three"]),
        ];
        let outputs = ["A dog.".to_string(), "one two".to_string()];
        let s = scores(&outputs, &examples, &Files::default()).unwrap();
        // "dog" is "a dog" without article and full stop; "one two": P = 1, R = 2/3
        assert_eq!(s.overlap.all.exact_match, 50.0);
        assert_abs_diff_eq!(s.overlap.all.f1, 100.0 * (1.0 + 0.8) / 2.0, epsilon = 1e-9);
        assert_eq!(s.overlap.seen.unwrap().exact_match, 100.0);
        assert_eq!(s.overlap.categories["b"].exact_match, 0.0);
        assert_eq!(s.bleu.unseen.unwrap().reference_length, 3);
    }

    #[test]
    fn without_groups_nothing_is_seen_or_unseen() {
        let examples = [example("", true, &["a b c d e"])];
        let s = scores(&["a b c d e".into()], &examples, &Files::default()).unwrap();
        assert_abs_diff_eq!(s.bleu.all.score, 100.0, epsilon = 1e-9);
        assert!(s.bleu.seen.is_none() && s.bleu.categories.is_empty());
        assert_eq!(s.ter.all.score, 0.0);
    }
}
