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
fn count(gram: &[u32], text: &[u32]) -> usize {
    text.windows(gram.len())
        .filter(|other| *other == gram)
        .count()
}

/// BLEU of a corpus by its definition: `clip` takes the greatest count in one reference, or in the
/// control the sum over all of them.
fn definition(texts: &[(Vec<u32>, Vec<Vec<u32>>)], summed: bool) -> f64 {
    let (mut logs, mut lengths) = (0.0, [0_usize; 2]);
    for n in 1..=4 {
        let (mut matched, mut all) = (0, 0);
        for (hypothesis, references) in texts {
            let grams: Vec<&[u32]> = hypothesis.windows(n).collect();
            for (i, gram) in grams.iter().enumerate() {
                let counts = references.iter().map(|reference| count(gram, reference));
                let most: usize = match summed {
                    true => counts.sum(),
                    false => counts.max().unwrap_or(0),
                };
                // the k-th occurrence matches while k is below the clip
                let before = grams[..i].iter().filter(|other| *other == gram).count();
                matched += usize::from(before < most);
                all += 1;
            }
        }
        if matched == 0 {
            return 0.0;
        }
        logs += 0.25 * (matched as f64 / all as f64).ln();
    }
    for (hypothesis, references) in texts {
        let n = hypothesis.len();
        let near = references.iter().map(Vec::len);
        let closest = near.min_by_key(|r| 2 * r.abs_diff(n) + usize::from(*r > n));
        lengths[0] += n;
        lengths[1] += closest.unwrap_or(0);
    }
    let [h, r] = lengths.map(|n| n as f64);
    100.0 * (logs + (1.0 - r / h).min(0.0)).exp()
}

/// The engine's BLEU is the definition's. In the control matches are clipped by the sum over
/// references.
pub(super) fn bleu(case: &mut Case) -> Result<()> {
    let sentences = case.draw.size(1, 4);
    let references = case.draw.size(1, 3);
    let texts: Vec<(Vec<u32>, Vec<Vec<u32>>)> = (0..sentences)
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
    let expected = definition(&texts, case.control);
    let bound = 64.0 * UNIT_ROUNDOFF_F64 * expected;
    let tolerance = Tolerance::stated(bound, "64 u: four logarithms, their sum, two exponentials");
    case.close(found, expected, &tolerance, || {
        format!("{hypotheses:?} against {all:?}")
    });
    Ok(())
}
