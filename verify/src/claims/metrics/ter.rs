//! TER by the words of its two programs: the whole table of the edit distance, every shift tried.
//!
//! Of texts as short as these no program's beam, its 50 positions or its runs of 10 words leave
//! anything out, so the definition has none of them. Ties are part of what the programs say, and
//! stand here as they do.

use super::given;
use crate::bounds::UNIT_ROUNDOFF_F64;
use crate::cases::Draw;
use crate::{Case, Result, Tolerance};
use inducer_datasets::metrics::ter::{Algorithm, corpus_ter};

/// Words of a text: few different ones, so that runs match in several places.
const MOST_WORDS: usize = 10;

/// Trials after which sacrebleu takes no further shift.
const MOST_TRIALS: usize = 1000;

#[derive(Clone, Copy, PartialEq)]
enum Step {
    Match,
    Substitute,
    /// A word of the hypothesis alone.
    Insert,
    /// A word of the reference alone.
    Delete,
}

/// The steps of the cheapest way through the table: of last steps that cost the same the diagonal
/// one, then an insertion.
fn path(h: &[u32], r: &[u32]) -> Vec<Step> {
    let wide = r.len() + 1;
    let mut cost = vec![0; wide * (h.len() + 1)];
    for i in 0..=h.len() {
        for j in 0..wide {
            let here = wide * i + j;
            let diagonal =
                (i > 0 && j > 0).then(|| cost[here - wide - 1] + usize::from(h[i - 1] != r[j - 1]));
            let insert = (i > 0).then(|| cost[here - wide] + 1);
            let delete = (j > 0).then(|| cost[here - 1] + 1);
            let ways = [diagonal, insert, delete].into_iter().flatten();
            cost[here] = ways.min().unwrap_or(0);
        }
    }
    let (mut i, mut j, mut steps) = (h.len(), r.len(), Vec::new());
    while i > 0 || j > 0 {
        let here = wide * i + j;
        let differ = i > 0 && j > 0 && h[i - 1] != r[j - 1];
        let step = if i > 0 && j > 0 && cost[here - wide - 1] + usize::from(differ) == cost[here] {
            [Step::Match, Step::Substitute][usize::from(differ)]
        } else if i > 0 && cost[here - wide] + 1 == cost[here] {
            Step::Insert
        } else {
            Step::Delete
        };
        i -= usize::from(step != Step::Delete);
        j -= usize::from(step != Step::Insert);
        steps.push(step);
    }
    steps.reverse();
    steps
}

fn edits(steps: &[Step]) -> usize {
    steps.iter().filter(|step| **step != Step::Match).count()
}

/// A shift: the run's start and length, and the word of the hypothesis behind which it goes, −1 for
/// the front.
type Shift = (usize, usize, isize);

/// Every shift that a program tries, longest runs first, then by the run's start, then by the place
/// in the reference whose words it is.
///
/// The words are those of the reference there, some of the run and some of these are wrong now, and
/// the place does not lie in the run itself. The run goes behind the word before that place, or
/// behind one of its words.
fn shifts(h: &[u32], r: &[u32], steps: &[Step], algorithm: Algorithm) -> Vec<Shift> {
    let (mut place, mut wrong_h, mut wrong_r) = (Vec::new(), Vec::new(), Vec::new());
    for step in steps {
        if *step != Step::Delete {
            wrong_h.push(*step != Step::Match);
        }
        if *step != Step::Insert {
            place.push(wrong_h.len() as isize - 1);
            wrong_r.push(*step != Step::Match);
        }
    }
    let mut all = Vec::new();
    for n in (1..=h.len().min(r.len())).rev() {
        for start in 0..=h.len() - n {
            for target in 0..=r.len() - n {
                let inside = (start as isize..(start + n) as isize).contains(&place[target]);
                let wrong = wrong_h[start..start + n].contains(&true)
                    && wrong_r[target..target + n].contains(&true);
                if h[start..start + n] != r[target..target + n] || inside || !wrong {
                    continue;
                }
                let mut before = None;
                for at in target as isize - 1..(target + n) as isize {
                    let front = at < 0;
                    let to = if front { -1 } else { place[at as usize] };
                    let left_out = match algorithm {
                        Algorithm::Tercom => {
                            let repeats = at != target as isize && to == place[target];
                            !front && (to == start as isize || repeats)
                        }
                        Algorithm::Sacrebleu => before == Some(to),
                    };
                    before = Some(to);
                    if !left_out {
                        all.push((start, n, to));
                    }
                }
            }
        }
    }
    all
}

/// The words after a shift. Behind a word of its own the run skips some of those that follow it:
/// as many as come before that word, in sacrebleu one more.
fn shifted(words: &[u32], (start, n, to): Shift, algorithm: Algorithm) -> Vec<u32> {
    let (run, behind) = (&words[start..start + n], (to + 1) as usize);
    let others = [&words[..start], &words[start + n..]].concat();
    let before = match behind {
        at if at <= start => at,
        at if at > start + n => at - n,
        at => match algorithm {
            Algorithm::Tercom => at - 1,
            Algorithm::Sacrebleu => at,
        },
    };
    let before = before.min(others.len());
    [&others[..before], run, &others[before..]].concat()
}

/// Insertions, deletions, substitutions and shifts from one text to the other.
fn counts(h: &[u32], r: &[u32], algorithm: Algorithm) -> [usize; 4] {
    let (mut words, mut made, mut tried) = (h.to_vec(), 0, 0);
    loop {
        let steps = path(&words, r);
        let all = shifts(&words, r, &steps, algorithm);
        tried += all.len();
        let after = all.into_iter().map(|shift| {
            let moved = shifted(&words, shift, algorithm);
            (edits(&path(&moved, r)), shift, moved)
        });
        let now = edits(&steps);
        let best = match algorithm {
            // the first of the best, as long as it costs no more than it mends
            Algorithm::Tercom => after
                .min_by_key(|(edits, ..)| *edits)
                .filter(|(edits, ..)| *edits < now),
            // of the best the longest, the earliest, the one to the earliest place
            Algorithm::Sacrebleu => after
                .min_by_key(|(edits, (start, n, to), _)| (*edits, usize::MAX - n, *start, *to))
                .filter(|(edits, ..)| *edits < now && tried < MOST_TRIALS),
        };
        let Some((_, _, moved)) = best else {
            let of = |kind: Step| steps.iter().filter(|step| **step == kind).count();
            return [
                of(Step::Insert),
                of(Step::Delete),
                of(Step::Substitute),
                made,
            ];
        };
        (words, made) = (moved, made + 1);
    }
}

/// A reference with a run of its words elsewhere, and perhaps one of them another.
fn disordered(draw: &mut Draw, reference: &[u32]) -> Vec<u32> {
    let (start, end) = (draw.size(0, reference.len()), draw.size(0, reference.len()));
    let (start, end) = (start.min(end), start.max(end));
    let mut words = [&reference[..start], &reference[end..]].concat();
    let to = draw.size(0, words.len());
    words.splice(to..to, reference[start..end].iter().copied());
    if draw.chance(0.3) && !words.is_empty() {
        let at = draw.size(0, words.len() - 1);
        words[at] = draw.size(0, 4) as u32;
    }
    words
}

/// Words as a text, in letters of either case and with spaces of any number.
fn written(draw: &mut Draw, words: &[u32]) -> String {
    words.iter().fold(String::new(), |text, word| {
        let name = draw.pick(&["w", "W"]);
        let space = draw.pick(&[" ", "  "]);
        format!("{text}{space}{name}{word}")
    })
}

/// TER and the edits of each kind are those of the definition, by tercom and by sacrebleu. In the
/// control a shift costs nothing.
pub(super) fn ter(case: &mut Case) -> Result<()> {
    let sentences = case.draw.size(1, 3);
    let (mut hypotheses, mut references, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..sentences {
        let own: Vec<Vec<u32>> = (0..case.draw.size(1, 3))
            .map(|_| {
                let n = case.draw.size(0, MOST_WORDS);
                (0..n).map(|_| case.draw.size(0, 4) as u32).collect()
            })
            .collect();
        let hypothesis = match case.draw.chance(0.8) {
            true => disordered(&mut case.draw, &own[0]),
            false => {
                let n = case.draw.size(0, MOST_WORDS);
                (0..n).map(|_| case.draw.size(0, 4) as u32).collect()
            }
        };
        hypotheses.push(written(&mut case.draw, &hypothesis));
        references.push(
            own.iter()
                .map(|r| written(&mut case.draw, r))
                .collect::<Vec<_>>(),
        );
        texts.push((hypothesis, own));
    }
    for algorithm in [Algorithm::Tercom, Algorithm::Sacrebleu] {
        let found = given(corpus_ter(&hypotheses, &references, algorithm))?;
        let (mut sum, mut length) = ([0; 4], 0.0);
        for (hypothesis, own) in &texts {
            let each = own.iter().map(|r| counts(hypothesis, r, algorithm));
            let fewest = each.min_by_key(|counts| counts.iter().sum::<usize>());
            let fewest = fewest.unwrap_or_default();
            (0..4).for_each(|kind| sum[kind] += fewest[kind]);
            length += own.iter().map(Vec::len).sum::<usize>() as f64 / own.len() as f64;
        }
        let place = || format!("{algorithm:?}: {hypotheses:?} against {references:?}");
        let c = found.counts;
        let kinds = [c.insertions, c.deletions, c.substitutions, c.shifts];
        case.same(kinds, sum, place);
        let shifts = case.or_control(sum[3], 0);
        let edits = (sum[0] + sum[1] + sum[2] + shifts) as f64;
        let expected = match length > 0.0 {
            true => edits / length,
            false => edits.min(1.0),
        };
        let bound = 16.0 * UNIT_ROUNDOFF_F64 * expected;
        let tolerance = Tolerance::stated(bound, "16 u: two means, their sum, a quotient");
        case.close(found.score, expected, &tolerance, place);
    }
    Ok(())
}
