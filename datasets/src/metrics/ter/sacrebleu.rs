//! sacrebleu 2.6.0's search, for comparison with scores that were made by it.

use super::{Alignment, Cell, Counts, Line, Op};

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
    let mut rows = vec![Line {
        from: 0,
        cells: (0..=r).map(|j| Some((j, Op::Delete))).collect(),
    }];
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
        let from = middle.saturating_sub(beam);
        let above = &rows[i - 1];
        let mut cells: Vec<Cell> = Vec::with_capacity(until.saturating_sub(from));
        let mut corner = from.checked_sub(1).and_then(|j| above.at(j));
        let mut left = None;
        for j in from..until {
            let up = above.at(j);
            let same = j > 0 && hypothesis[i - 1] == reference[j - 1];
            let diagonal = if same { Op::Match } else { Op::Substitute };
            let mut best: Cell = None;
            for (before, price, op) in [
                (corner, usize::from(!same), diagonal),
                (up, 1, Op::Insert),
                (left, 1, Op::Delete),
            ] {
                if let Some((cost, _)) = before
                    && best.is_none_or(|(least, _)| cost + price < least)
                {
                    best = Some((cost + price, op));
                }
            }
            cells.push(best);
            (corner, left) = (up, best);
        }
        rows.push(Line { from, cells });
    }
    Alignment::back(h, r, |i, j| rows[i].at(j))
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
    let near = |h: usize| h.saturating_sub(FARTHEST)..reference.len().min(h + FARTHEST + 1);
    let pairs = (0..words.len()).flat_map(move |h| near(h).map(move |r| (h, r)));
    pairs.flat_map(|(h, r)| {
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
