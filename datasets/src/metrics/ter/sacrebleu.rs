//! sacrebleu 2.6.0's search, for comparison with scores that were made by it.

use super::{Alignment, Counts, Op};

const MOST_WORDS: usize = 10;
const FARTHEST: usize = 50;
const BEAM: usize = 25;
const MOST_CANDIDATES: usize = 1000;

/// Counts of edits between two sentences; `reference_length` is the caller's.
pub fn counts(hypothesis: &[u32], reference: &[u32]) -> Counts {
    let mut words = hypothesis.to_vec();
    let (mut shifts, mut tried) = (0, 0);
    loop {
        let best = best_shift(&words, reference, &mut tried);
        match best {
            Some((gain, moved)) if tried < MOST_CANDIDATES && gain > 0 => words = moved,
            _ => break,
        }
        shifts += 1;
    }
    align(&words, reference).counts(shifts)
}

/// Cheapest path, ties to the diagonal, then to a word of the hypothesis alone, in a band around
/// the stretched diagonal.
fn align(hypothesis: &[u32], reference: &[u32]) -> Alignment {
    let (h, r) = (hypothesis.len(), reference.len());
    let far = usize::MAX / 2;
    let mut cost = vec![far; (h + 1) * (r + 1)];
    let mut step = vec![Op::Delete; (h + 1) * (r + 1)];
    (0..=r).for_each(|j| cost[j] = j);
    let ratio = if h == 0 { 1.0 } else { r as f64 / h as f64 };
    let beam = if (BEAM as f64) < ratio / 2.0 {
        (ratio / 2.0 + BEAM as f64).ceil() as usize
    } else {
        BEAM
    };
    for i in 1..=h {
        let middle = (i as f64 * ratio).floor() as usize;
        let until = if i == h {
            r + 1
        } else {
            (r + 1).min(middle + beam)
        };
        for j in middle.saturating_sub(beam)..until {
            let at = i * (r + 1) + j;
            let above = at - (r + 1);
            if j == 0 {
                (cost[at], step[at]) = (cost[above] + 1, Op::Insert);
                continue;
            }
            let same = hypothesis[i - 1] == reference[j - 1];
            let diagonal = if same { Op::Match } else { Op::Substitute };
            for (price, op) in [
                (cost[above - 1] + usize::from(!same), diagonal),
                (cost[above] + 1, Op::Insert),
                (cost[at - 1] + 1, Op::Delete),
            ] {
                if price < cost[at] {
                    (cost[at], step[at]) = (price, op);
                }
            }
        }
    }
    let (mut i, mut j) = (h, r);
    let mut path = Vec::with_capacity(h + r);
    while i > 0 || j > 0 {
        let op = step[i * (r + 1) + j];
        path.push(op);
        i -= usize::from(op != Op::Delete);
        j -= usize::from(op != Op::Insert);
    }
    path.reverse();
    Alignment {
        edits: cost[h * (r + 1) + r],
        path,
    }
}

/// Gain, length, start and target of a shift, the latter two negated: the highest is the best.
type Rank = (isize, usize, isize, isize);

/// The shift of the highest gain in edit distance, then the longest, the earliest, the one to the
/// earliest place.
fn best_shift(words: &[u32], reference: &[u32], tried: &mut usize) -> Option<(isize, Vec<u32>)> {
    let now = align(words, reference);
    let aligned = now.aligned();
    let mut best: Option<(Rank, Vec<u32>)> = None;
    for (start, target, length) in matching_runs(words, reference) {
        let inside =
            (start as isize..(start + length) as isize).contains(&aligned.of_reference[target]);
        if inside
            || !aligned.wrong_hypothesis[start..start + length].contains(&true)
            || !aligned.wrong_reference[target..target + length].contains(&true)
        {
            continue;
        }
        let mut previous = None;
        for r in target..=target + length {
            // behind the word before `r`
            let to = match r.checked_sub(1) {
                None => 0,
                Some(r) => (aligned.of_reference[r] + 1) as usize,
            };
            if previous == Some(to) {
                continue;
            }
            previous = Some(to);
            let moved = perform(words, start, length, to);
            let gain = now.edits as isize - align(&moved, reference).edits as isize;
            let rank = (gain, length, -(start as isize), -(to as isize));
            *tried += 1;
            if best.as_ref().is_none_or(|(old, _)| rank > *old) {
                best = Some((rank, moved));
            }
        }
        if *tried >= MOST_CANDIDATES {
            break;
        }
    }
    best.map(|(rank, moved)| (rank.0, moved))
}

/// Start in the hypothesis, start in the reference, length of every run that both have.
fn matching_runs<'a>(
    words: &'a [u32],
    reference: &'a [u32],
) -> impl Iterator<Item = (usize, usize, usize)> + 'a {
    let pairs = (0..words.len()).flat_map(|h| (0..reference.len()).map(move |r| (h, r)));
    pairs
        .filter(|(h, r)| h.abs_diff(*r) <= FARTHEST)
        .flat_map(|(h, r)| {
            let same = words[h..]
                .iter()
                .zip(&reference[r..])
                .take(MOST_WORDS)
                .take_while(|(a, b)| a == b)
                .count();
            (1..=same).map(move |length| (h, r, length))
        })
}

fn perform(words: &[u32], start: usize, length: usize, to: usize) -> Vec<u32> {
    let mut rest = words.to_vec();
    let run: Vec<u32> = rest.drain(start..start + length).collect();
    let to = if to < start {
        to
    } else if to > start + length {
        to - length
    } else {
        to.min(rest.len())
    };
    rest.splice(to..to, run);
    rest
}
