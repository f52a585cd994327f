//! BLEU: every n-gram against every other.

use super::given;
use crate::bounds::UNIT_ROUNDOFF_F64;
use crate::cases::Draw;
use crate::{Case, Result, Tolerance};
use inducer_datasets::metrics::corpus_bleu;

/// Words of a text of this length, few different ones so that n-grams repeat.
fn text(draw: &mut Draw, n: usize) -> Vec<u32> {
    (0..n).map(|_| draw.size(0, 2) as u32).collect()
}

fn written(words: &[u32]) -> String {
    let words: Vec<String> = words.iter().map(|w| format!("W{w}")).collect();
    words.join(" ")
}

/// How often an n-gram stands in a text.
fn count<W: PartialEq>(gram: &[W], text: &[W]) -> usize {
    text.windows(gram.len())
        .filter(|other| *other == gram)
        .count()
}

/// Words of a hypothesis and of each of its references.
pub(super) type Pair<W> = (Vec<W>, Vec<Vec<W>>);

/// What BLEU is made of.
#[derive(Default)]
pub(super) struct Sums {
    /// N-grams that match, by n − 1.
    pub(super) matched: [usize; 4],
    /// N-grams of the hypotheses.
    pub(super) all: [usize; 4],
    /// Words of the hypotheses, and of the references that are closest to them in length.
    lengths: [usize; 2],
}

impl Sums {
    /// Of a corpus: a match is clipped by the greatest count in one reference, or in a control by
    /// the sum over all of them.
    pub(super) fn of<W: PartialEq>(texts: &[Pair<W>], summed: bool) -> Self {
        let mut sums = Self::default();
        for (hypothesis, references) in texts {
            for n in 1..=4 {
                let grams: Vec<&[W]> = hypothesis.windows(n).collect();
                for (i, gram) in grams.iter().enumerate() {
                    let counts = references.iter().map(|reference| count(gram, reference));
                    let most: usize = match summed {
                        true => counts.sum(),
                        false => counts.max().unwrap_or(0),
                    };
                    // the k-th occurrence matches while k is below the clip
                    let before = grams[..i].iter().filter(|other| *other == gram).count();
                    sums.matched[n - 1] += usize::from(before < most);
                    sums.all[n - 1] += 1;
                }
            }
            let n = hypothesis.len();
            let near = references.iter().map(Vec::len);
            let closest = near.min_by_key(|r| 2 * r.abs_diff(n) + usize::from(*r > n));
            sums.lengths[0] += n;
            sums.lengths[1] += closest.unwrap_or(0);
        }
        sums
    }

    /// The precision of n-grams; 0 where there are none.
    pub(super) fn precision(&self, n: usize) -> f64 {
        match self.all[n - 1] {
            0 => 0.0,
            all => self.matched[n - 1] as f64 / all as f64,
        }
    }

    /// The score of these precisions.
    pub(super) fn score(&self, precisions: [f64; 4]) -> f64 {
        if precisions.contains(&0.0) {
            return 0.0;
        }
        let logs: f64 = precisions.iter().map(|p| 0.25 * p.ln()).sum();
        let [h, r] = self.lengths.map(|n| n as f64);
        100.0 * (logs + (1.0 - r / h).min(0.0)).exp()
    }

    /// The score without smoothing.
    pub(super) fn plain(&self) -> f64 {
        self.score([1, 2, 3, 4].map(|n| self.precision(n)))
    }
}

/// What a score in f64 may be away from its definition's.
pub(super) fn rounded(expected: f64) -> Tolerance {
    let why = "64 u: four logarithms, their sum, two exponentials";
    Tolerance::stated(64.0 * UNIT_ROUNDOFF_F64 * expected, why)
}

/// The engine's BLEU is the definition's. In the control matches are clipped by the sum over
/// references.
pub(super) fn bleu(case: &mut Case) -> Result<()> {
    let sentences = case.draw.size(1, 4);
    let references = case.draw.size(1, 3);
    let texts: Vec<Pair<u32>> = (0..sentences)
        .map(|_| {
            let n = case.draw.size(0, 14);
            // two references as near as each other, one of them shorter
            let apart = case.draw.size(0, 3.min(n));
            let own = (0..references).map(|at| {
                let n = match (apart, at) {
                    (1.., 0) => n + apart,
                    (1.., 1) => n - apart,
                    _ => case.draw.size(0, 14),
                };
                text(&mut case.draw, n)
            });
            let own = own.collect();
            (text(&mut case.draw, n), own)
        })
        .collect();
    let hypotheses: Vec<String> = texts.iter().map(|(h, _)| written(h)).collect();
    let all: Vec<Vec<String>> = (texts.iter())
        .map(|(_, r)| r.iter().map(|r| written(r)).collect())
        .collect();
    let found = given(corpus_bleu(&hypotheses, &all, case.draw.chance(0.5)))?.score;
    let expected = Sums::of(&texts, case.control).plain();
    case.close(found, expected, &rounded(expected), || {
        format!("{hypotheses:?} against {all:?}")
    });
    Ok(())
}
