//! Corpus BLEU exactly as `multi-bleu.perl` computes it (Papineni et al. 2002).
//!
//! ```text
//! BLEU = 100 · BP · exp(¼ Σ_n log p_n),   BP = min(1, exp(1 − R/H))
//! ```
//!
//! `p_n`: n-grams of the hypotheses found in a reference (clipped at their highest count in one
//! reference) over all. `H`: words in the hypotheses; `R`: sum over hypotheses of the reference
//! length closest to the hypothesis', the shorter of two equally close. Words are separated by
//! ASCII white space; lower-casing is ASCII's, since the script works on bytes. The script reads
//! one file per reference set, in which a missing reference is an empty line and takes part as a
//! reference of length 0: here likewise, sets shorter than the longest one are filled up with empty
//! references.

use std::collections::HashMap;

use super::tokenize::mteval_13a;
use super::{each, total, words};
use crate::Result;

/// BLEU and what it is made of.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Bleu {
    /// The score, 0 to 100.
    #[serde(rename = "bleu")]
    pub score: f64,
    /// Precisions of 1- to 4-grams, 0 to 100.
    pub precisions: [f64; 4],
    /// Brevity penalty, 0 to 1.
    pub brevity_penalty: f64,
    /// `H / R`.
    pub ratio: f64,
    /// Words in the hypotheses.
    pub hypothesis_length: usize,
    /// Words in the closest references.
    pub reference_length: usize,
}

/// What is done with n-grams that never match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Smoothing {
    /// Nothing: the score is 0 (multi-bleu.perl).
    #[default]
    #[serde(rename = "none")]
    None,
    /// Each further precision of 0 is half of one match less: 1/2, 1/4, … (mteval, sacrebleu's
    /// default).
    #[serde(rename = "exp")]
    Exp,
    /// One match and one n-gram more from bigrams on (sacrebleu's `add-k` with k = 1).
    #[serde(rename = "add-k")]
    AddOne,
}

/// What one hypothesis adds to the corpus: sums of these give the corpus score, which is what
/// resampling needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Matched n-grams, by n − 1.
    pub matched: [usize; 4],
    /// N-grams of the hypothesis.
    pub total: [usize; 4],
    /// Words of the hypothesis.
    pub hypothesis: usize,
    /// Words of the closest reference.
    pub reference: usize,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        for n in 0..4 {
            self.matched[n] += other.matched[n];
            self.total[n] += other.total[n];
        }
        self.hypothesis += other.hypothesis;
        self.reference += other.reference;
    }
}

fn ngrams<'a>(words: &'a [&'a str], n: usize) -> HashMap<&'a [&'a str], usize> {
    let mut counts = HashMap::new();
    for gram in words.windows(n) {
        *counts.entry(gram).or_insert(0) += 1;
    }
    counts
}

impl Counts {
    /// Counts of one hypothesis against its references, none of which stands for one empty
    /// reference.
    pub fn of<S: AsRef<str>>(hypothesis: &str, references: &[S], lowercase: bool) -> Self {
        let case = |t: &str| {
            if lowercase {
                t.to_ascii_lowercase()
            } else {
                t.to_owned()
            }
        };
        let hypothesis = case(hypothesis);
        let references: Vec<String> = references.iter().map(|r| case(r.as_ref())).collect();
        let hypothesis: Vec<&str> = words(&hypothesis).collect();
        let references: Vec<Vec<&str>> = references.iter().map(|r| words(r).collect()).collect();
        let closest = references
            .iter()
            .map(Vec::len)
            .min_by_key(|&r| (r.abs_diff(hypothesis.len()), r));
        let mut counts = Self {
            hypothesis: hypothesis.len(),
            reference: closest.unwrap_or(0),
            ..Self::default()
        };
        for n in 1..=4 {
            let mut best: HashMap<&[&str], usize> = HashMap::new();
            for reference in &references {
                for (gram, count) in ngrams(reference, n) {
                    let seen = best.entry(gram).or_insert(0);
                    *seen = count.max(*seen);
                }
            }
            for (gram, count) in ngrams(&hypothesis, n) {
                counts.total[n - 1] += count;
                counts.matched[n - 1] += count.min(best.get(gram).copied().unwrap_or(0));
            }
        }
        counts
    }

    /// The corpus score of summed counts; 0 where a precision is 0.
    pub fn score(&self) -> Bleu {
        self.smoothed(Smoothing::None)
    }

    /// The same with precisions of 0 made larger as sacrebleu does; 0 where no word matches.
    pub fn smoothed(&self, smoothing: Smoothing) -> Bleu {
        let mut halved = 1.0;
        let mut part = |n: usize| {
            let (mut matched, mut total) = (self.matched[n] as f64, self.total[n] as f64);
            if smoothing == Smoothing::AddOne && n > 0 {
                (matched, total) = (matched + 1.0, total + 1.0);
            }
            if total == 0.0 {
                0.0
            } else if matched == 0.0 && smoothing == Smoothing::Exp && self.matched[0] > 0 {
                halved *= 2.0;
                1.0 / (halved * total)
            } else {
                matched / total
            }
        };
        let precisions: [f64; 4] = std::array::from_fn(&mut part);
        let (hypothesis, reference) = (self.hypothesis as f64, self.reference as f64);
        let brevity_penalty = match self.hypothesis {
            0 => 0.0,
            h if h < self.reference => (1.0 - reference / hypothesis).exp(),
            _ => 1.0,
        };
        let mean = precisions.iter().map(|p| p.ln()).sum::<f64>() / 4.0;
        Bleu {
            score: 100.0 * brevity_penalty * mean.exp(),
            precisions: precisions.map(|p| 100.0 * p),
            brevity_penalty,
            ratio: if self.reference == 0 {
                0.0
            } else {
                hypothesis / reference
            },
            hypothesis_length: self.hypothesis,
            reference_length: self.reference,
        }
    }
}

/// [`Counts`] of every hypothesis, reference sets filled up with empty references to the longest
/// set's size.
///
/// # Errors
/// The lists differ in length.
pub fn counts(
    hypotheses: &[String],
    references: &[Vec<String>],
    lowercase: bool,
) -> Result<Vec<Counts>> {
    let most = references.iter().map(Vec::len).max().unwrap_or(0);
    let one = |(h, r): (&String, &Vec<String>)| {
        let filled: Vec<&str> = r
            .iter()
            .map(String::as_str)
            .chain(std::iter::repeat(""))
            .take(most)
            .collect();
        Counts::of(h, &filled, lowercase)
    };
    each(hypotheses, references, one)
}

/// BLEU of a corpus; `references[i]` belong to `hypotheses[i]`.
///
/// # Errors
/// The lists differ in length.
///
/// ```
/// use approx::assert_abs_diff_eq;
/// use inducer_datasets::metrics::corpus_bleu;
/// let hyp = ["the cat sat on the mat".to_string()];
/// // n-grams of the hypothesis found in the reference: 5 of 6, 4 of 5, 3 of 4, 2 of 3
/// let b = corpus_bleu(&hyp, &[vec!["the cat sat on the rug".into()]], false).unwrap();
/// let by_hand = 100.0 * (5.0 / 6.0 * 4.0 / 5.0 * 3.0 / 4.0 * 2.0 / 3.0f64).powf(0.25);
/// assert_abs_diff_eq!(b.score, by_hand, epsilon = 1e-12);
/// ```
pub fn corpus_bleu(
    hypotheses: &[String],
    references: &[Vec<String>],
    lowercase: bool,
) -> Result<Bleu> {
    Ok(total(counts(hypotheses, references, lowercase)?).score())
}

/// BLEU of a corpus as sacrebleu computes it without smoothing: 13a's tokenization, Unicode's lower
/// case, and a missing reference is none at all.
///
/// # Errors
/// The lists differ in length.
///
/// ```
/// use inducer_datasets::metrics::bleu::corpus_bleu_13a;
/// let references = [vec!["a cat , a dog .".into()]];
/// let b = corpus_bleu_13a(&["A cat, a dog.".into()], &references, true).unwrap();
/// assert_eq!((b.score.round(), b.hypothesis_length), (100.0, 6));
/// ```
pub fn corpus_bleu_13a(
    hypotheses: &[String],
    references: &[Vec<String>],
    lowercase: bool,
) -> Result<Bleu> {
    Ok(total(counts_13a(hypotheses, references, lowercase)?).score())
}

/// [`Counts`] of every hypothesis after 13a's tokenization.
///
/// # Errors
/// The lists differ in length.
pub fn counts_13a(
    hypotheses: &[String],
    references: &[Vec<String>],
    lowercase: bool,
) -> Result<Vec<Counts>> {
    let prepare = |text: &String| {
        if lowercase {
            mteval_13a(&text.to_lowercase())
        } else {
            mteval_13a(text)
        }
    };
    let one = |(h, r): (&String, &Vec<String>)| {
        let r: Vec<String> = r.iter().map(prepare).collect();
        Counts::of(&prepare(h), &r, false)
    };
    each(hypotheses, references, one)
}
